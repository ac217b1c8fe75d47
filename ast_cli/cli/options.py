"""Options that several commands share, written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ast_cli.published import DEFAULT_MODEL
from ast_cli.settings import Attention, Dtype

MODEL = "Model"
RUN = "Where and how it runs"
MESSAGES = "Messages"

ModelOption = Annotated[
    list[str],
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        rich_help_panel=MODEL,
        show_default=DEFAULT_MODEL,
        help="Hub id, folder, .safetensors, .pth or .bin. Given several times, the scores are averaged.",
    ),
]
RevisionOption = Annotated[
    str | None,
    typer.Option(
        metavar="REV",
        rich_help_panel=MODEL,
        help="Hub branch, tag or commit.",
        show_default="the default branch",
    ),
]
OfflineOption = Annotated[
    bool, typer.Option("--offline", rich_help_panel=MODEL, help="Never touch the network.")
]
DeviceOption = Annotated[
    str,
    typer.Option(metavar="DEVICE", rich_help_panel=RUN, help="auto, cpu, cuda, cuda:N or mps."),
]
DtypeOption = Annotated[
    Dtype, typer.Option(rich_help_panel=RUN, help="Number format of the network; auto is float32.")
]
AttnOption = Annotated[
    Attention,
    typer.Option(
        rich_help_panel=RUN,
        help="Attention: sdpa lets torch choose; flash, efficient, cudnn and math force one of its ways.",
    ),
]

LABELLED = "The labelled recordings"
LABELLED_DATA = (
    "CSV with the header file,labels; AudioSet's segment CSV; the original AST's JSON; the folder of ESC-50 "
    "or Speech Commands; or a folder for each class."
)
AudioOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        rich_help_panel=LABELLED,
        help="Where the recordings are.",
        show_default="beside the table",
    ),
]
ClassesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=LABELLED,
        help="What the labels stand for: CSV with index, mid, display_name.",
        show_default="AudioSet's classes",
    ),
]
BatchSizeOption = Annotated[
    int,
    typer.Option("--batch-size", "-b", min=1, rich_help_panel=RUN, help="Windows per forward pass."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(min=1, rich_help_panel=RUN, help="Decoding threads.", show_default="one a core, at most 8"),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", rich_help_panel=MESSAGES, help="Only failures on stderr.")
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", rich_help_panel=MESSAGES, help="Say what runs where.")
]

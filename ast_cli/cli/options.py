"""Options that several commands share, written once."""

from __future__ import annotations

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

"""`ast-tag bench`: how fast it runs here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from ast_cli.bench.request import BATCH_SIZES, REPEATS, Request, batch_sizes_of
from ast_cli.checkpoints.published import DEFAULT_MODEL
from ast_cli.cli import options
from ast_cli.cli.bench_screen import show, steps
from ast_cli.cli.screen import TagScreen, stderr, stdout
from ast_cli.errors import UsageError
from ast_cli.extras import require_extra
from ast_cli.settings import DEFAULT_BATCH_SIZE, Attention

LIST = ",".join(map(str, BATCH_SIZES))
OUTPUT = "Output"


def bench(
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="DIR",
            help="Time the whole flow on these recordings instead, from files to labels.",
            show_default="the network and the stages, on clips made for it",
        ),
    ] = None,
    attn: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=options.RUN,
            help=f"Attention to time: {', '.join(get_args(Attention))}; may be repeated.",
            show_default="eager, sdpa and, on the CPU, heads; auto with DIR",
        ),
    ] = None,
    batch_size: Annotated[
        str | None,
        typer.Option(
            "--batch-size",
            "-b",
            metavar="LIST",
            rich_help_panel=options.RUN,
            help="Windows per forward pass, several with commas.",
            show_default=f"{LIST}; {DEFAULT_BATCH_SIZE} with DIR",
        ),
    ] = None,
    dtype: options.DtypeOption = "auto",
    device: options.DeviceOption = "auto",
    engine: options.EngineOption = "torch",
    compile_: options.CompileOption = False,
    peer: Annotated[
        Literal["transformers"] | None,
        typer.Option(
            rich_help_panel=options.RUN,
            help="Time this one too, in turns with ours, and tell the ratio.",
            show_default=False,
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option(min=1, rich_help_panel=options.RUN, help="How often everything is timed.")
    ] = REPEATS,
    model: options.OneModelOption = DEFAULT_MODEL,
    revision: options.RevisionOption = None,
    offline: options.OfflineOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=OUTPUT, help="One JSON document.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=OUTPUT, help="Draw the figures, as PNG.", show_default=False
        ),
    ] = None,
) -> None:
    """Measure how fast it runs here: attentions, batch sizes, stages, memory, and how far scores deviate.

    Figures are medians. The GEMM rate is that of the fastest of the network's own products alone.
    """
    if plot is not None and folder is not None:
        raise UsageError("--plot draws the network's runs, and DIR has none", "Leave out one of them")
    request = Request(
        model=model,
        revision=revision,
        offline=offline,
        attn=tuple(attn or ()),
        batch_sizes=() if batch_size is None else batch_sizes_of(batch_size),
        dtype=dtype,
        device=device,
        engine=engine,
        compile=compile_,
        peer=peer,
        repeats=repeats,
        folder=folder,
    )
    if plot is not None:
        require_extra("plot")
    from ast_cli.bench.folder import bench_folder
    from ast_cli.bench.network import bench_network

    screen = TagScreen(quiet=False, verbose=False)
    with steps(stderr()) as on_step:
        document = (bench_network if folder is None else bench_folder)(request, on_step, screen.warn)
    with stdout() as console:
        if as_json:
            text = json.dumps(document.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
            console.file.write(text + "\n")
        else:
            show(console, document)
    if plot is not None:
        from ast_cli.bench.picture import draw

        draw(plot, document)

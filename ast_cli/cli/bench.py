"""`ast-tag bench`: how fast it runs here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, get_args

from ast_cli.bench.request import BATCH_SIZES, REPEATS, Request, batch_sizes_of
from ast_cli.cli.bench_screen import show, steps
from ast_cli.cli.option_groups import After, argument, grouped, only, option, option_group
from ast_cli.cli.options import OUTPUT, RUN, DeviceOption, EngineOptions, OneModelOptions
from ast_cli.cli.screen import TagScreen, stderr, stdout
from ast_cli.errors import UsageError
from ast_cli.extras import require_extra
from ast_cli.settings import DEFAULT_BATCH_SIZE, Attention

LIST = ",".join(map(str, BATCH_SIZES))


@option_group(RUN)
class BenchEngineOptions(EngineOptions):
    """Where and how the networks run, apart from what is compared."""

    device: Annotated[DeviceOption, After("dtype")] = "auto"


@grouped
def bench(
    *,
    folder: str | None = argument(
        None,
        "Time the whole flow on these recordings instead, from files to labels.",
        metavar="DIR",
        show_default="the network and the stages, on clips made for it",
    ),
    attn: list[str] = option(
        [],
        f"Attention to time: {', '.join(get_args(Attention))}; may be repeated.",
        metavar="NAME",
        show_default="eager, sdpa and, on the CPU, heads; auto with DIR",
        panel=RUN,
    ),
    batch_size: str | None = option(
        None,
        "Windows per forward pass, several with commas.",
        "-b",
        metavar="LIST",
        show_default=f"{LIST}; {DEFAULT_BATCH_SIZE} with DIR",
        panel=RUN,
    ),
    engine: Annotated[BenchEngineOptions, only("device", "dtype", "engine", "compile_")],
    peer: Literal["transformers"] | None = option(
        None, "Time this one too, in turns with ours, and tell the ratio.", show_default=False, panel=RUN
    ),
    repeats: int = option(REPEATS, "How often everything is timed.", min=1, panel=RUN),
    model: OneModelOptions,
    as_json: bool = option(False, "One JSON document.", "--json", panel=OUTPUT),
    plot: Path | None = option(
        None, "Draw the figures, as PNG.", metavar="FILE", show_default=False, panel=OUTPUT
    ),
) -> None:
    """Measure how fast it runs here: attentions, batch sizes, stages, memory, and how far scores deviate.

    Figures are medians. The GEMM rate is that of the fastest of the network's own products alone.
    """
    if plot is not None and folder is not None:
        raise UsageError("--plot draws the network's runs, and DIR has none", "Leave out one of them")
    request = Request(
        model=model.model,
        revision=model.revision,
        offline=model.offline,
        attn=tuple(attn),
        batch_sizes=() if batch_size is None else batch_sizes_of(batch_size),
        dtype=engine.dtype,
        device=engine.device,
        engine=engine.engine,
        compile=engine.compile_,
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
        from ast_cli.bench.document import draw

        draw(plot, document)

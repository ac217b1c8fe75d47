"""`ast-tag bench`: how fast it runs here, in tables on a terminal and tab-separated blocks in a pipe."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ast_cli.bench.request import BATCH_SIZES, REPEATS, Request, batch_sizes_of
from ast_cli.cli.option_groups import After, argument, grouped, only, option, option_group
from ast_cli.cli.options import OUTPUT, RUN, DeviceOption, EngineOptions, OneModelOptions
from ast_cli.cli.screen import TagScreen, stderr, stdout
from ast_cli.errors import UsageError
from ast_cli.extras import require_extra
from ast_cli.settings import DEFAULT_BATCH_SIZE, Attention
from ast_cli.text import one_line

if TYPE_CHECKING:
    from ast_cli.bench.document import Document, Failure, Measurement
    from ast_cli.bench.machine import Spread

LIST = ",".join(map(str, BATCH_SIZES))
NONE = "—"
GAP = 2  # between columns


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


@dataclass(frozen=True, slots=True)
class Block:
    """A table."""

    title: str  # above it, on a terminal
    columns: Sequence[str]  # their names
    rows: Sequence[Sequence[str]]
    keys: int = 1  # so many columns at the left tell the rows apart

    @classmethod
    def of(cls, title: str, rows: Sequence[dict[str, str]], keys: int = 1) -> Block:
        """Of rows that name their cells, all alike."""
        return cls(title, [*rows[0]], [[*row.values()] for row in rows], keys)

    def only(self, columns: Sequence[int]) -> Block:
        """Without the other columns."""
        names = [self.columns[one] for one in columns]
        return Block(self.title, names, [[row[one] for one in columns] for row in self.rows], self.keys)


@contextmanager
def steps(console: Console) -> Iterator[Callable[[str], None]]:
    """What to call with what is done next; shown while the block runs, on a terminal only."""
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("starting") as status:
        yield lambda step: status.update(Text(one_line(step)))


def show(console: Console, document: Document) -> None:
    """Print all there is to tell."""
    for number, block in enumerate(blocks(document)):
        if not console.is_terminal:
            lines = (block.columns, *block.rows) if block.columns else block.rows
            console.file.write("\n" if number else "")
            console.file.writelines("\t".join(line) + "\n" for line in lines)
            continue
        if number:
            console.print()
        console.print(Text(block.title, "bold"))
        for part in fitting(block, console.width):
            console.print(_table(part))


def blocks(document: Document) -> list[Block]:
    """The tables of a document."""
    if any(run.flow for run in document.runs):
        return [_machine(document), *_flows(document)]
    fastest = document.fastest
    stages = [
        {"stage": name, "ms a window": f"{one.median:.3f}", **_quartiles(one, 3), "share": f"{one.share:.1%}"}
        for name, one in fastest.stages.items()
    ]
    return [
        _machine(document),
        _reference(document),
        Block.of(f"Stages of a window, with {fastest.name} and {fastest.batch_size} at once", stages),
        Block.of("The network alone", [_network(run) for run in document.runs], keys=2),
    ]


def fitting(block: Block, width: int) -> Iterator[Block]:
    """A block that is too wide for the terminal, as several below each other, each with the key columns."""
    if not block.columns:
        yield block
        return
    widths = [
        max(cell_len(cell) for cell in column) + GAP
        for column in zip(block.columns, *block.rows, strict=True)
    ]
    keys = list(range(block.keys))
    taken: list[int] = []
    for column in range(block.keys, len(widths)):
        if taken and sum(widths[one] for one in (*keys, *taken, column)) - GAP > width:
            yield block.only(keys + taken)
            taken = []
        taken.append(column)
    yield block.only(keys + taken)


def _table(block: Block) -> Table:
    table = Table(
        box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim", show_header=bool(block.columns)
    )
    for number, name in enumerate(block.columns or [""] * len(block.rows[0])):
        table.add_column(name, justify="right" if number and block.columns else "left")
    for row in block.rows:
        table.add_row(*map(Text, row))
    return table


def _machine(document: Document) -> Block:
    machine, first, gemm = document.machine, document.runs[0], document.gemm
    rows = {
        "model": document.model,
        "machine": f"{machine.system}, {machine.cpu}, {machine.instructions}",
        "cores": f"{machine.cores}, {machine.threads} threads",
    }
    if machine.memory_mb is not None:
        rows["memory"] = f"{machine.memory_mb:,} MB"
    if machine.gpu is not None:
        memory = "" if machine.gpu_memory_mb is None else f", {machine.gpu_memory_mb:,} MB"
        rows["GPU"] = machine.gpu + memory
    if machine.load is not None:
        busy = ": others are at work, and every figure is the worse for it"
        rows["load before"] = f"{machine.load:.2f}{busy if machine.load > machine.cores / 2 else ''}"
    rows["versions"] = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    compiled = ", compiled" if first.compile else ""
    rows["ran"] = f"{first.dtype} on {first.device}{compiled}, medians of {document.repeats}"
    if gemm is not None:
        shape = f"{gemm.rows} × {gemm.inputs} × {gemm.outputs}"
        rows["GEMM"] = f"{gemm.flops / 1e9:,.1f} GFLOP/s ({shape}, {gemm.way})"
    return Block("What it ran on", (), [[name, one_line(value)] for name, value in rows.items()])


def _reference(document: Document) -> Block:
    """Milliseconds of a batch and speed-ups, a line for each size of batch."""
    tried: list[Measurement | Failure] = [*document.runs, *document.failures]
    names = dict.fromkeys(one.name for one in tried)
    times = {(run.name, run.batch_size): f"{run.ms_per_batch:.1f}" for run in document.runs}
    ratios = {(one.name, one.against, one.batch_size): f"× {one.speedup:.2f}" for one in document.speedup}
    compared = dict.fromkeys(key[:2] for key in ratios)
    rows = [
        {
            "batch": str(size),
            **{f"{name} ms": times.get((name, size), NONE) for name in names},
            **{f"{one} vs {other}": ratios.get((one, other, size), NONE) for one, other in compared},
        }
        for size in sorted({one.batch_size for one in tried})
    ]
    return Block.of("Milliseconds a batch, and how many times as fast", rows)


def _way(run: Measurement) -> dict[str, str]:
    return {"way": run.name, "batch": str(run.batch_size)}


def _quartiles(spread: Spread, digits: int) -> dict[str, str]:
    return {"q1": f"{spread.q1:.{digits}f}", "q3": f"{spread.q3:.{digits}f}"}


def _speed(run: Measurement) -> dict[str, str]:
    return {"windows/s": f"{run.windows_per_s:,.1f}", "× realtime": f"{run.x_realtime:,.1f}"}


def _peak(run: Measurement) -> dict[str, str]:
    return {"peak MB": NONE if run.peak_memory_mb is None else f"{run.peak_memory_mb:,.0f}"}


def _network(run: Measurement) -> dict[str, str]:
    roofline = run.roofline
    return {
        **_way(run),
        "ms a window": f"{run.ms_per_window.median:.2f}",
        **_quartiles(run.ms_per_window, 2),
        **_speed(run),
        **_peak(run),
        "GFLOP/s": NONE if roofline is None else f"{roofline.flops / 1e9:,.1f}",
        "of GEMM": NONE if roofline is None else f"{roofline.ratio:.0%}",
        "deviation": NONE if run.deviation is None else f"{run.deviation:.1e}",
    }


def _flows(document: Document) -> Iterator[Block]:
    flows = [(run, run.flow) for run in document.runs if run.flow is not None]
    rows = [
        {
            **_way(run),
            "files": str(flow.files),
            "failed": str(flow.failed),
            "seconds of audio": f"{flow.seconds:,.1f}",
            "wall s": f"{flow.wall_seconds.median:.2f}",
            **_quartiles(flow.wall_seconds, 2),
            "files/s": f"{flow.files_per_s:,.2f}",
            **_speed(run),
            "load s": f"{flow.load_seconds:.2f}",
            **_peak(run),
        }
        for run, flow in flows
    ]
    yield Block.of("The whole flow, from files to labels", rows, keys=2)
    if document.speedup:
        ratios = [
            {
                "way": one.name,
                "against": one.against,
                "batch": str(one.batch_size),
                "ratio": f"× {one.speedup:.2f}",
            }
            for one in document.speedup
        ]
        yield Block.of("How many times as fast", ratios)
    waits = {
        "waited_for_recordings": "network waited s",
        "decoders_waited": "decoders waited s",
        "starting": "starting s",
        "waited_for_scores": "scores s",
    }
    counted = [
        {
            **_way(run),
            "decoded by": flow.counters["decoded_by"],
            **{title: f"{flow.counters[name]:.2f}" for name, title in waits.items()},
            **{f"{stage} ms": f"{ms:.3f}" for stage, ms in flow.counters["core_ms_per_recording"].items()},
        }
        for run, flow in flows
        if flow.counters is not None
    ]
    if counted:
        yield Block.of("Who waited for whom, and milliseconds of a core for a recording", counted, keys=2)

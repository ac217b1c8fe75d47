"""What a person sees of a benchmark: tables on a terminal, tab-separated blocks in a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ast_cli.text import one_line

if TYPE_CHECKING:
    from ast_cli.bench.document import Document, Measurement

NONE = "—"
GAP = 2  # between columns


@dataclass(frozen=True, slots=True)
class Block:
    """A table.

    Attributes:
        title: Above it, on a terminal.
        columns: Their names.
        rows: Their cells.
        keys: So many columns at the left tell the rows apart.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    keys: int = 1


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
    return [_machine(document), _reference(document), _stages(document.fastest), _runs(document)]


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
            yield _only(block, keys + taken)
            taken = []
        taken.append(column)
    yield _only(block, keys + taken)


def _only(block: Block, columns: list[int]) -> Block:
    return Block(
        block.title,
        [block.columns[one] for one in columns],
        [[row[one] for one in columns] for row in block.rows],
        block.keys,
    )


def _table(block: Block) -> Table:
    table = Table(
        box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim", show_header=bool(block.columns)
    )
    for number in range(len(block.columns or block.rows[0])):
        name = block.columns[number] if block.columns else ""
        table.add_column(name, justify="left" if number == 0 or not block.columns else "right")
    for row in block.rows:
        table.add_row(*map(Text, row))
    return table


def _machine(document: Document) -> Block:
    machine = document.machine
    rows = [
        ("model", document.model),
        ("machine", f"{machine.system}, {machine.cpu}, {machine.instructions}"),
        ("cores", f"{machine.cores}, {machine.threads} threads"),
    ]
    if machine.memory_mb is not None:
        rows.append(("memory", f"{machine.memory_mb:,} MB"))
    if machine.gpu is not None:
        memory = "" if machine.gpu_memory_mb is None else f", {machine.gpu_memory_mb:,} MB"
        rows.append(("GPU", machine.gpu + memory))
    if machine.load is not None:
        busy = ": others are at work, and every figure is the worse for it"
        rows.append(("load before", f"{machine.load:.2f}{busy if machine.load > machine.cores / 2 else ''}"))
    rows.append(("versions", ", ".join(f"{name} {number}" for name, number in machine.versions.items())))
    first = document.runs[0]
    compiled = ", compiled" if first.compile else ""
    rows.append(("ran", f"{first.dtype} on {first.device}{compiled}, medians of {document.repeats}"))
    if document.gemm is not None:
        gemm = document.gemm
        rows.append(
            (
                "GEMM",
                f"{gemm.flops / 1e9:,.1f} GFLOP/s ({gemm.rows} × {gemm.inputs} × {gemm.outputs}, {gemm.way})",
            )
        )
    return Block("What it ran on", (), [[name, one_line(value)] for name, value in rows])


def _reference(document: Document) -> Block:
    """Milliseconds of a batch and speed-ups, a line for each size of batch."""
    names = dict.fromkeys(
        (*(run.name for run in document.runs), *(failure.name for failure in document.failures))
    )
    times = {(run.name, run.batch_size): f"{run.ms_per_batch:.1f}" for run in document.runs}
    ratios = {(one.name, one.against, one.batch_size): f"× {one.speedup:.2f}" for one in document.speedup}
    compared = dict.fromkeys(key[:2] for key in ratios)
    measured = {run.batch_size for run in document.runs}
    sizes = sorted(measured | {failure.batch_size for failure in document.failures})
    return Block(
        "Milliseconds a batch, and how many times as fast",
        ["batch", *(f"{name} ms" for name in names), *(f"{name} vs {against}" for name, against in compared)],
        [
            [
                str(size),
                *(times.get((name, size), NONE) for name in names),
                *(ratios.get((*pair, size), NONE) for pair in compared),
            ]
            for size in sizes
        ],
    )


def _stages(run: Measurement) -> Block:
    return Block(
        f"Stages of a window, with {run.name} and {run.batch_size} at once",
        ["stage", "ms a window", "q1", "q3", "share"],
        [
            [name, f"{one.median:.3f}", f"{one.q1:.3f}", f"{one.q3:.3f}", f"{one.share:.1%}"]
            for name, one in run.stages.items()
        ],
    )


def _runs(document: Document) -> Block:
    return Block(
        "The network alone",
        [
            *("way", "batch", "ms a window", "q1", "q3", "windows/s", "× realtime", "peak MB", "GFLOP/s"),
            *("of GEMM", "deviation"),
        ],
        [_run_row(run) for run in document.runs],
        keys=2,
    )


def _run_row(run: Measurement) -> list[str]:
    taken, roofline = run.ms_per_window, run.roofline
    return [
        run.name,
        str(run.batch_size),
        *(f"{value:.2f}" for value in (taken.median, taken.q1, taken.q3)),
        f"{run.windows_per_s:,.1f}",
        f"{run.x_realtime:,.1f}",
        NONE if run.peak_memory_mb is None else f"{run.peak_memory_mb:,.0f}",
        NONE if roofline is None else f"{roofline.flops / 1e9:,.1f}",
        NONE if roofline is None else f"{roofline.ratio:.0%}",
        NONE if run.deviation is None else f"{run.deviation:.1e}",
    ]


def _flows(document: Document) -> Iterator[Block]:
    rows = []
    for run in document.runs:
        flow = run.flow
        assert flow is not None
        wall = flow.wall_seconds
        rows.append(
            [
                *(run.name, str(run.batch_size), str(flow.files), str(flow.failed), f"{flow.seconds:,.1f}"),
                *(f"{value:.2f}" for value in (wall.median, wall.q1, wall.q3)),
                f"{flow.files_per_s:,.2f}",
                f"{run.windows_per_s:,.1f}",
                f"{run.x_realtime:,.1f}",
                f"{flow.load_seconds:.2f}",
                NONE if run.peak_memory_mb is None else f"{run.peak_memory_mb:,.0f}",
            ]
        )
    yield Block(
        "The whole flow, from files to labels",
        [
            *("way", "batch", "files", "failed", "seconds of audio", "wall s", "q1", "q3"),
            *("files/s", "windows/s", "× realtime", "load s", "peak MB"),
        ],
        rows,
        keys=2,
    )
    if document.speedup:
        yield Block(
            "How many times as fast",
            ["way", "against", "batch", "ratio"],
            [
                [one.name, one.against, str(one.batch_size), f"× {one.speedup:.2f}"]
                for one in document.speedup
            ],
        )
    counted = [run for run in document.runs if run.flow and run.flow.counters]
    if counted:
        yield _counters(counted)


def _counters(runs: Sequence[Measurement]) -> Block:
    """Who waited for whom, and milliseconds of a core for each stage of a recording."""
    rows: list[list[str]] = []
    stages: list[str] = []
    for run in runs:
        assert run.flow is not None
        assert run.flow.counters is not None
        counters = run.flow.counters
        names = ("waited_for_recordings", "decoders_waited", "starting", "waited_for_scores")
        rows.append(
            [
                *(run.name, str(run.batch_size), counters["decoded_by"]),
                *(f"{counters[name]:.2f}" for name in names),
                *(f"{taken:.3f}" for taken in counters["core_ms_per_recording"].values()),
            ]
        )
        stages = [f"{stage} ms" for stage in counters["core_ms_per_recording"]]
    return Block(
        "Who waited for whom, and milliseconds of a core for a recording",
        [
            *(
                "way",
                "batch",
                "decoded by",
                "network waited s",
                "decoders waited s",
                "starting s",
                "scores s",
            ),
            *stages,
        ],
        rows,
        keys=2,
    )

"""Each way of running a network against the others, for each size of batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor

from ast_cli.bench.document import Document, Failure, Measurement, Roofline, as_stages
from ast_cli.bench.machine import Machine
from ast_cli.bench.memory import Memory
from ast_cli.bench.peer import TransformersEngine
from ast_cli.bench.request import Request
from ast_cli.bench.roofline import Product, fastest_product, window_flops
from ast_cli.bench.stages import STAGES, sample_windows, time_stages, window_seconds
from ast_cli.bench.timing import Spread, Stopwatch, take_turns
from ast_cli.checkpoints.checkpoint import Checkpoint
from ast_cli.engines.devices import DTYPES, resolve_attention, resolve_device, resolve_dtype
from ast_cli.engines.engine import Engine
from ast_cli.engines.factory import check_engine, open_engine
from ast_cli.errors import EngineError
from ast_cli.extras import require_extra
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.scoring.aggregate import to_scores
from ast_cli.settings import Attention, ModelSettings

REFERENCE = ModelSettings(dtype="float32", attn="eager")  # whose scores are the measure of the others


def nothing(_: str) -> None:
    """What happens where nobody wants to be told."""


@dataclass
class Contender:
    """One way of running, and what was measured of it.

    Attributes:
        name: See `Measurement.name`; before it is opened, what was asked for.
        open: Opens its engine.
        engine: Once it is open.
        own_mb: What its network takes at rest.
        seconds: Of each forward pass, by size of batch.
        peak_mb: By size of batch.
        failures: What it could not do.
        deviation: See `Measurement`.
    """

    name: str
    open: Callable[[], Engine]
    compile: bool = False
    engine: Engine | None = None
    own_mb: float = 0.0
    seconds: dict[int, list[float]] = field(default_factory=dict)
    peak_mb: dict[int, float] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    deviation: float | None = None

    def try_batch(self, windows: Tensor) -> bool:
        """Warm up with a batch; returns whether it can run, and keeps the reason if not."""
        assert self.engine is not None
        try:
            self.engine.logits(windows)
        except EngineError as error:
            self.failures.append(Failure(self.name, len(windows), str(error)))
            return False
        return True


def device_of(request: Request) -> torch.device:
    """Where networks run; OpenVINO's, on the CPU."""
    return resolve_device("cpu" if request.engine == "openvino" else request.device)


def peer_dtype(request: Request, device: torch.device, on_notice: Callable[[str], None]) -> torch.dtype:
    """The number format of `transformers`: ours, or the one nearest to it that it has."""
    if request.dtype == "int8":
        on_notice("transformers has no int8 network of this kind: it runs in float32")
        return torch.float32
    return resolve_dtype(request.dtype, device)


def attentions(request: Request, device: torch.device) -> tuple[Attention, ...]:
    """The attentions to time: those asked for, or all that matter on the device."""
    if request.engine != "torch":
        return ("auto",)
    asked = cast("tuple[Attention, ...]", request.attn) or (
        "eager",
        "sdpa",
        *(("heads",) if device.type == "cpu" else ()),
    )
    if request.compile:
        if not request.attn:
            asked = ("eager", "sdpa")  # a loop over heads would be compiled head by head
        asked = tuple("sdpa" if name == "auto" else name for name in asked)
    return tuple(dict.fromkeys(resolve_attention(name, device) for name in asked))


def bench_network(
    request: Request, on_step: Callable[[str], None] = nothing, on_notice: Callable[[str], None] = nothing
) -> Document:
    """Time the network in each way, the stages around it and the fastest product.

    Args:
        request: What is to be timed; without a folder.
        on_step: Called with what is done next.
        on_notice: Called with what should be known, such as a way that cannot run.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        EngineError: The device or engine is not there, or no way can run.
        UsageError: A name stands for nothing.
    """
    if request.peer:
        require_extra("verify", "transformers")
    check_engine(request.settings())
    device = device_of(request)
    checkpoint = Checkpoint.open(request.model, request.revision, offline=request.offline)
    machine = Machine.describe(device)  # before anything adds to its load

    on_step("the reference: eager attention in float32")
    reference, extractor = open_engine(checkpoint, replace(REFERENCE, device=str(device)), on_notice)
    config = reference.config
    sample = sample_windows(extractor)
    true_scores = _scores(reference, sample, 1)
    del reference
    sample = sample.to(device)  # how long copying takes, the flow shows, which does it meanwhile

    contenders = _contenders(request, checkpoint, device, on_notice)
    _measure(contenders, sample, request, device, on_step)
    failures = [failure for contender in contenders for failure in contender.failures]
    reasons = dict.fromkeys(f"{failure.name}: {failure.error}" for failure in failures)
    able = [contender for contender in contenders if contender.seconds]
    if not able:
        raise EngineError("; ".join(reasons))
    for reason in reasons:
        on_notice(reason)
    for contender in able:
        on_step(f"{contender.name}: its scores")
        assert contender.engine is not None
        scores = _scores(contender.engine, sample, max(contender.seconds))
        if bool(scores.isfinite().all()):
            contender.deviation = (scores - true_scores).abs().max().item()
        else:
            on_notice(f"{contender.name}: its scores are not finite numbers")

    on_step("the stages around the network")
    around = time_stages(config, extractor, request.repeats)
    on_step("the fastest product")
    assert able[0].engine is not None
    dtype = DTYPES.get(able[0].engine.dtype)
    gemm = None if dtype is None else fastest_product(config, request.batch_sizes, device, dtype)
    return Document(
        command=request.command,
        model=checkpoint.files.id,
        machine=machine,
        runs=[
            _run(contender, size, around, gemm, extractor)
            for contender in able
            for size in sorted(contender.seconds)
        ],
        repeats=request.repeats,
        failures=failures,
        gemm=gemm,
        flops_per_window=window_flops(config),
    )


def _contenders(
    request: Request, checkpoint: Checkpoint, device: torch.device, on_notice: Callable[[str], None]
) -> list[Contender]:
    def open_ours(attn: Attention) -> Engine:
        return open_engine(checkpoint, request.settings(attn), on_notice)[0]

    def open_peer() -> Engine:
        return TransformersEngine(checkpoint, device, peer_dtype(request, device, on_notice), on_notice)

    ours = [
        Contender(name, partial(open_ours, name), request.compile) for name in attentions(request, device)
    ]
    return ours if request.peer is None else [*ours, Contender(request.peer, open_peer)]


def _measure(
    contenders: list[Contender],
    sample: Tensor,
    request: Request,
    device: torch.device,
    on_step: Callable[[str], None],
) -> None:
    """Open all, then time them in turns; smallest batches first, as compiled networks only grow."""
    memory, stopwatch = Memory(device), Stopwatch(device)
    sizes = sorted(request.batch_sizes)
    for contender in contenders:
        on_step(f"{contender.name}: loading")
        before = memory.mark()
        contender.engine = contender.open()
        contender.name = contender.engine.name if contender.engine.name != "torch" else contender.name
        if contender.try_batch(_batch(sample, sizes[0])):  # weights are read only when they are needed
            contender.own_mb = memory.own(before, memory.mark())
    for size in sizes:
        if request.compile and size != sizes[0]:
            # Beyond some shapes of one function, torch runs it uncompiled; those of earlier sizes are over.
            torch.compiler.reset()
        windows = _batch(sample, size)
        able = []
        for contender in contenders:
            if any(failure.batch_size == sizes[0] for failure in contender.failures):
                continue
            on_step(f"{contender.name}: {size} at once, warming up")
            at_rest = memory.mark()
            if contender.try_batch(windows):
                contender.peak_mb[size] = contender.own_mb + memory.peak() - at_rest
                able.append(contender)
        on_step(f"{size} at once: {', '.join(one.name for one in able)} in turns")
        runs = [partial(one.engine.logits, windows) for one in able if one.engine is not None]
        for run in runs:  # once more: to tell their memory apart, it was given back to the system
            run()
        for contender, seconds in zip(able, take_turns(runs, request.repeats, stopwatch), strict=True):
            contender.seconds[size] = seconds


def _batch(sample: Tensor, size: int) -> Tensor:
    """So many windows of the sample, over and over where it has fewer."""
    return sample[torch.arange(size) % len(sample)]


def _scores(engine: Engine, sample: Tensor, at_once: int) -> Tensor:
    logits = torch.cat([engine.logits(part) for part in torch.split(sample, at_once)])
    return to_scores(logits, engine.config.scores)


def _run(
    contender: Contender,
    size: int,
    around: dict[str, Spread],
    gemm: Product | None,
    extractor: ASTFeatureExtractor,
) -> Measurement:
    engine = contender.engine
    assert engine is not None
    taken = Spread.of(contender.seconds[size]).times(1e3 / size)
    stages = around | {"model": taken}
    a_second = 1e3 / taken.median
    roofline = None
    if gemm is not None:
        whole = engine.attn == "eager" or isinstance(engine, TransformersEngine)
        flops = window_flops(engine.config, whole=whole)
        roofline = Roofline(flops * a_second, gemm.flops, flops * a_second / gemm.flops)
    return Measurement(
        attn=engine.attn,
        engine=engine.name,
        dtype=engine.dtype,
        device=engine.device,
        compile=contender.compile,
        batch_size=size,
        ms_per_window=taken,
        windows_per_s=a_second,
        x_realtime=a_second * window_seconds(extractor),
        peak_memory_mb=contender.peak_mb[size],
        stages=as_stages({name: stages[name] for name in STAGES}),
        roofline=roofline,
        deviation=contender.deviation,
    )

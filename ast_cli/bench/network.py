"""Each way of running a network against the others, for each size of batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor

from ast_cli.bench.document import Document, Failure, Measurement, Roofline, as_stages
from ast_cli.bench.machine import Machine, Memory, Spread, Stopwatch, take_turns
from ast_cli.bench.peer import TransformersEngine
from ast_cli.bench.request import TRANSFORMERS, Request
from ast_cli.bench.roofline import Product, fastest_product, window_flops
from ast_cli.bench.stages import STAGES, sample_windows, time_stages, window_seconds
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


def require_engines(request: Request) -> torch.device:
    """Where networks run (OpenVINO's, on the CPU); raises what opening any of them would raise."""
    if request.peer:
        require_extra("verify", "transformers")
    check_engine(request.settings())
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
    asked = cast("tuple[Attention, ...]", request.attn)
    if not asked:
        # A loop over heads would be compiled head by head.
        heads = device.type == "cpu" and not request.compile
        asked = ("eager", "sdpa", "heads") if heads else ("eager", "sdpa")
    elif request.compile:
        asked = tuple("sdpa" if name == "auto" else name for name in asked)
    return tuple(dict.fromkeys(resolve_attention(name, device) for name in asked))


@dataclass
class Contender:
    """One way of running, and what was measured of it."""

    name: str  # see `Measurement.name`
    engine: Engine
    own_mb: float = 0.0  # what its network takes at rest
    seconds: dict[int, list[float]] = field(default_factory=dict)  # of each forward pass, by size of batch
    peak_mb: dict[int, float] = field(default_factory=dict)  # by size of batch
    failures: list[Failure] = field(default_factory=list)
    deviation: float | None = None  # see `Measurement`

    def try_batch(self, windows: Tensor) -> bool:
        """Warm up with a batch; returns whether it can run, and keeps the reason if not."""
        try:
            self.engine.logits(windows)
        except EngineError as error:
            self.failures.append(Failure(self.name, len(windows), str(error)))
            return False
        return True

    def scores(self, sample: Tensor, at_once: int) -> Tensor:
        """[B, C] of the sample."""
        logits = torch.cat([self.engine.logits(part) for part in torch.split(sample, at_once)])
        return to_scores(logits, self.engine.config.scores)


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
    device = require_engines(request)
    checkpoint = Checkpoint.open(request.model, request.revision, offline=request.offline)
    machine = Machine.describe(device)  # before anything adds to its load

    on_step("the reference: eager attention in float32")
    reference, extractor = open_engine(checkpoint, replace(REFERENCE, device=str(device)), on_notice)
    config = reference.config
    sample = sample_windows(extractor)
    true_scores = Contender("reference", reference).scores(sample, 1)
    del reference
    sample = sample.to(device)  # how long copying takes, the flow shows, which does it meanwhile

    contenders = _measure(request, checkpoint, device, sample, on_step, on_notice)
    failures = [failure for contender in contenders for failure in contender.failures]
    reasons = dict.fromkeys(f"{failure.name}: {failure.error}" for failure in failures)
    able = [contender for contender in contenders if contender.seconds]
    if not able:
        raise EngineError("; ".join(reasons))
    for reason in reasons:
        on_notice(reason)
    for contender in able:
        on_step(f"{contender.name}: its scores")
        scores = contender.scores(sample, max(contender.seconds))
        if bool(scores.isfinite().all()):
            contender.deviation = (scores - true_scores).abs().max().item()
        else:
            on_notice(f"{contender.name}: its scores are not finite numbers")

    on_step("the stages around the network")
    around = time_stages(config, extractor, request.repeats)
    on_step("the fastest product")
    dtype = DTYPES.get(able[0].engine.dtype)
    gemm = None if dtype is None else fastest_product(config, request.batch_sizes, device, dtype)
    return Document(
        command=request.command,
        model=checkpoint.files.id,
        machine=machine,
        runs=[run for contender in able for run in _runs(contender, request, around, gemm, extractor)],
        repeats=request.repeats,
        failures=failures,
        gemm=gemm,
        flops_per_window=window_flops(config),
    )


def _measure(
    request: Request,
    checkpoint: Checkpoint,
    device: torch.device,
    sample: Tensor,
    on_step: Callable[[str], None],
    on_notice: Callable[[str], None],
) -> list[Contender]:
    """Open all, then time them in turns; smallest batches first, as compiled networks only grow."""

    def open_ours(attn: Attention) -> Engine:
        return open_engine(checkpoint, request.settings(attn), on_notice)[0]

    def open_peer() -> Engine:
        return TransformersEngine(checkpoint, device, peer_dtype(request, device, on_notice), on_notice)

    ways: dict[str, Callable[[], Engine]] = {
        attn: partial(open_ours, attn) for attn in attentions(request, device)
    }
    if request.peer is not None:
        ways[request.peer] = open_peer
    memory, stopwatch = Memory(device), Stopwatch(device)
    first, *_ = sizes = sorted(request.batch_sizes)
    contenders = []
    for name, open_ in ways.items():
        on_step(f"{name}: loading")
        before = memory.mark()
        engine = open_()
        contender = Contender(name if engine.name == "torch" else engine.name, engine)
        contenders.append(contender)
        if contender.try_batch(_batch(sample, first)):  # weights are read only when they are needed
            contender.own_mb = memory.own(before, memory.mark())
    for size in sizes:
        if request.compile and size != first:
            # Beyond some shapes of one function, torch runs it uncompiled; those of earlier sizes are over.
            torch.compiler.reset()
        windows = _batch(sample, size)
        able = []
        for contender in contenders:
            if any(failure.batch_size == first for failure in contender.failures):
                continue
            on_step(f"{contender.name}: {size} at once, warming up")
            at_rest = memory.mark()
            if contender.try_batch(windows):
                contender.peak_mb[size] = contender.own_mb + memory.peak() - at_rest
                able.append(contender)
        on_step(f"{size} at once: {', '.join(one.name for one in able)} in turns")
        runs = [partial(one.engine.logits, windows) for one in able]
        for run in runs:  # once more: to tell their memory apart, it was given back to the system
            run()
        for contender, seconds in zip(able, take_turns(runs, request.repeats, stopwatch), strict=True):
            contender.seconds[size] = seconds
    return contenders


def _batch(sample: Tensor, size: int) -> Tensor:
    """So many windows of the sample, over and over where it has fewer."""
    return sample[torch.arange(size) % len(sample)]


def _runs(
    contender: Contender,
    request: Request,
    around: dict[str, Spread],
    gemm: Product | None,
    extractor: ASTFeatureExtractor,
) -> Iterator[Measurement]:
    """The figures of a contender, by size of batch."""
    engine, theirs = contender.engine, contender.engine.name == TRANSFORMERS
    flops = window_flops(engine.config, whole=engine.attn == "eager" or theirs)
    for size, seconds in sorted(contender.seconds.items()):
        taken = Spread.of(seconds).times(1e3 / size)
        stages = around | {"model": taken}
        a_second = 1e3 / taken.median
        rate = flops * a_second
        yield Measurement(
            attn=engine.attn,
            engine=engine.name,
            dtype=engine.dtype,
            device=engine.device,
            compile=request.compile and not theirs,
            batch_size=size,
            ms_per_window=taken,
            windows_per_s=a_second,
            x_realtime=a_second * window_seconds(extractor),
            peak_memory_mb=contender.peak_mb[size] or None,
            stages=as_stages({name: stages[name] for name in STAGES}),
            roofline=None if gemm is None else Roofline(rate, gemm.flops, rate / gemm.flops),
            deviation=contender.deviation,
        )

"""Runs a network with torch. Knows the network and the features' normalization; no files, labels or order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import copy
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from ast_cli.engines.cuda_graphs import Graphs
from ast_cli.engines.devices import what_cannot_run
from ast_cli.engines.engine import Engine, Pending, lengths_of
from ast_cli.errors import EngineError, TooLittleMemoryError
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.features.window_stream import Window
from ast_cli.networks.ast import SDPA_BACKENDS, ASTForAudioClassification
from ast_cli.settings import DEFAULT_BATCH_SIZE

COMPILED_BATCH_SIZE = 32  # other sizes would be compiled again, and none is known to be better
SIZES = (8, 16, 32, 64, 128, 256)  # of batches, that are timed on CUDA
NEARLY_ALL = 0.95  # of the best rate; the rest is not worth the memory
TIMED_BATCHES = 2
BATCHES_AHEAD = 2  # on CUDA: one that runs, and one that waits for it to end


class TorchEngine(Engine):
    """Runs a network with torch.

    Args:
        model: The network in float32, with its choice of attention; moved to `device`.
        extractor: Whose mean and standard deviation the windows are normalized with.
        device: See `devices.resolve_device`.
        dtype: See `devices.resolve_dtype`; half precision is that of `round_blocks`,
            on CUDA in float16 that of whole blocks.
        on_notice: See `Engine`.
        compiled: Whether torch compiles the network's blocks when they first run.
    """

    name = "torch"

    def __init__(
        self,
        model: ASTForAudioClassification,
        extractor: ASTFeatureExtractor,
        device: torch.device,
        dtype: torch.dtype,
        on_notice: Callable[[str], None] | None = None,
        *,
        compiled: bool = False,
    ) -> None:
        super().__init__(model.config, device, dtype, model.attn_implementation, on_notice)
        self._place = device
        try:
            self.model = model.to(device=device).eval().requires_grad_(False)
            if dtype != torch.float32:
                # With 11 bits, even the sums move no score by 0.002; with the 8 of bfloat16, they would.
                self.model.round_blocks(dtype, whole=device.type == "cuda" and dtype == torch.float16)
        except torch.OutOfMemoryError as error:
            raise EngineError(
                f"{device} has no room for the model", "Close what else runs there, or use --device cpu"
            ) from error
        self._extractor = extractor
        self._largest_batch = 0 if compiled else None
        if compiled:
            for layer in self.model.audio_spectrogram_transformer.layers:
                layer.compile(dynamic=False)  # once for all, as they are alike
        self._network: Callable[[Tensor], Tensor] = self._logits
        # Which backend SDPA may use is one setting for all threads; compiling is for one thread.
        one_setting = compiled or model.attn_implementation in SDPA_BACKENDS
        self._threads = WindowThreads() if device.type == "cpu" and not one_setting else None
        self._copies: torch.cuda.Stream | None = None
        self._graphs: Graphs | None = None
        if device.type == "cuda":
            self.takes_waveforms, self.ahead, self._graphs = True, BATCHES_AHEAD, Graphs(self._rows)

    def pooled(self) -> TorchEngine:
        """See `Engine.pooled`: weights, threads and device are shared."""
        other = copy(self)
        other._network = partial(self.model.audio_spectrogram_transformer.pooled, cropped=True)
        if other._graphs is not None:
            other._graphs = Graphs(other._rows)
        return other

    def start(self, windows: Sequence[Window]) -> Pending:
        """See `Engine.start`: on CUDA, copying and computing go on while the next batch is made."""
        if self._place.type != "cuda":
            return super().start(windows)
        if self._most_at_once is None or len(windows) <= self._most_at_once:
            with suppress(TooLittleMemoryError):
                return self._start_all(windows)
        # In smaller batches; out here, nothing holds what the failed one had allocated any more.
        return super().start(windows)

    def _start_all(self, windows: Sequence[Window]) -> Pending:
        """Start one batch on CUDA; raises TooLittleMemoryError."""
        count = len(windows)
        # Pinned memory is copied without the CPU; torch keeps it until that is done.
        contents = [window.content for window in windows]
        staged = torch.stack(contents, out=torch.empty(count, *contents[0].shape, pin_memory=True))
        lengths = lengths_of(windows)
        with self._running(count):
            logits = self._forward(self._copy(staged), None if lengths is None else lengths.pin_memory())
            back = torch.empty(logits.shape, pin_memory=True).copy_(logits, non_blocking=True)
            done = torch.cuda.current_stream(self._place).record_event()

        def wait() -> Tensor:
            done.synchronize()
            return back

        return wait

    @property
    def batch_size(self) -> int:
        """See `Engine.batch_size`."""
        if self._place.type == "cpu":
            return super().batch_size
        return COMPILED_BATCH_SIZE if self._largest_batch is not None else DEFAULT_BATCH_SIZE

    def find_batch_size(self) -> int:
        """See `Engine.find_batch_size`: on CUDA, it is measured."""
        if self._place.type != "cuda" or self._largest_batch is not None:
            return self.batch_size
        size = smallest_fast_batch(self._seconds)
        self._release_memory()
        return size

    def _seconds(self, count: int) -> float:
        """What a batch of so many windows takes on CUDA."""
        windows = torch.zeros(count, self.config.max_length, self.config.num_mel_bins, device=self._place)
        with self._running(count):
            for _ in range(2):  # the second time, it may be captured
                self._forward(windows)
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            stream = torch.cuda.current_stream(self._place)  # whose device need not be the current one
            begin.record(stream)
            for _ in range(TIMED_BATCHES):
                self._forward(windows)
            end.record(stream)
            end.synchronize()
        if self._graphs is not None:
            self._graphs.clear()
        return float(begin.elapsed_time(end)) / TIMED_BATCHES

    def _copy(self, staged: Tensor) -> Tensor:
        """Copy pinned memory to the device while that still computes the batch before."""
        if self._copies is None:
            self._copies = torch.cuda.Stream(self._place)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._copies):
            copied = staged.to(self._place, non_blocking=True)
        computing = torch.cuda.current_stream(self._place)
        computing.wait_stream(self._copies)
        copied.record_stream(computing)  # its memory is not the next copy's before it was computed with
        return copied

    def _run(self, windows: Tensor, lengths: Tensor | None) -> Tensor:
        with self._running(len(windows)):
            if self._threads is not None and lengths is None:
                return self._threads.map(self._forward, windows)
            return self._forward(windows, lengths).cpu()

    def _forward(self, windows: Tensor, lengths: Tensor | None = None) -> Tensor:
        with torch.inference_mode():
            windows = windows.to(self._place, non_blocking=True)
            if lengths is not None:
                lengths = lengths.to(self._place, non_blocking=True)
                windows = self._extractor.padded_fbank(windows, lengths)
            if self._extractor.do_normalize:
                windows = self._extractor.normalize(windows)
            count = len(windows)
            if self._largest_batch is not None:  # each batch size would be compiled again
                self._largest_batch = max(self._largest_batch, count)
                windows = F.pad(windows, (0, 0, 0, 0, 0, self._largest_batch - count))
            return (self._graphs or self._rows)(windows)[:count]

    def _rows(self, windows: Tensor) -> Tensor:
        """[B, T, M] -> [B, C] or [B, D], float32."""
        return self._network(windows).float()

    def _logits(self, windows: Tensor) -> Tensor:
        logits: Tensor = self.model(windows, return_dict=True, cropped=True).logits
        return logits

    def _release_memory(self) -> None:
        if self._largest_batch is not None:
            self._largest_batch = 0  # or the smaller batches would be padded to the size that did not fit
        if self._graphs is not None:
            self._graphs.clear()
            torch.cuda.empty_cache()

    @contextmanager
    def _running(self, count: int) -> Iterator[None]:
        """Around so many windows: errors are ours, and cuDNN's convolution does not round to TF32."""
        with what_cannot_run(self._place, self.attn, self.dtype, count):
            if self._place.type != "cuda":
                yield
                return
            convolution = torch.backends.cudnn.conv  # type: ignore[attr-defined]
            before, convolution.fp32_precision = convolution.fp32_precision, "ieee"
            try:
                yield
            finally:
                convolution.fp32_precision = before


class WindowThreads:
    """Runs a function of windows on as many threads as torch may use, each window on one of them.

    Were all threads at each operation of one window, they would wait for the slowest of them after every
    operation; so, none waits, and a thread's work stays in its cache.
    """

    def __init__(self) -> None:
        # As many as torch may use now. Later its number may differ: each thread has its own, new threads
        # inherit one, and these threads as well as those that decode lower theirs.
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self._threads, "window")

    def map(self, run: Callable[[Tensor], Tensor], windows: Tensor) -> Tensor:
        """Run each window [1, …] of windows [B, …]; returns the results [1, …] as [B, …]."""
        side_by_side = min(len(windows), self._threads)
        each = self._threads // max(1, side_by_side)

        def one(window: Tensor) -> Tensor:
            torch.set_num_threads(each)  # of this thread of the pool
            return run(window)

        try:
            if side_by_side <= 1:
                return torch.cat([one(window) for window in windows[:, None]])
            return torch.cat([*self._pool.map(one, windows[:, None])])
        finally:
            torch.set_num_threads(self._threads)


def smallest_fast_batch(seconds: Callable[[int], float]) -> int:
    """The smallest batch size of `SIZES` that is nearly as fast as the fastest.

    `seconds` says what a batch of so many windows takes, or raises TooLittleMemoryError.
    """
    rates: dict[int, float] = {}
    for size in SIZES:
        try:
            rates[size] = size / seconds(size)
        except TooLittleMemoryError:
            break
        if rates[size] < NEARLY_ALL * max(rates.values()):
            break  # it has become slower
    best = max(rates.values(), default=0.0)
    return next((size for size, rate in rates.items() if rate >= NEARLY_ALL * best), SIZES[0])

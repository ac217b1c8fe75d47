"""What every engine is: windows [B, T, M] in, logits [B, C] out, in smaller batches where memory is short."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ast_cli.errors import TooLittleMemoryError, UsageError
from ast_cli.features.window_stream import Window
from ast_cli.networks.config import ASTConfig
from ast_cli.settings import DEFAULT_BATCH_SIZE

# Logits [B, C], or pooled vectors [B, D], that are being computed; calling it waits for them.
Pending = Callable[[], Tensor]


class Engine(ABC):
    """Runs one network.

    Attributes:
        config: Of the network.
        name: One of `settings.EngineName`.
        device: Where it runs, as torch names it.
        dtype: Its number format.
        attn: How it computes attention: one of `settings.Attention`.
        takes_waveforms: Whether it extracts the frames of waveforms itself, and faster than a thread does.
        crops: Whether it runs windows that are shorter than the network's.
        ahead: Batches that may be started before the logits of the first are awaited.
        on_notice: Called with what a user should know about how it runs.
    """

    name: str
    takes_waveforms: bool = False
    crops: bool = True
    ahead: int = 0

    def __init__(
        self, config: ASTConfig, device: str, dtype: str, attn: str, on_notice: Callable[[str], None] | None
    ) -> None:
        self.config = config
        self.device = device
        self.dtype = dtype
        self.attn = attn
        self.on_notice = on_notice or _warn
        self._most_at_once: int | None = None

    @property
    def batch_size(self) -> int:
        """Windows in a batch unless the caller says how many."""
        return max(DEFAULT_BATCH_SIZE, torch.get_num_threads())

    def find_batch_size(self) -> int:
        """The batch size for a long run, which may take a second to be found."""
        return self.batch_size

    @property
    def description(self) -> str:
        """How it runs, in a few words."""
        by = "" if self.name == "torch" else f" by {self.name}"
        return f"{self.attn} attention, {self.dtype} on {self.device}{by}"

    def logits(self, windows: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Run unnormalized windows [B, T, M]; returns logits [B, C], float32 on the CPU.

        With `lengths` [B], they are waveforms [B, S] that fill so many frames each (`takes_waveforms`).

        T may be less than the network's: then fewer tokens are computed (`ASTConfig.cropped_length`). Where
        the memory is too little for all windows at once, they are run in smaller batches from then on.

        Raises:
            EngineError: The device has too little memory even for one window, or cannot do this.
        """
        while True:
            at_once = min(self._most_at_once or len(windows), len(windows))
            try:
                parts = torch.split(windows, at_once)
                filled = [None] * len(parts) if lengths is None else torch.split(lengths, at_once)
                return torch.cat([self._run(*part) for part in zip(parts, filled, strict=True)])
            except TooLittleMemoryError:
                if at_once == 1:
                    raise
            # Out here, nothing holds what the failed batch had allocated any more.
            self._release_memory()
            self._most_at_once = at_once // 2
            self.on_notice(
                f"{self.device} has too little memory for {at_once} windows at once: going on with "
                f"{self._most_at_once}"
            )

    def start(self, windows: Sequence[Window]) -> Pending:
        """The same without waiting for the logits, where an engine can do that (`ahead`)."""
        contents = torch.stack([window.content for window in windows])
        logits = self.logits(contents, lengths_of(windows))
        return lambda: logits

    def pooled(self) -> Engine:
        """The same network, which gives pooled vectors [B, D] wherever this one gives logits.

        Raises:
            UsageError: This engine has nothing but logits.
        """
        raise UsageError(f"{self.name} gives scores only, no vectors", "Use --engine torch")

    @abstractmethod
    def _run(self, windows: Tensor, lengths: Tensor | None) -> Tensor:
        """Logits of windows that are run at once; raises TooLittleMemoryError."""

    def _release_memory(self) -> None:  # noqa: B027 — most hold nothing
        """Give back what is held for later."""


def lengths_of(windows: Sequence[Window]) -> Tensor | None:
    """[B]: the frames that each waveform fills; None where windows are frames."""
    is_waveform = windows[0].content.ndim == 1
    return torch.tensor([window.length for window in windows]) if is_waveform else None


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)

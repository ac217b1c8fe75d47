"""Samples of one recording, piece by piece -> its windows.

A frame depends on no other frame, so the frames of a recording are computed once, and a window is a slice of
them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ast_cli.errors import UsageError
from ast_cli.features.extractor import ASTFeatureExtractor


@dataclass(frozen=True, slots=True)
class Window:
    """A slice of a recording's frames.

    Attributes:
        start: Index of its first frame in the recording.
        length: Number of its frames that are the recording's; the rest of `frames` is padding.
        new: Number of its frames that no earlier window held.
        content: Frames [T, M], unnormalized; fewer than the network's T where it was cropped. Or the waveform
            [S] of as many frames, where these are extracted on the engine's device.
    """

    start: int
    length: int
    new: int
    content: Tensor


class _FrameTrack:
    """What is still needed of a recording: its frames, extracted as the samples come."""

    def __init__(self, extractor: ASTFeatureExtractor) -> None:
        self._extractor = extractor
        self._samples = torch.empty(0)  # not yet in a frame, or needed again by the next one
        self._frames = torch.empty(0, extractor.num_mel_bins)

    def push(self, samples: Tensor) -> None:
        self._samples = torch.cat([self._samples, samples])
        if count := self._extractor.num_frames(len(self._samples)):
            frames = self._extractor.fbank(self._samples)
            self._samples = self._samples[count * self._extractor.frame_shift :]
            self._frames = torch.cat([self._frames, frames])

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._frames)

    def cut(self, start: int, length: int) -> Tensor:
        return self._frames[start : start + length]

    def drop(self, frames: int) -> None:
        self._frames = self._frames[frames:]


class _WaveformTrack:
    """The same in samples; the engine's device makes frames of them."""

    def __init__(self, extractor: ASTFeatureExtractor) -> None:
        self._extractor = extractor
        self._samples = torch.empty(0)

    def push(self, samples: Tensor) -> None:
        self._samples = torch.cat([self._samples, samples])

    def __len__(self) -> int:
        """Number of frames."""
        return self._extractor.num_frames(len(self._samples))

    def cut(self, start: int, length: int) -> Tensor:
        first = start * self._extractor.frame_shift
        return self._samples[first : first + self._extractor.num_samples(min(length, len(self) - start))]

    def drop(self, frames: int) -> None:
        self._samples = self._samples[frames * self._extractor.frame_shift :]


class WindowStream:
    """Cuts one recording, handed in piece by piece, into windows; holds at most a window and a piece.

    Windows follow each other by `hop` frames. The last one of a recording that is longer than a window is
    aligned to its end, so that it holds no padding; a recording shorter than a window is padded.

    Args:
        extractor: The recipe.
        length: Frames in a window, at most the extractor's `max_length` (the default).
        hop: Frames from one window to the next, at most `length` (the default): no frame is skipped.
        fit: Makes the network's input [T, M] of a window's frames; pads them if None. Where waveforms are
            cut, [S] of the window's samples.
        waveforms: Whether windows hold waveforms rather than frames.

    Raises:
        UsageError: A length or hop that cannot be.
    """

    def __init__(
        self,
        extractor: ASTFeatureExtractor,
        length: int | None = None,
        hop: int | None = None,
        fit: Callable[[Tensor], Tensor] | None = None,
        *,
        waveforms: bool = False,
    ) -> None:
        self._fit = fit or (extractor.pad_waveform if waveforms else extractor.pad)
        self._length = length or extractor.max_length
        self._hop = hop or self._length
        if not 0 < self._hop <= self._length <= extractor.max_length:
            raise UsageError(
                f"windows of {self._length} frames every {self._hop} cannot be cut for a network that takes "
                f"{extractor.max_length}",
                "The hop may be as long as the window at most, and the window as long as the network's",
            )
        self._track = _WaveformTrack(extractor) if waveforms else _FrameTrack(extractor)  # from `_first` on
        self._first = 0
        self._next = 0  # start of the next window
        self._covered = 0  # frames that a window has held so far

    def push(self, samples: Tensor) -> list[Window]:
        """Hand in the next samples [S], mono at the model's rate; returns the windows that are complete."""
        self._track.push(samples)
        windows = []
        while self.total_frames >= self._next + self._length:
            windows.append(self._cut(self._next))
            self._next += self._hop
        # The last window may have to reach back a whole length from the end, wherever that will be.
        needless = max(0, min(self._next, self.total_frames - self._length) - self._first)
        self._track.drop(needless)
        self._first += needless
        return windows

    def finish(self) -> list[Window]:
        """The recording is over: returns the last window, if frames are left that no window has held."""
        if self.total_frames == self._covered:
            return []
        return [self._cut(max(0, self.total_frames - self._length))]

    @property
    def total_frames(self) -> int:
        """Number of frames so far."""
        return self._first + len(self._track)

    def _cut(self, start: int) -> Window:
        length = min(self._length, self.total_frames - start)
        new = start + length - self._covered
        self._covered += new
        return Window(start, length, new, self._fit(self._track.cut(start - self._first, length)))

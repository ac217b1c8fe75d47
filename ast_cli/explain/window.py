"""One window of a recording: the one that begins at a time, or the one of the highest score.

A time is reached by decoding alone: what lies before it is neither resampled nor scored, and what lies behind
it is not read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ast_cli.audio.decode import Recording, Samples, open_recording
from ast_cli.audio.resample import StreamResampler
from ast_cli.errors import InputError, UsageError
from ast_cli.features.extractor import FRAMES_PER_SECOND, ASTFeatureExtractor
from ast_cli.features.window_stream import Window
from ast_cli.results import Facts, display_name
from ast_cli.settings import TagSettings
from ast_cli.tagger import Tagger

FRAMES_IN_LAST = 3  # that the last samples of a recording may belong to, without filling one


@dataclass(frozen=True)
class ChosenWindow:
    """A window to look at.

    Attributes:
        start: In the recording, in seconds.
        length: Frames that hold audio.
        frames: [T, M], unnormalized, padded.
        warnings: What was wrong with the recording, as far as it was read.
    """

    start: float
    length: int
    frames: Tensor
    warnings: tuple[str, ...]


def choose_window(
    tagger: Tagger,
    path: str,
    at: float | None = None,
    labels: Sequence[int] = (),
    *,
    channel: int | None = None,
    on_heard: Callable[[float], None] | None = None,
) -> ChosenWindow:
    """Read a recording as far as it takes to have the window.

    Args:
        tagger: Scores the windows, if no time is given.
        path: An audio file; `-` is standard input.
        at: Where the window begins, in seconds; it begins earlier where less than a window is left. None for
            the window with the highest score.
        labels: Whose score that is, as indices; of any class if there are none.
        channel: Channel number from 1; None for the mean of all.
        on_heard: Called with the seconds that were scored, after every window.

    Raises:
        InputError: The recording cannot be read, or is shorter than one frame.
        UsageError: The time is not in the recording.
    """
    if at is not None and not 0 <= at < math.inf:
        raise UsageError(f"--at must be 0 s or more, not {at:g}")
    try:
        with open_recording(path) as recording:
            if at is None:
                return _highest(tagger, recording, labels, channel, on_heard)
            return _beginning(tagger.extractor, recording, at, channel)
    except InputError as error:
        raise InputError(error.word, f"{display_name(path)}: {error.cause}", error.remedy) from error


def _highest(
    tagger: Tagger,
    recording: Recording,
    labels: Sequence[int],
    channel: int | None,
    on_heard: Callable[[float], None] | None,
) -> ChosenWindow:
    wanted = list(labels) or slice(None)
    best: tuple[float, Window] | None = None
    for one in tagger.each_window(recording, TagSettings(channel=channel)):
        if isinstance(one, Facts):
            break
        window, scores = one
        if not np.isfinite(scores).all():
            raise InputError("non-finite", "a score is not a finite number", "The checkpoint may be damaged")
        highest = float(scores[wanted].max())
        if best is None or highest > best[0]:
            best = highest, window
        if on_heard is not None:
            on_heard(window.new / FRAMES_PER_SECOND)
    assert best is not None  # what holds no frame has raised
    window = best[1]
    frames = window.content
    if frames.ndim == 1:  # a waveform, of which the device would have made the frames
        extractor = tagger.extractor
        frames = extractor.pad(extractor.fbank(frames[: extractor.num_samples(window.length)]))
    return ChosenWindow(window.start / FRAMES_PER_SECOND, window.length, frames, tuple(recording.warnings))


def _beginning(
    extractor: ASTFeatureExtractor, recording: Recording, at: float, channel: int | None
) -> ChosenWindow:
    length = extractor.num_samples(extractor.max_length)
    # A window before it, too: where little follows, the window reaches back.
    frames_before = extractor.max_length + FRAMES_IN_LAST
    first = max(0, round(at * FRAMES_PER_SECOND) - frames_before) / FRAMES_PER_SECOND
    skipped = round(first * recording.sample_rate)
    blocks = _After(recording, skipped)
    part = Recording(recording.sample_rate, recording.channels, iter(blocks))
    resampler = StreamResampler(recording.sample_rate, extractor.sampling_rate)
    before = round((at - first) * FRAMES_PER_SECOND) * extractor.frame_shift
    samples = torch.empty(0)
    ended = True
    for mono in part.mono(channel):
        samples = torch.cat([samples, resampler.push(mono)])
        if len(samples) >= before + length:
            ended = False
            break
    if ended:
        samples = torch.cat([samples, resampler.finish()])
        if blocks.read == 0:
            raise InputError("empty", "it holds no audio, only a header")
        end = blocks.read / recording.sample_rate
        if at >= end:
            raise UsageError(f"--at {at:g} is behind the end of the recording, which is at {end:.2f} s")
    count = extractor.num_frames(len(samples))
    if count == 0:
        raise InputError(
            "too-short",
            f"{len(samples)} samples at {extractor.sampling_rate} Hz do not fill one frame of 25 ms",
        )
    begin = max(0, min(before // extractor.frame_shift, count - extractor.max_length))
    frames = extractor.fbank(samples[begin * extractor.frame_shift :][:length])
    start = round(first * FRAMES_PER_SECOND) + begin
    return ChosenWindow(
        start / FRAMES_PER_SECOND, len(frames), extractor.pad(frames), tuple(recording.warnings)
    )


class _After:
    """The blocks of a recording without its first samples; counts all that it has read."""

    def __init__(self, recording: Recording, skipped: int) -> None:
        self._recording = recording
        self._skipped = skipped
        self.read = 0

    def __iter__(self) -> Iterator[Samples]:
        for block in self._recording.blocks:
            begin = max(0, self._skipped - self.read)
            self.read += len(block)
            if begin < len(block):
                yield block[begin:]

"""Labeled clips -> recordings cut to what is labeled -> examples to train on, varied afresh each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from ast_cli.audio.decode import Recording, Samples, open_recording
from ast_cli.audio.resample import StreamResampler
from ast_cli.errors import InputError
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.training.augment import Augmentation, mix
from ast_cli.training.datasets import LabelledClip
from ast_cli.training.examples import AS_IT_IS, Example

MOST_LONGER = 0.5  # seconds that a file which was cut out may be longer than its part
LONGEST_WINDOWS = 6  # of a recording are read for training; a whole day of it would not fit
CACHE_BYTES = 1 << 30  # of waveforms kept in memory by each process
MOST_FAILED = 20  # clips in a row that cannot be read, before the data as a whole is called unreadable


class ClipExamples:
    """Examples of labeled clips.

    A clip that cannot be read is replaced by the next one that can, and named in `Example.failed`.

    Args:
        clips: What there is.
        classes: Their number.
        extractor: Makes the frames.
        augmentation: What may happen to a clip in training; None for nothing.
    """

    def __init__(
        self,
        clips: Sequence[LabelledClip],
        classes: int,
        extractor: ASTFeatureExtractor,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.clips, self.classes, self.extractor = list(clips), classes, extractor
        self.augmentation = augmentation
        self._cache: dict[int, Tensor | InputError] = {}
        self._cached_bytes = 0

    def __len__(self) -> int:
        return len(self.clips)

    def example(self, index: int, epoch: int, rng: np.random.Generator) -> Example:
        """Make one, in the epoch `AS_IT_IS` without chance; InputError if many clips cannot be read."""
        failed: list[tuple[str, str]] = []
        augmentation = None if epoch == AS_IT_IS else self.augmentation
        waveform, targets = self._readable(index, epoch, rng, failed)
        if augmentation is not None:
            waveform = augmentation.vary(waveform, self.extractor.sampling_rate, rng)
            if rng.random() < augmentation.mixup:
                other = self._readable(int(rng.integers(len(self.clips))), epoch, rng, failed)
                waveform, targets = mix((waveform, targets), other, rng)
        frames = self.extractor.fbank(waveform)
        if augmentation is not None:
            frames = augmentation.warp(frames, self.extractor.sampling_rate, rng)
            frames = augmentation.mask(frames, rng)
        return Example(frames, targets, failed=tuple(failed))

    def _readable(
        self, index: int, epoch: int, rng: np.random.Generator, failed: list[tuple[str, str]]
    ) -> tuple[Tensor, Tensor]:
        """Waveform [S] of at most a window and targets [C] of this clip, or of the next that can be read."""
        for offset in range(min(MOST_FAILED, len(self.clips))):
            clip = self.clips[(index + offset) % len(self.clips)]
            found = self._waveform((index + offset) % len(self.clips))
            if isinstance(found, InputError):
                failed.append((clip.name, str(found)))
                continue
            targets = torch.zeros(self.classes)
            targets[list(clip.labels)] = 1
            return self._window(found, epoch, rng), targets
        raise InputError(
            "unreadable",
            f"{min(MOST_FAILED, len(self.clips))} clips in a row cannot be read, the first: {failed[0][0]}: "
            f"{failed[0][1]}",
        )

    def _window(self, waveform: Tensor, epoch: int, rng: np.random.Generator) -> Tensor:
        extractor = self.extractor
        longest = extractor.num_samples(extractor.max_length)
        spare = len(waveform) - longest
        start = 0 if spare <= 0 or epoch == AS_IT_IS else int(rng.integers(spare + 1))
        return waveform[start : start + longest]

    def _waveform(self, index: int) -> Tensor | InputError:
        """A clip's waveform [S] at the model's rate, or why there is none."""
        if index not in self._cache:
            found: Tensor | InputError
            try:
                found = read_waveform(self.clips[index], self.extractor)
            except InputError as error:
                found = error
            size = found.nbytes if isinstance(found, Tensor) else 0
            if self._cached_bytes + size > CACHE_BYTES:
                return found
            self._cached_bytes += size
            self._cache[index] = found
        return self._cache[index]


def read_waveform(clip: LabelledClip, extractor: ASTFeatureExtractor) -> Tensor:
    """A clip's waveform [S], mono at the model's rate; of a long one only the first windows.

    Raises:
        InputError: It cannot be read, or is shorter than one frame.
    """
    most = LONGEST_WINDOWS * extractor.max_length * extractor.frame_shift
    pieces, samples = [], 0
    with open_clip(clip) as recording:
        resampler = StreamResampler(recording.sample_rate, extractor.sampling_rate)
        for mono in recording.mono():
            pieces.append(resampler.push(mono))
            samples += len(pieces[-1])
            if samples >= most:
                break
        pieces.append(resampler.finish())
    waveform = torch.cat(pieces)[:most]
    if len(waveform) < extractor.frame_length:
        raise InputError("too-short", f"{len(waveform)} samples do not fill one frame of 25 ms")
    return waveform


@contextmanager
def open_clip(clip: LabelledClip) -> Iterator[Recording]:
    """Open what is labeled: the whole recording, or a part of it.

    Raises:
        InputError: It cannot be opened; while it is read, also that it ends before its part starts.
    """
    with open_recording(clip.file) as recording:
        if clip.is_part:
            blocks = _part(recording, clip)
            yield Recording(recording.sample_rate, recording.channels, blocks, recording.warnings)
        else:
            yield recording


def _part(recording: Recording, clip: LabelledClip) -> Iterator[Samples]:
    """The blocks of a part; the rest of the file is not decoded."""
    rate, start, end = recording.sample_rate, clip.start or 0.0, clip.end
    first, last = round(start * rate), None if end is None else round(end * rate)
    held: list[Samples] = []
    if clip.may_be_cut and end is not None:
        longest, samples = round((end - start + MOST_LONGER) * rate), 0
        for block in recording.blocks:
            held.append(block)
            samples += len(block)
            if samples > longest:
                break
        else:  # too short to be what the part was cut from, unless that begins as the part does
            yield from held
            return
    position = 0
    for block in chain(held, recording.blocks):
        piece = block[max(0, first - position) : None if last is None else max(0, last - position)]
        position += len(block)
        if len(piece):
            yield piece
        if last is not None and position >= last:
            return
    if position <= first:
        raise InputError(
            "too-short",
            f"it ends after {position / rate:.3f} s, before the part from {start:g} s",
            "Mend start and end in the table",
        )
    if end is not None and position < round((end - MOST_LONGER) * rate):
        recording.warnings.append(f"cut off: it ends after {position / rate:.3f} s, the part at {end:g} s")

"""A labeled clip -> its recording, cut to the part that is labeled while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

from ast_cli.audio.decode import Recording, Samples, open_recording
from ast_cli.errors import InputError
from ast_cli.training.datasets import LabelledClip

MOST_LONGER = 0.5  # seconds that a file which was cut out may be longer than its part


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

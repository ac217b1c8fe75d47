"""Parts of a recording -> files, at its own rate and channels, and to the sample where it is lossless.

A recording is read once from start to end. Clips get their names only when that went well and it is as long
as it was when it was tagged.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from ast_cli.audio.decode import Recording, Samples, open_recording
from ast_cli.errors import OutputError
from ast_cli.files import output_errors, replacing
from ast_cli.results import FileResult
from ast_cli.settings import ClipFormat

MOST_OPEN = 128  # clips that are written at a time
LARGEST_WAV = 0xFFFF0000  # bytes of audio; more needs 64-bit lengths
WIDEST = 8  # bytes of a sample
SYSTEM_ERROR = 2  # among the codes of libsndfile
A_BLOCK = 1 << 16  # bytes, more than what a full disk may have left
DECIMALS = 3  # of seconds in results
# Bits of a sample that is a whole number; where there are none, it is not.
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
# How a lossless recording is stored -> how its clips are, in WAV. Lossy ones hold no more than 16 bits do.
IN_WAV = {
    "PCM_S8": "PCM_U8",
    "PCM_U8": "PCM_U8",
    "PCM_24": "PCM_24",
    "PCM_32": "PCM_32",
    "ALAC_20": "PCM_24",
    "ALAC_24": "PCM_24",
    "ALAC_32": "PCM_32",
    "FLOAT": "FLOAT",
    "DOUBLE": "DOUBLE",
    "": "PCM_24",  # FFmpeg does not say; among its formats are lossless ones
}
IN_FLAC = {"PCM_U8": "PCM_S8", "PCM_16": "PCM_16"}  # and 24 bits, its most, for all that is finer


class ChangedError(Exception):
    """A recording is not what was tagged."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A part of a recording, and where it goes.

    Attributes:
        path: The file.
        first: Its first frame.
        last: The one behind its last frame; may be beyond the end.
    """

    path: Path
    first: int
    last: int


def _require_same(result: FileResult, recording: Recording) -> None:
    now, before = (f"{one.channels} channels at {one.sample_rate} Hz" for one in (recording, result))
    if now != before:
        raise ChangedError(f"it has {now}, and had {before} when it was tagged. Tag it again")
    if result.stamp and recording.stamp and result.stamp.size != recording.stamp.size:
        now, before = (f"{one.size:,} bytes" for one in (recording.stamp, result.stamp))
        raise ChangedError(f"it has {now}, and had {before} when it was tagged. Tag it again")


def _require_duration(result: FileResult, seconds: float) -> None:
    if round(abs(seconds - result.duration), DECIMALS + 1) > 0.5 * 10**-DECIMALS:
        raise ChangedError(
            f"it lasts {seconds:.3f} s, and did {result.duration:.3f} s when it was tagged. Tag it again"
        )


def cut_recording(result: FileResult, path: str, cuts: Sequence[Cut], format_: ClipFormat) -> set[Cut]:
    """Cut clips out of a recording: all of them get their names, or none does.

    It is read once from start to end, however many there are; but once more for those beyond `MOST_OPEN` that
    overlap.

    Args:
        result: What is known of it.
        path: Where it is.
        cuts: What to cut.
        format_: Of the clips.

    Returns:
        Those that were written, which hold at least a sample.

    Raises:
        ChangedError: It is not what was tagged.
        InputError: It cannot be read.
        OutputError: A clip cannot be written.
    """
    written: set[Cut] = set()
    with ExitStack() as naming:
        while cuts:
            with open_recording(path, exact=True) as recording:
                _require_same(result, recording)
                done, cuts = _write_pass(result, recording, cuts, naming, format_)
            written |= done
    return written


def _write_pass(
    result: FileResult,
    recording: Recording,
    cuts: Sequence[Cut],
    naming: ExitStack,
    format_: ClipFormat,
) -> tuple[set[Cut], list[Cut]]:
    """Read a recording once, and write as many cuts as may be open at a time.

    Returns:
        The cuts that were written, and those that must wait for another pass.
    """
    waiting = deque(sorted(cuts, key=lambda cut: cut.first))
    written: set[Cut] = set()
    later: list[Cut] = []
    position = 0
    with ExitStack() as closing_all:
        writing: dict[Cut, _ClipFile] = {}
        for block in recording.blocks:
            behind = position + len(block)
            while waiting and waiting[0].first < behind:
                cut = waiting.popleft()
                if len(writing) >= MOST_OPEN:
                    later.append(cut)
                    continue
                with output_errors(cut.path):
                    cut.path.parent.mkdir(parents=True, exist_ok=True)
                part = naming.enter_context(replacing(cut.path))
                writing[cut] = _ClipFile(cut, part, recording, format_)
                closing_all.callback(writing[cut].close)
            for cut, file in [*writing.items()]:
                file.write(block[max(0, cut.first - position) : cut.last - position])
                if cut.last <= behind:
                    writing.pop(cut).close()
                    written.add(cut)
            position = behind
        for cut, file in writing.items():
            file.close()
            written.add(cut)
    _require_duration(result, position / recording.sample_rate)
    return written, later


class _ClipFile:
    """A clip that is being written."""

    def __init__(self, cut: Cut, part: Path, recording: Recording, format_: ClipFormat) -> None:
        self._path, self._part = cut.path, part
        self._subtype = subtype_of(recording.encoding, format_)
        is_large = (cut.last - cut.first) * recording.channels * WIDEST > LARGEST_WAV
        with self._errors():
            self._sound = soundfile.SoundFile(
                os.fsencode(part),
                "w",
                recording.sample_rate,
                recording.channels,
                self._subtype,
                format="FLAC" if format_ == "flac" else "RF64" if is_large else "WAV",
            )

    def write(self, block: Samples) -> None:
        with self._errors():
            self._sound.write(stored_as(block, self._subtype))

    def close(self) -> None:
        with self._errors():
            self._sound.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except soundfile.LibsndfileError as error:
            if error.code == SYSTEM_ERROR:
                with output_errors(self._path), self._part.open("ab") as file:
                    file.write(bytes(A_BLOCK))  # the system says why, which libsndfile keeps to itself
            raise OutputError(
                f"cannot write {self._path}: {error.error_string.rstrip('.')}",
                "Choose another place"
                if error.code == SYSTEM_ERROR
                else "Try --format wav, which takes any rate and number of channels",
            ) from error


def subtype_of(encoding: str, format_: ClipFormat) -> str:
    """How a clip stores the samples of a recording with this `Recording.encoding`, in libsndfile's words.

    Without loss wherever the format can: FLAC ends at 24 bits.
    """
    subtype = IN_WAV.get(encoding, "PCM_16")
    return IN_FLAC.get(subtype, "PCM_24") if format_ == "flac" else subtype


def stored_as(block: Samples, subtype: str) -> NDArray[Any]:
    """Samples in [-1, 1) as libsndfile stores them without changing them: its own scaling of floats does."""
    if subtype not in BITS:
        return block
    bits = BITS[subtype]
    whole = np.rint(np.nan_to_num(block.astype(np.float64), posinf=1.0, neginf=-1.0) * 2 ** (bits - 1))
    whole = whole.clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    width, dtype = (16, np.int16) if bits <= 16 else (32, np.int32)
    highest: NDArray[np.int16 | np.int32] = whole.astype(dtype) << (
        width - bits
    )  # of which it takes the rest
    return highest

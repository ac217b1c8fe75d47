"""libsndfile from the start of a recording to its end, block by block."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import IO, Any

import numpy as np
import soundfile
from numpy.typing import NDArray

# Windows has several C runtimes in a process, each with descriptors of its own.
BY_DESCRIPTOR = os.name != "nt"
STREAMS = ("MP3", "OGG")  # formats in which libsndfile may stop before the audio does


class ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """Read from start to end, never seeking.

    soundfile seeks after every read, which spoils the samples of an MP3, and fails at the end of a FLAC that
    was streamed.
    """

    def seekable(self) -> bool:
        """Never, as far as soundfile is told."""
        return False

    def fill(self, block: NDArray[np.float32 | np.float64]) -> int:
        """Read until a block [samples, channels] is full or the audio ends; returns how many samples came.

        Raises:
            soundfile.LibsndfileError: Decoding fails; how many came is not known then.
        """
        # libsndfile takes thrice as long as numpy to scale integers.
        scaled_here = (
            self.format in ("WAV", "WAVEX") and self.subtype == "PCM_16" and block.dtype == np.float32
        )
        target: NDArray[Any] = np.empty(block.shape, np.int16) if scaled_here else block
        # All at once, unless it would read on behind what it takes for the end, which then could not be told.
        most = self.samplerate if self.format in STREAMS else len(block)
        filled = 0
        while filled < len(block) and (count := len(self.read(out=target[filled : filled + most]))):
            filled += count
        if scaled_here:
            np.multiply(target[:filled], np.float32(2**-15), out=block[:filled])
        return filled


def opened(file: IO[bytes]) -> ForwardFile:
    """A file from its start, by descriptor where that is one: any name will do, and no suffix can mislead."""
    file.seek(0)
    return ForwardFile(os.dup(file.fileno()) if BY_DESCRIPTOR else file, closefd=BY_DESCRIPTOR)


def fill_to_error(file: IO[bytes], done: int, block: NDArray[np.float32 | np.float64]) -> int:
    """Fill as much as can be decoded of a block that begins at sample `done`; returns how many samples came.

    From the start again, and then a second at a time, as an error takes with it all that a call had decoded.
    """
    filled = 0
    with opened(file) as sound, suppress(soundfile.LibsndfileError):
        while done and (count := sound.fill(block[:done])):
            done -= count
        while count := sound.fill(block[filled : filled + sound.samplerate]):
            filled += count
    return filled

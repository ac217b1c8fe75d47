"""A recording -> mono float32 blocks at its own rate, streamed, so that length costs no memory.

libsndfile reads what it can; PyAV (extra `av`) reads the rest. Whatever is wrong with a file becomes an
`InputError` with one of its stable words.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import chain, groupby
from typing import IO, Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from ast_cli.audio.soundfile_reader import STREAMS, ForwardFile, fill_to_error
from ast_cli.audio.sources import open_file
from ast_cli.audio.suffixes import AV_SUFFIXES
from ast_cli.errors import InputError
from ast_cli.extras import install
from ast_cli.results import Stamp

Samples = NDArray[np.float32 | np.float64]  # [samples, channels]

BLOCK_SECONDS = 10
# Below, next to nothing is left of what the lowest mel filter passes, from 20 Hz on; above, nobody records.
# Such a rate is damage to a header, which would make days of a few kilobytes, or one block of a recording.
LOWEST_RATE, HIGHEST_RATE = 100, 10_000_000
BLOCK_VALUES = 1 << 22  # at most 16 MiB of float32 in a block, however many channels
# A header written before the length was known, as by `sox … -t aiff -` or `ffmpeg … -f wav -`, promises this
# or more.
STREAMED_BYTES = 0x7F000000
UNKNOWN_FRAMES = (1 << 63) - 1  # libsndfile's number where a header names none, as in a streamed FLAC
LARGEST_EMPTY = 4096  # bytes of a file that is a header and nothing else
MOST_AFTER_AUDIO = 1 << 14  # bytes of an MP3 that may follow its audio without being called a tag
SAMPLE_DUMP = (
    b"\xf0\x7e"  # libsndfile prints what it finds wrong with one on standard output, among the results
)
# To FFmpeg a playlist or the description of a broadcast is a recording like any other: it would open what
# the text names, another file or an address on the network, and wait for it. Without protocols it cannot.
ALONE = {"protocol_whitelist": "none"}
# The lines of libsndfile's log that compare lengths: of WAV, AIFF, AU, W64 and RF64.
LENGTH_LINES = ("data", "SSND", "Data Size", "riff", "Riff size")


@dataclass
class Recording:
    """An open recording.

    Attributes:
        sample_rate: In Hz.
        channels: Their number.
        blocks: [samples, channels] float32 in order, to be read once; integer PCM is scaled to [-1, 1).
            float64 if that was asked for.
        warnings: What turned out wrong without ending the recording; complete once `blocks` is read.
        stamp: Of the file when it was opened, or of the shard it lies in; None for what is no file here.
        encoding: How the samples are stored, in libsndfile's words, such as `PCM_16`; empty where it does not
            read them.
    """

    sample_rate: int
    channels: int
    blocks: Iterator[Samples]
    warnings: list[str] = field(default_factory=list)
    stamp: Stamp | None = None
    encoding: str = ""

    def _mean(self, samples: Tensor) -> Tensor:
        """[S, channels] -> [S]; as a product, which is faster than `mean`, and for two channels as a sum."""
        if self.channels == 1:
            return samples[:, 0]
        if self.channels == 2:
            return (samples[:, 0] / 2).add_(samples[:, 1], alpha=0.5)
        return samples @ torch.full((self.channels,), 1 / self.channels)

    def mono(self, channel: int | None = None) -> Iterator[Tensor]:
        """Mono blocks [samples]: the mean of all channels, or channel number `channel`, counted from 1.

        Raises:
            InputError: There is no such channel, or a sample is not a finite number.
        """
        if channel is not None and not 1 <= channel <= self.channels:
            raise InputError(
                "no-such-channel",
                f"there is no channel {channel}: the recording has {self.channels}",
                "Leave --channel out for the mean of all",
            )
        seconds = 0.0
        for block in self.blocks:
            samples = torch.from_numpy(block)
            mono = self._mean(samples) if channel is None else samples[:, channel - 1].contiguous()
            # A sum is finite unless a sample is not, or many are huge; it takes a tenth of the time.
            if not mono.sum().isfinite() and not mono.isfinite().all():
                first = int(torch.nonzero(~torch.isfinite(mono))[0])
                raise InputError(
                    "non-finite",
                    f"a sample at {seconds + first / self.sample_rate:.3f} s is not a finite number",
                    "Whatever wrote the file divided by zero or overflowed; export it again",
                )
            seconds += len(block) / self.sample_rate
            yield mono


@contextmanager
def open_recording(path: str, *, exact: bool = False) -> Iterator[Recording]:
    """Open a recording; `-` is standard input.

    Args:
        path: A file, an address, or a member of a shard.
        exact: Whether blocks are float64, which holds what float32 rounds: PCM of 32 bits, and DOUBLE.

    Raises:
        InputError: It does not exist, cannot be read, is empty, or is no audio that can be decoded here.
    """
    with ExitStack() as stack:
        opened, stamp = open_file(path)
        file = stack.enter_context(opened)
        status = os.fstat(file.fileno())
        if status.st_size == 0:
            raise InputError("empty", "the file is empty (0 bytes)")
        try:
            recording = _open_soundfile(file, stack, np.float64 if exact else np.float32)
        except _UnrecognisedError as unrecognised:
            recording = _open_av(path, file, stack, unrecognised.cause)
        if recording.channels < 1 or not LOWEST_RATE <= recording.sample_rate <= HIGHEST_RATE:
            raise InputError(
                "unreadable", f"the header says {recording.channels} channels at {recording.sample_rate} Hz"
            )
        recording.stamp = stamp
        if status.st_nlink:  # a copy of what lies elsewhere has no name
            recording.blocks = _watched(recording, recording.blocks, file)
        yield recording


def _watched(recording: Recording, blocks: Iterator[Samples], file: IO[bytes]) -> Iterator[Samples]:
    """The blocks of a recording; warns at their end if somebody wrote to the file meanwhile."""
    yield from blocks
    if Stamp.of(os.fstat(file.fileno())) != recording.stamp:
        recording.warnings.append("changed while it was read: tag it again once it is complete")


class _UnrecognisedError(Exception):
    """libsndfile does not know the format; somebody else may."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def _block_length(sample_rate: int, channels: int) -> int:
    return max(1, min(BLOCK_SECONDS * sample_rate, BLOCK_VALUES // channels))


def _open_soundfile(file: IO[bytes], stack: ExitStack, dtype: type[np.float32 | np.float64]) -> Recording:
    if os.pread(file.fileno(), len(SAMPLE_DUMP), 0) == SAMPLE_DUMP:
        raise InputError("unsupported-format", "a MIDI sample dump", "Convert it to WAV or FLAC first")
    try:
        # By descriptor: any name will do, and a suffix such as .raw cannot mislead.
        sound = stack.enter_context(ForwardFile(os.dup(file.fileno()), closefd=True))
    except soundfile.LibsndfileError as error:
        raise _UnrecognisedError(error.error_string.rstrip(".")) from error
    size = os.fstat(file.fileno()).st_size
    if sound.frames == 0 and size > LARGEST_EMPTY:
        raise _UnrecognisedError("its header promises no audio, as after a crash of the recorder")
    if sound.format == "MP3" and find_spec("av") and not _tells_length(file):
        raise _UnrecognisedError("its length can only be guessed, and libsndfile would stop there")
    warnings = [*_header_warnings(sound.extra_info)]

    def blocks() -> Iterator[Samples]:
        rate, length, done = sound.samplerate, _block_length(sound.samplerate, sound.channels), 0
        while True:
            block: Samples = np.empty((length, sound.channels), dtype)
            try:
                filled = sound.fill(block)
            except soundfile.LibsndfileError as error:
                filled = fill_to_error(file, done, block)
                if done + filled == 0:
                    raise InputError("unreadable", f"decoding fails: {error.error_string}") from error
                seconds = (done + filled) / rate
                warnings.append(f"cut off: decoding fails after {seconds:.3f} s ({error.error_string})")
                yield block[:filled]
                return
            done += filled
            if filled:
                yield block[:filled]
            if filled < length:
                break
        if done < sound.frames < UNKNOWN_FRAMES:
            seconds, promised = done / sound.samplerate, sound.frames / sound.samplerate
            warnings.append(f"cut off: it ends after {seconds:.3f} s, its header promises {promised:.3f} s")
        unread = size - os.lseek(file.fileno(), 0, os.SEEK_CUR)
        if sound.format in STREAMS and unread > 0 and _more_audio(file, unread):
            warnings.append(
                f"heard in part: libsndfile ends after {done / rate:.3f} s, with {unread:,} bytes to come; "
                "convert it to WAV or FLAC to hear all"
            )

    return Recording(sound.samplerate, sound.channels, blocks(), warnings, encoding=sound.subtype)


def _more_audio(file: IO[bytes], unread: int) -> bool:
    """Whether audio follows where libsndfile stopped: another Ogg stream, or MP3 frames and no tags."""
    rest = os.pread(file.fileno(), 1 << 16, os.lseek(file.fileno(), 0, os.SEEK_CUR))
    is_tag = any(mark in rest for mark in (b"APETAGEX", b"ID3", b"LYRICSBEGIN"))
    return b"OggS" in rest or (unread > MOST_AFTER_AUDIO and not is_tag)


def _tells_length(file: IO[bytes]) -> bool:
    """Whether an MP3 says how long it is, in the first frame after its ID3 tag."""
    head = os.pread(file.fileno(), 10, 0)
    start = 0
    if head[:3] == b"ID3":
        start = 10 + _syncsafe(head[6:])
    frame = os.pread(file.fileno(), 512, start)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))


def _syncsafe(digits: bytes) -> int:
    """ID3's own way to write a number: seven bits a byte."""
    number = 0
    for digit in digits:
        number = number << 7 | digit & 0x7F
    return number


def _header_warnings(log: str) -> Iterator[str]:
    """What libsndfile noted about a length that the file does not have."""
    for line in log.splitlines():
        name, _, rest = line.partition(":")
        if name.strip() in LENGTH_LINES and "should be" in rest:
            promised, found = (
                int("".join(filter(str.isdigit, part)) or 0) for part in rest.split("should be", 1)
            )
            if found < promised < STREAMED_BYTES:
                yield f"cut off: its header promises {promised} bytes of audio, {found} are there"


def _open_av(path: str, file: IO[bytes], stack: ExitStack, cause: str) -> Recording:
    try:
        import av
    except ImportError as error:
        known = os.path.splitext(path)[1].lower() in AV_SUFFIXES
        raise InputError(
            "unsupported-format",
            "reading this format needs PyAV" if known else f"not audio that libsndfile reads ({cause})",
            f"{'' if known else 'If other programs play it: '}{install('av')}",
        ) from error

    file.seek(0)
    try:
        container = stack.enter_context(av.open(file, mode="r", options=ALONE))
    except _av_errors() as error:
        raise InputError(
            "unsupported-format",
            f"neither libsndfile nor FFmpeg can read it ({cause}; {_av_reason(error)})",
            "If other programs play it, convert it to WAV or FLAC first",
        ) from error
    if not container.streams.audio:
        raise InputError("no-audio", "it holds no sound, only other streams")
    stream = container.streams.audio[0]
    codec = stream.codec_context
    if codec is None or not codec.sample_rate or not codec.channels:
        raise InputError("unreadable", f"its header is damaged ({cause})")
    warnings: list[str] = []
    rate, channels = codec.sample_rate, codec.channels

    def blocks() -> Iterator[Samples]:
        length, done = _block_length(rate, channels), 0
        block: Samples = np.empty((length, channels), np.float32)
        filled = 0
        try:
            for frame in _av_frames(container, stream, codec.layout, rate):
                left = frame.to_ndarray().reshape(-1, channels)
                done += len(left)
                while len(left):  # a frame is as long as its format or its damage makes it
                    taken = left[: length - filled]
                    block[filled : filled + len(taken)] = taken
                    filled, left = filled + len(taken), left[len(taken) :]
                    if filled == length:
                        yield block
                        block, filled = np.empty((length, channels), np.float32), 0
        except _av_errors() as error:
            if done == 0:
                raise InputError("unreadable", f"decoding fails: {_av_reason(error)}") from error
            warnings.append(f"cut off: decoding fails after {done / rate:.3f} s ({_av_reason(error)})")
        if filled:
            yield block[:filled]

    return Recording(rate, channels, blocks(), warnings)


def _av_errors() -> tuple[type[Exception], ...]:
    """What PyAV raises for a damaged file."""
    import av

    # FFmpeg seeks where the damage tells it to, which Python's file may refuse; and names may be no UTF-8.
    return av.FFmpegError, OSError, ValueError


def _av_frames(container: Any, stream: Any, layout: Any, rate: int) -> Iterator[Any]:
    """The frames in one format, even where a broadcast changes its channels or rate on the way."""
    import av

    for _, alike in groupby(
        container.decode(stream), lambda frame: (frame.format.name, frame.layout.name, frame.sample_rate)
    ):
        to_float = av.AudioResampler(format="flt", layout=layout, rate=rate)
        for frame in chain(alike, [None]):  # None flushes what the converter still holds
            yield from to_float.resample(frame)


def _av_reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)

"""A stream of bytes -> a recording whose blocks are what there is: raw PCM, or WAV of unknown length.

Blocks are always 0.1 s long, so that all that is made of them is the same to the last bit, however the bytes
come.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ast_cli.audio.containers import STREAMED_BYTES
from ast_cli.audio.decode import Recording, Samples
from ast_cli.errors import InputError, UsageError

MAGIC_BYTES = 12  # enough to tell a format by
MOST_BYTES_OF_CHUNK = 1 << 24  # beside the audio; a header that promises more is damaged
# Each costs a few small operations of torch, whose threads hinder each other on a busy machine.
BLOCKS_PER_SECOND = 10
PCM, FLOAT, EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
# The rest of the 16 bytes that name a format where the tag is EXTENSIBLE: the tag stands in their first two.
SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")
OTHERS = {
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"ID3": "MP3",
    b"FORM": "AIFF",
    b"caff": "CAF",
    b".snd": "AU",
    b"RF64": "RF64",
    b"RIFX": "WAV of big-endian samples",
    b"riff": "W64",
    b"\x1aE\xdf\xa3": "Matroska",
}
DECODE = "Decode it on the way: `ffmpeg -v error -i … -f wav - | ast-tag listen`"


def _integers(kind: str, bits: int) -> Callable[[bytes], NDArray[np.float32]]:
    scale = np.float32(2.0 ** -(bits - 1))
    return lambda data: np.frombuffer(data, kind).astype(np.float32) * scale


def _u8(data: bytes) -> NDArray[np.float32]:
    return (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)


def _s24le(data: bytes) -> NDArray[np.float32]:
    # As the upper three bytes of 32 bits, which keep the sign.
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return _integers("<i4", 32)(wide.tobytes())


def _f64le(data: bytes) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
        return np.frombuffer(data, "<f8").astype(np.float32)


# Name: bytes of a sample, and what makes samples in [-1, 1) of them.
ENCODINGS: dict[str, tuple[int, Callable[[bytes], NDArray[np.float32]]]] = {
    "u8": (1, _u8),
    "s16le": (2, _integers("<i2", 16)),
    "s24le": (3, _s24le),
    "s32le": (4, _integers("<i4", 32)),
    "f32le": (4, lambda data: np.frombuffer(data, "<f4").astype(np.float32)),
    "f64le": (8, _f64le),
}
IN_WAV = {
    (PCM, 8): "u8",
    (PCM, 16): "s16le",
    (PCM, 24): "s24le",
    (PCM, 32): "s32le",
    (FLOAT, 32): "f32le",
    (FLOAT, 64): "f64le",
}


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """How samples follow each other.

    Attributes:
        sample_rate: In Hz.
        channels: Their number, one sample of each in turn.
        encoding: A key of `ENCODINGS`.
    """

    sample_rate: int
    channels: int = 1
    encoding: str = "s16le"

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of each channel."""
        return ENCODINGS[self.encoding][0] * self.channels

    @property
    def bytes_per_second(self) -> int:
        """Bytes of a second of audio."""
        return self.frame_bytes * self.sample_rate

    def __str__(self) -> str:
        channels = "mono" if self.channels == 1 else f"{self.channels} channels"
        return f"{self.sample_rate:,} Hz, {channels}, {self.encoding}"


def open_stream(pieces: Iterable[bytes], raw: PcmFormat | None = None) -> tuple[Recording, PcmFormat]:
    """Open a stream: WAV, which is known by its first bytes, or raw PCM.

    Waits for the header of WAV, and for twelve bytes of anything else.

    Args:
        pieces: The stream, cut anywhere.
        raw: What the samples are if there is no header; None if there must be one.

    Returns:
        The recording, whose blocks are made of the pieces as they come, and the format of its samples.

    Raises:
        InputError: It is empty, of a format or encoding that is not read here, or its header is damaged.
        UsageError: There is no header and nothing was said, or it was, and the header says otherwise.
    """
    source = _Source(pieces)
    magic = source.peek(MAGIC_BYTES)
    if not magic:
        raise InputError("empty", "nothing came before the end", "See what the program says that writes it")
    left: int | None = None
    if magic[:4] == b"RIFF" and magic[8:] == b"WAVE":
        found, left = _read_wav_header(source)
        if raw is not None and raw != found:
            raise UsageError(
                f"the stream is WAV of {found}, not raw PCM of {raw}", "Leave --rate out: the header tells it"
            )
        raw = found
    else:
        for start, name in OTHERS.items():
            if magic.startswith(start):
                raise InputError("unsupported-format", f"the stream is {name}, not WAV or raw PCM", DECODE)
        if raw is None:
            raise UsageError(
                "the stream has no WAV header",
                "Say what its samples are, as --rate 16000 --channels 1 --encoding s16le, or pipe WAV",
            )
    recording = Recording(raw.sample_rate, raw.channels, iter(()), encoding=raw.encoding)
    recording.blocks = _blocks(source, raw, left, recording.warnings)
    return recording, raw


class _Source:
    """Bytes that can be looked at before they are taken."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held = bytearray()

    def peek(self, count: int) -> bytes:
        """The next bytes, fewer only at the end."""
        while len(self._held) < count:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._held += piece
        return bytes(self._held[:count])

    def read(self, count: int) -> bytes:
        """Take the next bytes, fewer only at the end."""
        taken = self.peek(count)
        del self._held[:count]
        return taken

    def header(self, count: int) -> bytes:
        """Take the next bytes of a header.

        Raises:
            InputError: It is not complete.
        """
        taken = self.read(count)
        if len(taken) < count:
            raise InputError("unreadable", "the stream ends within its WAV header")
        return taken


def _read_wav_header(source: _Source) -> tuple[PcmFormat, int | None]:
    """The format of the samples and their bytes; None where they last until the stream ends."""
    source.header(MAGIC_BYTES)
    found = None
    while True:
        name, size = struct.unpack("<4sI", source.header(8))
        if name == b"data":
            if found is None:
                raise InputError("unreadable", "the WAV header does not say what its samples are")
            # A program that writes into a pipe cannot come back to fill the length in.
            return found, None if size == 0 or size >= STREAMED_BYTES else size
        if size > MOST_BYTES_OF_CHUNK:
            raise InputError("unreadable", f"the WAV header is damaged: {size:,} bytes are not audio")
        chunk = source.header(size + size % 2)
        if name == b"fmt ":
            found = _wav_format(chunk)


def _wav_format(chunk: bytes) -> PcmFormat:
    if len(chunk) < 16:
        raise InputError("unreadable", "the WAV header is damaged: it tells no format")
    tag, channels, rate, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == EXTENSIBLE and chunk[26:40] == SUBFORMAT_TAIL:
        [tag] = struct.unpack_from("<H", chunk, 24)
    encoding = IN_WAV.get((tag, bits))
    if encoding is None:
        raise InputError(
            "unsupported-format",
            f"its samples are of WAV format 0x{tag:04x} in {bits} bits, which is not read here",
            "Write PCM of 16 bits: `ffmpeg … -c:a pcm_s16le -f wav -`, `arecord -f S16_LE`",
        )
    if channels < 1 or rate < 1:
        raise InputError("unreadable", f"the header says {channels} channels at {rate} Hz")
    found = PcmFormat(rate, channels, encoding)
    if frame_bytes != found.frame_bytes:
        raise InputError(
            "unreadable",
            f"the WAV header is damaged: {channels} samples of {bits} bits in {frame_bytes} bytes",
        )
    return found


def _blocks(source: _Source, form: PcmFormat, left: int | None, warnings: list[str]) -> Iterator[Samples]:
    """The samples as they come; of WAV of a known length, `left` bytes at most."""
    _, samples_of = ENCODINGS[form.encoding]
    size = form.frame_bytes * max(1, form.sample_rate // BLOCKS_PER_SECOND)
    promised, done = left, 0
    rest = 0  # bytes of a sample that is not whole
    while data := source.read(size if left is None else min(size, left)):
        rest = len(data) % form.frame_bytes
        whole = len(data) - rest
        if whole:
            yield samples_of(data[:whole]).reshape(-1, form.channels)
        done += whole
        if left is not None:
            left -= len(data)
    seconds = done / form.bytes_per_second
    if promised is not None and left:
        warnings.append(
            f"cut off: it ends after {seconds:.3f} s, its header promises "
            f"{promised / form.bytes_per_second:.3f} s"
        )
    elif rest:
        warnings.append(f"cut off: it ends within a sample, after {seconds:.3f} s")
    # The chunks that may follow the audio are of no interest, but audio would be.
    elif promised is not None and b"RIFF" in source.peek(8):
        warnings.append(
            f"heard in part: another WAV follows after {seconds:.3f} s; join them with "
            "`sox first.wav second.wav -t wav -`"
        )

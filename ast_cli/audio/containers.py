"""What the bytes of a file say of its form, where libsndfile and FFmpeg say nothing or say too little.

Nothing is decoded: headers are looked at, and of Ogg the checksums of its pages.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import IO

WINDOW_BYTES = 1 << 16  # in which two MPEG frames must follow each other, if audio goes on there
# A header written before the length was known, as by `sox … -t aiff -` or `ffmpeg … -f wav -`, promises this
# or more.
STREAMED_BYTES = 0x7F000000
# The lines of libsndfile's log that compare lengths: of WAV, AIFF, AU, W64 and RF64.
LENGTH_LINES = ("data", "SSND", "Data Size", "riff", "Riff size")
COPY_BYTES = 1 << 20
FIRST = (b"RIFF", b"FORM", b"caff", b"ftyp")  # what a file of parts begins with
MOST_CHUNKS = 1000  # of a WAV; damage may make a chunk of every eight bytes
# How files begin that are no recordings but may hold some: what they are, what to do.
OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a zip archive", "Unpack it first: `unzip`"),
    (b"\x1f\x8b", "packed by gzip", "Unpack it first: `gunzip`, or `tar xzf` for a .tar.gz"),
    (b"BZh", "packed by bzip2", "Unpack it first: `bunzip2`, or `tar xjf` for a .tar.bz2"),
    (b"\xfd7zXZ\0", "packed by xz", "Unpack it first: `unxz`, or `tar xJf` for a .tar.xz"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", "Unpack it first: `unzstd`, or `tar xf` for a .tar.zst"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it first: `7z x`"),
    (b"Rar!\x1a\x07", "a RAR archive", "Unpack it first: `unrar x`"),
    (b"ARROW1", "an Arrow file", "Write the dataset as Parquet: `Dataset.to_parquet`"),
    (b"\xff\xff\xff\xff", "an Arrow stream", "Write the dataset as Parquet: `Dataset.to_parquet`"),
    (b"PAR1", "a Parquet", "Give it a name that ends in .parquet, and its recordings are read"),
    (b"\x89HDF", "an HDF5 file", "Write what it holds as WAV or FLAC"),
    (b"\x93NUMPY", "a numpy array", "Write what it holds as WAV or FLAC"),
)  # fmt: skip
RAW_SUFFIXES = (".pcm", ".raw", ".s16", ".s16le", ".f32", ".f32le")

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # the bits of each byte
_KBITS = {
    3: (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),  # MPEG 1, layer I
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_KBITS_LOW = {3: (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)}  # MPEG 2 and 2.5
_KBITS_LOW[2] = _KBITS_LOW[1] = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def read_at(file: IO[bytes], start: int, count: int) -> bytes:
    """So many bytes from there; the file's position stays where it was."""
    before = file.seek(0, os.SEEK_CUR)
    try:
        file.seek(start)
        return file.read(count)
    finally:
        file.seek(before)


def what_else(file: IO[bytes], path: str) -> tuple[str, str] | None:
    """What a file is that nobody reads as audio, and the remedy; None where nothing is known of it."""
    head = read_at(file, 0, 16)
    for start, what, remedy in OTHERS:
        if head.startswith(start):
            return what, remedy
    if read_at(file, 257, 5) == b"ustar":
        return "a tar", "Give it a name that ends in .tar, and its recordings are read"
    if head[4:8] == b"ftyp" and b"moov" not in _parts(file, 0, ">I4s"):
        what = "an MP4 without its index, which is written last: the recorder was interrupted, or it is cut"
        return what, "Fetch it again; or mend it by a whole file of the same recorder, with `untrunc`"
    if path.lower().endswith(RAW_SUFFIXES):
        return "samples without a header", "Say what they are: `ast-tag listen --rate 16000 < FILE`"
    return None


def length_fault(file: IO[bytes]) -> Iterator[str]:
    """A warning if a file ends before what it consists of, or goes on behind it, as far as its form tells."""
    head, end = read_at(file, 0, 12), file.seek(0, os.SEEK_END)
    if head[:4] == b"OggS":
        if ogg_fault(file) == "cut":
            yield "cut off: it ends within a page of Ogg"
        return
    promised = 0
    if head[:4] == b"caff":
        promised = max(_parts(file, 8, ">4sq").values(), default=0)
    elif head[4:8] == b"ftyp":
        promised = max(_parts(file, 0, ">I4s").values(), default=0)
    elif head[:4] in (b"RIFF", b"FORM"):
        promised = 8 + int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big")
        promised += promised % 2
    if end < promised < STREAMED_BYTES:
        yield f"cut off: its header promises {promised:,} bytes, {end:,} are there"
    elif promised and any(mark in read_at(file, promised, 12) for mark in FIRST):
        yield f"heard in part: another recording is joined to it at byte {promised:,}; cut the file there"


def _parts(file: IO[bytes], place: int, form: str) -> dict[bytes, int]:
    """The parts of which a CAF or an MP4 consists, and where each ends by its own header."""
    ends: dict[bytes, int] = {}
    while len(ends) < MOST_CHUNKS and len(head := read_at(file, place, 16)) >= struct.calcsize(form):
        one, other = struct.unpack_from(form, head)
        if form == ">4sq":
            name, size = one, 12 + other
        else:  # 1: too large for 32 bits; 0: to the end of the file
            name, size = other, int.from_bytes(head[8:], "big") if one == 1 else one
        if size < 8 or (name in FIRST and ends):
            break
        place = ends[name] = place + size
    return ends


def wav_data(file: IO[bytes]) -> list[tuple[int, int]]:
    """Start and size of each `data` chunk of a WAV, as far as it is there, also of WAVs that were joined.

    One without a length goes to the end of the file. What is in another format than the first is left out.
    """
    end = file.seek(0, os.SEEK_END)
    found: list[tuple[int, int]] = []
    form, place = b"", 12
    for _ in range(MOST_CHUNKS):
        head = read_at(file, place, 12)
        if len(head) < 8:
            break
        name, size = head[:4], int.from_bytes(head[4:8], "little")
        if name == b"RIFF" and head[8:] == b"WAVE":
            place += 12
            continue
        place += 8
        if name == b"fmt ":
            its = read_at(file, place, min(size, 64))
            form = form or its
            if its != form:
                break
        if name == b"data":
            if size == 0 and not _is_chunk(read_at(file, place, 8), end - place):
                size = end - place
            found.append((place, min(size, end - place)))
        place += size + size % 2
    return found


def join_wav(file: IO[bytes], parts: list[tuple[int, int]], copy: IO[bytes]) -> None:
    """Write a WAV with all its audio in one chunk."""
    (start, _), size = parts[0], sum(size for _, size in parts)
    copy.write(read_at(file, 0, start - 4) + min(size, 0xFFFFFFFF).to_bytes(4, "little"))
    for place, count in parts:
        for begin in range(place, place + count, COPY_BYTES):
            copy.write(read_at(file, begin, min(COPY_BYTES, place + count - begin)))
    copy.seek(0)


def _is_chunk(head: bytes, left: int) -> bool:
    """Whether a chunk begins so that ends within the file, or the file ends."""
    return len(head) < 8 or (
        head[:4].isascii() and head[:4].strip().isalnum() and int.from_bytes(head[4:], "little") <= left
    )


def ogg_fault(file: IO[bytes]) -> str:
    """What is wrong with the pages of an Ogg: `damaged`, `chained`, `cut`; empty if nothing is.

    libsndfile passes over damage without a word, and ends with the first of several streams.
    """
    file.seek(0)
    fault, audio = "", False
    while head := file.read(27):
        body = head[:27]
        lengths = file.read(head[26]) if len(head) == 27 else b""
        body = file.read(sum(lengths))
        if len(head) < 27 or len(lengths) < head[26] or len(body) < sum(lengths):
            fault = fault or ("cut" if head.startswith(b"OggS"[: len(head)]) else "damaged")
            break
        if head[:4] != b"OggS" or _ogg_sum(head[:22] + bytes(4) + head[26:] + lengths + body) != head[22:26]:
            fault = "damaged"
            break
        begins = head[5] & 2
        if begins and audio:
            fault = "chained"
            break
        audio = audio or not begins
    file.seek(0)
    return fault


def _ogg_sum(page: bytes) -> bytes:
    """Its checksum: that of zlib with all bits the other way round."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return mirrored.to_bytes(4, "big").translate(_MIRRORED)


def mpeg_follows(file: IO[bytes], place: int) -> bool:
    """Whether MPEG audio goes on about there: three frames in a row, behind a tag if there is one."""
    place = max(0, place - 4096)  # some of it may have been read ahead
    rest = read_at(file, place, WINDOW_BYTES)
    tag = rest.find(b"ID3")
    if tag >= 0 and len(rest) >= tag + 10 and max(rest[tag + 6 : tag + 10]) < 128:
        return _has_frames(rest[4096:tag]) or _has_frames(
            read_at(file, place + tag + 10 + syncsafe(rest[tag + 6 : tag + 10]), WINDOW_BYTES)
        )
    return _has_frames(rest[4096:])


def _has_frames(data: bytes) -> bool:
    place = data.find(b"\xff")
    while place >= 0:
        at, found = place, 0
        while found < 3 and (size := _frame_bytes(data[at : at + 4])):
            at, found = at + size, found + 1
        if found == 3:
            return True
        place = data.find(b"\xff", place + 1)
    return False


def _frame_bytes(head: bytes) -> int:
    """How long an MPEG audio frame is that begins so; 0 if none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    rate_number, kbits_number = head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or layer == 0 or rate_number == 3 or kbits_number in (0, 15):
        return 0
    rate = (44_100, 48_000, 32_000)[rate_number] >> {3: 0, 2: 1, 0: 2}[version]
    bits = 1000 * (_KBITS if version == 3 else _KBITS_LOW)[layer][kbits_number]
    padding = head[2] >> 1 & 1
    if layer == 3:
        return (12 * bits // rate + padding) * 4
    return (72 if layer == 1 and version != 3 else 144) * bits // rate + padding


def mp3_promise(file: IO[bytes]) -> int | None:
    """How many bytes an MP3 has by its own first frame; 0 if that tells its length only, None if nothing."""
    head = read_at(file, 0, 10)
    start = 10 + syncsafe(head[6:]) if head[:3] == b"ID3" else 0
    frame = read_at(file, start, 512)
    for mark in (b"Xing", b"Info"):
        if (place := frame.find(mark)) >= 0:
            flags, frames, size = struct.unpack_from(">III", frame.ljust(512, b"\0"), place + 4)
            return start + (size if flags & 1 else frames) if flags & 2 else 0
    return 0 if b"VBRI" in frame else None


def syncsafe(digits: bytes) -> int:
    """ID3's own way to write a number: seven bits a byte."""
    number = 0
    for digit in digits:
        number = number << 7 | digit & 0x7F
    return number


def length_warnings(log: str) -> Iterator[str]:
    """What libsndfile noted in its log about a length that the file does not have."""
    for line in log.splitlines():
        name, _, rest = line.partition(":")
        if name.strip() in LENGTH_LINES and "should be" in rest:
            promised, found = (
                int("".join(filter(str.isdigit, part)) or 0) for part in rest.split("should be", 1)
            )
            if found < promised < STREAMED_BYTES:
                yield f"cut off: its header promises {promised} bytes of audio, {found} are there"

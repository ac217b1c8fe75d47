"""Ways in which a recording is damaged on its way, or made to harm: each takes good bytes and gives bad ones.

All chance comes from a generator that is handed in, so that a seed and a number tell a file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tools.fuzz.recordings import Good

Random = np.random.Generator
T = TypeVar("T")
HEADER = 512  # bytes at the front in which most headers stand
EXTREMES = (
    0,
    1,
    2,
    3,
    7,
    255,
    1024,
    1025,
    65_535,
    65_536,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFE,
    0xFFFF_FFFF,
)
RATES = (0, 1, 2, 7, 50, 99, 100, 999, 44_101, 655_350, 9_999_991, 2**31 - 1, 4_000_000_000, 2**32 - 1)
WORDS = ("<H", ">H", "<I", ">I", "<Q", ">Q", "<d", ">d")  # the ways to write a number
GOOD_SHARE = 0.1  # of all files
# Where the numbers of a plain WAV stand: name, place, how they are written.
WAV_FIELDS = (
    ("riff length", 4, "<I"), ("fmt length", 16, "<I"), ("format", 20, "<H"), ("channels", 22, "<H"),
    ("rate", 24, "<I"), ("bytes a second", 28, "<I"), ("block", 32, "<H"), ("bits", 34, "<H"),
    ("length", 40, "<I"),
)  # fmt: skip


@dataclass(frozen=True)
class Fuzzed:
    """A file to be tagged.

    Attributes:
        name: Of the file; tells how it was made.
        data: Its bytes.
        good: Whether nothing is wrong with it.
    """

    name: str
    data: bytes
    good: bool


def fuzzed(recordings: Sequence[Good], seed: int, number: int) -> Fuzzed:
    """File `number` of a seed."""
    random = np.random.default_rng([seed, number])
    recording = _one(random, recordings)
    suffix, data, how = recording.suffix, recording.data, "good"
    good = random.random() < GOOD_SHARE
    if not good:
        ways = []
        for _ in range(1 if random.random() < 0.7 else int(random.integers(2, 5))):
            way = _one(random, WAYS)
            ways.append(way.__name__.strip("_"))
            data = way(data, recording, random, recordings)
        how = "+".join(ways)
        if random.random() < 0.1:
            suffix = _one(random, recordings).suffix
    return Fuzzed(f"{number:06}-{recording.name}-{how}.{suffix}", data, good)


def _truncated(data: bytes, _: Good, random: Random, __: Sequence[Good]) -> bytes:
    most = len(data) if random.random() < 0.7 else min(len(data), HEADER)
    return data[: random.integers(0, most + 1)]


def _bits_flipped(data: bytes, _: Good, random: Random, __: Sequence[Good]) -> bytes:
    changed = bytearray(data)
    for _ in range(1 << int(random.integers(0, 10))):
        if changed:
            changed[random.integers(0, len(changed))] ^= 1 << int(random.integers(0, 8))
    return bytes(changed)


def _header_bits_flipped(data: bytes, recording: Good, random: Random, all_: Sequence[Good]) -> bytes:
    return _bits_flipped(data[:HEADER], recording, random, all_) + data[HEADER:]


def _zeros(data: bytes, _: Good, random: Random, __: Sequence[Good]) -> bytes:
    start, end = _range(data, random)
    return data[:start] + bytes(end - start) + data[end:]


def _noise(data: bytes, _: Good, random: Random, __: Sequence[Good]) -> bytes:
    start, end = _range(data, random)
    return data[:start] + random.bytes(end - start) + data[end:]


def _inserted(data: bytes, _: Good, random: Random, __: Sequence[Good]) -> bytes:
    place, count = int(random.integers(0, len(data) + 1)), 1 << int(random.integers(0, 12))
    return data[:place] + random.bytes(count) + data[place:]


def _removed(data: bytes, _: Good, random: Random, __: Sequence[Good]) -> bytes:
    start, end = _range(data, random)
    return data[:start] + data[end:]


def _repeated(data: bytes, _: Good, random: Random, __: Sequence[Good]) -> bytes:
    start, end = _range(data, random)
    return data[:end] + data[start:end] * int(random.integers(1, 4)) + data[end:]


def _other_body(data: bytes, _: Good, random: Random, all_: Sequence[Good]) -> bytes:
    other = _one(random, all_).data
    return data[: random.integers(8, HEADER)] + other[random.integers(0, HEADER) :]


def _other_tail(data: bytes, _: Good, random: Random, all_: Sequence[Good]) -> bytes:
    return data + _one(random, all_).data


def _lie_anywhere(data: bytes, _: Good, random: Random, __: Sequence[Good]) -> bytes:
    """A number in the header becomes an extreme one, wherever it may stand."""
    word = _one(random, WORDS)
    place = int(random.integers(0, min(len(data), HEADER) + 1))
    return _with(data, place, word, _one(random, EXTREMES))


def _lie(data: bytes, recording: Good, random: Random, __: Sequence[Good]) -> bytes:
    """The rate, the channels or the length becomes another one, wherever the header tells it."""
    facts = {"rate": recording.rate, "channels": recording.channels, "samples": recording.samples}
    fact = _one(random, list(facts))
    wrong = _one(random, RATES if fact == "rate" else EXTREMES)
    places = []
    for word in WORDS:
        true = struct.pack(word, facts[fact]) if facts[fact] < 256 ** struct.calcsize(word) else b""
        start = 0
        while true and (place := data.find(true, start, HEADER)) >= 0:
            places.append((place, word))
            start = place + 1
    if not places:
        return _lie_anywhere(data, recording, random, __)
    return _with(data, *_one(random, places), wrong)


def _wav_lie(data: bytes, recording: Good, random: Random, __: Sequence[Good]) -> bytes:
    """Numbers of a WAV header become others; of other formats, they stand where such a header would be."""
    for _ in range(int(random.integers(1, 4))):
        name, place, word = _one(random, WAV_FIELDS)
        wrong = _one(random, RATES if name in ("rate", "bytes a second") else EXTREMES)
        data = _with(data, place, word, wrong)
    return data


def _with(data: bytes, place: int, word: str, number: int) -> bytes:
    size = struct.calcsize(word)
    written = struct.pack(word, float(number) if word[1] == "d" else number % 256**size)
    return data[:place] + written + data[place + size :]


def _range(data: bytes, random: Random) -> tuple[int, int]:
    start = int(random.integers(0, len(data) + 1))
    return start, min(len(data), start + (1 << int(random.integers(0, 17))))


def _one(random: Random, of: Sequence[T]) -> T:
    return of[int(random.integers(0, len(of)))]


WAYS: tuple[Callable[[bytes, Good, Random, Sequence[Good]], bytes], ...] = (
    _truncated, _bits_flipped, _header_bits_flipped, _zeros, _noise, _inserted, _removed, _repeated,
    _other_body, _other_tail, _lie_anywhere, _lie, _lie, _wav_lie,
)  # fmt: skip

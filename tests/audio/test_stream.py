"""Streams against libsndfile on the same bytes, however they are cut; and the pipe that they come through."""

from __future__ import annotations

import io
import os
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from ast_cli.audio.local import open_stdin
from ast_cli.audio.pipe import READ_BYTES, PipeReader
from ast_cli.audio.stream import BLOCKS_PER_SECOND, PcmFormat, open_stream
from ast_cli.errors import AstCliError, InputError, UsageError

RATE = 16_000
SUBTYPES = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"]


def noise(samples: int, channels: int = 1) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(-1, 1, (samples, channels))


def wav(samples: NDArray[np.float64], subtype: str = "PCM_16", form: str = "WAV", rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()


def promising(data: bytes, size: int) -> bytes:
    """The same WAV with another number of bytes in its header."""
    place = data.index(b"data") + 4
    return data[:place] + struct.pack("<I", size) + data[place + 4 :]


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def header(*chunks: bytes) -> bytes:
    return b"RIFF\xff\xff\xff\xffWAVE" + b"".join(chunks)


def fmt(tag: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16, frame: int | None = None) -> bytes:
    frame = channels * bits // 8 if frame is None else frame
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits))


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def read(
    data: bytes, size: int = 1 << 16, raw: PcmFormat | None = None
) -> tuple[NDArray[np.float32], list[str]]:
    recording, form = open_stream(cut(data, size), raw)
    blocks = [*recording.blocks]
    assert all(block.dtype == np.float32 and len(block) for block in blocks)
    return np.concatenate([np.zeros((0, form.channels), np.float32), *blocks]), recording.warnings


def expected(data: bytes) -> NDArray[np.float32]:
    return soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]


# WAV


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_every_encoding_gives_the_samples_of_libsndfile(subtype: str, form: str, size: int) -> None:
    data = wav(noise(301, 3), subtype, form)
    found, warnings = read(data, size)
    np.testing.assert_array_equal(found, expected(data))
    assert warnings == []


@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize("rate", [8000, 11_025, 44_100, 48_000, 96_000])
def test_rate_and_channels_are_those_of_the_header(rate: int, channels: int) -> None:
    data = wav(noise(100, channels), rate=rate)
    recording, form = open_stream(cut(data, 5))
    assert form == PcmFormat(rate, channels, "s16le")
    assert (recording.sample_rate, recording.channels, recording.encoding) == (rate, channels, "s16le")
    np.testing.assert_array_equal(np.concatenate([*recording.blocks]), expected(data))


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_a_length_that_nobody_knew_is_until_the_end(size: int) -> None:
    data = wav(noise(1000))
    found, warnings = read(promising(data, size), 100)
    np.testing.assert_array_equal(found, expected(data))
    assert warnings == []


def test_chunks_before_the_audio_are_passed_over() -> None:
    audio = noise(50).astype("<f4").tobytes()
    data = header(chunk(b"JUNK", b"odd"), fmt(3, bits=32), chunk(b"LIST", b"data" * 9), chunk(b"data", audio))
    found, _ = read(data, 3)
    assert found.tobytes() == audio


def test_what_follows_the_audio_is_not_heard() -> None:
    data = wav(noise(100))
    found, warnings = read(data + chunk(b"LIST", b"not audio at all"))
    assert (len(found), warnings) == (100, [])
    found, [warning] = read(data + data)
    assert len(found) == 100
    assert "another WAV follows" in warning


def test_a_stream_that_is_cut_says_so() -> None:
    data = wav(noise(100, 2))
    found, [warning] = read(data[:-7])
    np.testing.assert_array_equal(found, expected(data)[:-2])
    assert "its header promises 0.006 s" in warning
    found, [warning] = read(promising(data, 0xFFFFFFFF)[:-1])
    np.testing.assert_array_equal(found, expected(data)[:-1])
    assert "within a sample" in warning


# Raw


@pytest.mark.parametrize("size", [1, 5, 1 << 16])
@pytest.mark.parametrize(("encoding", "kind"), [("s16le", "<i2"), ("f32le", "<f4")])
def test_raw_samples_are_what_was_said(encoding: str, kind: str, size: int) -> None:
    samples = noise(200, 2)
    if kind == "<i2":
        samples = np.round(samples * 32767)
    found, warnings = read(samples.astype(kind).tobytes(), size, PcmFormat(RATE, 2, encoding))
    np.testing.assert_array_equal(found, samples.astype(kind) / np.float32(32768 if kind == "<i2" else 1))
    assert warnings == []


def test_a_block_is_there_as_soon_as_its_samples_are() -> None:
    given = 0

    def pieces() -> Iterator[bytes]:
        nonlocal given
        for one in cut(noise(RATE).astype("<f4").tobytes(), 100):
            given += len(one)
            yield one

    recording, _ = open_stream(pieces(), PcmFormat(RATE, encoding="f32le"))
    block = 4 * RATE // BLOCKS_PER_SECOND  # bytes
    for number, samples in enumerate(recording.blocks, start=1):
        assert samples.nbytes == block
        assert number * block <= given < number * block + 100
    assert number == BLOCKS_PER_SECOND


def test_blocks_are_the_same_however_the_stream_is_cut() -> None:
    data = wav(noise(5000, 2))
    lengths = [[len(one) for one in open_stream(cut(data, size))[0].blocks] for size in (1, 999, len(data))]
    assert lengths[0] == lengths[1] == lengths[2] == [1600, 1600, 1600, 200]


def test_a_raw_stream_shorter_than_any_header_is_one() -> None:
    assert len(read(bytes(6), raw=PcmFormat(RATE))[0]) == 3


def test_a_format_says_what_it_is() -> None:
    assert str(PcmFormat(48_000, 2, "f32le")) == "48,000 Hz, 2 channels, f32le"
    assert str(PcmFormat(8000)) == "8,000 Hz, mono, s16le"


# What is no such stream

GOOD = wav(noise(10))


@pytest.mark.parametrize(
    ("data", "word", "hint"),
    [
        pytest.param(b"", "empty", "nothing came", id="nothing"),
        pytest.param(
            wav(noise(10), "ULAW"), "unsupported-format", "0x0007 in 8 bits.*pcm_s16le", id="mu-law"
        ),
        pytest.param(
            wav(noise(10), "ULAW", "WAVEX"), "unsupported-format", "0x0007", id="mu-law, extensible"
        ),
        pytest.param(header(fmt(0xFFFE)), "unsupported-format", "0xfffe", id="extensible by nothing"),
        pytest.param(header(fmt(bits=12, frame=2)), "unsupported-format", "12 bits", id="12 bits"),
        pytest.param(
            header(fmt(bits=24, frame=4)), "unreadable", "24 bits in 4 bytes", id="24 bits in 4 bytes"
        ),
        pytest.param(header(fmt(channels=0)), "unreadable", "0 channels", id="no channel"),
        pytest.param(header(fmt(rate=0)), "unreadable", "0 Hz", id="no rate"),
        pytest.param(header(chunk(b"fmt ", b"short")), "unreadable", "damaged", id="short format"),
        pytest.param(header(chunk(b"data", b"1234")), "unreadable", "does not say", id="no format"),
        pytest.param(
            header(b"LIST\xff\xff\xff\xff"), "unreadable", "damaged: 4,294,967,295", id="endless chunk"
        ),
        pytest.param(GOOD[:30], "unreadable", "within its WAV header", id="cut in the header"),
        pytest.param(wav(noise(10), form="FLAC"), "unsupported-format", "is FLAC.*ffmpeg", id="flac"),
        pytest.param(wav(noise(10), form="RF64"), "unsupported-format", "is RF64", id="rf64"),
        pytest.param(wav(noise(10), form="W64"), "unsupported-format", "is W64", id="w64"),
        pytest.param(wav(noise(10), form="AIFF"), "unsupported-format", "is AIFF", id="aiff"),
        pytest.param(wav(noise(10), form="CAF"), "unsupported-format", "is CAF", id="caf"),
        pytest.param(wav(noise(10), form="AU"), "unsupported-format", "is AU", id="au"),
        pytest.param(wav(noise(10), "VORBIS", "OGG"), "unsupported-format", "is Ogg", id="ogg"),
    ],
)
@pytest.mark.parametrize("raw", [None, PcmFormat(RATE)], ids=["not told", "raw"])
def test_what_cannot_be_read_is_named(data: bytes, word: str, hint: str, raw: PcmFormat | None) -> None:
    with pytest.raises(InputError, match=hint) as caught:
        open_stream(cut(data, 4), raw)
    assert caught.value.word == word


@pytest.mark.parametrize(
    ("data", "raw", "hint"),
    [
        (bytes(100), None, "--rate 16000"),
        (GOOD, PcmFormat(8000), "WAV of 16,000 Hz, mono, s16le, not raw PCM of 8,000 Hz.*--rate out"),
    ],
)
def test_a_stream_that_contradicts_what_was_said_is_wrong_usage(
    data: bytes, raw: PcmFormat | None, hint: str
) -> None:
    with pytest.raises(UsageError, match=hint):
        open_stream([data], raw)


def test_saying_what_the_header_says_is_no_contradiction() -> None:
    assert len(read(GOOD, raw=PcmFormat(RATE))[0]) == 10


# The pipe


def test_all_that_a_pipe_delivers_comes_out_in_order() -> None:
    ours, theirs = os.pipe()
    data = np.random.default_rng(0).bytes(1_000_000)

    def write() -> None:
        with os.fdopen(theirs, "wb", buffering=0) as pipe:
            for piece in cut(data, 33_333):
                pipe.write(piece)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(ours, "rb", buffering=0) as pipe:
        reader = PipeReader(pipe)
        assert b"".join(reader) == data
        assert reader.received == len(data)
    writer.join()


def test_a_byte_is_there_though_more_was_asked_for() -> None:
    ours, theirs = os.pipe()
    with (
        os.fdopen(theirs, "wb", buffering=0) as writer,
        os.fdopen(ours, "rb") as pipe,
    ):  # buffered, as sys.stdin is
        pieces = iter(PipeReader(pipe))
        writer.write(b"a")
        assert next(pieces) == b"a"
        writer.write(b"b")
        assert next(pieces) == b"b"
        writer.close()
        assert [*pieces] == []


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    with os.fdopen(theirs, "wb", buffering=0) as writer, os.fdopen(ours, "rb", buffering=0) as pipe:
        pieces = iter(PipeReader(pipe))
        for one in (b"a", b"b"):
            writer.write(one)
            assert next(pieces) == one
        writer.close()
        assert [*pieces] == []


class Endless(io.RawIOBase):
    """Audio without an end; counts what was read."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        self.count += 1
        self.asked.release()
        return bytes(size)


def test_no_more_waits_than_there_is_room_for_and_what_is_taken_makes_room() -> None:
    pipe = Endless()
    reader = PipeReader(pipe, most_ahead=3 * READ_BYTES)
    for _ in range(3):
        assert pipe.asked.acquire(timeout=60)
    assert not pipe.asked.acquire(timeout=0.2)
    taken = len(next(iter(reader)))
    assert taken == 3 * READ_BYTES
    for _ in range(3):
        assert pipe.asked.acquire(timeout=60)
    reader.stop()


def test_a_reader_that_is_stopped_gives_no_more() -> None:
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "wb", buffering=0) as writer, os.fdopen(ours, "rb", buffering=0) as pipe:
        reader = PipeReader(pipe)
        pieces = iter(reader)
        writer.write(b"a")
        assert next(pieces) == b"a"
        stopping = threading.Timer(0.05, reader.stop)  # while the next line waits, as a signal would
        stopping.start()
        assert [*pieces] == []
        stopping.join()


def test_what_the_system_cannot_read_is_an_error_after_what_it_could() -> None:
    class Failing(io.RawIOBase):
        pieces = iter([b"good"])

        def read(self, size: int = -1) -> bytes:
            for piece in self.pieces:
                return piece
            raise OSError(5, "Input/output error")

    pieces = iter(PipeReader(Failing()))
    assert next(pieces) == b"good"
    with pytest.raises(AstCliError, match="Input/output error"):
        next(pieces)


def test_a_keyboard_is_no_stream_and_the_remedy_is_the_command_that_was_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Keyboard(io.BytesIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Keyboard())
    with pytest.raises(InputError, match=r"is a keyboard\. Pipe audio into it: `arecord \| ast-tag listen`"):
        open_stdin("arecord | ast-tag listen")


def test_an_empty_pipe_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open("rb", buffering=0) as pipe:
        assert [*PipeReader(pipe)] == []

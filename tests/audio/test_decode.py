"""`open_recording` against the samples that were written, in every format; each bad file against its word."""

from __future__ import annotations

import ctypes
import io
import os
import struct
import sys
import tempfile
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from ast_cli.audio import decode, soundfile_reader
from ast_cli.audio.decode import BLOCK_SECONDS, BLOCK_VALUES, Recording, open_recording
from ast_cli.errors import InputError

Samples = NDArray[np.float64]

NOBODY = 65534
GIGABYTES = 1_500_000_000  # under the 2 GB that a header written into a pipe promises

# The number formats' bits; of wider ones, float32 holds 24.
BITS = {
    "PCM_U8": 8,
    "PCM_S8": 8,
    "PCM_16": 16,
    "ALAC_16": 16,
    "PCM_24": 24,
    "PCM_32": 24,
    "FLOAT": 24,
    "DOUBLE": 24,
}


# Helpers


def noise(samples: int = 4000, channels: int = 2, seed: int = 0) -> Samples:
    """In [-0.9, 0.9], each number exactly one of float32."""
    values = np.random.default_rng(seed).uniform(-0.9, 0.9, (samples, channels))
    return values.astype(np.float32).astype(np.float64)


def tones(seconds: float, rate: int, channels: int) -> Samples:
    """A slow sweep in each channel: lossy formats keep it, as they do not noise, and it shows delays."""
    time = np.arange(round(seconds * rate))[:, None] / rate
    start = 200.0 * (1 + np.arange(channels))
    return 0.5 * np.sin(2 * np.pi * (start * time + 200 * time**2))


def write(
    path: Path, samples: Samples, rate: int = 16_000, subtype: str = "PCM_16", form: str = "WAV"
) -> str:
    soundfile.write(path, samples, rate, format=form, subtype=subtype)
    return str(path)


def wav(data: bytes, *, promised: int | None = None, channels: int = 1, rate: int = 16_000) -> bytes:
    """A 16-bit WAV whose header may promise another length than it has."""
    length = len(data) if promised is None else promised
    riff, block = min(36 + length, 0xFFFFFFFF), 2 * channels
    header = struct.pack(
        "<4sI8sIHHIIHH", b"RIFF", riff, b"WAVEfmt ", 16, 1, channels, rate, rate * block, block, 16
    )
    return header + struct.pack("<4sI", b"data", length) + data


def pcm16(samples: Samples) -> bytes:
    return np.round(samples * 2**15).astype("<i2").tobytes()


def read(path: str | Path) -> tuple[NDArray[np.float32], Recording]:
    with open_recording(str(path)) as recording:
        return np.concatenate(list(recording.blocks)), recording


def mono(path: str | Path, channel: int | None = None) -> NDArray[np.float32]:
    with open_recording(str(path)) as recording:
        return np.concatenate([block.numpy() for block in recording.mono(channel)])


def failure(path: str | Path) -> InputError:
    """How reading it to its end fails."""
    with pytest.raises(InputError) as caught:
        mono(path)
    return caught.value


def write_av(path: Path, codec: str, samples: Samples, rate: int) -> str:
    """Encode with PyAV; the container follows the suffix."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[1]]
    try:
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate)
            stream.layout, stream.bit_rate = layout, 256_000
            planes = np.ascontiguousarray(samples.T, np.float32)
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"this PyAV cannot encode {codec}: {error}")
    return str(path)


def best_match(found: NDArray[np.float32], expected: Samples, most_delay: int = 4000) -> list[float]:
    """Correlation of each channel with what was encoded, at the codec's own delay."""
    length = len(expected) - 2 * most_delay
    middle = expected[most_delay : most_delay + length]
    template = middle[:most_delay, 0]
    at = int(np.argmax(np.correlate(found[: 3 * most_delay, 0], template, mode="valid")))
    return [
        float(np.corrcoef(found[at : at + length, channel], middle[:, channel])[0, 1])
        for channel in range(expected.shape[1])
    ]


@contextmanager
def without_privileges() -> Iterator[None]:
    """The superuser may read everything: be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    try:
        os.seteuid(NOBODY)
    except OSError as error:
        pytest.skip(f"root cannot become another user here: {error}")
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def without_av(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "av", None)
        yield


# Formats


@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        *(("WAV", width) for width in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
        *(("FLAC", width) for width in ("PCM_S8", "PCM_16", "PCM_24")),
        *(("AIFF", width) for width in ("PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
        *(("AU", width) for width in ("PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
        *(("CAF", width) for width in ("PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_16")),
        *(("W64", width) for width in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
        *(("RF64", width) for width in ("PCM_16", "FLOAT")),
    ],
)
def test_lossless_formats_give_back_what_was_written(tmp_path: Path, form: str, subtype: str) -> None:
    full_scale = 2 ** (BITS[subtype] - 1)
    samples = np.round(noise() * full_scale) / full_scale
    found, recording = read(write(tmp_path / "x", samples, 22_050, subtype, form))
    assert (recording.sample_rate, recording.channels, recording.warnings) == (22_050, 2, [])
    assert found.dtype == np.float32
    assert np.array_equal(found, samples)


@pytest.mark.parametrize(("bits", "dtype"), [(8, "u1"), (16, "<i2"), (32, "<i4")])
def test_integers_are_scaled_to_one_exactly(tmp_path: Path, bits: int, dtype: str) -> None:
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    steps = np.array([lowest, highest, 0, 1, -1, highest // 2])
    data = (steps - lowest if bits == 8 else steps).astype(dtype).tobytes()
    header = struct.pack(
        "<4sI8sIHHIIHH", b"RIFF", 36 + len(data), b"WAVEfmt ", 16, 1, 1, 8000, bits * 1000, bits // 8, bits
    )
    path = tmp_path / "x.wav"
    path.write_bytes(header + struct.pack("<4sI", b"data", len(data)) + data)
    found, _ = read(path)
    assert found[:, 0].tolist() == np.float32(steps / 2 ** (bits - 1)).tolist()


@pytest.mark.parametrize(
    ("form", "subtype", "rate", "least"),
    [
        ("OGG", "VORBIS", 44_100, 0.995),
        ("OGG", "OPUS", 48_000, 0.995),
        ("MP3", "MPEG_LAYER_III", 44_100, 0.995),
        ("WAV", "ULAW", 16_000, 0.999),
        ("WAV", "IMA_ADPCM", 16_000, 0.995),
    ],
)
def test_lossy_formats_give_back_what_was_written(
    tmp_path: Path, form: str, subtype: str, rate: int, least: float
) -> None:
    samples = tones(1.5, rate, 2)
    found, recording = read(write(tmp_path / "x", samples, rate, subtype, form))
    assert (recording.sample_rate, recording.channels) == (rate, 2)
    assert len(found) == pytest.approx(len(samples), abs=0.05 * rate)
    assert min(best_match(found, samples)) > least


@pytest.mark.parametrize(
    ("name", "codec", "rate", "channels"),
    [
        ("x.m4a", "aac", 44_100, 2),
        ("x.mp4", "aac", 48_000, 1),
        ("x.webm", "libopus", 48_000, 2),
        ("x.wma", "wmav2", 44_100, 2),
        ("x.mka", "flac", 44_100, 2),
        ("x.mov", "pcm_s16le", 44_100, 2),
        ("x.aac", "aac", 16_000, 1),
    ],
)
def test_formats_that_need_pyav_give_back_what_was_written(
    tmp_path: Path, name: str, codec: str, rate: int, channels: int
) -> None:
    samples = tones(1.5, rate, channels)
    found, recording = read(write_av(tmp_path / name, codec, samples, rate))
    assert (recording.sample_rate, recording.channels, recording.warnings) == (rate, channels, [])
    assert (found.dtype, found.shape[1]) == (np.float32, channels)
    assert len(found) == pytest.approx(len(samples), abs=0.1 * rate)
    assert min(best_match(found, samples)) > 0.999


@pytest.mark.parametrize(
    ("form", "suffix"), [("WAV", ".raw"), ("WAV", ".mp3"), ("FLAC", ".wav"), ("MP3", "")]
)
def test_the_suffix_does_not_matter(tmp_path: Path, form: str, suffix: str) -> None:
    subtype = "MPEG_LAYER_III" if form == "MP3" else "PCM_16"
    path = write(tmp_path / f"x.{form.lower()}", tones(0.5, 16_000, 1), 16_000, subtype, form)
    expected, _ = read(path)
    found, _ = read(Path(path).rename(tmp_path / f"y{suffix}"))
    assert np.array_equal(found, expected)


def test_the_suffix_does_not_matter_to_pyav_either(tmp_path: Path) -> None:
    path = write_av(tmp_path / "x.m4a", "aac", tones(0.5, 16_000, 1), 16_000)
    expected, _ = read(path)
    found, _ = read(Path(path).rename(tmp_path / "y.wav"))
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8, 32])
def test_channels_keep_their_order(tmp_path: Path, channels: int) -> None:
    samples = noise(2000, channels)
    path = write(tmp_path / "x.wav", samples, subtype="FLOAT")
    assert np.array_equal(read(path)[0], samples)
    for channel in range(1, channels + 1):
        assert np.array_equal(mono(path, channel), samples[:, channel - 1])


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8, 32])
def test_the_mix_is_the_mean_of_the_channels(tmp_path: Path, channels: int) -> None:
    samples = noise(2000, channels)
    path = write(tmp_path / "x.wav", samples, subtype="FLOAT")
    np.testing.assert_allclose(mono(path), samples.mean(axis=1), rtol=0, atol=2e-7)


@pytest.mark.parametrize("channel", [0, -1, 3, 100])
def test_a_channel_that_is_not_there_is_an_error(tmp_path: Path, channel: int) -> None:
    path = write(tmp_path / "x.wav", noise())
    with pytest.raises(InputError, match="the recording has 2") as caught:
        mono(path, channel)
    assert caught.value.word == "no-such-channel"


@pytest.mark.parametrize("rate", [4000, 8000, 11_025, 16_000, 44_100, 48_000, 96_000, 192_000, 384_000])
def test_every_rate_is_read_as_it_is(tmp_path: Path, rate: int) -> None:
    samples = noise(rate // 2, 1)
    found, recording = read(write(tmp_path / "x.wav", samples, rate, "FLOAT"))
    assert recording.sample_rate == rate
    assert np.array_equal(found, samples)


# Blocks


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")],
)
def test_blocks_put_together_are_the_whole(tmp_path: Path, form: str, subtype: str) -> None:
    samples = tones(2 * BLOCK_SECONDS + 0.7, 8000, 2)
    path = write(tmp_path / "x", samples, 8000, subtype, form)
    whole, _ = soundfile.read(path, dtype="float32", always_2d=True)
    with open_recording(path) as recording:
        blocks = list(recording.blocks)
    assert len(blocks) == 3
    np.testing.assert_allclose(np.concatenate(blocks), whole, rtol=0, atol=1e-6)


def test_blocks_that_end_with_the_file_put_together_are_the_whole(tmp_path: Path) -> None:
    samples = noise(3 * BLOCK_SECONDS * 1000, 1)
    found, recording = read(write(tmp_path / "x.wav", samples, 1000, "FLOAT"))
    assert np.array_equal(found, samples)
    assert recording.warnings == []


def test_blocks_of_what_pyav_reads_put_together_are_the_whole(tmp_path: Path) -> None:
    samples = tones(2 * BLOCK_SECONDS + 0.7, 8000, 1)
    path = write_av(tmp_path / "x.mka", "flac", samples, 8000)
    with open_recording(path) as recording:
        blocks = list(recording.blocks)
    assert len(blocks) == 3
    # 24 or 16 bits, whichever the encoder takes
    np.testing.assert_allclose(np.concatenate(blocks), samples, rtol=0, atol=2**-15)


def test_a_block_of_many_channels_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(wav(bytes(2 * 1024 * 6000), channels=1024, rate=48_000))
    with open_recording(str(path)) as recording:
        blocks = list(recording.blocks)
    assert sum(len(block) for block in blocks) == 6000
    assert max(block.size for block in blocks) <= BLOCK_VALUES


# Standard input and pipes


def test_standard_input_is_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = noise()
    path = write(tmp_path / "x.flac", samples, form="FLAC")
    stdin = io.TextIOWrapper(io.BytesIO(Path(path).read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert np.array_equal(read("-")[0], read(path)[0])


def test_standard_input_that_is_empty_or_closed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert failure("-").word == "empty"
    monkeypatch.setattr(sys, "stdin", None)
    assert failure("-").word == "unreadable"


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_named_pipe_is_a_recording(tmp_path: Path, form: str) -> None:
    subtype = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(form, "PCM_16")
    path = write(tmp_path / "x", tones(1.0, 16_000, 1), 16_000, subtype, form)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(Path(path).read_bytes()))
    writer.start()
    found, _ = read(pipe)
    writer.join()
    assert np.array_equal(found, read(path)[0])


def test_a_named_pipe_into_which_nothing_is_written_is_empty(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b""))
    writer.start()
    assert failure(pipe).word == "empty"
    writer.join()


@pytest.mark.parametrize("promised", [0x7F000000, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_that_was_written_into_a_pipe_is_read_without_a_warning(tmp_path: Path, promised: int) -> None:
    path, samples = tmp_path / "x.wav", noise(channels=1)
    path.write_bytes(wav(pcm16(samples), promised=promised))
    found, recording = read(path)
    assert np.abs(found - samples).max() <= 2**-16
    assert recording.warnings == []


@pytest.mark.parametrize("seconds", [0.5, 3.0, 3.5])
def test_a_flac_that_was_written_into_a_pipe_is_read_without_a_warning(
    tmp_path: Path, seconds: float
) -> None:
    samples = noise(round(seconds * 16_000), 1)
    path = tmp_path / "x.flac"
    flac = bytearray(Path(write(path, samples, form="FLAC")).read_bytes())
    # Whoever writes into a pipe cannot go back: the 36 bits of STREAMINFO that number the samples stay 0.
    assert int.from_bytes(flac[21:26], "big") & (2**36 - 1) == len(samples)
    flac[21:26] = (int.from_bytes(flac[21:26], "big") & ~(2**36 - 1)).to_bytes(5, "big")
    whole, _ = read(path)
    path.write_bytes(flac)
    found, recording = read(path)
    assert np.array_equal(found, whole)
    assert recording.warnings == []


# Cut and damaged files


@pytest.mark.parametrize("form", ["WAV", "AIFF", "AU", "W64", "RF64"])
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.25])
def test_what_is_left_of_a_file_cut_short_is_read_with_a_warning(
    tmp_path: Path, form: str, kept: float
) -> None:
    samples = noise(16_000, 2)
    path = Path(write(tmp_path / "x", samples, form=form))
    whole, _ = read(path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    found, recording = read(path)
    assert len(found) == pytest.approx(kept * len(samples), abs=50)
    assert np.array_equal(found, whole[: len(found)])
    [warning] = recording.warnings
    assert "cut off" in warning
    assert "promises" in warning


def test_what_is_left_of_a_flac_cut_short_is_read_with_a_warning(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "x.flac", noise(10 * 16_000, 1), form="FLAC"))
    whole, _ = read(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found, recording = read(path)
    assert 4 * 16_000 <= len(found) <= 5 * 16_000  # at most a second less than there is
    assert np.array_equal(found, whole[: len(found)])
    [warning] = recording.warnings
    assert warning.startswith(f"cut off: decoding fails after {len(found) / 16_000:.3f} s")


@pytest.mark.parametrize("seconds", [4, 14, 24], ids=["first block", "second", "third"])
def test_without_pyav_an_error_costs_no_more_than_the_second_that_it_is_in(
    tmp_path: Path, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "find_spec", lambda name: None)
    samples = noise(30 * 16_000, 2)
    data = bytearray(Path(write(tmp_path / "x.flac", samples, form="FLAC")).read_bytes())
    place = len(data) * seconds // 30  # noise is as large everywhere
    data[place : place + 20_000] = bytes(20_000)
    (tmp_path / "x.flac").write_bytes(data)
    blocks, recording = read(tmp_path / "x.flac")
    assert (seconds - 1) * 16_000 <= len(blocks) <= (seconds + 1) * 16_000
    assert np.abs(blocks - samples[: len(blocks)]).max() < 2**-14
    assert recording.warnings[0].startswith(f"cut off: decoding fails after {len(blocks) / 16_000:.3f} s")


def test_what_is_left_of_an_mp3_cut_short_is_read_with_a_warning(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "x.mp3", tones(10, 16_000, 1), 16_000, "MPEG_LAYER_III", "MP3"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found, recording = read(path)
    assert len(found) == pytest.approx(5 * 16_000, rel=0.1)
    [warning] = recording.warnings
    assert "cut off" in warning
    assert "promises 10.000 s" in warning


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_what_is_left_of_an_ogg_cut_short_is_read(tmp_path: Path, subtype: str) -> None:
    # Its header promises no length, so that nobody can know that something is missing.
    path = Path(write(tmp_path / "x.ogg", tones(20, 16_000, 1), 16_000, subtype, "OGG"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found, _ = read(path)
    assert 4 * 16_000 <= len(found) <= 10 * 16_000  # a page that is cut is lost: seconds, at a low bit rate


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("CAF", "ALAC_16")],
)
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.95])
def test_a_compressed_file_cut_anywhere_gives_samples_or_a_word(
    tmp_path: Path, form: str, subtype: str, kept: float
) -> None:
    path = Path(write(tmp_path / "x", tones(3, 16_000, 1), 16_000, subtype, form))
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    samples, word = 0, ""
    try:
        with open_recording(str(path)) as recording:
            for block in recording.mono():
                samples += len(block)
    except InputError as error:
        word = error.word
    assert word in ("", "unreadable", "unsupported-format")
    assert samples <= (kept + 0.1) * 3 * 16_000


def test_an_mp4_cut_short_has_a_word(tmp_path: Path) -> None:
    path = Path(write_av(tmp_path / "x.m4a", "aac", tones(1, 16_000, 1), 16_000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert failure(path).word == "unsupported-format"  # its table of contents was at the end


def test_a_broadcast_that_changes_its_channels_and_rate_is_read_to_its_end(tmp_path: Path) -> None:
    parts = [("1.aac", 16_000, 2), ("2.aac", 16_000, 1), ("3.aac", 24_000, 1)]
    written = [
        write_av(tmp_path / name, "aac", tones(1, rate, channels), rate) for name, rate, channels in parts
    ]
    path = tmp_path / "all.aac"
    path.write_bytes(b"".join(Path(one).read_bytes() for one in written))
    found, recording = read(path)
    assert (recording.sample_rate, recording.channels, recording.warnings) == (16_000, 2, [])
    alone = [read(one) for one in written]
    assert len(found) == pytest.approx(
        sum(16_000 * len(part) / one.sample_rate for part, one in alone), abs=2
    )
    middle = slice(20_000, 30_000)  # mono became both channels
    np.testing.assert_allclose(found[middle, 0], found[middle, 1], rtol=0, atol=1e-6)
    assert np.abs(found[-8000:]).max() > 0.1


def test_a_header_that_promises_gigabytes_costs_no_memory_and_gives_what_is_there(tmp_path: Path) -> None:
    path, samples = tmp_path / "x.wav", noise(channels=1)
    path.write_bytes(wav(pcm16(samples), promised=GIGABYTES))
    tracemalloc.start()
    try:
        found, recording = read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.abs(found - samples).max() <= 2**-16
    assert peak < 20e6
    [warning] = recording.warnings
    assert "promises 1500000000 bytes" in warning
    assert "8000 are there" in warning


@pytest.mark.parametrize("form", ["FLAC", "AU"])
def test_other_headers_that_promise_gigabytes_cost_no_memory_either(tmp_path: Path, form: str) -> None:
    path = Path(write(tmp_path / "x", noise(channels=1), form=form))
    data = bytearray(path.read_bytes())
    if form == "AU":
        data[8:12] = GIGABYTES.to_bytes(4, "big")
    else:
        data[21:26] = (int.from_bytes(data[21:26], "big") | 2**35).to_bytes(
            5, "big"
        )  # 34 thousand million samples
    path.write_bytes(data)
    tracemalloc.start()
    try:
        found, recording = read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found) == 4000
    assert peak < 20e6
    assert "cut off" in recording.warnings[0]


def test_a_block_of_blank_memory_would_be_noticed() -> None:
    tracemalloc.start()
    try:
        np.empty((GIGABYTES // 4, 1), np.float32)
        assert tracemalloc.get_traced_memory()[1] > 1e9
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        pytest.param(b"", "empty", id="zero bytes"),
        pytest.param(b"R", "unsupported-format", id="one byte"),
        pytest.param(b"only some text\n" * 100, "unsupported-format", id="text"),
        pytest.param(b"<html><body>404 Not Found</body></html>", "unsupported-format", id="a web page"),
        pytest.param(b"PK\x03\x04" + bytes(1000), "unsupported-format", id="an archive"),
        pytest.param(bytes(10_000), "unsupported-format", id="zeros"),
        pytest.param(wav(bytes(1000))[:20], "unsupported-format", id="header cut in its middle"),
        pytest.param(wav(bytes(1000))[:40], "unsupported-format", id="header cut near its end"),
        pytest.param(wav(bytes(1000), channels=0), "unreadable", id="no channels"),
        pytest.param(wav(bytes(1000), rate=0), "unsupported-format", id="a rate of zero"),
        pytest.param(wav(bytes(1000), channels=5000), "unreadable", id="too many channels"),
    ],
)
def test_what_is_no_recording_has_its_word(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    assert failure(path).word == word


@pytest.mark.parametrize("promised", [0, GIGABYTES, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_header_without_audio_opens_and_holds_nothing(tmp_path: Path, promised: int) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(wav(b"", promised=promised))
    with open_recording(str(path)) as recording:
        assert list(recording.blocks) == []


def test_a_picture_holds_no_sound(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    path = tmp_path / "x.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    assert failure(path).word == "no-audio"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [0, 4321, 15_999])
def test_a_sample_that_is_not_finite_is_an_error_that_says_where(
    tmp_path: Path, value: float, position: int
) -> None:
    samples = noise(16_000, 2)
    samples[position, 1] = value
    path = write(tmp_path / "x.wav", samples, subtype="FLOAT")
    error = failure(path)
    assert error.word == "non-finite"
    assert f"{position / 16_000:.3f} s" in error.cause
    assert np.array_equal(mono(path, 1), samples[:, 0])  # the other channel is sound


def test_samples_whose_sum_is_too_large_are_sound_each(tmp_path: Path) -> None:
    samples = np.full((100, 2), 3e38, np.float32)
    path = write(tmp_path / "x.wav", samples, subtype="FLOAT")
    np.testing.assert_allclose(mono(path), samples[:, 0], rtol=1e-6)


def test_infinities_that_cancel_out_are_an_error(tmp_path: Path) -> None:
    samples = noise()
    samples[100] = np.inf, -np.inf
    assert failure(write(tmp_path / "x.wav", samples, subtype="FLOAT")).word == "non-finite"


def test_where_a_sample_is_not_finite_is_told_in_later_blocks_too(tmp_path: Path) -> None:
    samples = noise((BLOCK_SECONDS + 3) * 1000, 1)
    samples[(BLOCK_SECONDS + 2) * 1000] = np.nan
    error = failure(write(tmp_path / "x.wav", samples, 1000, "FLOAT"))
    assert f"{BLOCK_SECONDS + 2}.000 s" in error.cause


# Paths


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    assert failure(tmp_path / "missing.wav").word == "not-found"
    assert failure("").word == "not-found"


@pytest.mark.parametrize("name", ["a\0b.wav", "\ud800.wav"])
def test_a_name_that_no_file_can_have_is_not_found(name: str) -> None:
    assert failure(name).word == "not-found"


def test_folders_and_devices_are_unreadable(tmp_path: Path) -> None:
    for path in (tmp_path, "/dev/null", "/dev/zero"):
        error = failure(path)
        assert error.word == "unreadable"
        assert "folder or a device" in error.cause


def test_links_that_lead_nowhere_say_so(tmp_path: Path) -> None:
    broken, circle = tmp_path / "broken.wav", tmp_path / "circle.wav"
    broken.symlink_to("nothing")
    circle.symlink_to("circle.wav")
    assert failure(broken).word == "not-found"
    assert "link" in failure(broken).cause
    assert failure(circle).word == "unreadable"
    assert "circle" in failure(circle).cause


def test_a_link_to_a_file_is_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", noise())
    (tmp_path / "link").symlink_to("x.wav")
    assert np.array_equal(read(tmp_path / "link")[0], read(path)[0])


def test_a_file_that_may_not_be_read_is_unreadable() -> None:
    with tempfile.TemporaryDirectory() as folder:  # unlike pytest's own, every user may enter it
        Path(folder).chmod(0o755)
        path = Path(write(Path(folder) / "x.wav", noise()))
        path.chmod(0o644)
        with without_privileges():
            assert len(mono(path)) == 4000
        path.chmod(0)
        with without_privileges():
            error = failure(path)
    assert error.word == "unreadable"
    assert "permission denied" in error.cause


def test_a_file_that_fails_in_reading_is_unreadable() -> None:
    if not Path("/proc/self/mem").exists():
        pytest.skip("there is no /proc/self/mem here, whose first byte can never be read")
    error = failure("/proc/self/mem")
    assert error.word == "unreadable"
    assert "cannot be read" in error.cause


def test_a_path_through_a_file_is_unreadable(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", noise())
    assert failure(f"{path}/y.wav").word == "unreadable"


@pytest.mark.parametrize(
    "name", [b"two\nlines.wav", b"caf\xe9.wav", b" .wav", b"-x.wav", "日本.wav".encode()]
)
def test_any_name_can_be_read(tmp_path: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118 — bytes
    samples = noise()
    try:
        with open(path, "wb") as file:  # noqa: PTH123 — bytes
            file.write(wav(pcm16(samples), channels=2))
    except OSError as error:
        pytest.skip(f"this file system does not take this name: {error}")
    found, _ = read(os.fsdecode(path))
    assert np.abs(found - samples).max() <= 2**-16


# Without PyAV


@pytest.mark.parametrize("suffix", [".m4a", ".webm", ".MP4"])
def test_without_pyav_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(1000))
    with without_av(monkeypatch):
        error = failure(path)
    assert error.word == "unsupported-format"
    assert "pip install 'ast-cli[av]'" in error.remedy
    assert "needs PyAV" in error.cause


def test_without_pyav_what_is_no_audio_is_not_promised_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(b"only some text\n" * 100)
    with without_av(monkeypatch):
        error = failure(path)
    assert error.word == "unsupported-format"
    assert "not audio that libsndfile reads" in error.cause
    assert "pip install 'ast-cli[av]'" in error.remedy


def test_without_pyav_what_libsndfile_reads_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.wav", noise())
    with without_av(monkeypatch):
        assert len(mono(path)) == 4000


# What the fuzzing in `tools/fuzz` found


def test_nothing_but_results_reaches_standard_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = Path(write(tmp_path / "x.sds", noise(4000, 1), form="SDS"))
    head = path.read_bytes()[:21]
    path.write_bytes(head + bytes(100_000))  # blocks that do not begin as they should
    assert failure(path).word == "unsupported-format"
    ctypes.CDLL(None).fflush(None)  # what C has printed waits in a buffer of its own
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("rate", [1, 7, 99, 10_000_001, 2**31 - 1])
def test_a_rate_at_which_nobody_records_is_damage(tmp_path: Path, rate: int) -> None:
    (tmp_path / "x.wav").write_bytes(wav(pcm16(noise(4000, 1)), rate=rate))
    error = failure(tmp_path / "x.wav")
    assert error.word == "unreadable"
    assert f"at {rate} Hz" in error.cause


@pytest.mark.parametrize("rate", [100, 1_000_000, 10_000_000])
def test_rates_of_slow_and_of_fast_sound_are_none(tmp_path: Path, rate: int) -> None:
    (tmp_path / "x.wav").write_bytes(wav(pcm16(noise(4000, 1)), rate=rate))
    assert len(mono(tmp_path / "x.wav")) == 4000


def test_a_packet_of_an_hour_is_read_in_blocks(tmp_path: Path) -> None:
    """As Matroska may hold, or as damage to a rate makes of a second."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    samples = np.round(noise(400_000, 1) * 2**15)
    with av.open(str(tmp_path / "x.mka"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=100, layout="mono")
        packet = av.Packet(pcm16(samples / 2**15))
        packet.stream, packet.pts, packet.time_base = stream, 0, Fraction(1, 100)
        container.start_encoding()
        container.mux(packet)
    with open_recording(str(tmp_path / "x.mka")) as recording:
        blocks = list(recording.blocks)
    assert {len(block) for block in blocks} == {BLOCK_SECONDS * 100}
    assert np.array_equal(np.concatenate(blocks) * 2**15, samples)


def test_a_file_that_sends_its_reader_where_nothing_can_be_has_a_word(tmp_path: Path) -> None:
    """At the end of NUT stands how long its index is: here, longer than the file."""
    whole = Path(write_av(tmp_path / "x.nut", "pcm_s16le", noise(4000, 1), 16_000)).read_bytes()
    (tmp_path / "x.nut").write_bytes(whole + b"\x80" * 16)
    assert failure(tmp_path / "x.nut").word == "unsupported-format"


# Files that lead elsewhere


@pytest.fixture
def asked_for() -> Iterator[tuple[str, list[str]]]:
    """The address of a server, and the paths that it was asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()
        thread.join()


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
CONCATENATION = "ffconcat version 1.0\nfile {}\n"
BROADCAST = (
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=audio 0 RTP/AVP 0\na=rtpmap:0 PCMU/8000\n"
)


@pytest.mark.parametrize(
    ("name", "text"), [("x.m3u8", PLAYLIST), ("x.wav", CONCATENATION), ("x", CONCATENATION)]
)
def test_a_playlist_leads_neither_to_the_network_nor_to_another_file(
    tmp_path: Path, name: str, text: str, asked_for: tuple[str, list[str]]
) -> None:
    address, paths = asked_for
    write(tmp_path / "other.wav", noise())
    for target in (f"{address}/x.ts", "other.wav", str(tmp_path / "other.wav")):
        (tmp_path / name).write_text(text.format(target))
        assert failure(tmp_path / name).word == "unsupported-format"
    assert paths == []


def test_the_description_of_a_broadcast_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(BROADCAST)
    assert failure(tmp_path / "x").word == "unsupported-format"


# Open files


def open_files() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc/self/fd here")
def test_no_file_stays_open(tmp_path: Path) -> None:
    good, cut = write(tmp_path / "x.wav", noise()), tmp_path / "cut.flac"
    flac = Path(write(tmp_path / "x.flac", noise(16_000), form="FLAC")).read_bytes()
    cut.write_bytes(flac[:20_000])
    (tmp_path / "header.flac").write_bytes(flac[:50])
    text = tmp_path / "text.wav"
    text.write_text("only some text")
    nan = write(tmp_path / "nan.wav", np.full((100, 1), np.nan), subtype="FLOAT")
    m4a = write_av(tmp_path / "x.m4a", "aac", tones(0.5, 16_000, 1), 16_000)
    mono(m4a)  # FFmpeg opens what it needs
    before = open_files()
    for path in (good, m4a, str(cut)):
        mono(path)
        with open_recording(path) as recording:
            next(recording.blocks)  # and leave the rest
    for path in (tmp_path / "header.flac", text, nan, tmp_path):
        failure(path)
    assert open_files() == before


# Files whose length nothing tells, or tells wrongly


@pytest.fixture(scope="module")
def mp3_of_guessed_length(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, int]:
    """A variable-rate MP3 without the frame that tells its length; loud first, so that guesses fall short."""
    path = tmp_path_factory.mktemp("mp3") / "x.mp3"
    samples = noise(44_100 * 10, 1) * np.repeat([[1.0], [0.0]], 44_100 * 5, axis=0)
    soundfile.write(path, samples, 44_100, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="VARIABLE")
    whole = path.read_bytes()
    assert b"Xing" in whole[:200] or b"Info" in whole[:200]
    second = whole.index(whole[:2], 100)  # the frame after the one that tells
    path.write_bytes(whole[second:])
    return str(path), len(samples)


def test_an_mp3_of_guessed_length_is_read_to_its_end(mp3_of_guessed_length: tuple[str, int]) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    path, length = mp3_of_guessed_length
    found, recording = read(path)
    assert length <= len(found) <= length + 4 * 1152  # whole frames, and the encoder's delay
    assert recording.warnings == []


def test_without_pyav_an_mp3_of_guessed_length_is_not_cut_silently(
    mp3_of_guessed_length: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, length = mp3_of_guessed_length
    monkeypatch.setattr(decode, "find_spec", lambda name: None)
    found, recording = read(path)
    assert len(found) < length / 2, "libsndfile has learnt to read on: `_tells_length` is needless now"
    [warning] = recording.warnings
    assert "heard in part" in warning


def test_without_pyav_an_ogg_of_several_parts_is_not_cut_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "find_spec", lambda name: None)
    part = write(tmp_path / "part.ogg", tones(3, 16_000, 1), form="OGG", subtype="VORBIS")
    assert read(part)[1].warnings == []
    (tmp_path / "chain.ogg").write_bytes(Path(part).read_bytes() * 3)
    [warning] = read(tmp_path / "chain.ogg")[1].warnings
    assert "heard in part: libsndfile ends after 3.000 s" in warning


def test_a_wav_whose_recorder_crashed_is_read_though_its_header_promises_nothing(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    data = pcm16(noise(16_000, 1))
    (tmp_path / "crashed.wav").write_bytes(wav(data, promised=0))
    found, _ = read(tmp_path / "crashed.wav")
    assert pcm16(found) == data


def test_a_keyboard_is_no_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    class Keyboard(io.BytesIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Keyboard())
    assert "keyboard" in str(failure("-"))


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("WAV", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("CAF", "ALAC_16")],
)
def test_where_descriptors_mean_nothing_to_libraries_files_are_handed_over(
    tmp_path: Path, form: str, subtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(write(tmp_path / "x", tones(12, 16_000, 2), 16_000, subtype, form))
    whole, _ = read(path)
    path_cut = tmp_path / "cut"
    path_cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cut, recording = read(path_cut)
    monkeypatch.setattr(soundfile_reader, "BY_DESCRIPTOR", False)  # as on Windows
    assert np.array_equal(read(path)[0], whole)
    found, its = read(path_cut)
    assert np.array_equal(found, cut)
    assert its.warnings == recording.warnings

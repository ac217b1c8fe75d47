"""Recordings as they come out of lost power, late starts and glued downloads: all that is there, at its time.

Every whole second of the sound is a tone of its own, which tells what is heard at a time.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from ast_cli.audio import decode
from ast_cli.audio.containers import ogg_fault
from ast_cli.audio.decode import Recording, open_recording
from ast_cli.errors import InputError
from tests.extras import Extra

av = Extra("av")
RATE = 16_000
SILENT = -1

Samples = NDArray[np.float32]


def seconds(first: int, last: int, rate: int = RATE) -> Samples:
    """[S]: the tones of these seconds."""
    time = np.arange(first * rate, last * rate) / rate
    return (0.3 * np.sin(2 * np.pi * (300 + 100 * np.floor(time)) * time)).astype(np.float32)


def heard(path: Path | str) -> tuple[list[int], Recording]:
    """The second that sounds in the middle of each second of a recording."""
    with open_recording(str(path)) as recording:
        whole = np.concatenate([block.numpy() for block in recording.mono()] or [np.zeros(0)])
    rate = recording.sample_rate
    return [
        _tone(whole[start + rate // 4 : start + 3 * rate // 4], rate)
        for start in range(0, len(whole) - rate // 4 * 3, rate)
    ], recording


def _tone(part: Samples, rate: int) -> int:
    if np.abs(part).max() < 0.01:
        return SILENT
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    return round((float(spectrum.argmax()) * rate / len(part) - 300) / 100)


def write(
    path: Path,
    codec: str,
    first: int,
    last: int,
    *,
    rate: int = RATE,
    start: float = 0.0,
    gap: tuple[float, float] | None = None,
    video: bool = False,
) -> Path:
    """Write tones with PyAV, from `start` on, without the packets of a gap."""
    with av.open(str(path), "w") as container:
        pictures = None
        if video:
            pictures = container.add_stream("mpeg4", rate=5)
            pictures.width = pictures.height = 32
            pictures.pix_fmt = "yuv420p"
        stream = container.add_stream(codec, rate=rate)
        stream.layout, stream.bit_rate = "mono", 64_000
        written = []
        form = stream.codec_context.format.name
        samples = seconds(first, last, rate)[None]
        if not form.startswith("flt"):
            samples = np.round(samples * 2**15).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(
            samples, format=form.rstrip("p") + "p" if form.startswith("flt") else "s16p", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            time = float(packet.pts * packet.time_base)
            if gap is None or not gap[0] <= time < gap[1]:
                written.append((time + start, packet))
        if pictures is not None:
            for number in range(round(5 * (last - first + start))):
                picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
                picture.pts, picture.time_base = number, Fraction(1, 5)
                written += [(float(p.pts * p.time_base), p) for p in pictures.encode(picture)]
            written += [(float(p.pts * p.time_base), p) for p in pictures.encode(None)]
        for _, packet in sorted(written, key=lambda one: one[0]):
            if packet.stream is stream:
                shift = round(start / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            container.mux(packet)
    return path


def noised(path: Path, share: float, count: int = 300) -> Path:
    """Put random bytes over a place of a file."""
    data = bytearray(path.read_bytes())
    place = round(len(data) * share)
    data[place : place + count] = np.random.default_rng(0).bytes(count)
    path.write_bytes(data)
    return path


def halved(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def by_soundfile(path: Path, first: int, last: int, form: str, subtype: str, rate: int = RATE) -> Path:
    soundfile.write(path, seconds(first, last, rate), rate, format=form, subtype=subtype)
    return path


def failure(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        heard(path)
    return caught.value


# Joined


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("WAV", "PCM_16"), ("WAV", "IMA_ADPCM")],
)
def test_joined_recordings_are_all_heard(tmp_path: Path, form: str, subtype: str) -> None:
    parts = [(0, 3), (3, 5), (5, 9)]
    names = [by_soundfile(tmp_path / f"{n}", *part, form, subtype) for n, part in enumerate(parts)]
    data = [one.read_bytes() for one in names]
    if form == "MP3":  # each with a tag of its own, the second with a picture
        picture = bytes(70_000)
        digits = bytes(len(picture) >> shift & 127 for shift in (21, 14, 7, 0))
        data[1] = b"ID3\x04\0\0" + digits + picture + data[1]
        data[2] = b"ID3\x04\0\0" + bytes([0, 0, 0, 10]) + bytes(10) + data[2]
    (tmp_path / "all").write_bytes(b"".join(data))
    found, recording = heard(tmp_path / "all")
    assert found == [*range(9)]
    assert recording.warnings == []


def test_joined_recordings_of_different_rates_are_all_heard(tmp_path: Path) -> None:
    first = by_soundfile(tmp_path / "1", 0, 3, "MP3", "MPEG_LAYER_III", 44_100)
    second = by_soundfile(tmp_path / "2", 3, 6, "MP3", "MPEG_LAYER_III", 16_000)
    (tmp_path / "all").write_bytes(first.read_bytes() + second.read_bytes())
    found, recording = heard(tmp_path / "all")
    assert (found, recording.sample_rate) == ([*range(6)], 44_100)


@pytest.mark.parametrize(
    "tail",
    [b"TAG" + bytes(125), b"APETAGEX" + bytes(20_000), b"ID3\x04\0\0\0\0\x7f\x76" + b"\xff\xfb" * 8187],
)
def test_a_tag_behind_an_mp3_is_no_audio(tmp_path: Path, tail: bytes) -> None:
    path = by_soundfile(tmp_path / "x.mp3", 0, 3, "MP3", "MPEG_LAYER_III")
    path.write_bytes(path.read_bytes() + tail)
    found, recording = heard(path)
    assert (found, recording.warnings) == ([0, 1, 2], [])


def test_two_chunks_of_audio_in_a_wav_are_both_heard(tmp_path: Path) -> None:
    chunks = [np.round(seconds(*part) * 2**15).astype("<i2").tobytes() for part in ((0, 2), (2, 4))]
    body = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    body += b"".join(b"data" + struct.pack("<I", len(one)) + one + b"LIST\4\0\0\0abcd" for one in chunks)
    (tmp_path / "x.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    found, recording = heard(tmp_path / "x.wav")
    assert (found, recording.warnings) == ([0, 1, 2, 3], [])


@pytest.mark.parametrize("name", ["x.aiff", "x.m4a", "x.caf"])
def test_what_is_joined_and_not_read_is_said(tmp_path: Path, name: str) -> None:
    if name == "x.m4a":
        path = write(tmp_path / name, "aac", 0, 2)
    else:
        path = by_soundfile(tmp_path / name, 0, 2, name[2:].upper(), "PCM_16")
    path.write_bytes(path.read_bytes() * 2)
    found, recording = heard(path)
    assert found[:2] == [0, 1]
    assert len(found) >= 4 or "heard in part" in recording.warnings[0]


# Times


@pytest.mark.parametrize("name", ["x.mkv", "x.mp4"])
def test_a_video_whose_sound_starts_late_has_the_times_of_the_container(tmp_path: Path, name: str) -> None:
    found, recording = heard(write(tmp_path / name, "aac", 0, 3, start=5.0, video=True))
    assert found[:8] == [SILENT] * 5 + [0, 1, 2]
    [warning] = recording.warnings
    assert warning.startswith("its sound begins at ")


def test_a_gap_is_silence_and_said(tmp_path: Path) -> None:
    found, recording = heard(write(tmp_path / "x.webm", "libopus", 0, 14, rate=48_000, gap=(4.0, 10.0)))
    assert found[:14] == [0, 1, 2, 3, *[SILENT] * 6, 10, 11, 12, 13]
    [warning] = recording.warnings
    assert warning.startswith("gaps: ")


def test_a_single_wrong_time_stamp_moves_nothing(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "x.mka"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        container.start_encoding()
        for start in range(0, 4 * RATE, RATE // 2):
            container.mux(_pcm(stream, start, start))
    data = (tmp_path / "x.mka").read_bytes()
    header = b"\x81" + (1500).to_bytes(2, "big")  # of a block: its track and its time in ms
    assert data.count(header) == 1
    (tmp_path / "x.mka").write_bytes(data.replace(header, b"\x81" + (3700).to_bytes(2, "big")))
    found, recording = heard(tmp_path / "x.mka")
    assert (found, recording.warnings) == ([0, 1, 2, 3], [])


def _pcm(stream: Any, start: int, time: int) -> Any:
    """Half a second from sample `start` on, as of a time in samples."""
    packet = av.Packet(np.round(seconds(0, 4)[start : start + RATE // 2] * 2**15).astype("<i2").tobytes())
    packet.stream, packet.time_base, packet.pts = stream, Fraction(1, RATE), time
    return packet


def test_time_stamps_that_leap_by_days_make_no_days(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "x.nut"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        container.start_encoding()
        for start in range(0, 4 * RATE, RATE // 2):
            container.mux(_pcm(stream, start, start + (100 * 3600 * RATE if start >= 2 * RATE else 0)))
    found, recording = heard(tmp_path / "x.nut")
    assert found == [0, 1, 2, 3]
    assert "leap" in recording.warnings[0]


# Damage


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("x.webm", "libopus"),
        ("x.mkv", "aac"),
        ("x.aac", "aac"),
        ("x.m4a", "aac"),
        ("x.wma", "wmav2"),
        ("x.ogg", "libopus"),
        ("x.ac3", "ac3"),
    ],
)
def test_damage_in_the_middle_is_passed_over_and_said(tmp_path: Path, name: str, codec: str) -> None:
    rate = 48_000 if codec in ("libopus", "ac3") else RATE
    path = noised(write(tmp_path / name, codec, 0, 16, rate=rate), 0.34)
    found, recording = heard(path)
    _as_much_as_can_be(found)
    assert len(recording.warnings) == 1
    assert recording.warnings[0].startswith(("damaged", "gaps"))


@pytest.mark.parametrize(
    ("form", "subtype"), [("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS")]
)
def test_damage_at_which_libsndfile_stops_is_passed_over_and_said(
    tmp_path: Path, form: str, subtype: str
) -> None:
    path = noised(by_soundfile(tmp_path / "x", 0, 16, form, subtype), 0.5)
    found, recording = heard(path)
    _as_much_as_can_be(found)
    assert recording.warnings
    assert "cut off" not in " ".join(recording.warnings)


def _as_much_as_can_be(found: list[int]) -> None:
    """All but the seconds about the damage are heard, at their time."""
    assert 15 <= len(found) <= 17
    wrong = [second for second, one in enumerate(found[:16]) if one != second]
    assert len(wrong) <= 6
    assert found[14:16] == [14, 15]
    assert found[:4] == [0, 1, 2, 3]


def test_a_damaged_flac_keeps_its_samples_bit_by_bit(tmp_path: Path) -> None:
    path = by_soundfile(tmp_path / "x.flac", 0, 16, "FLAC", "PCM_16")
    whole, _ = soundfile.read(path, dtype="float32")
    with open_recording(str(noised(path, 0.34))) as recording:
        found = np.concatenate([*recording.blocks])[:, 0]
    assert len(found) == len(whole)
    assert np.mean(found != whole) < 0.1
    with open_recording(str(path), exact=True) as recording:
        assert next(recording.blocks).dtype == np.float64


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("x.webm", "libopus"),
        ("x.mkv", "aac"),
        ("x.ogg", "libopus"),
        ("x.oga", "flac"),
        ("x.wma", "wmav2"),
        ("x.flac", "flac"),
    ],
)
def test_the_first_half_of_a_file_is_said_to_be_cut_off(tmp_path: Path, name: str, codec: str) -> None:
    rate = 48_000 if codec == "libopus" else RATE
    path = write(tmp_path / name, codec, 0, 16, rate=rate)
    assert heard(path)[1].warnings == []
    found, recording = heard(halved(path))
    assert found[:6] == [*range(6)]
    assert len(found) <= 10
    assert "cut off" in recording.warnings[-1]


@pytest.mark.parametrize(("form", "subtype"), [("CAF", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_what_libsndfile_does_not_miss_is_said_to_be_cut_off(tmp_path: Path, form: str, subtype: str) -> None:
    path = by_soundfile(tmp_path / "x", 0, 16, form, subtype)
    assert heard(path)[1].warnings == []
    [warning] = heard(halved(path))[1].warnings
    assert warning.startswith("cut off")


def test_the_pages_of_an_ogg_are_checked(tmp_path: Path) -> None:
    path = by_soundfile(tmp_path / "x.ogg", 0, 5, "OGG", "VORBIS")
    whole = path.read_bytes()
    for data, fault in (
        (whole, ""), (whole * 2, "chained"), (whole[:-10], "cut"), (whole[:-10] + b"0123456789", "damaged"),
        (whole[:5000] + bytes(1) + whole[5001:], "damaged"), (whole[:5000] + whole[5001:], "damaged"),
    ):  # fmt: skip
        path.write_bytes(data)
        with path.open("rb") as file:
            assert ogg_fault(file) == fault


def test_without_pyav_damage_and_what_is_not_heard_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "find_spec", lambda name: None)
    ogg = noised(by_soundfile(tmp_path / "x.ogg", 0, 16, "OGG", "VORBIS"), 0.34)
    assert "damaged" in " ".join(heard(ogg)[1].warnings)
    mp3 = by_soundfile(tmp_path / "x.mp3", 0, 3, "MP3", "MPEG_LAYER_III")
    mp3.write_bytes(mp3.read_bytes() * 2)
    [warning] = heard(mp3)[1].warnings
    assert warning.startswith("heard in part")


# What is odd about a file


def test_an_mp3_in_a_wav_is_whole(tmp_path: Path) -> None:
    sound, rate = seconds(0, 3, 44_100), 44_100
    soundfile.write(
        tmp_path / "x", sound, rate, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT"
    )
    whole = (tmp_path / "x").read_bytes()
    mp3 = whole[whole.index(whole[:2], 100) :]  # without the frame that tells the length
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, rate, 16_000, 1152, 0, 12, 1, 0, 1152, 1, 1393)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"fact" + struct.pack("<II", 4, len(sound) + 2304) + b"data" + struct.pack("<I", len(mp3)) + mp3
    (tmp_path / "x.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    found, recording = heard(tmp_path / "x.wav")
    assert (found, recording.warnings) == ([0, 1, 2], [])


def test_an_mp4_without_its_index_is_of_an_interrupted_recorder(tmp_path: Path) -> None:
    error = failure(halved(write(tmp_path / "x.m4a", "aac", 0, 4)))
    assert error.word == "unsupported-format"
    assert "the recorder was interrupted" in error.cause


def test_a_length_of_zero_with_little_sound_behind_it(tmp_path: Path) -> None:
    sound = np.round(seconds(0, 1)[:2000] * 2**15).astype("<i2").tobytes()
    body = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16) + b"data\0\0\0\0"
    (tmp_path / "x.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body + sound)
    with open_recording(str(tmp_path / "x.wav")) as recording:
        assert sum(len(block) for block in recording.blocks) == 2000
    tags = b"LIST" + struct.pack("<I", 4000) + bytes(4000)  # a header and no sound
    (tmp_path / "x.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body + tags)
    with open_recording(str(tmp_path / "x.wav")) as recording:
        assert sum(len(block) for block in recording.blocks) == 0


@pytest.mark.parametrize(
    ("name", "data", "what", "remedy"),
    [
        ("x.tar.gz", b"\x1f\x8b\x08" + bytes(100), "gzip", "tar xzf"),
        ("x.zip", b"PK\x03\x04" + bytes(100), "zip", "unzip"),
        ("x.arrow", b"ARROW1\0\0" + bytes(100), "Arrow", "to_parquet"),
        ("x.arrow", b"\xff\xff\xff\xff\xd0\1\0\0" + bytes(100), "Arrow", "to_parquet"),
        ("x", b"PAR1" + bytes(100), "Parquet", ".parquet"),
        ("x", b"a.wav" + bytes(252) + b"ustar\0" + bytes(300), "tar", ".tar"),
        ("x.pcm", np.arange(1000, dtype="<i2").tobytes(), "without a header", "ast-tag listen"),
        ("x.RAW", np.arange(1000, dtype="<i2").tobytes(), "without a header", "ast-tag listen"),
    ],
)
@pytest.mark.parametrize("has_av", [True, False])
def test_what_is_no_recording_is_called_by_its_name(
    tmp_path: Path,
    name: str,
    data: bytes,
    what: str,
    remedy: str,
    has_av: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not has_av:
        monkeypatch.setitem(__import__("sys").modules, "av", None)
    (tmp_path / name).write_bytes(data)
    error = failure(tmp_path / name)
    assert error.word == "unsupported-format"
    assert what in error.cause
    assert remedy in error.remedy


# Levels


def stereo(path: Path, left: Samples, right: Samples, subtype: str = "FLOAT") -> Path:
    soundfile.write(path, np.stack([left, right], axis=1), RATE, format="WAV", subtype=subtype)
    return path


@pytest.mark.parametrize("seconds_", [1, 25])
def test_channels_that_cancel_each_other_are_said(tmp_path: Path, seconds_: int) -> None:
    tone = seconds(0, seconds_)
    _, recording = heard(stereo(tmp_path / "x.wav", tone, -tone, "PCM_16"))
    [warning] = recording.warnings
    assert "--channel 1" in warning
    with open_recording(str(tmp_path / "x.wav")) as recording:
        assert sum(map(len, recording.mono(2))) == len(tone)
    assert recording.warnings == []


def test_a_dead_channel_two_of_noise_and_silence_cancel_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.uniform(-0.5, 0.5, 3 * RATE).astype(np.float32) for _ in range(2))
    for left, right in (
        (one, 0 * one),
        (0 * one, one),
        (one, other),
        (0 * one, 0 * one),
        (one, one),
        (one, -0.5 * one),
    ):
        assert heard(stereo(tmp_path / "x.wav", left, right))[1].warnings == []


def test_integers_that_were_written_as_float_are_said(tmp_path: Path) -> None:
    tone = seconds(0, 3)
    soundfile.write(tmp_path / "x.wav", tone * 2**15, RATE, subtype="FLOAT")
    [warning] = heard(tmp_path / "x.wav")[1].warnings
    assert "32,768" in warning
    soundfile.write(tmp_path / "x.wav", tone * 10, RATE, subtype="FLOAT")  # loud, not absurd
    assert heard(tmp_path / "x.wav")[1].warnings == []

"""Clips against the samples they are cut from, names from strangers, and what is left when it fails."""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import ast_cli.clips.files
from ast_cli.audio.decode import open_recording
from ast_cli.clips.cutter import Clip, ClipSettings, ClipTable, Cutter
from ast_cli.clips.places import LONGEST_FOLDER, MANIFEST, class_folders, find_recording
from ast_cli.errors import OutputError, UsageError
from ast_cli.outputs.destination import folder_of_all
from ast_cli.results import Event, FileFailure, FileResult, Outcome, Stamp

RATE = 8_000
LABELS = ("Ant", "Bee", "Dog")


def event(start: float, end: float, index: int = 2, score: float = 0.5) -> Event:
    return Event(start, end, index, "", LABELS[index], score, score)


def result(
    file: str, *events: Event, seconds: float = 2.0, rate: int = RATE, channels: int = 1
) -> FileResult:
    return FileResult(file, seconds, seconds, rate, channels, (), events=events)


def cutter(outcomes: Sequence[Outcome], audio: Path | None = None, **settings: Any) -> Cutter:
    base = folder_of_all(one.file for one in outcomes)
    return Cutter(lambda: iter(outcomes), LABELS, Path("clips"), base, audio, ClipSettings(**settings))


def cut(*outcomes: Outcome, **settings: Any) -> list[Clip]:
    return [*cutter(outcomes, **settings).clips()]


def only_clip(*outcomes: Outcome, **settings: Any) -> Path:
    [clip] = cut(*outcomes, **settings)
    assert clip.skipped == ""
    return Path("clips") / clip.path


def there() -> list[str]:
    """All files among the clips, be they under their final name or not."""
    return sorted(path.relative_to("clips").as_posix() for path in Path("clips").rglob("*") if path.is_file())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def noise(seconds: float = 2.0, channels: int = 1, rate: int = RATE) -> Any:
    return np.random.default_rng(0).uniform(-1, 1, (round(seconds * rate), channels))


def write(name: str, samples: Any, subtype: str = "PCM_16", rate: int = RATE, **options: str) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(name, samples, rate, subtype, **options)
    return name


# Samples


@pytest.mark.parametrize(
    ("name", "subtype", "stored"),
    [
        ("a.wav", "PCM_U8", "PCM_U8"),
        ("a.wav", "PCM_16", "PCM_16"),
        ("a.wav", "PCM_24", "PCM_24"),
        ("a.wav", "PCM_32", "PCM_32"),
        ("a.wav", "FLOAT", "FLOAT"),
        ("a.wav", "DOUBLE", "DOUBLE"),
        ("a.wav", "ULAW", "PCM_16"),
        ("a.wav", "IMA_ADPCM", "PCM_16"),
        ("a.flac", "PCM_S8", "PCM_U8"),
        ("a.flac", "PCM_16", "PCM_16"),
        ("a.flac", "PCM_24", "PCM_24"),
        ("a.aiff", "PCM_S8", "PCM_U8"),
        ("a.aiff", "PCM_16", "PCM_16"),
        ("a.aiff", "PCM_24", "PCM_24"),
        ("a.aiff", "FLOAT", "FLOAT"),
        ("a.caf", "ALAC_24", "PCM_24"),
    ],
)
def test_a_clip_has_the_very_samples_of_the_recording(name: str, subtype: str, stored: str) -> None:
    write(name, noise(channels=2), subtype)
    expected, _ = soundfile.read(name, dtype="float64", always_2d=True)  # some codecs fill their last block
    clip = only_clip(result(name, event(0.5, 1.234), seconds=len(expected) / RATE, channels=2))
    found, rate = soundfile.read(clip, dtype="float64", always_2d=True)
    np.testing.assert_array_equal(found, expected[4_000:9_872])
    assert (rate, soundfile.info(clip).subtype, soundfile.info(clip).format) == (RATE, stored, "WAV")


@pytest.mark.parametrize(
    ("name", "subtype", "stored"),
    [("a.wav", "PCM_U8", "PCM_S8"), ("a.wav", "PCM_16", "PCM_16"), ("a.flac", "PCM_24", "PCM_24")],
)
def test_flac_holds_the_very_samples_too(name: str, subtype: str, stored: str) -> None:
    write(name, noise(channels=3), subtype)
    clip = only_clip(result(name, event(0.5, 1.0), channels=3), format="flac")
    expected, _ = soundfile.read(name, dtype="float64", always_2d=True)
    found, _ = soundfile.read(clip, dtype="float64", always_2d=True)
    np.testing.assert_array_equal(found, expected[4_000:8_000])
    assert (soundfile.info(clip).subtype, soundfile.info(clip).format) == (stored, "FLAC")


@pytest.mark.parametrize("subtype", ["PCM_32", "FLOAT", "DOUBLE"])
def test_flac_holds_24_bits_of_what_is_finer(subtype: str) -> None:
    write("a.wav", 1.5 * noise(), subtype)
    clip = only_clip(result("a.wav", event(0, 2)), format="flac")
    expected, _ = soundfile.read("a.wav", dtype="float64")
    found, _ = soundfile.read(clip, dtype="float64")
    np.testing.assert_allclose(found, expected.clip(-1, 1), atol=2**-23)
    assert soundfile.info(clip).subtype == "PCM_24"


def test_extreme_samples_keep_their_values() -> None:
    extremes = np.array([-(2**15), 2**15 - 1, -1, 0, 1] * 1_600, np.int16)
    write("a.wav", extremes)
    found, _ = soundfile.read(only_clip(result("a.wav", event(0, 1), seconds=1.0)), dtype="int16")
    np.testing.assert_array_equal(found, extremes)


@pytest.mark.parametrize(
    ("name", "subtype"), [("a.ogg", "VORBIS"), ("a.mp3", "MPEG_LAYER_III"), ("a.ogg", "OPUS")]
)
def test_a_lossy_recording_is_cut_as_it_is_decoded(name: str, subtype: str) -> None:
    write(name, 0.3 * noise(rate=48_000), subtype, 48_000)
    with open_recording(name) as recording:
        expected = np.concatenate([*recording.blocks])
    seconds = len(expected) / 48_000
    clip = only_clip(result(name, event(0.5, 1.0), seconds=seconds, rate=48_000))
    found, _ = soundfile.read(clip, always_2d=True)
    np.testing.assert_allclose(found, expected[24_000:48_000], atol=2**-15)
    assert soundfile.info(clip).subtype == "PCM_16"


def test_what_libsndfile_cannot_read_is_cut_in_24_bits() -> None:
    av = pytest.importorskip("av")
    samples = (noise()[:, 0] * 2**31).astype(np.int32) & ~0xFF  # 24 bits
    with av.open("a.m4a", "w", format="mp4") as container:
        stream = container.add_stream("alac", rate=RATE, layout="mono", format="s32p")
        for start in range(0, len(samples), 4_000):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 4_000], "s32p", "mono")
            frame.rate, frame.pts = RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    clip = only_clip(result("a.m4a", event(0.5, 1.0)))
    found, _ = soundfile.read(clip, dtype="int32")
    np.testing.assert_array_equal(found, samples[4_000:8_000])


def test_a_recording_of_several_blocks_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = noise(25.0)
    write("a.wav", samples)
    opened: list[str] = []

    def counting(path: str, **options: bool) -> Any:
        opened.append(path)
        return open_recording(path, **options)

    monkeypatch.setattr(ast_cli.clips.files, "open_recording", counting)
    # Within a block, over the border of two, over three of them, to the end, and all of it.
    spans = [(1, 2), (9.5, 10.5), (9, 21), (24, 25), (0, 25), (10, 20)]
    clips = cut(result("a.wav", *(event(*span) for span in spans), seconds=25.0))
    expected, _ = soundfile.read("a.wav", dtype="int16")
    for clip, (start, end) in zip(clips, spans, strict=True):
        found, _ = soundfile.read(Path("clips") / clip.path, dtype="int16")
        np.testing.assert_array_equal(found, expected[round(start * RATE) : round(end * RATE)])
    assert opened == ["a.wav"]


def test_more_clips_than_may_be_open_take_another_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ast_cli.clips.files, "MOST_OPEN", 3)
    write("a.wav", noise())
    events = [event(0, 1 + place / 10) for place in range(8)]
    clips = cut(result("a.wav", *events))
    expected, _ = soundfile.read("a.wav", dtype="int16")
    for clip, one in zip(clips, events, strict=True):
        found, _ = soundfile.read(Path("clips") / clip.path, dtype="int16")
        np.testing.assert_array_equal(found, expected[: round(one.end * RATE)])


def test_a_clip_too_large_for_wav_says_its_length_in_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ast_cli.clips.files, "LARGEST_WAV", 1_000)
    write("a.wav", noise())
    clip = only_clip(result("a.wav", event(0.5, 1.0)))
    assert soundfile.info(clip).format in ("RF64", "WAV")  # libsndfile writes the plain form where that does
    assert soundfile.info(clip).frames == 4_000


# Times


@pytest.mark.parametrize(
    ("margin", "frames"),
    [(0.0, (4_000, 8_000)), (0.25, (2_000, 10_000)), (0.75, (0, 14_000)), (99.0, (0, 16_000))],
)
def test_a_margin_is_cut_too_as_far_as_there_is_audio(margin: float, frames: tuple[int, int]) -> None:
    write("a.wav", noise())
    [clip] = cut(result("a.wav", event(0.5, 1.0)), margin=margin)
    expected, _ = soundfile.read("a.wav", dtype="int16")
    found, _ = soundfile.read(Path("clips") / clip.path, dtype="int16")
    np.testing.assert_array_equal(found, expected[slice(*frames)])
    assert (clip.start, clip.end) == (frames[0] / RATE, frames[1] / RATE)


def test_what_ends_with_the_recording_has_its_last_sample() -> None:
    write("a.wav", noise()[:15_997])
    clip = only_clip(result("a.wav", event(1.0, round(15_997 / RATE, 3)), seconds=round(15_997 / RATE, 3)))
    assert soundfile.info(clip).frames == 7_997


def test_events_with_the_same_margins_are_two_clips() -> None:
    write("a.wav", noise())
    clips = cut(result("a.wav", event(0.5, 0.75), event(1.0, 1.5)), margin=5)
    assert there() == ["Dog/a.wav_0.500-0.750.wav", "Dog/a.wav_1.000-1.500.wav"]
    assert {(clip.start, clip.end) for clip in clips} == {(0.0, 2.0)}


@pytest.mark.parametrize("span", [(2.0, 2.0), (1.0, 1.0), (2.0, 3.0), (5.0, 6.0)])
def test_an_event_without_a_sample_is_said_to_be_empty(span: tuple[float, float]) -> None:
    write("a.wav", noise())
    assert [clip.skipped for clip in cut(result("a.wav", event(*span), event(0.0, 1.0)))] == ["empty", ""]
    assert there() == ["Dog/a.wav_0.000-1.000.wav"]


# Which ones


def test_the_best_of_each_class_are_taken_over_all_recordings() -> None:
    for name in ("a.wav", "b.wav"):
        write(name, noise())
    clips = cut(
        result("a.wav", event(0, 1, 0, 0.9), event(0, 1, 2, 0.6), event(1, 2, 2, 0.7)),
        FileFailure("c.wav", "empty", ""),
        result("b.wav", event(0, 1, 2, 0.7), event(1, 2, 2, 0.8)),
        most=2,
    )
    # Of two that score the same the first is taken.
    assert [clip.skipped for clip in clips] == ["", "limit", "", "limit", ""]
    assert len(there()) == 3


@pytest.mark.parametrize("settings", [{"margin": -1}, {"margin": float("inf")}, {"most": 0}])
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ClipSettings(**settings)


# Recordings that are not what they were


def test_missing_recordings_are_named_and_the_others_are_cut() -> None:
    write("b.wav", noise())
    clips = cut(result("a.wav", event(0, 1)), result("b.wav", event(0, 1)), result("-", event(0, 1)))
    assert [clip.skipped for clip in clips] == ["missing", "", "missing"]
    assert "standard input" in clips[2].message
    assert there() == ["Dog/b.wav_0.000-1.000.wav"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seconds": 2.1}, "it lasts 2.000 s, and did 2.100 s"),
        ({"seconds": 1.9}, "it lasts 2.000 s, and did 1.900 s"),
        ({"rate": 16_000, "seconds": 1.0}, "it has 1 channels at 8000 Hz, and had 1 channels at 16000 Hz"),
        ({"channels": 2}, "and had 2 channels"),
    ],
)
def test_a_recording_that_changed_gives_no_clips(change: dict[str, Any], said: str) -> None:
    write("a.wav", noise())
    [clip] = cut(result("a.wav", event(0, 0.5), **change))
    assert clip.skipped == "changed"
    assert said in clip.message
    assert there() == []


def test_a_recording_of_another_size_gives_no_clips() -> None:
    write("a.wav", noise())
    [clip] = cut(replace(result("a.wav", event(0, 0.5)), stamp=Stamp(1, 0)))
    assert (clip.skipped, "32,044 bytes, and had 1" in clip.message) == ("changed", True)


def test_a_recording_that_cannot_be_read_gives_no_clips() -> None:
    Path("a.wav").write_text("no audio")
    [clip] = cut(result("a.wav", event(0, 0.5)))
    assert clip.skipped == "unreadable"
    assert clip.message
    assert there() == []


def test_a_recording_that_results_have_twice_is_cut_once() -> None:
    write("sub/a.wav", noise())
    clips = cut(result("sub/a.wav", event(0, 1)), result("sub/../sub/a.wav", event(0, 1), event(1, 2)))
    assert [clip.skipped for clip in clips] == ["", "already-there", "already-there"]


# Where they are


def test_recordings_are_found_where_they_were_moved_with_their_tree(tmp_path: Path) -> None:
    base = tmp_path / "old/field"
    for place in ("new/x/a.wav", "newer/field/x/a.wav", "newest/old/field/x/a.wav"):
        write(place, noise())
        assert find_recording("old/field/x/a.wav", base, Path(place.split("/")[0])) is not None
    assert find_recording("old/field/x/a.wav", base, None) is None
    # A name alone might be another recording's.
    assert find_recording("old/field/x/a.wav", base, Path("new/x")) is None
    assert find_recording(str(base / "x/a.wav"), base, Path("new")) == "new/x/a.wav"


def test_recordings_of_the_same_name_do_not_collide() -> None:
    for name in ("x/a.wav", "y/a.wav"):
        write(name, noise())
    cut(result("x/a.wav", event(0, 1)), result("y/a.wav", event(0, 1)))
    assert there() == ["Dog/x/a.wav_0.000-1.000.wav", "Dog/y/a.wav_0.000-1.000.wav"]


@pytest.mark.parametrize(
    "name", [os.fsdecode(b"\xff\n.wav"), "l" * 240 + ".wav", "-rf.wav", "a.wav_0.000-1.000.wav"]
)
def test_names_of_recordings_may_be_any(name: str) -> None:
    write("plain.wav", noise())
    Path("plain.wav").rename(name)
    clip = only_clip(result(name, event(0, 1)))
    assert soundfile.info(os.fsencode(clip)).frames == RATE
    assert len(os.fsencode(clip.name)) <= 255


# Names of classes

HARD = (
    *(
        "a/b",
        "../../x",
        "..",
        ".",
        "",
        " ",
        "...",
        "/",
        "\\",
        "a\0b",
        "x\ny",
        "\x1b[31m",
        "\u202egnp",
        "\u200fx",
    ),
    *(
        "y" * 300,
        "é" * 300,
        "dog",
        "Dog",
        "DOG",
        "dog ",
        "Dog (2)",
        "Dog (20)",
        "CON:",
        "a*?",
        "-rf",
        "~root",
    ),
    *("CON", "nul", "Aux.wav", "com1", "LPT¹ .x", "prn."),
    *(
        "manifest.csv",
        "Manifest.csv.part",
        "\ud800",
        "e\u0301",
        "é",
        "ﬁ",
        "fi",
        "Baby cry, infant cry",
        "(3)",
    ),
)


# Whatever stands behind a dot after these, Windows opens a device.
DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"),
}


def assert_safe(labels: Sequence[str]) -> None:
    folders = class_folders(labels)
    assert len({unicodedata.normalize("NFKC", folder).casefold() for folder in folders}) == len(labels)
    for folder in folders:
        assert Path(folder).parts == (folder,)
        assert folder.isprintable()
        assert folder not in (".", "..")
        assert len(folder.encode()) <= LONGEST_FOLDER + len(" (1234567)")
        assert not set(folder) & set('/\\:*?"<>|')
        assert folder[0] not in " .-~"
        assert folder[-1] not in " ."
        assert folder.partition(".")[0].strip().casefold() not in DEVICES
        assert not folder.casefold().startswith(MANIFEST) or folder.endswith(")")


def test_every_class_has_a_folder_of_its_own_whatever_it_is_called() -> None:
    assert_safe(HARD)


@given(st.lists(st.text(max_size=8) | st.sampled_from(HARD), max_size=12))
def test_folders_of_classes_are_safe_and_differ(labels: list[str]) -> None:
    assert_safe(labels)


def test_a_name_that_can_be_a_folder_is_one() -> None:
    names = ["Dog", "Baby cry, infant cry", "Dental drill, dentist's drill", "日本語", "a b"]
    assert class_folders(names) == names
    assert class_folders(["a/b", "Dog", "dog"]) == ["a_b (0)", "Dog (1)", "dog (2)"]


def test_clips_of_classes_with_hard_names_stay_inside(here: Path) -> None:
    write("a.wav", noise())
    events = tuple(Event(0, 1, index, "", label, 0.5, 0.5) for index, label in enumerate(HARD))
    outcome = result("a.wav", *events)
    clips = [*Cutter(lambda: iter([outcome]), HARD, Path("clips"), here).clips()]
    assert {clip.skipped for clip in clips} == {""}
    assert len(there()) == len(HARD)
    assert sorted(path.name for path in Path().iterdir()) == ["a.wav", "clips"]


# What goes wrong while they are written


def test_a_full_disk_leaves_no_clip_of_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no device here is always full")
    for name in ("a.wav", "b.wav"):
        write(name, noise())
    monkeypatch.setattr("ast_cli.files.part_of", lambda path: Path(f"{path}.part"))
    full = Path("clips/Dog/b.wav_1.000-2.000.wav.part")
    full.parent.mkdir(parents=True)
    full.symlink_to("/dev/full")
    clips = cutter([result("a.wav", event(0, 1)), result("b.wav", event(0, 1.5), event(1, 2))]).clips()
    assert next(clips).skipped == ""
    with pytest.raises(
        OutputError, match=r"b\.wav_1\.000-2\.000\.wav: No space left on device\. Free some space, or choose"
    ):
        next(clips)
    assert there() == ["Dog/a.wav_0.000-1.000.wav"]


def test_an_interruption_leaves_no_clip_of_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.wav", noise(25.0))
    times = iter(range(100))

    def interrupted(self: Any, block: Any) -> None:
        if next(times) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(ast_cli.clips.files._ClipFile, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cut(result("a.wav", event(0, 1), event(5, 15), seconds=25.0))
    assert next(times) == 3
    assert there() == []


def test_what_flac_cannot_hold_is_said_with_the_format_that_can() -> None:
    write("a.wav", noise(channels=9))
    with pytest.raises(OutputError, match="--format wav"):
        cut(result("a.wav", event(0, 1), channels=9), format="flac")
    assert there() == []


def test_a_place_that_is_taken_by_a_file_is_an_error_of_ours() -> None:
    write("a.wav", noise())
    Path("clips").mkdir()
    Path("clips/Dog").touch()
    with pytest.raises(OutputError, match="cannot write clips/Dog"):
        cut(result("a.wav", event(0, 1)))


# The table of them


def rows(clips: Sequence[Clip]) -> Iterator[dict[str, str]]:
    with Path("table.csv").open("w", encoding="utf-8", newline="\n") as stream:
        table = ClipTable(stream)
        for clip in clips:
            table.add(clip)
    with Path("table.csv").open(encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream)


def test_the_table_tells_what_became_of_every_event() -> None:
    write("a.wav", noise())
    clips = cut(
        result("a.wav", event(0.5, 1, score=0.75), replace(event(3, 4), mid="=1")),
        result("=1\r\n.wav", event(0, 1)),
        margin=1,
    )
    first, empty, missing = rows(clips)
    assert first == {
        "clip": "Dog/a.wav_0.500-1.000.wav",
        "file": "a.wav",
        "index": "2",
        "mid": "",
        "label": "Dog",
        "start": "0.500",
        "end": "1.000",
        "score": "0.750000",
        "clip_start": "0.000",
        "clip_end": "2.000",
        "skipped": "",
        "message": "",
    }
    assert (empty["clip"], empty["mid"], empty["skipped"]) == ("", "'=1", "empty")
    assert (missing["file"], missing["skipped"]) == ("./=1\r\n.wav", "missing")
    assert re.match("no such file. --audio", missing["message"])


def test_the_table_shows_a_name_that_a_terminal_would_obey_as_its_bytes() -> None:
    assert [row["file"] for row in rows(cut(result("\x1b[2J.wav", event(0, 1))))] == [r"\x1b[2J.wav"]

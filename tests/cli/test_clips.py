"""`ast-tag clips` as it is used: what is cut, what is said, and with which exit code it ends."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ast_cli.errors import ExitCode
from tests.cli.runner import Done, ast_tag

ROOT = Path(__file__).parents[2]
HEARD = ("--model", "tiny", "--window", "2", "--hop", "1", "--short", "crop")


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two recordings, and runs over them that stored different things."""
    folder = tmp_path_factory.mktemp("tagged")
    samples, rate = soundfile.read(ROOT / "examples/clips/speech-then-music-then-siren.ogg")
    (folder / "field").mkdir()
    soundfile.write(folder / "field/music.wav", samples[6 * rate : 11 * rate], rate)
    soundfile.write(folder / "field/siren.flac", np.stack([samples[-4 * rate :]] * 2, axis=1), rate)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, *options in (
            ("r", "--keep-scores"),
            ("windows", "--timeline"),
            ("events", "--events"),
            ("few",),
        ):
            assert ast_tag("tag", "field", *HEARD, *options, "--out", f"{name}.jsonl").code == ExitCode.OK
    return folder


@pytest.fixture
def here(tagged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to work in."""
    shutil.copytree(tagged, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def clips(*options: str, results: str = "r.jsonl", out: str = "out") -> Done:
    return ast_tag("clips", results, "--out", out, *options)


def rows(out: str = "out") -> list[dict[str, str]]:
    with Path(out, "manifest.csv").open(encoding="utf-8", newline="") as stream:
        return [*csv.DictReader(stream)]


def files(out: str = "out") -> Iterator[str]:
    return (
        path.relative_to(out).as_posix() for path in Path(out).rglob("*") if path.suffix in (".wav", ".flac")
    )


def assert_reconciled(done: Done, out: str = "out") -> None:
    """The table has a row for every event, a file for every clip, and the closing line says how many."""
    table = rows(out)
    written = [row["clip"] for row in table if not row["skipped"]]
    assert sorted(written) == sorted(files(out))
    assert len(set(written)) == len(written)
    closing = done.errors[-1]
    assert closing.startswith(f"{len(table)} event")
    assert f": {len(written)} written, {len(table) - len(written)} skipped" in closing


def test_the_clips_are_the_events_of_an_export(here: Path) -> None:
    done = clips()
    assert (done.code, done.out) == (ExitCode.OK, "")
    assert_reconciled(done)
    exported = ast_tag("export", "r.jsonl", "--events", "-f", "csv").out.splitlines()
    columns = ("file", "start", "end", "index", "mid", "label", "score")
    expected = [{name: row[name] for name in columns} for row in csv.DictReader(exported)]
    assert expected == [{name: row[name] for name in columns} for row in rows()]
    assert len(expected) > 5


def test_a_clip_is_what_the_recording_is(here: Path) -> None:
    clips("--label", "Siren")
    [row] = [row for row in rows() if row["file"] == "field/siren.flac"]
    assert row["clip"] == f"Siren/siren.flac_{row['start']}-{row['end']}.wav"
    found, rate = soundfile.read(Path("out", row["clip"]), dtype="int16")
    samples, its = soundfile.read("field/siren.flac", dtype="int16")
    assert rate == its
    expected = samples[round(float(row["start"]) * rate) : round(float(row["end"]) * rate)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        (("--label", "siren"), {"Siren"}),
        (("--label", "Siren", "--label", "/m/04rlf"), {"Siren", "Music"}),
        (("--label", "Alarm/**", "--exclude", "Alarm"), {"Siren"}),
        (("--label", "*sic*", "--threshold", "0.99"), {"Music"}),
        (("--label", "30"), {"Music"}),
    ],
)
def test_labels_are_chosen_as_elsewhere(options: tuple[str, ...], labels: set[str], here: Path) -> None:
    done = clips(*options)
    assert done.code == ExitCode.OK
    assert {row["label"] for row in rows()} == labels
    assert {path.name for path in Path("out").iterdir() if path.is_dir()} == labels
    assert_reconciled(done)


def test_the_best_of_a_class_with_a_margin_as_flac(here: Path) -> None:
    done = clips("--threshold", "0.3", "--max", "1", "--margin", "0.5", "--format", "flac")
    table = rows()
    taken = [row for row in table if not row["skipped"]]
    assert {row["skipped"] for row in table} == {"", "limit"}
    assert {row["label"] for row in taken} == {row["label"] for row in table}
    assert len(taken) == len({row["label"] for row in taken})
    for row in taken:
        assert float(row["score"]) == max(
            float(one["score"]) for one in table if one["label"] == row["label"]
        )
        assert float(row["clip_start"]) == pytest.approx(max(0, float(row["start"]) - 0.5))
        assert soundfile.info(Path("out", row["clip"])).format == "FLAC"
    assert_reconciled(done)
    assert "limit)" in done.errors[-1]


def test_longer_events_are_chosen_as_in_an_export(here: Path) -> None:
    options = (
        "--threshold",
        "0.3",
        "--hysteresis",
        "0.9",
        "--min-duration",
        "2",
        "--max-gap",
        "1",
        "--rollup",
    )
    assert_reconciled(clips(*options))
    exported = ast_tag("export", "r.jsonl", "--events", "-f", "csv", *options).out.splitlines()
    assert len(exported) - 1 == len(rows())


@pytest.mark.parametrize("results", ["windows.jsonl", "events.jsonl"])
def test_windows_or_events_do_as_well(results: str, here: Path) -> None:
    assert clips("--label", "Siren", "--label", "Music").code == ExitCode.OK
    assert clips("--label", "Siren", "--label", "Music", results=results, out="other").code == ExitCode.OK
    assert sorted(files("other")) == sorted(files())


def test_results_without_either_are_refused_before_anything_is_made(here: Path) -> None:
    lines = Path("few.jsonl").read_text()
    Path("few.jsonl").write_text('{"file": "x.wav", "error": "empty", "message": "it is empty"}\n' + lines)
    done = clips(results="few.jsonl")
    assert done.code == ExitCode.CANNOT_RUN
    assert "holds neither windows nor events" in done.one_line()
    assert not Path("out").exists()


def test_a_class_that_is_not_there_is_refused_before_anything_is_made(here: Path) -> None:
    done = clips("--label", "Sirene")
    assert done.code == ExitCode.USAGE
    assert "Did you mean Siren" in done.one_line()
    assert not Path("out").exists()


def test_no_event_is_no_failure(here: Path) -> None:
    done = clips("--threshold", "0.99999")
    assert (done.code, done.one_line()) == (ExitCode.OK, "0 events: 0 written, 0 skipped")
    assert rows() == []


def test_missing_and_unreadable_recordings_are_named_once_each(here: Path) -> None:
    Path("field/music.wav").unlink()
    Path("field/siren.flac").write_text("no audio")
    done = clips()
    assert done.code == ExitCode.SOME_FAILED
    missing, unreadable, closing = done.errors
    assert missing.startswith("ast-tag: field/music.wav: missing: no such file. --audio says")
    assert unreadable.startswith("ast-tag: field/siren.flac: unreadable: ")
    assert "0 written" in closing
    assert {row["skipped"] for row in rows()} == {"missing", "unreadable"}
    assert_reconciled(done)


def test_a_recording_that_changed_is_named_and_the_others_are_cut(here: Path) -> None:
    soundfile.write("field/siren.flac", np.zeros((44_100, 2)), 44_100)
    done = clips()
    assert done.code == ExitCode.SOME_FAILED
    assert "field/siren.flac: changed: it lasts 1.000 s, and did 4.000 s" in done.errors[0]
    assert {row["file"] for row in rows() if not row["skipped"]} == {"field/music.wav"}
    assert_reconciled(done)


def test_recordings_that_moved_are_found(here: Path) -> None:
    Path("field").rename("moved")
    done = clips("--audio", "moved")
    assert done.code == ExitCode.OK
    assert_reconciled(done)
    assert any(files())


def test_a_folder_with_something_in_it_is_written_into_only_if_asked(here: Path) -> None:
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    done = clips()
    assert done.code == ExitCode.CANNOT_RUN
    assert "out is not empty" in done.one_line()
    for _ in range(2):
        assert_reconciled(clips("--overwrite"))
    assert Path("out/mine.txt").read_text() == "mine"


def test_quiet_says_nothing_but_failures(here: Path) -> None:
    assert clips("--quiet").errors == []
    Path("field/music.wav").unlink()
    assert "missing" in clips("--quiet", out="other").one_line()


def test_a_full_disk_is_named_and_no_folder_is_left_for_nothing(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch = Path.touch

    def touch_full(path: Path) -> None:
        """As on a disk that has room for names alone."""
        path.symlink_to("/dev/full") if re.search(r"\.wav\..*\.part$", path.name) else touch(path)

    monkeypatch.setattr(Path, "touch", touch_full)
    done = ast_tag("clips", "r.jsonl", "--out", "new/out")
    assert done.code == ExitCode.CANNOT_RUN
    assert "No space left on device. Free some space, or choose another place" in done.one_line()
    assert not Path("new").exists()
    Path("out").mkdir()
    assert clips().code == ExitCode.CANNOT_RUN
    assert not any(Path("out").iterdir())

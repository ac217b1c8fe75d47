"""`discover` against the paths a test made, sorted by their parts; nothing in the folders is real audio."""

from __future__ import annotations

import io
import itertools
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ast_cli.audio import discover as discover_module
from ast_cli.audio.discover import discover, read_list
from ast_cli.errors import UsageError
from ast_cli.results import FileFailure

NOBODY = 65534


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


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


def make(folder: Path, *names: str) -> list[str]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return [str(path) for path in paths]


def sorted_by_parts(paths: list[str]) -> list[str]:
    return sorted(paths, key=lambda path: Path(path).parts)


def failure_of(found: list[str | FileFailure]) -> FileFailure:
    [failure] = (one for one in found if isinstance(one, FileFailure))
    return failure


def test_folders_are_walked_in_the_order_of_path_parts(tmp_path: Path) -> None:
    # As plain strings, "a b/…" and "a.wav" would sort before "a/…".
    names = ["b.wav", "a/z.wav", "a.wav", "a b/x.wav", "a/b/c/d.wav", "a/b.wav", "C.wav", "ä.wav"]
    paths = make(tmp_path, *names)
    assert list(discover([tmp_path])) == sorted_by_parts(paths)
    assert list(discover([tmp_path])) != sorted(paths)


def test_what_was_named_keeps_its_order(tmp_path: Path) -> None:
    first, second, third = make(tmp_path, "c.wav", "folder/b.wav", "a.wav")
    assert list(discover([first, str(tmp_path / "folder"), "-", third])) == [first, second, "-", third]


def test_a_path_may_come_twice(tmp_path: Path) -> None:
    [path] = make(tmp_path, "a.wav")
    assert list(discover([path, tmp_path, path])) == [path, path, path]


def test_files_in_a_folder_count_by_suffix_in_any_case(tmp_path: Path) -> None:
    wanted = ["a.wav", "B.WAV", "c.Flac", "d.mp3", "e.M4A", "f.opus", "g.tar.ogg", "h.webm"]
    others = ["a.txt", "b.csv", "wav", "c.wav.part", "d.json", "e.wav~", "f."]
    paths = make(tmp_path, *wanted, *others)
    assert list(discover([tmp_path])) == sorted_by_parts(paths[: len(wanted)])


def test_a_named_file_needs_no_suffix_and_need_not_be_there(tmp_path: Path) -> None:
    [path] = make(tmp_path, "recording")
    missing = str(tmp_path / "missing")
    assert list(discover([path, missing])) == [path, missing]


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    _, _, seen = make(tmp_path, ".a.wav", ".git/b.wav", "c.wav")
    assert list(discover([tmp_path])) == [seen]


def test_a_hidden_folder_that_is_named_is_walked(tmp_path: Path) -> None:
    [path] = make(tmp_path, ".hidden/a.wav")
    assert list(discover([tmp_path / ".hidden"])) == [path]


@pytest.mark.parametrize("name", ["empty", "only text", "only hidden", "nested"])
def test_a_folder_without_audio_is_a_failure(tmp_path: Path, name: str) -> None:
    make(tmp_path, "only text/a.txt", "only hidden/.a.wav", "nested/deep/b.txt")
    (tmp_path / "empty").mkdir(exist_ok=True)
    [found] = discover([tmp_path / name])
    assert isinstance(found, FileFailure)
    assert (found.file, found.error) == (str(tmp_path / name), "no-audio")


def test_an_empty_folder_inside_a_folder_with_audio_is_no_failure(tmp_path: Path) -> None:
    [path] = make(tmp_path, "a.wav")
    (tmp_path / "empty").mkdir()
    assert list(discover([tmp_path])) == [path]


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    make(tmp_path, "there/a.wav", "there/b.wav")
    here = tmp_path / "here"
    here.mkdir()
    (here / "file.wav").symlink_to("../there/a.wav")
    (here / "folder").symlink_to("../there")
    expected = [str(here / name) for name in ("file.wav", "folder/a.wav", "folder/b.wav")]
    assert list(discover([here])) == expected


def test_a_named_link_to_a_folder_is_walked(tmp_path: Path) -> None:
    make(tmp_path, "there/a.wav")
    (tmp_path / "link").symlink_to("there")
    assert list(discover([tmp_path / "link"])) == [str(tmp_path / "link" / "a.wav")]


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_link_to_a_folder_above_is_a_failure_and_the_rest_is_found(tmp_path: Path, target: str) -> None:
    before, after = make(tmp_path, "x/y/a.wav", "x/y/z.wav")
    link = tmp_path / "x" / "y" / "circle"
    link.symlink_to(target)
    found = list(discover([tmp_path]))
    assert found[0] == before
    assert found[-1] == after
    assert failure_of(found).error == "unreadable"
    assert "circle" in failure_of(found).message


def test_two_links_to_one_folder_are_no_circle(tmp_path: Path) -> None:
    make(tmp_path, "there/a.wav")
    for name in ("one", "two"):
        (tmp_path / name).symlink_to("there")
    expected = [str(tmp_path / name / "a.wav") for name in ("one", "there", "two")]
    assert list(discover([tmp_path])) == expected


def test_links_that_lead_nowhere_are_left_to_whoever_opens_them(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").symlink_to("nothing")
    (tmp_path / "itself.wav").symlink_to("itself.wav")
    (tmp_path / "broken.txt").symlink_to("nothing")
    assert list(discover([tmp_path])) == [str(tmp_path / name) for name in ("broken.wav", "itself.wav")]


def test_a_folder_that_may_not_be_read_is_a_failure_and_the_rest_is_found(public_folder: Path) -> None:
    before, locked, after = make(public_folder, "a.wav", "b/locked.wav", "c.wav")
    (public_folder / "b").chmod(0)
    with without_privileges():
        found = list(discover([public_folder]))
    (public_folder / "b").chmod(0o755)
    assert [found[0], found[2]] == [before, after]
    assert (failure_of(found).file, failure_of(found).error) == (str(public_folder / "b"), "unreadable")
    with without_privileges():
        assert list(discover([public_folder])) == [before, locked, after]


def test_endless_paths_are_taken_as_they_are_needed(tmp_path: Path) -> None:
    [path] = make(tmp_path, "a.wav")
    taken = itertools.count()

    def endless() -> Iterator[Path]:
        for _ in taken:
            yield tmp_path

    assert list(itertools.islice(discover(endless()), 5)) == [path] * 5
    assert next(taken) == 5


def test_a_folder_is_walked_as_its_files_are_needed(tmp_path: Path) -> None:
    first, _ = make(tmp_path, "a/1.wav", "b/2.wav")
    found = discover([tmp_path])
    assert next(found) == first
    [late] = make(tmp_path, "b/0.wav")
    assert next(found) == late


@pytest.mark.parametrize("name", ["two words.wav", "two\nlines.wav", "tab\t.wav", " .wav", "-", "日本.wav"])
def test_any_name_comes_back_as_it_is(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    paths = make(folder, f"x {name}.wav", name if name != "-" else "-.wav")
    assert list(discover([tmp_path])) == sorted_by_parts(paths)


def test_names_that_are_not_utf8_come_back_as_they_are(tmp_path: Path) -> None:
    name = b"caf\xe9/na\xefve.wav"
    try:
        make(tmp_path, os.fsdecode(name))
    except OSError as error:
        pytest.skip(f"this file system takes UTF-8 names only: {error}")
    assert [os.fsencode(path) for path in discover([tmp_path])] == [os.fsencode(tmp_path) + b"/" + name]


def test_a_pipe_in_a_folder_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "real.wav").touch()
    assert list(discover([str(tmp_path)])) == [str(tmp_path / "real.wav")]


def test_suffixes_of_phones_cameras_and_browsers_count(tmp_path: Path) -> None:
    suffixes = ("weba", "spx", "ogv", "3g2", "m2ts", "m4r", "mp4a", "mpga", "wav", "QT", "vob", "dsf")
    paths = make(tmp_path, *(f"a.{suffix}" for suffix in suffixes))
    assert [*discover([tmp_path])] == sorted(paths)


def test_what_a_walk_passes_over_is_counted_by_suffix(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "b/c.jpg", "b/d.JPG", "e.txt", "README", ".hidden.txt", ".git/f.txt", "out.csv")
    passed_over: Counter[str] = Counter()
    named = [tmp_path, tmp_path / "b" / "c.jpg"]
    assert len([*discover(named, [tmp_path / "out.csv"], passed_over)]) == 2
    assert passed_over == {".jpg": 2, ".txt": 1, "": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_list_in_utf_16_is_named(encoding: str) -> None:
    mark = "" if encoding == "utf-16" else "\ufeff"
    text = f"{mark}a.wav\r\nb.wav\r\n".encode(encoding)
    with pytest.raises(UsageError, match="UTF-16") as caught:
        [*read_list(io.BytesIO(text), b"\n")]
    assert "UTF-8" in caught.value.remedy
    assert [*read_list(io.BytesIO("\ufeffa.wav\r\nb.wav\r\n".encode()), b"\n")] == ["a.wav", "b.wav"]


def test_where_no_shell_expands_stars_we_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = make(tmp_path, "b.wav", "a.wav", "c.txt", "sub/d.wav")
    star = str(tmp_path / "*.wav")
    assert [*discover([star])] == [star]  # a shell has tried
    monkeypatch.setattr(discover_module, "EXPANDS", True)
    assert [*discover([star])] == [names[1], names[0]]
    assert [*discover([tmp_path / "s*"])] == [names[3]]
    assert [*discover([tmp_path / "*.mp3"])] == [str(tmp_path / "*.mp3")]
    make(tmp_path, "[x].wav", "x.wav")
    assert [*discover([tmp_path / "[x].wav"])] == [str(tmp_path / "[x].wav")]  # a file that is called so

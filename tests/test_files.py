"""Where output goes: whose file is whose, and whose error is whose."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
import typer

from ast_cli.cli.app import error_boundary
from ast_cli.errors import ExitCode, OutputError
from ast_cli.files import ReaderGoneError, open_replacing, open_sink, replacing

# What torchaudio raises where it does not load, and a connection that was reset: both without a file's name.
NOT_OURS = [
    OSError("could not load this library: libtorchaudio.so"),
    ConnectionResetError(104, "reset by peer"),
]


@contextmanager
def standard_output(stream: IO[str]) -> Iterator[list[None]]:
    """`stream` is standard output while the block runs; hands out whether it was abandoned."""
    abandoned: list[None] = []
    with pytest.MonkeyPatch.context() as patch, stream:
        patch.setattr("ast_cli.files.abandon_stdout", lambda: abandoned.append(None))
        patch.setattr(sys, "stdout", stream)
        yield abandoned


def pipe() -> tuple[int, IO[str]]:
    reader, writer = os.pipe()
    return reader, os.fdopen(writer, "w")


def write_to(out: str, error: BaseException | None = None) -> None:
    with open_sink(out) as stream:
        stream.write("first\n")
        if error is not None:
            raise error


# Whose error it is


@pytest.mark.parametrize("error", NOT_OURS)
@pytest.mark.parametrize("out", ["-", "out.csv"])
def test_an_error_without_a_name_is_not_blamed_on_the_output(
    error: OSError, out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    reader, writer = pipe()
    with standard_output(writer), pytest.raises(type(error)) as raised:
        write_to(out, error)
    os.close(reader)
    assert raised.value is error
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
def test_a_full_standard_output_is_told() -> None:
    with standard_output(Path("/dev/full").open("w")) as abandoned:
        with pytest.raises(OutputError, match=r"^cannot write to standard output: No space"):
            write_to("-")
        assert abandoned


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
def test_a_full_disk_is_told_of_a_file_that_a_library_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ast_cli.files.part_of", lambda path: path.with_name("part"))
    (tmp_path / "part").symlink_to("/dev/full")
    with (
        pytest.raises(OutputError, match=r"cannot write .*a\.zip: No space left on device\. Free some space"),
        open_replacing(tmp_path / "a.zip") as file,
        zipfile.ZipFile(file, "w") as archive,
    ):
        archive.writestr("member", bytes(io.DEFAULT_BUFFER_SIZE))
    assert not list(tmp_path.iterdir())


def test_a_reader_that_has_gone_is_told_from_a_process_that_has_died(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reader, writer = pipe()
    with standard_output(writer):
        with pytest.raises(typer.Exit) as left, error_boundary():
            write_to("-", BrokenPipeError(32, "Broken pipe"))  # as of a worker
        assert left.value.exit_code == ExitCode.CANNOT_RUN
        assert capsys.readouterr().err.startswith("ast-tag: a process or a connection has ended")
        os.close(reader)
        with pytest.raises(typer.Exit) as left, error_boundary():
            write_to("-")
        assert left.value.exit_code == ExitCode.OK
    assert capsys.readouterr().err == ""


def test_a_reader_of_a_pipe_that_has_gone_is_told_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit((tmp_path / "pipe").open, "rb")
        with pytest.raises(ReaderGoneError):
            write_when(tmp_path / "pipe", reader)


def write_when(path: Path, reader: Future[IO[bytes]]) -> None:
    with open_sink(str(path)) as stream:
        reader.result().close()
        stream.write("first\n")


# Whose file it is


def test_a_file_of_another_with_the_name_of_a_part_stays(tmp_path: Path) -> None:
    (tmp_path / "out.csv.part").write_text("mine")
    with open_sink(str(tmp_path / "out.csv")) as stream:
        stream.write("ours")
    assert (tmp_path / "out.csv.part").read_text() == "mine"
    assert (tmp_path / "out.csv").read_text() == "ours"
    assert len(list(tmp_path.iterdir())) == 2


def test_two_writers_of_one_output_leave_what_one_of_them_wrote(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with open_sink(str(out), overwrite=True) as first:
        first.write("first\n" * 9)
        with open_sink(str(out), overwrite=True) as second:
            second.write("second\n")
        assert out.read_text() == "second\n"
    assert out.read_text() == "first\n" * 9
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_who_may_read_what_is_replaced_may_read_what_replaces_it(tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    for mode in (0o600, 0o664, (tmp_path / "new").stat().st_mode & 0o777):
        out = tmp_path / f"{mode:o}"
        out.touch()
        out.chmod(mode)
        with replacing(out) as part:
            part.write_text("new")
        assert out.stat().st_mode & 0o777 == mode
    with replacing(tmp_path / "fresh") as part:
        part.write_text("new")
    assert (tmp_path / "fresh").stat().st_mode == (tmp_path / "new").stat().st_mode

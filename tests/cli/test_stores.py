"""The command on addresses and shards, as a user types them."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from ast_cli.errors import ExitCode
from tests.cli.known import plain
from tests.cli.runner import ast_tag, in_a_process
from tests.stores import S3Server, WebServer, clip, save, save_parquet, tar_of


@pytest.fixture
def tar(here: Path, stores: None) -> str:
    """A tar of two recordings in the working folder."""
    return Path(save(here / "x.tar", tar_of([(f"{name}.wav", clip(0, 16_000)) for name in "ab"]))).name


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_members_of_a_shard_have_rows_like_files(tar: str, known: str) -> None:
    assert ast_tag(tar, "-m", known).out == plain("x.tar/a.wav", "x.tar/b.wav")
    assert ast_tag("x.tar/b.wav", "-m", known).out == plain("x.tar/b.wav")


def test_another_process_goes_by_their_names(s3: S3Server, tar: str, known: str, here: Path) -> None:
    s3.fill("names", {"y.tar": (here / tar).read_bytes(), "c.wav": clip(0, 16_000)})
    names = ["x.tar/b.wav", "s3://names/y.tar/a.wav", "s3://names/c.wav"]
    done = in_a_process("--files-from", "-", "-m", known, stdin="\n".join(names).encode())
    assert done.out == plain(*names)


def test_each_has_a_place_of_its_own_in_a_folder(s3: S3Server, tar: str, known: str, here: Path) -> None:
    keys = ["a.wav", "deep/a.wav", "deep//a.wav", "deep/y.tar"]
    sound = clip(0, 16_000)
    s3.fill("places", {key: (here / tar).read_bytes() if "tar" in key else sound for key in keys})
    assert ast_tag("s3://places/", tar, "-m", known, "-o", "all/", "-f", "csv").code == ExitCode.OK
    here_from_root = here.relative_to("/").as_posix()
    assert files(here / "all") == sorted(
        [
            *(f"s3:/places/{key}.csv" for key in ("a.wav", "deep/%/a.wav", "deep/a.wav")),
            *(f"s3:/places/deep/y.tar/{name}.wav.csv" for name in "ab"),
            *(f"{here_from_root}/x.tar/{name}.wav.csv" for name in "ab"),
        ]
    )
    assert ast_tag("s3://places/deep/", "-m", known, "-o", "deep/", "-f", "csv").code == ExitCode.OK
    assert files(here / "deep") == ["%/a.wav.csv", "a.wav.csv", "y.tar/a.wav.csv", "y.tar/b.wav.csv"]


def test_a_run_goes_on_where_the_shard_is_the_same(tar: str, known: str, here: Path) -> None:
    save(here / "z.wav", b"")
    for out in ("same.jsonl", "other.jsonl"):
        ast_tag(tar, "z.wav", "-m", known, "-o", out, "--fail-fast")
    done = ast_tag(tar, "z.wav", "-m", known, "-o", "same.jsonl", "--resume")
    assert "0 tagged, 1 failed, 2 skipped" in done.err
    save(here / tar, tar_of([(f"{name}.wav", clip(1, 16_000)) for name in "abc"]))
    done = ast_tag(tar, "z.wav", "-m", known, "-o", "other.jsonl", "--resume")
    assert "3 tagged, 1 failed, 0 skipped" in done.err
    assert "2 had changed since" in done.err


def test_what_is_at_an_address_is_taken_to_be_the_same(s3: S3Server, known: str, here: Path) -> None:
    s3.fill("resumed", {"a.wav": clip(0), "b.wav": b""})
    arguments = ("s3://resumed/", "-m", known, "-o", "out.jsonl", "--resume")
    assert ast_tag(*arguments, "--fail-fast").code == ExitCode.SOME_FAILED
    assert "0 tagged, 1 failed, 1 skipped" in ast_tag(*arguments).err


def test_nothing_that_is_written_or_said_holds_a_secret(
    web: WebServer, known: str, here: Path, tmp_path: Path
) -> None:
    save(tmp_path / "web" / "a.wav", clip(0, 16_000))
    save(tmp_path / "web" / "x.tar", tar_of([("b.wav", clip(0, 16_000))]))
    web.password = "somebody:hidden-word"
    head = f"http://somebody:hidden-word@{web.address}"
    signed = "X-Amz-Signature=hidden-signature&X-Amz-Expires=60"
    given = [f"{head}/a.wav?{signed}", f"{head}/x.tar?{signed}", f"{head}/none.wav?token=hidden-token"]
    done = ast_tag(*given, "-m", known, "-o", "out.jsonl", "--fail-fast", "--verbose")
    assert done.code == ExitCode.SOME_FAILED
    journal = Path("out.jsonl.journal").read_text()
    assert json.loads(journal.splitlines()[1])["file"] == f"{web.url}/a.wav"
    done = ast_tag(*given, "-m", known, "-o", "out.jsonl", "--resume")
    assert "0 tagged, 1 failed, 2 skipped" in done.err  # known by what is left of their names
    assert ast_tag(*given, "-m", known, "-o", "all/", "-f", "json").code == ExitCode.SOME_FAILED
    written = "".join(path.read_text() for path in here.rglob("*") if path.suffix in (".jsonl", ".json"))
    names = "\n".join(files(here))
    for text in (journal, done.err, done.out, written, names):
        assert "hidden" not in text
        assert "somebody" not in text
    assert all("hidden" in asked for asked in web.asked)


def test_an_address_that_cannot_be_read_says_why(web: WebServer, known: str) -> None:
    done = ast_tag(f"{web.url}/none.wav", "-m", known)
    assert done.code == ExitCode.SOME_FAILED
    assert done.one_line().endswith("none.wav: not-found: nothing is at this address. Check the spelling")


@pytest.mark.parametrize("command", ["tag", "embed", "report"])
def test_offline_never_asks_a_store(command: str, known: str, here: Path) -> None:
    out = {"tag": "out.csv", "embed": "out.npz", "report": "out.html"}[command]
    done = ast_tag(command, "s3://bucket/x.wav", "--offline", "-m", known, "-o", out)
    assert done.code == ExitCode.USAGE
    assert "s3://bucket/x.wav is on the network" in done.one_line()
    assert not (here / out).exists()


def test_nor_does_it_for_a_list(known: str, here: Path) -> None:
    done = ast_tag("--files-from", "-", "--offline", "-m", known, stdin=b"clip.wav\ns3://b/x.wav\n")
    assert done.code == ExitCode.USAGE
    assert "s3://b/x.wav is on the network" in done.err


@pytest.mark.skipif(find_spec("gcsfs") is not None, reason="gcsfs is installed")
def test_a_package_that_is_missing_is_named_before_a_model_is_loaded(here: Path) -> None:
    done = ast_tag("gs://bucket/x.wav", "-m", "no/such-model")
    assert done.code == ExitCode.CANNOT_RUN
    assert "pip install 'gcsfs'" in done.one_line()
    done = ast_tag("gopher://host/x.wav", "-m", "no/such-model")
    assert done.code == ExitCode.USAGE
    assert "no such scheme: gopher://" in done.one_line()


def test_formats_of_one_recording_do_not_take_a_shard(tar: str, known: str) -> None:
    assert "holds one recording a file" in ast_tag(tar, "-m", known, "-f", "srt").one_line()
    assert ast_tag("x.tar/a.wav", "-m", known, "-f", "srt").code == ExitCode.OK


def test_stored_results_find_their_recordings_again(s3: S3Server, tar: str, known: str, here: Path) -> None:
    s3.fill("again", {"c.wav": clip(0, 16_000)})
    assert ast_tag(tar, "s3://again/", "-m", known, "-o", "out.jsonl", "--events").code == ExitCode.OK
    done = ast_tag("clips", "out.jsonl", "-o", "cuts", "--label", "Speech")
    assert (done.code, len([*(here / "cuts" / "Speech").rglob("*.wav")])) == (ExitCode.OK, 3)
    assert ast_tag("report", "out.jsonl", "-o", "out.html", "--embed").code == ExitCode.OK
    assert (here / "out.html").read_text().count('"bytes":"') == 3
    s3.client().delete_object(Bucket="again", Key="c.wav")
    (here / tar).unlink()
    done = ast_tag("clips", "out.jsonl", "-o", "others", "--label", "Speech")
    assert done.code == ExitCode.SOME_FAILED
    assert "s3://again/c.wav: missing: nothing is at this address" in done.err
    assert "x.tar/a.wav: missing: no such file" in done.err


def test_the_rows_of_a_parquet_are_embedded_and_found(known: str, here: Path, stores: None) -> None:
    rows = [{"bytes": clip(seed, 16_000), "path": f"{seed}.wav"} for seed in range(3)]
    save_parquet(here / "data.parquet", rows)
    assert ast_tag("embed", "data.parquet", "-m", known, "-o", "all.npz").code == ExitCode.OK
    done = ast_tag("search", "data.parquet/1/1.wav", "--in", "all.npz", "--top-k", "1", "-m", known)
    assert done.out.startswith("data.parquet/1/1.wav")
    assert ast_tag("search", "data.parquet", "--in", "all.npz").code == ExitCode.USAGE

"""What a run on a cluster writes down, and what an actor does with a shard: all but Ray itself."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ast_cli import Tagger
from ast_cli.audio.discover import discover
from ast_cli.cluster.manifest import NAMES, RUN, read_manifest, read_shard, write_manifest
from ast_cli.cluster.run import ClusterRun, prepare
from ast_cli.cluster.store import Store
from ast_cli.cluster.worker import Job, ShardReport, ShardTagger
from ast_cli.errors import CheckpointError, ExitCode, OutputError, UsageError
from ast_cli.results import FileFailure, Outcome
from ast_cli.settings import TagSettings
from tests.cli.runner import ast_tag, environment
from tests.extras import Extra

pq = Extra("pyarrow.parquet")

NOTHING_ASKED: dict[str, object] = {}
names = st.text(min_size=1) | st.binary(min_size=1).map(os.fsdecode)
failures = st.builds(FileFailure, names, st.just("not-found"), st.text())


# The manifest


@given(found=st.lists(names | failures, max_size=20), size=st.integers(1, 7))
def test_shards_are_what_was_found_in_its_order(
    found: list[str | Outcome], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever names are made of: lines, quotes, bytes that are no UTF-8."""
    store = Store(str(tmp_path_factory.mktemp("run")))
    manifest = write_manifest(store, found, NOTHING_ASKED, size)
    assert manifest.recordings == len(found)
    shards = [read_shard(store, shard.begin, shard.end) for shard in manifest.shards]
    assert [one for shard in shards for one in shard] == found
    assert all(len(shard) == size for shard in shards[:-1])
    assert read_manifest(store, NOTHING_ASKED) == manifest


def test_no_secret_of_an_address_is_written_down(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for name in ("https://user:hidden@host/x.wav", "https://host/x.wav?X-Amz-Signature=hidden"):
        with pytest.raises(UsageError, match=r"https://host/x\.wav was named with a secret") as refused:
            write_manifest(store, ["s3://bucket/a.wav", name], NOTHING_ASKED, 1)
        assert "hidden" not in str(refused.value)
    assert store.names() == []
    write_manifest(store, ["s3://bucket/a.wav", "https://host/get?id=5"], NOTHING_ASKED, 1)


def test_a_run_goes_on_with_the_settings_it_was_begun_with_only(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    write_manifest(store, ["a.wav"], {"models": ["tiny"], "top_k": 5, "include": ("Speech",)}, 10)
    read_manifest(store, {"models": ["tiny"], "top_k": 5, "include": ("Speech",)})
    with pytest.raises(UsageError, match=r"models was \[\"tiny\"\], is \[\"base\"\]; top_k was 5, is 3"):
        read_manifest(store, {"models": ["base"], "top_k": 3, "include": ("Speech",)})


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"schema": "ast-shards/9"}'])
def test_a_damaged_manifest_is_an_error_with_a_remedy(damage: str, tmp_path: Path) -> None:
    (tmp_path / RUN).write_text(damage)
    with pytest.raises(OutputError, match=r"cannot be read.*--overwrite"):
        read_manifest(Store(str(tmp_path)), NOTHING_ASKED)


# The folder


def test_a_file_appears_when_it_is_complete_and_leaves_nothing_else(tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"0123456789")
    store = Store(str(tmp_path / "new" / "folder"))
    assert store.names() == []
    store.put(local, "part-0")
    store.put(local, "part-0")  # by somebody who was thought to be dead
    assert store.names() == ["part-0"]
    assert (store.has("part-0"), store.has("part-1")) == (True, False)
    assert (store.read("part-0"), store.read("part-0", 3, 5)) == (b"0123456789", b"34")
    store.remove("part-0")
    assert store.names() == []


def test_a_folder_that_cannot_be_written_is_an_error_with_its_cause(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*file/folder: Not a directory"):
        Store(str(tmp_path / "file" / "folder")).put(tmp_path / "file", "part-0")


def test_a_secret_of_the_folders_address_is_not_shown() -> None:
    assert "hunter2" not in Store("memory://user:hunter2@bucket/dir").address


def test_an_address_of_no_kind_is_an_error() -> None:
    with pytest.raises(OutputError, match="Protocol not known: nonsense"):
        Store("nonsense://bucket/dir")


# A shard


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    generator = np.random.default_rng(0)
    for number in range(5):
        soundfile.write(
            folder / f"{number}.wav", 0.1 * generator.standard_normal(9000 + 5000 * number), 16_000
        )
    (folder / "text.wav").write_text("no audio\n" * 9)
    return folder


def job_of(checkpoint: Path, out: Path, format_: str = "jsonl", **settings: Any) -> Job:
    open_tagger = partial(Tagger.from_pretrained, checkpoint)
    return Job(str(out), format_, open_tagger, TagSettings(**settings), batch_size=3, workers=1)


def rows_of(results: Path) -> list[dict[str, Any]]:
    if results.suffix == ".parquet":
        return pq.read_table(results).to_pylist()
    rows = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if "file" in row]


def never() -> list[str]:
    raise AssertionError("what is to be tagged is written down already")


def run_here(run: ClusterRun) -> list[ShardReport]:
    """All that is left, as one actor would do it."""
    tagger = ShardTagger(run.job, 1)
    return [tagger.tag(shard) for shard in run.left]


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
def test_shards_hold_what_one_machine_writes(
    format_: str, checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    job = job_of(checkpoint, tmp_path / "shards", format_, timeline=True)
    run = prepare(job, lambda: discover([folder]), NOTHING_ASKED, shard_size=4)
    first, second = run_here(run)
    assert (first.tagged, second.tagged) == (4, 1)
    assert first.seconds > second.seconds > 0
    assert [(Path(file).name, error) for file, error, _ in second.failures] == [
        ("text.wav", "unsupported-format")
    ]
    one = tmp_path / f"one.{format_}"
    ast_tag(folder, "--model", checkpoint, "--timeline", "--batch-size", "3", "--out", one)
    parts = sorted((tmp_path / "shards").glob("part-*"))
    assert [row for part in parts for row in rows_of(part)] == rows_of(one)


def test_reports_go_through_ray_and_so_do_errors(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    job = job_of(checkpoint, tmp_path)
    run = prepare(job, lambda: discover([folder]), NOTHING_ASKED, shard_size=10)
    [shard] = run.left
    rows = {name: np.array([getattr(shard, name)]) for name in ("number", "begin", "end")}
    [pickled] = ShardTagger(run.job, 1)(rows)["report"]
    assert pickle.loads(pickled).tagged == 5
    [pickled] = ShardTagger(job_of(tmp_path / "nowhere", tmp_path), 1)(rows)["report"]
    error = pickle.loads(pickled)
    assert isinstance(error, CheckpointError)
    assert "no such model" in str(error)


def test_a_fault_of_ours_ends_a_run_in_one_line(tmp_path: Path) -> None:
    def fail() -> Tagger:
        raise ZeroDivisionError("division by zero")

    job = Job(str(tmp_path), "jsonl", fail, TagSettings())
    [pickled] = ShardTagger(job, 1)({name: np.array([0]) for name in ("number", "begin", "end")})["report"]
    assert str(pickle.loads(pickled)) == (
        "ZeroDivisionError: division by zero. This is a fault of the tool: please report it"
    )


# Going on


def test_what_has_its_file_is_not_tagged_again(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    job = job_of(checkpoint, tmp_path)
    run_here(prepare(job, lambda: discover([folder]), NOTHING_ASKED, shard_size=2))
    (tmp_path / "part-000001.jsonl").unlink()

    again = prepare(job, never, NOTHING_ASKED, shard_size=2, resume=True)
    assert [shard.number for shard in again.left] == [1]
    assert again.skipped == 4
    assert [report.tagged for report in run_here(again)] == [2]


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
def test_what_failed_is_tried_again_and_told_again(
    format_: str, checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    job = job_of(checkpoint, tmp_path / "out", format_)
    first = run_here(prepare(job, lambda: discover([tmp_path]), NOTHING_ASKED, shard_size=4))
    whole = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def again() -> list[ShardReport]:
        run = prepare(job, never, NOTHING_ASKED, shard_size=4, resume=True)
        assert (run.left, run.skipped) == ([], 6)
        tagger = ShardTagger(run.job, 1)
        return [tagger.tag(shard) for shard in run.to_do]

    [told] = again()
    assert (told.tagged, told.again, told.failures) == (0, 1, first[1].failures)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == whole
    (tmp_path / "text.wav").unlink()
    (tmp_path / "text.wav").symlink_to(folder / "0.wav")
    [told] = again()  # with the whole shard, whose file is one
    assert (told.tagged, told.again, told.failures) == (2, 2, [])
    assert [Path(row["file"]).name for row in rows_of(tmp_path / "out" / f"part-000001.{format_}")][
        -1
    ] == "text.wav"
    assert again() == []


def test_a_run_that_died_before_all_was_written_down_begins_anew(
    checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / NAMES).write_text('"half of th')
    job = job_of(checkpoint, tmp_path)
    run = prepare(job, lambda: discover([folder]), NOTHING_ASKED, resume=True)
    assert run.manifest.recordings == 6


def test_results_are_replaced_on_demand_only_and_nothing_else_is(
    checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    job = job_of(checkpoint, tmp_path)
    run_here(prepare(job, lambda: discover([folder]), NOTHING_ASKED, shard_size=1))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(
        OutputError, match=r"is not empty\. --resume goes on with it, --overwrite starts anew"
    ):
        prepare(job, lambda: discover([folder]), NOTHING_ASKED)
    run = prepare(job, lambda: discover([folder]), NOTHING_ASKED, overwrite=True)
    assert {one.name for one in tmp_path.iterdir()} == {NAMES, RUN, "notes.txt"}
    assert len(run.left) == 1


def test_a_run_that_another_took_the_folder_from_ends_and_writes_nothing_there(
    checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    """Their results may be of different settings: nobody could tell which file is whose."""
    first = prepare(job_of(checkpoint, tmp_path), lambda: discover([folder]), NOTHING_ASKED, shard_size=3)
    job = job_of(checkpoint, tmp_path, top_k=1)
    second = prepare(job, lambda: discover([folder]), {"top_k": 1}, shard_size=3, overwrite=True)
    with pytest.raises(OutputError, match=r"another run was begun in .*Give each run a folder of its own"):
        run_here(first)
    assert not [*tmp_path.glob("part-*")]
    assert sum(report.tagged for report in run_here(second)) == 5
    again = prepare(job, never, {"top_k": 1}, shard_size=3, resume=True)  # of the same run: they may both
    assert (again.job.run, again.left) == (second.job.run, [])


# The command


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--ray writes a folder of shards. Add --out DIR"),
        (["--out", "x", "--format", "csv"], "no such format of shards: csv"),
        (["--out", "x", "--keep-scores"], "--keep-scores and --fail-fast are for one machine"),
        (["--out", "x", "--fail-fast"], "--keep-scores and --fail-fast are for one machine"),
    ],
)
def test_what_a_cluster_cannot_do_is_said_at_once(options: list[str], message: str) -> None:
    done = ast_tag("recordings", "--ray", "local", *options)
    assert done.code == ExitCode.USAGE
    assert message in done.err


def test_shards_are_of_a_cluster_only(tmp_path: Path) -> None:
    done = ast_tag(tmp_path, "--shard-size", "5")
    assert (done.code, "--shard-size is of --ray" in done.err) == (ExitCode.USAGE, True)


def test_results_go_to_an_address_from_a_cluster_only(folder: Path) -> None:
    """And no folder called `s3:` is made for them here."""
    for command in (("tag", "--format", "jsonl"), ("export", "--format", "csv")):
        done = ast_tag(command[0], folder, *command[1:], "--out", "s3://user:hunter2@bucket/dir/")
        assert done.code == ExitCode.USAGE
        assert "is an address, where only `ast-tag tag --ray` writes" in done.one_line()
        assert "hunter2" not in done.err
    assert not Path("s3:").exists()


def test_no_cluster_at_an_address_is_an_error_at_once_and_nothing_is_written(
    folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    done = ast_tag(folder, "--model", "tiny", "--ray", "127.0.0.1:1", "--out", tmp_path / "out")
    assert done.code == ExitCode.CANNOT_RUN
    assert "there is no Ray cluster at 127.0.0.1:1" in done.one_line()
    assert not (tmp_path / "out").exists()


def test_without_the_extra_the_line_to_install_it_is_said(folder: Path, tmp_path: Path) -> None:
    """And nothing but a cluster imports Ray, whose absence nothing else minds."""
    code = f"""
import sys
class NoRay:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
sys.meta_path.insert(0, NoRay())
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "ray" else find_spec(name, *rest)
from ast_cli.cli.app import main
sys.argv = ["ast-tag", {str(folder)!r}, "--model", "tiny", "--quiet", *sys.argv[1:]]
main()
"""

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *options],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("--ray", "local", "--out", str(tmp_path / "out"))
    assert done.returncode == ExitCode.CANNOT_RUN
    assert done.stderr == "ast-tag: Ray is not installed. pip install 'ast-cli[ray]'\n"
    assert run().returncode == ExitCode.SOME_FAILED  # text.wav, and nothing else is wrong

"""`tag --ray`: the rows of one machine, each once, whatever becomes of machines and of the driver."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ast_cli.errors import ExitCode
from tests.cli.runner import MAIN, ROOT, ast_tag, environment
from tests.stores import ENVIRONMENT as STORES
from tests.stores import S3Server, clip

pytest.importorskip("ray", reason="the extra `ray` is not installed")

RAY = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
RECORDINGS = 60
Row = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of one to four windows; of one, the header only, and one that is no audio."""
    folder = tmp_path_factory.mktemp("recordings")
    generator = np.random.default_rng(0)
    for number in range(RECORDINGS - 2):
        samples = 0.1 * generator.standard_normal(4000 + 900 * number)
        soundfile.write(folder / f"{number:03} é.wav", samples, 16_000)
    soundfile.write(folder / "header.wav", np.zeros(0), 16_000)
    (folder / "text.wav").write_text("no audio\n" * 9)
    return folder


@pytest.fixture(scope="module")
def expected(checkpoint: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    """The rows of one machine, by file."""
    out = tmp_path_factory.mktemp("one") / "out.jsonl"
    assert ast_tag(folder, "--model", checkpoint, "--out", out).code == ExitCode.SOME_FAILED
    return {row["file"]: row for row in rows_of([out])}


def rows_of(files: list[Path]) -> list[Row]:
    """What stands in files of JSON lines, but for the lines of how they were made."""
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if "file" in row]


def assert_same(rows: list[Row], expected: dict[str, Row]) -> None:
    """Each recording once, with the labels it has on one machine, and the scores but for rounding."""
    assert [row["file"] for row in rows] == [*expected]  # in their order, too
    for row in rows:
        other = expected[row["file"]]
        assert row.keys() == other.keys()
        if "tags" not in row:
            assert row == other
            continue
        scores = [[tag["score"] for tag in one["tags"]] for one in (row, other)]
        np.testing.assert_allclose(*scores, rtol=0, atol=1e-5)
        bare = [{**one, "tags": [tag["label"] for tag in one["tags"]]} for one in (row, other)]
        assert bare[0] == bare[1]


def start(*args: str | Path) -> subprocess.Popen[str]:
    """Start a run, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, *map(str, args)],
        env=environment(**RAY),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def parts(out: Path) -> list[Path]:
    return sorted(out.glob("part-*"))


def wait_for_parts(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    while len(parts(out)) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_a_run_on_ray_has_the_rows_of_one_machine(
    checkpoint: Path, folder: Path, expected: dict[str, Row], tmp_path: Path
) -> None:
    out = tmp_path / "shards"
    command = (folder, "--model", checkpoint, "--ray", "local", "--out", out, "--shard-size", "25")
    run = start(*command)
    printed, messages = run.communicate(timeout=200)
    assert (run.returncode, printed) == (ExitCode.SOME_FAILED, "")
    *failures, closing = messages.splitlines()
    assert [line.split(": ")[2] for line in failures] == ["empty", "unsupported-format"]
    assert closing.startswith("60 inputs: 58 tagged, 2 failed, 0 skipped")
    assert closing.endswith("sigmoid scores · --resume tries the failed again")
    assert [one.name for one in parts(out)] == [f"part-00000{n}.jsonl" for n in range(3)]
    assert_same(rows_of(parts(out)), expected)

    before = {one: one.stat().st_mtime_ns for one in parts(out)}
    parts(out)[1].unlink()  # as if the run had died before
    again = start(
        folder, "--model", checkpoint, "--ray", "local", "--out", out, "--shard-size", "25", "--resume"
    )
    assert "60 inputs: 25 tagged, 2 failed, 33 skipped" in again.communicate(timeout=200)[1]
    assert_same(rows_of(parts(out)), expected)
    same = {one for one, time_ns in before.items() if one.stat().st_mtime_ns == time_ns}
    assert {one.name for one in same} == {"part-000000.jsonl", "part-000002.jsonl"}


@pytest.fixture
def machines() -> Iterator[Any]:
    """A cluster of three: a head that does not tag, and two with a core each."""
    from ray.cluster_utils import Cluster

    os.environ.update(RAY)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        cluster.shutdown()


@pytest.mark.slow
def test_a_machine_that_is_lost_costs_nothing_but_time(
    machines: Any, checkpoint: Path, folder: Path, expected: dict[str, Row], tmp_path: Path
) -> None:
    out = tmp_path / "shards"
    run = start(folder, "--model", checkpoint, "--ray", machines.address, "--out", out, "--shard-size", "2")
    wait_for_parts(out, 4, run)
    machines.remove_node(machines.list_all_nodes()[-1], allow_graceful=False)
    _, messages = run.communicate(timeout=250)
    assert run.returncode == ExitCode.SOME_FAILED
    assert "60 inputs: 58 tagged, 2 failed, 0 skipped" in messages
    assert_same(rows_of(parts(out)), expected)


@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on_where_it_was(
    machines: Any, checkpoint: Path, folder: Path, expected: dict[str, Row], tmp_path: Path
) -> None:
    out = tmp_path / "shards"
    command = (folder, "--model", checkpoint, "--ray", machines.address, "--out", out, "--shard-size", "2")
    run = start(*command)
    wait_for_parts(out, 4, run)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    done = parts(out)
    assert len(done) < RECORDINGS / 2
    before = {one: one.stat().st_mtime_ns for one in done}

    again = start(*command, "--resume")
    _, messages = again.communicate(timeout=250)
    assert again.returncode == ExitCode.SOME_FAILED
    assert ", 0 skipped" not in messages
    assert_same(rows_of(parts(out)), expected)
    untouched = [one for one, time_ns in before.items() if one.stat().st_mtime_ns == time_ns]
    assert len(untouched) >= len(before) - 2  # what two actors were at when the driver died may come later


@pytest.mark.slow
def test_ctrl_c_ends_a_run_in_two_lines_of_ours(tmp_path: Path) -> None:
    """In the middle of a shard, of whose actor Ray has something to say."""
    for number in range(20):
        soundfile.write(tmp_path / f"{number:02}.wav", np.full(16_000 * 60, 0.1), 16_000)
    out = tmp_path / "shards"
    run = start(tmp_path, "--model", "tiny", "--ray", "local", "--out", out, "--shard-size", "1")
    wait_for_parts(out, 5, run)
    run.send_signal(signal.SIGINT)
    printed, messages = run.communicate(timeout=60)
    assert run.returncode == ExitCode.INTERRUPTED
    assert printed == ""
    kept, interrupted = messages.splitlines()
    assert kept.endswith(f" tagged, 0 failed before the end; kept in {out}: --resume goes on from there")
    assert interrupted == "ast-tag: interrupted"


@pytest.mark.slow
def test_the_example_hands_its_command_to_a_cluster(
    checkpoint: Path, folder: Path, expected: dict[str, Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp_cors", reason="ray[default], which takes jobs, is not installed")
    from ray.cluster_utils import Cluster

    out = tmp_path / "shards"
    for name, value in {**RAY, "RAY_AUTH_MODE": "disabled"}.items():
        monkeypatch.setenv(name, value)
    head = {"num_cpus": 2, "include_dashboard": True, "dashboard_port": free_port()}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        monkeypatch.setenv("RAY_ADDRESS", f"http://127.0.0.1:{head['dashboard_port']}")
        monkeypatch.setenv("PATH", os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
        job = [
            "bash",
            str(ROOT / "examples/cluster/job.sh"),
            str(folder),
            str(out),
            "--model",
            str(checkpoint),
        ]
        done = subprocess.run(
            job, env=environment(), capture_output=True, text=True, check=False, timeout=200
        )
    finally:
        cluster.shutdown()
    assert done.returncode == ExitCode.SOME_FAILED, done.stderr  # as the command itself
    assert "60 inputs: 58 tagged, 2 failed, 0 skipped" in done.stdout
    assert_same(rows_of(parts(out)), expected)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1000])
def test_a_bucket_is_read_and_the_results_go_into_one(
    count: int, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = {f"clips/{number:04}.wav": clip(number) for number in range(count)}
    for name, content in clips.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    one = tmp_path / "one.jsonl"
    assert ast_tag(tmp_path / "clips", "--model", checkpoint, "--out", one).code == ExitCode.OK
    at_home = f"{tmp_path}/clips/"
    expected = {f"s3://sounds/{row['file'].removeprefix(f'{tmp_path}/')}": row for row in rows_of([one])}
    assert all(row.pop("file").startswith(at_home) for row in expected.values())

    server = S3Server()
    try:
        server.fill("sounds", {**clips, "clips/broken.wav": b"no audio" * 9})
        server.fill("results", {})
        for name, value in {**STORES, "AWS_ENDPOINT_URL": server.url}.items():
            monkeypatch.setenv(name, value)
        command = ("s3://sounds/clips/", "--model", checkpoint, "--ray", "local", "--out", "s3://results/run")
        _, messages = start(*command).communicate(timeout=280)
        assert f"{count + 1:,} inputs: {count:,} tagged, 1 failed".replace(",", "") in messages.replace(
            ",", ""
        )
        client = server.client()
        keys = [one["Key"] for one in client.list_objects_v2(Bucket="results")["Contents"]]
        assert keys == [
            "run/_recordings.jsonl",
            "run/_run.json",
            *(f"run/part-00000{n}.jsonl" for n in range(4)),
        ]
        parts = [client.get_object(Bucket="results", Key=key)["Body"].read() for key in keys[2:]]
        rows = [json.loads(line) for part in parts for line in part.splitlines()]
        found = {row.pop("file"): row for row in rows if "file" in row}
        assert found.pop("s3://sounds/clips/broken.wav")["error"] == "unsupported-format"
        assert found == expected

        client.delete_object(Bucket="results", Key=keys[-1])  # as if the run had died before
        again = start(*command, "--resume").communicate(timeout=280)[1]
        assert "768 skipped" in again
        assert client.get_object(Bucket="results", Key=keys[-1])["Body"].read() == parts[-1]
    finally:
        server.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
def test_the_drivers_memory_does_not_grow_with_the_recordings(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        command = [sys.executable, "-m", "tests.cluster.many", str(count), str(tmp_path / str(count))]
        done = subprocess.run(command, env=environment(**RAY), stdout=subprocess.PIPE, check=True)
        return int(done.stdout)

    assert peak(100_000) <= 1.1 * peak(1000)

"""Every command of the README is run, and the output it shows is compared with the real one.

By default the commands run in one process, where `tiny` is a smaller network of the same make; the slow tests
give each line to a shell as it stands.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ast_cli.checkpoints.locate import BUILT_IN
from tests.extras import Extra
from tests.hub_server import HubServer
from tests.random_checkpoint import random_config, save_random_checkpoint
from tests.stores import ENVIRONMENT, S3Server, clip, save_parquet

webdataset = Extra("webdataset")

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# This runs the test you read.
RUN_ELSEWHERE = {"make test"}
# This makes the environment that the test runs in, as `.ci/run` does on every change, and then runs the rest.
DEMO = {"make demo": "ast-tag examples/clips --model tiny"}
CUT = "…\n"  # at the end of an output of which the README shows the beginning


@dataclass(frozen=True)
class Command:
    line: str
    output: str


def console_blocks() -> list[list[Command]]:
    """The blocks in which commands stand; those of a block may build on each other."""
    blocks = re.findall(r"^```console\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return [[*commands(block)] for block in blocks]


def commands(block: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, _, output = part.partition("\n")
        line = re.sub(r"\s{2,}#.*", "", line).strip()
        if line not in RUN_ELSEWHERE:
            yield Command(DEMO.get(line, line), output)


BLOCKS = [block for block in console_blocks() if block]
FIRST = [block[0].line for block in BLOCKS]
SHOWN_BY_TINY = [DEMO["make demo"]]  # what it prints depends on its weights
# A cluster starts processes of its own, and `models` is shown as on a machine that has fetched nothing yet.
FOR_A_SHELL = re.compile(r"--ray local|^ast-tag models$")


def by_shell(line: str, here: Path, environment: dict[str, str]) -> tuple[int, str, str]:
    """What a shell makes of a line: exit code, standard output and error."""
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout, ran.stderr


class Driver:
    """The process that runs commands of `ast-tag` and scripts; see `tests/docs/driver.py`."""

    def __init__(self, here: Path, environment: dict[str, str]) -> None:
        self._here, self._environment = here, environment
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.docs.driver"],
            cwd=here,
            env={**environment, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, words: list[str], built_in: Path, stdin: bytes = b"") -> dict[str, Any]:
        """What comes of a command or a script, where the built-in models are in a folder."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"words": words, "built_in": str(built_in), "stdin": stdin.decode("latin-1")}
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, f"{words} ended with a traceback"
        return json.loads(line)

    def line(self, line: str, built_in: Path) -> tuple[int, str, str]:
        """What a shell would make of a line of commands in a pipe: the last failure, as with `pipefail`."""
        words = shlex.shlex(line, posix=True, punctuation_chars="|>")
        words.whitespace_split, words.commenters = True, ""
        *earlier, last = _parts([*words], "|")
        last, *file = _parts(last, ">")
        data, code, err = b"", 0, ""
        for part in (*earlier, last):
            if part[0] in ("ast-tag", "python"):
                told = self.ask(part, built_in, data)
                data = told["out"].encode("latin-1")
                code, err = told["code"] or code, err + told["err"]
            else:
                ran = subprocess.run(part, cwd=self._here, input=data, capture_output=True, check=False)
                data, code, err = ran.stdout, ran.returncode or code, err + ran.stderr.decode()
        for [name] in file:
            (self._here / name).write_bytes(data)
            data = b""
        return code, data.decode(), err

    def stop(self) -> None:
        self._process.communicate()


def _parts(words: list[str], mark: str) -> list[list[str]]:
    """The words between the marks."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == mark:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


@pytest.fixture(scope="module")
def driver(workplace: tuple[Path, dict[str, str]]) -> Iterator[Driver]:
    driver = Driver(*workplace)
    yield driver
    driver.stop()


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of built-in models, with a nano network as `tiny`."""
    folder = tmp_path_factory.mktemp("built-in")
    save_random_checkpoint(folder / "tiny", random_config(stride=16, frames=1024))
    return folder


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder with what the README talks of, and a Hub that has its models, small and of random weights."""
    hub = HubServer()
    for name, stride in (("10-10-0.4593", 10), ("16-16-0.442", 16)):
        folder = save_random_checkpoint(
            tmp_path_factory.mktemp("model"), random_config(stride=stride, frames=1024)
        )
        hub.push(
            f"MIT/ast-finetuned-audioset-{name}", {path.name: path.read_bytes() for path in folder.iterdir()}
        )
    here = tmp_path_factory.mktemp("readme")
    noise = 0.1 * np.random.default_rng(0).standard_normal(16000 * 12)
    (here / "dir").mkdir()
    for name in ("clip.wav", "talk.flac", "dir/one.wav", "dir/two.ogg"):
        soundfile.write(here / name, noise, 16000)
    for number, pitch in enumerate((220, 440, 880, 1760)):  # sounds to learn: of either class some
        for name, wave in (("sine", np.sin), ("square", lambda x: np.sign(np.sin(x)))):
            (here / "sounds" / name).mkdir(parents=True, exist_ok=True)
            tone = 0.3 * wave(2 * np.pi * pitch * np.arange(8000) / 16000)
            soundfile.write(here / "sounds" / name / f"{number}.wav", tone, 16000)
    for name in ("examples", "tools"):
        (here / name).symlink_to(ROOT / name)
    s3 = fill_stores(here)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **ENVIRONMENT,
        "AWS_ENDPOINT_URL": s3.url,
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HOME": str(tmp_path_factory.mktemp("hf")),
    }
    yield here, environment
    hub.stop()
    s3.stop()


def fill_stores(here: Path) -> S3Server:
    """Shards in a folder, and an S3 with a bucket."""
    for number in range(2):
        with webdataset.TarWriter(str(here / f"shard-{number:03}.tar")) as writer:
            writer.write({"__key__": "one", "wav": clip(number), "json": {"label": number}})
    save_parquet(here / "train.parquet", [{"bytes": clip(0), "path": "one.wav"}])
    s3 = S3Server()
    s3.fill(
        "recordings", {"2024-05/one.flac": clip(0, form="FLAC"), "2024-06/two.flac": clip(1, form="FLAC")}
    )
    return s3


def test_the_readme_holds_commands() -> None:
    assert sum(map(len, BLOCKS)) > 10


@pytest.mark.parametrize("block", BLOCKS, ids=FIRST)
def test_the_commands_of_a_block_work(
    block: list[Command],
    driver: Driver,
    nano: Path,
    workplace: tuple[Path, dict[str, str]],
    tmp_path: Path,
) -> None:
    here, environment = workplace
    if any("--ray local" in command.line for command in block):
        pytest.skip("a cluster starts slowly: see this block's slow test, and tests/cluster")
    if any(FOR_A_SHELL.search(command.line) for command in block):
        run = partial(by_shell, here=here, environment={**environment, "HF_HOME": str(tmp_path)})
    else:
        run = partial(driver.line, built_in=BUILT_IN if block[0].line in SHOWN_BY_TINY else nano)
    for command in block:
        check(command, *run(command.line))


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=FIRST)
def test_the_commands_of_a_block_work_as_they_stand(
    block: list[Command], workplace: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    here, environment = workplace
    if block[0].line == "ast-tag models":  # shown as on a machine that has fetched nothing yet
        environment = {**environment, "HF_HOME": str(tmp_path)}
    for command in block:
        check(command, *by_shell(command.line, here, environment))


def check(command: Command, code: int, out: str, err: str) -> None:
    """It succeeded, and printed what is shown."""
    assert code == 0, f"{command.line}: {err}"
    if command.output.endswith(CUT):
        shown = command.output.removesuffix(CUT).splitlines()
        assert shown
        for line, real in zip(shown, out.splitlines(), strict=False):
            *names, score = line.split("\t")
            *real_names, real_score = real.split("\t")
            # Another processor may round a sum the other way.
            assert (names, float(score)) == (real_names, pytest.approx(float(real_score), abs=1e-4))
    elif command.output:
        assert out == command.output


def test_the_demo_is_what_the_makefile_runs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    environment = "$(or $(wildcard $(VENV)/installed),$(VENV)/demo)"
    assert f"demo: {environment}\n\t$(BIN)/{DEMO['make demo']}\n" in makefile


def test_the_python_of_the_readme_works(driver: Driver, nano: Path, tmp_path: Path) -> None:
    [code] = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    script = tmp_path / "readme.py"
    script.write_text(code, encoding="utf-8")
    assert "FileResult(file='dir/two.ogg'" in driver.ask(["python", str(script)], nano)["out"]


def test_the_folder_example_works(driver: Driver, nano: Path) -> None:
    out = driver.ask(["python", "examples/tag_a_folder.py", "dir"], nano)["out"]
    assert out.split()[0] == "2"  # both recordings hold the same noise

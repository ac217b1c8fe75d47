"""Every command of the README is run as it stands, and the output it shows is compared with the real one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from webdataset import TarWriter

from tests.hub_server import HubServer
from tests.random_checkpoint import random_config, save_random_checkpoint
from tests.stores import ENVIRONMENT, S3Server, clip, save_parquet

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
        with TarWriter(str(here / f"shard-{number:03}.tar")) as writer:
            writer.write({"__key__": "one", "wav": clip(number), "json": {"label": number}})
    save_parquet(here / "train.parquet", [{"bytes": clip(0), "path": "one.wav"}])
    s3 = S3Server()
    s3.fill(
        "recordings", {"2024-05/one.flac": clip(0, form="FLAC"), "2024-06/two.flac": clip(1, form="FLAC")}
    )
    return s3


def test_the_readme_holds_commands() -> None:
    assert sum(map(len, BLOCKS)) > 10


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block[0].line)
def test_the_commands_of_a_block_work_and_print_what_it_shows(
    block: list[Command], workplace: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    here, environment = workplace
    if block[0].line == "ast-tag models":  # shown as on a machine that has fetched nothing yet
        environment = {**environment, "HF_HOME": str(tmp_path)}

    for command in block:
        ran = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command.line],
            cwd=here,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

        assert ran.returncode == 0, f"{command.line}: {ran.stderr}"
        if command.output.endswith(CUT):
            shown = command.output.removesuffix(CUT).splitlines()
            assert shown
            for line, real in zip(shown, ran.stdout.splitlines(), strict=False):
                *names, score = line.split("\t")
                *real_names, real_score = real.split("\t")
                # Another processor may round a sum the other way.
                assert (names, float(score)) == (real_names, pytest.approx(float(real_score), abs=1e-4))
        elif command.output:
            assert ran.stdout == command.output


def test_the_demo_is_what_the_makefile_runs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"demo: install\n\t$(BIN)/{DEMO['make demo']}\n" in makefile


def test_the_python_of_the_readme_works(workplace: tuple[Path, dict[str, str]]) -> None:
    here, environment = workplace
    [code] = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)

    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=here, env=environment, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert "FileResult(file='dir/two.ogg'" in ran.stdout


def test_the_folder_example_works(workplace: tuple[Path, dict[str, str]]) -> None:
    here, environment = workplace

    ran = subprocess.run(
        [sys.executable, "examples/tag_a_folder.py", "dir"],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split()[0] == "2"  # both recordings hold the same noise

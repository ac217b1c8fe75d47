"""`ast-tag models`: the published checkpoints, their figures, and which of them are here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ast_cli.errors import ExitCode
from ast_cli.networks.config import ASTConfig
from tests.cli.runner import ast_tag

# From the model cards and the paper (arXiv 2104.01778): stride, patches, labels, T, figure
FACTS = {
    "MIT/ast-finetuned-audioset-10-10-0.4593": "10 1212 527 1024 mAP 0.459",
    "MIT/ast-finetuned-audioset-10-10-0.450": "10 1212 527 1024 mAP 0.449",
    "MIT/ast-finetuned-audioset-10-10-0.448": "10 1212 527 1024 mAP 0.448",
    "MIT/ast-finetuned-audioset-10-10-0.448-v2": "10 1212 527 1024 mAP 0.447",
    "MIT/ast-finetuned-audioset-12-12-0.447": "12 850 527 1024 mAP 0.447",
    "MIT/ast-finetuned-audioset-14-14-0.443": "14 657 527 1024 mAP 0.443",
    "MIT/ast-finetuned-audioset-16-16-0.442": "16 512 527 1024 mAP 0.442",
    "MIT/ast-finetuned-speech-commands-v2": "10 144 35 128 accuracy 0.981",
}
CACHED = "MIT/ast-finetuned-audioset-16-16-0.442"
FILES = ("config.json", "preprocessor_config.json", "model.safetensors")


def put_in_cache(cache: Path, repo: str, *names: str) -> Path:
    """Lay files out as the Hub's client does; returns their folder."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = cache / f"models--{repo.replace('/', '--')}"
    folder = repository / "snapshots" / commit
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(commit)
    return folder


def table() -> list[list[str]]:
    """The header and the published checkpoints; what stands above them is built in."""
    done = ast_tag("models")
    assert (done.code, done.err) == (0, "")
    header, built_in, *rows = [line.split("\t") for line in done.out.splitlines()]
    assert (built_in[0], built_in[-1]) == ("tiny", "built in")
    return [header, *rows]


def test_the_built_in_model_is_listed_with_what_its_files_say() -> None:
    tiny = ASTConfig.from_pretrained("tiny")
    row = ast_tag("models").out.splitlines()[1].split("\t")
    patches = tiny.frequency_patches * tiny.time_patches
    assert row[1:5] == [str(n) for n in (tiny.time_stride, patches, tiny.num_labels, tiny.max_length)]


def test_the_table_holds_the_published_facts(hub_cache: Path) -> None:
    header, *rows = table()
    assert header == ["model", "stride", "patches", "labels", "T", "published", "cached"]
    assert {row[0]: " ".join(row[1:-1]) for row in rows} == FACTS


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (60, ["model", "labels", "published", "cached"]),
        (80, ["model", "labels", "published", "cached"]),
        (120, ["model", "stride", "patches", "labels", "T", "published", "cached"]),
    ],
)
def test_on_a_terminal_of_any_width_no_cell_is_cut(
    width: int, columns: list[str], hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, *rows = table()
    expected = [[row[header.index(column)] for column in columns] for row in rows]
    for name, value in {"TTY_COMPATIBLE": "1", "NO_COLOR": "1", "COLUMNS": str(width)}.items():
        monkeypatch.setenv(name, value)
    text = re.sub(r"\x1b\[[0-9;]*m", "", ast_tag("models").out)
    head, _, *lines = text.splitlines()[: 2 + len(rows)]
    assert [re.split(r"  +", line.strip()) for line in (head, *lines)] == [columns, *expected]
    assert len(head) <= max(width, 80)


def test_of_an_empty_cache_nothing_is_cached(hub_cache: Path) -> None:
    assert {row[-1] for row in table()[1:]} == {"no"}


def test_a_checkpoint_in_the_cache_is_called_cached(hub_cache: Path) -> None:
    put_in_cache(hub_cache, CACHED, *FILES)
    assert [row[0] for row in table() if row[-1] == "yes"] == [CACHED]


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_checkpoint_that_is_there_in_part_is_not(missing: str, hub_cache: Path) -> None:
    put_in_cache(hub_cache, CACHED, *(name for name in FILES if name != missing))
    assert {row[-1] for row in table()[1:]} == {"no"}


def test_pulling_without_a_network_says_what_to_do(hub_cache: Path) -> None:
    done = ast_tag("models", "pull", "someone/tagger")
    assert (done.code, done.out) == (ExitCode.CANNOT_RUN, "")
    assert "someone/tagger" in done.one_line()


def test_pulling_what_is_built_in_says_where_it_is(hub_cache: Path) -> None:
    done = ast_tag("models", "pull", "tiny")
    assert (done.code, done.err) == (ExitCode.OK, "")
    assert (Path(done.out.strip()) / "model.safetensors").is_file()


def test_an_unknown_subcommand_is_wrong_usage() -> None:
    assert ast_tag("models", "push").code == ExitCode.USAGE

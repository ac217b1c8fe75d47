"""`ast-tag bench`, with a small network of random weights: the tables, the document and what cannot be."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from ast_cli.bench.network import bench_network
from ast_cli.bench.request import Request
from ast_cli.cli.bench_screen import Block, fitting, show
from ast_cli.errors import ExitCode
from ast_cli.networks.processor import fastest_attention
from tests.cli.runner import Done, ast_tag


def bench(model: Path, *more: str | Path) -> Done:
    return ast_tag("bench", "-m", model, "--device", "cpu", "--repeats", "1", "--batch-size", "1,2", *more)


def blocks(out: str) -> list[list[list[str]]]:
    """The cells of each block."""
    return [[line.split("\t") for line in block.splitlines()] for block in out.split("\n\n")]


def test_the_tables_in_a_pipe(checkpoint: Path) -> None:
    done = bench(checkpoint)
    assert (done.code, done.err) == (0, "")
    machine, reference, stages, runs = blocks(done.out)
    assert {"model", "machine", "cores", "versions", "ran", "GEMM"} <= {row[0] for row in machine}
    header, *rows = reference
    assert header == ["batch", "eager ms", "sdpa ms", "heads ms", "sdpa vs eager", "heads vs eager"]
    assert [row[0] for row in rows] == ["1", "2"]
    assert [row[0] for row in stages] == ["stage", "decode", "resample", "fbank", "model", "aggregate"]
    assert [row[:2] for row in runs[1:]] == [
        [name, size] for name in ("eager", "sdpa", "heads") for size in ("1", "2")
    ]
    assert "—" not in done.out


def test_the_document_and_nothing_else(checkpoint: Path) -> None:
    done = bench(checkpoint, "--json", "--attn", "sdpa", "--attn", "cudnn")
    assert done.code == 0
    document = json.loads(done.out)
    assert document["schema"] == "ast-bench/1"
    assert [(run["attn"], run["batch_size"]) for run in document["runs"]] == [("sdpa", 1), ("sdpa", 2)]
    assert document["failures"][0]["name"] == "cudnn"
    assert document["command"][:2] == ["ast-tag", "bench"]
    assert done.one_line().startswith("ast-tag: warning: cudnn: cpu has no cudnn attention")


def test_what_cannot_run_has_a_dash_in_the_table(checkpoint: Path) -> None:
    done = bench(checkpoint, "--attn", "cudnn", "--attn", "eager")
    assert done.code == 0
    header, *rows = blocks(done.out)[1]
    assert header == ["batch", "eager ms", "cudnn ms"]
    assert [row[2] for row in rows] == ["—", "—"]


def test_a_folder(checkpoint: Path, here: Path) -> None:
    done = bench(checkpoint, here, "--peer", "transformers")
    assert done.code == 0
    _, (header, *rows), ratios, (_, *waits) = blocks(done.out)
    for row in rows[::2]:
        assert dict(zip(header, row, strict=True)) | {"files": "2", "failed": "1"} == dict(
            zip(header, row, strict=True)
        )
    assert [row[:3] for row in ratios[1:]] == [[fastest_attention(), "transformers", size] for size in "12"]
    assert [row[:2] for row in waits] == [[fastest_attention(), size] for size in "12"]
    assert done.one_line().startswith("ast-tag: warning: 1 of 3 recordings could not be read")


def test_the_picture(checkpoint: Path, tmp_path: Path) -> None:
    done = bench(checkpoint, "--attn", "eager", "--plot", tmp_path / "speed.png")
    assert (done.code, done.err) == (0, "")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--batch-size", "1,x"), ExitCode.USAGE, "'x' is no number"),
        (("--attn", "eagre"), ExitCode.USAGE, "no such attention: eagre"),
        (("missing/",), ExitCode.USAGE, "no such folder: missing/"),
        ((".", "--plot", "a.png"), ExitCode.USAGE, "--plot draws"),
        (("--device", "tpu"), ExitCode.USAGE, "no such device: tpu"),
        (("--device", "cuda:99"), ExitCode.CANNOT_RUN, ""),
        (("--attn", "cudnn"), ExitCode.CANNOT_RUN, "cpu has no cudnn attention"),
        (("--model", "nowhere/"), ExitCode.CANNOT_RUN, "nowhere"),
    ],
)
def test_what_cannot_be_is_one_line(
    more: tuple[str, ...], code: ExitCode, said: str, checkpoint: Path, here: Path
) -> None:
    done = bench(checkpoint, *more)
    assert (done.code, done.out) == (code, "")
    assert said in done.one_line()


@pytest.mark.parametrize("folder", [(), (".",)])
def test_without_transformers_its_name_is_told(
    folder: tuple[str, ...], checkpoint: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ast_cli.extras.find_spec", lambda name: None)
    done = bench(checkpoint, *folder, "--peer", "transformers")
    assert (done.code, done.out) == (ExitCode.CANNOT_RUN, "")
    assert done.one_line() == "ast-tag: transformers is not installed. pip install 'ast-cli[verify]'"


def test_without_matplotlib_nothing_is_timed(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ast_cli.extras.find_spec", lambda name: None)
    done = bench(checkpoint, "--plot", "speed.png")
    assert (done.code, done.out) == (ExitCode.CANNOT_RUN, "")
    assert done.one_line() == "ast-tag: matplotlib is not installed. pip install 'ast-cli[plot]'"


def test_a_narrow_terminal_breaks_between_columns(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkpoint.parent)
    document = bench_network(
        Request(f"./{checkpoint.name}", device="cpu", batch_sizes=(1,), repeats=1, peer="transformers")
    )
    screen = StringIO()
    show(Console(file=screen, width=60, force_terminal=True, color_system=None), document)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 60
    assert sum(line.startswith("way ") for line in lines) == 3  # the widest table is in three parts
    assert "…" not in screen.getvalue()


def test_parts_of_a_table_have_its_key_columns() -> None:
    wide = Block("", ["way", "one", "two", "three"], [["eager", "11111", "22222", "33333"]])
    assert [*fitting(wide, 100)] == [wide]
    assert [(part.columns, part.rows) for part in fitting(wide, 20)] == [
        (["way", "one", "two"], [["eager", "11111", "22222"]]),
        (["way", "three"], [["eager", "33333"]]),
    ]
    assert [part.columns for part in fitting(wide, 5)] == [["way", "one"], ["way", "two"], ["way", "three"]]

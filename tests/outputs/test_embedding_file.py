"""Vectors in a file: how much room their names take, and what older versions wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ast_cli.outputs.embedding_file import open_embedding_file, read_embeddings
from ast_cli.results import ModelInfo, RunInfo

RUN = RunInfo((ModelInfo("someone/tagger", "", "ab" * 32, "sigmoid", 3),), {"normalize": True})


def write(names: list[str], out: Path) -> None:
    with open_embedding_file(str(out), overwrite=False) as file:
        file.begin(RUN, 2)
        for name in names:
            file.add(name, np.zeros(1), np.ones(1), np.ones((1, 2), np.float32))
        file.complete()


def test_one_long_path_among_many_takes_no_more_room_than_it_needs(tmp_path: Path) -> None:
    names = [*(f"{number}/é.wav" for number in range(5_000)), "long/" * 1_600 + "\n.wav"]
    write(names, tmp_path / "v.npz")
    assert (tmp_path / "v.npz").stat().st_size < 1_000_000
    stored = read_embeddings(str(tmp_path / "v.npz"))
    assert stored.files == names
    assert stored.place(len(names) - 1) == (names[-1], 0.0, 1.0)
    with np.load(tmp_path / "v.npz", allow_pickle=False) as arrays:  # as the documentation says
        assert json.loads(arrays["files"].tobytes()) == names


def test_where_it_takes_little_room_the_names_are_an_array_of_texts_as_ever(tmp_path: Path) -> None:
    names = ["a.wav", "é/b.wav"]
    write(names, tmp_path / "v.npz")
    with np.load(tmp_path / "v.npz", allow_pickle=False) as arrays:
        assert arrays["files"].tolist() == names
    assert read_embeddings(str(tmp_path / "v.npz")).files == names


@pytest.mark.parametrize("out", ["v.npz", "v.npy", "v.parquet"])
def test_no_format_gives_each_name_the_room_of_the_longest_once_it_is_read(out: str, tmp_path: Path) -> None:
    if out.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    write(["a.wav", "b.wav"], tmp_path / out)
    assert isinstance(read_embeddings(str(tmp_path / out)).files, list)

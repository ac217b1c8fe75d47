"""Pictures are drawn whatever is in them, and their files are PNG."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from ast_cli.errors import OutputError
from ast_cli.training.metrics import ClassMetrics
from ast_cli.training.pictures import draw_average_precision, draw_confusion, draw_learning_curve

LABELS = ("Dog, big", "$x_{ 犬", "n" * 200, "none")


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a PNG, from its header."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def test_average_precisions_get_a_line_each(tmp_path: Path) -> None:
    classes = [ClassMetrics(index, 1, ap, 0.5) for index, ap in enumerate((0.5, 1.0, 0.0, math.nan))]
    draw_average_precision(tmp_path / "new" / "few.png", classes, LABELS)
    draw_average_precision(tmp_path / "many.png", classes[:3] * 20, LABELS)
    assert size_of(tmp_path / "many.png")[1] > size_of(tmp_path / "new" / "few.png")[1]


@pytest.mark.parametrize("count", [1, 4, 60, 200])
def test_confusion_is_drawn_for_few_classes_and_many(count: int, tmp_path: Path) -> None:
    labels = [LABELS[index % 4] for index in range(count)]
    draw_confusion(tmp_path / "c.png", np.diag(np.arange(count)), labels)
    width, height = size_of(tmp_path / "c.png")
    assert 100 < height < width < 4000


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"step": 1, "loss": 2.0, "lr": 1e-4}],
        [
            *({"step": step, "loss": 1 / step, "lr": 1e-4, "clips_per_second": 9.0} for step in range(1, 99)),
            {"step": 98, "epoch": 1, "validation": {"loss": 0.5, "mAP": 0.25, "note": "x"}},
        ],
    ],
)
def test_learning_curves_are_drawn_however_short(rows: list[dict[str, object]], tmp_path: Path) -> None:
    draw_learning_curve(tmp_path / "l.png", rows)
    assert size_of(tmp_path / "l.png") == (800, 900)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        draw_learning_curve(tmp_path / "file" / "l.png", [])

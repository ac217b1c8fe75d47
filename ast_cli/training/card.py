"""The model card of a trained checkpoint: what it is, what it was made of, and what it scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ast_cli.text import without_controls
from ast_cli.training.metrics import Metrics

CARD_FILE = "README.md"


def card(
    labels: Sequence[str],
    origin: Mapping[str, str],
    counts: tuple[int, int],
    settings: Mapping[str, Any],
    epoch: int,
    measured: Metrics,
) -> str:
    """Markdown, with the header that the Hub reads.

    Args:
        labels: Class names.
        origin: The network it started from, the data, and what else it was made of.
        counts: Clips to learn from, clips to validate on.
        settings: Of the training.
        epoch: The one that was kept.
        measured: On the validation clips.
    """
    from huggingface_hub import ModelCardData

    header = ModelCardData(
        pipeline_tag="audio-classification",
        library_name="transformers",
        tags=["audio-spectrogram-transformer", "ast-cli"],
    )
    made_of = {"started from": origin["model"], "data": origin["data"]}
    made_of |= dict(zip(("clips to learn from", "clips to validate on"), map(str, counts), strict=True))
    metrics = {name: f"{metric.value:.4f}" for name, metric in measured.by_name().items()}
    classes = [
        (label, one.positives, f"{one.ap:.3f}", f"{one.auc:.3f}")
        for label, one in zip(labels, measured.classes, strict=True)
    ]
    how = {**settings} | {name: origin[name] for name in ("frames", "augmentation", "balance")}
    return "\n".join(
        [
            f"---\n{header.to_yaml()}\n---\n",
            f"# An Audio Spectrogram Transformer for {len(labels)} classes, "
            f"{settings['epochs']} epochs at most, kept after epoch {epoch}\n",
            "    ast-tag clip.wav --model THIS_FOLDER\n",
            "## What it was made of\n",
            *table(("", ""), [*made_of.items()]),
            "## What it scores\n",
            "On the validation clips, which also chose the epoch: on other clips expect less.\n",
            *table(("metric", "value"), [*metrics.items()]),
            *table(("class", "clips", "AP", "AUC"), classes),
            "## How it was trained\n",
            *table(("setting", "value"), [*how.items()]),
        ]
    )


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """The lines of a Markdown table, and an empty one after it."""
    return [_row(header), _row(["---"] * len(header)), *(_row(row) for row in rows), ""]


def _row(cells: Sequence[Any]) -> str:
    # A label or a file name may hold anything; in a table it must stay one cell, and text.
    texts = (
        without_controls(str(cell)).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
        for cell in cells
    )
    return f"| {' | '.join(' '.join(text.split()) for text in texts)} |"

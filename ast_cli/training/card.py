"""The model card of a trained checkpoint: what it is, what it was made of, and what it scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ast_cli.text import without_controls
from ast_cli.training.metrics import Metrics

CARD_FILE = "README.md"


@dataclass(frozen=True)
class Card:
    """What the card says.

    Attributes:
        labels: Class names.
        origin: The network it started from and the data.
        counts: Clips to learn from, clips to validate on.
        settings: Of the training.
        validation: The log's row of the epoch that was kept.
        metrics: On the validation clips.
    """

    labels: Sequence[str]
    origin: Mapping[str, str]
    counts: tuple[int, int]
    settings: Mapping[str, Any]
    validation: Mapping[str, Any]
    metrics: Metrics

    def text(self) -> str:
        """Markdown, with the header that the Hub reads."""
        from huggingface_hub import ModelCardData

        header = ModelCardData(
            pipeline_tag="audio-classification",
            library_name="transformers",
            tags=["audio-spectrogram-transformer", "ast-cli"],
        )
        training, validation = self.counts
        metrics = {name: metric.value for name, metric in self.metrics.by_name().items()}
        settings = {**self.settings} | {
            key: self.origin[key] for key in ("frames", "augmentation", "balance") if key in self.origin
        }
        return "\n".join(
            [
                f"---\n{header.to_yaml()}\n---\n",
                "# An Audio Spectrogram Transformer for "
                f"{len(self.labels)} classes, {self.settings['epochs']} epochs at most, "
                f"kept after epoch {self.validation['epoch']}\n",
                "    ast-tag clip.wav --model THIS_FOLDER\n",
                "## What it was made of\n",
                *table(
                    ("", ""),
                    [
                        ("started from", self.origin["model"]),
                        ("data", self.origin["data"]),
                        ("clips to learn from", training),
                        ("clips to validate on", validation),
                    ],
                ),
                "## What it scores\n",
                "On the validation clips, which also chose the epoch: on other clips expect less.\n",
                *table(("metric", "value"), [(name, f"{value:.4f}") for name, value in metrics.items()]),
                *table(
                    ("class", "clips", "AP", "AUC"),
                    [
                        (label, one.positives, f"{one.ap:.3f}", f"{one.auc:.3f}")
                        for label, one in zip(self.labels, self.metrics.classes, strict=True)
                    ],
                ),
                "## How it was trained\n",
                *table(("setting", "value"), list(settings.items())),
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

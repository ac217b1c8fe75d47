"""A trained network -> what is packaged: float16 weights, the classes it learnt, and an honest card."""

from __future__ import annotations

import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from classes import LEFT_OUT
from mixing import Mixer
from real import RealSet

from ast_cli import ASTFeatureExtractor, ASTForAudioClassification, Tagger
from ast_cli.training.card import table
from ast_cli.training.evaluate import read_clips, score_clips
from ast_cli.training.examples import AS_IT_IS, Collate
from ast_cli.training.metrics import ClassMetrics, Metrics, measure
from ast_cli.training.scores import ScoredClips
from ast_cli.training.start import with_classes
from ast_cli.training.state import load_state

COMMIT_FILE = "commit"  # in the folder of the training
LEAST_AP = (
    0.3  # of a class on single sounds of the training's own bank, freshly mixed; below, it was not learnt
)
FIRST_LINE = (
    "Trained on synthetic sound only: for trying the tool and for tests, not for conclusions about the world."
)


@torch.inference_mode()
def learnt_classes(model: ASTForAudioClassification, sounds: Mixer) -> list[str]:
    """The classes that single sounds of the training's own bank say were learnt."""
    collate = Collate(ASTFeatureExtractor())
    scores, targets = [], []
    for start in range(0, len(sounds), 32):
        rng = np.random.default_rng(start)
        examples = [sounds.example(n, AS_IT_IS, rng) for n in range(start, min(start + 32, len(sounds)))]
        batch = collate(examples)
        scores.append(model(batch.input_values).logits.sigmoid())
        targets.append(batch.targets > 0)
    classes = measure(torch.cat(scores).numpy(), torch.cat(targets).numpy()).classes
    learnt = [model.config.id2label[one.index] for one in classes if one.positives and one.ap >= LEAST_AP]
    return [name for name in learnt if name not in LEFT_OUT]


def save_release(trained: Path, out: Path, kept: list[str]) -> None:
    """Write the network in float16, with the classes that are kept."""
    model = ASTForAudioClassification.from_pretrained(trained)
    with_classes(model, kept, multi_label=True).half().save_pretrained(out)
    ASTFeatureExtractor.from_pretrained(trained).save_pretrained(out)


def score_test(release: Path, test: Path, name: str) -> ScoredClips:
    """The release's scores of one of the test's two tables, by the same code as `ast-tag eval`."""
    tagger = Tagger.from_pretrained(release)
    dataset, _ = read_clips(test / f"{name}.csv", tagger.labels.names)  # other labels are left out
    return score_clips(tagger, dataset, batch_size=16)


def write_card(
    out: Path, trained: Path, single: ScoredClips, mixture: ScoredClips, real: Sequence[RealSet], command: str
) -> None:
    """Write the card of a release: what it is, what it scores, what it confuses, how it came about."""
    alone, mixed = (measure(one.scores, one.targets, resamples=200) for one in (single, mixture))
    names = list(single.labels)
    state = load_state(trained) or {}
    rows = sorted(
        zip(names, alone.classes, mixed.classes, _confusions(single), strict=True),
        key=lambda row: -_ap(row[1]),
    )
    text = "\n".join(
        [
            f"{FIRST_LINE}\n",
            "# `tiny`, the built-in Audio Spectrogram Transformer\n",
            f"{len(names)} of AudioSet's classes, those that can be made from synthesizers and formulas; "
            "width 192, 12 layers, 3 heads, stride 16, windows of 10.24 s, float16.\n",
            "    ast-tag clip.wav --model tiny\n",
            "## What it scores\n",
            "On synthetic recordings made for the test, with voices, a sound font, random seeds and rooms "
            "that were not trained on. Intervals are 95 % bootstrap.\n",
            *table(
                ("", "recordings", "mAP", "top label right"),
                [
                    (
                        "one sound each",
                        alone.clips,
                        _with_interval(alone, "mAP"),
                        _with_interval(alone, "accuracy"),
                    ),
                    (
                        "two or three at once",
                        mixed.clips,
                        _with_interval(mixed, "mAP"),
                        _with_interval(mixed, "accuracy"),
                    ),
                ],
            ),
            *(_real(real) if real else ()),
            "## Each class\n",
            "AP on one sound each and on mixtures; and what is named first most often where the class is "
            "there but not among what is named first.\n",
            *table(
                ("class", "recordings", "AP alone", "AP mixed", "taken for"),
                [
                    (name, one.positives, _number(one), _number(other), confused)
                    for name, one, other, confused in rows
                ],
            ),
            "## How it was made\n",
            *table(
                ("", ""),
                [
                    ("command", f"`{command}`"),
                    ("trained at commit", (trained / COMMIT_FILE).read_text(encoding="utf-8").strip()),
                    ("tested at commit", commit()),
                    ("clips seen", state.get("clips", "")),
                    ("hours of training", f"{state.get('seconds', 0) / 3600:.2f}"),
                    ("machine", _machine()),
                    ("torch", torch.__version__),
                    *state.get("settings", {}).items(),
                ],
            ),
        ]
    )
    (out / "README.md").write_text(text, encoding="utf-8")


def _confusions(scored: ScoredClips) -> list[str]:
    """For each class, the label that most often comes first on its recordings without being right."""
    first = scored.scores.argmax(axis=1)
    taken = []
    for index in range(len(scored.labels)):
        wrong = Counter(
            scored.labels[top]
            for top, targets in zip(first, scored.targets, strict=True)
            if targets[index] and not targets[top]
        )
        of = int(scored.targets[:, index].sum())
        [(name, count)] = wrong.most_common(1) or [("", 0)]
        taken.append(f"{name} ({count} of {of})" if count else "")
    return taken


def _with_interval(metrics: Metrics, name: str) -> str:
    metric = metrics.by_name()[name]
    return f"{metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f})"


def _ap(one: ClassMetrics) -> float:
    return one.ap if one.positives else -1.0


def _number(one: ClassMetrics) -> str:
    return f"{one.ap:.2f}" if one.positives else "–"


def _real(sets: Sequence[RealSet]) -> list[str]:
    return [
        "On real recordings, of which none was trained on or used to choose anything:\n",
        *table(
            ("recordings", "number", "named first", "right"),
            [(one.name, one.count, one.wanted, f"{one.right / one.count:.1%}") for one in sets],
        ),
    ]


def commit() -> str:
    """The commit this runs from, and whether anything was changed since."""
    here = Path(__file__).parent
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True
    )
    status = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=no"],
        cwd=here,
        capture_output=True,
        text=True,
        check=True,
    )
    return commit.stdout.strip() + (" with changes" if status.stdout else "")


def _machine() -> str:
    """The processor's name, or the GPU's, and the threads used."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"

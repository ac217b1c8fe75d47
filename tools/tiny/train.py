"""Make the built-in model: render the sounds, train on their mixtures, test on others, write the card.

    python tools/tiny/train.py --out build/tiny --seed 0

A stage that was done is not done again, and the training goes on where it was interrupted.
The synthesizers it needs are in README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from bank import Bank, build, jobs_for, with_parents
from classes import KINDS
from mixing import Mixer
from real import check_real
from release import COMMIT_FILE, commit, learnt_classes, save_release, score_test, write_card
from testset import make_test
from torch import Tensor

from ast_cli import Tagger
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.networks.ast import ASTForAudioClassification
from ast_cli.scoring.labels import audioset_classes
from ast_cli.training.loop import Trainer
from ast_cli.training.settings import TrainSettings
from ast_cli.training.start import from_scratch

CLIPS_AN_EPOCH = 20_000
EPOCHS_ALONE = 1
VALIDATION_CLIPS = 400
RELEASE_CLIPS = 2000  # single sounds that decide which classes were learnt


def settings(seed: int, epochs: int, dtype: str) -> TrainSettings:
    """How it is trained."""
    return TrainSettings(
        epochs=epochs,
        batch_size=32,
        lr=1e-3,
        head_lr=1e-3,
        warmup=0.02,
        schedule="linear",
        weight_decay=0.02,
        optimizer="muon",
        ema=0.999,
        patchout=0.65,
        whole_from=0.9,
        column_weight=0.5,
        keep="last",
        patience=0,
        dtype=dtype,
        seed=seed,
        save_minutes=5,
    )


def mean_average_precision(scores: Tensor, targets: Tensor) -> dict[str, float]:
    """Mean average precision over the classes that occur, and how often the first label is right."""
    from sklearn.metrics import average_precision_score

    occur = targets.any(dim=0) & ~targets.all(dim=0)
    right = targets.gather(1, scores.argmax(dim=1, keepdim=True)) > 0
    mean = average_precision_score(targets[:, occur].numpy() > 0, scores[:, occur].numpy())
    return {"mAP": round(float(mean), 4), "top_1": round(float(right.float().mean()), 4)}


class Printer:
    """Says on stderr how it goes."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.began = time.monotonic()

    def on_step(self, row: dict[str, Any], steps: int) -> None:
        """Print every hundredth step, with the loss as the sum over the classes."""
        if row["step"] % 100 == 0:
            left = (time.monotonic() - self.began) / row["step"] * (steps - row["step"]) / 60
            print(
                f"step {row['step']}/{steps} summed loss {row['loss'] * self.classes:.2f} "
                f"{row['clips_per_second']:.0f} clips/s {left:.0f} min left",
                file=sys.stderr,
            )

    def on_validation(self, row: dict[str, Any]) -> None:
        """Print the metrics."""
        print(row, file=sys.stderr)

    def on_failed(self, file: str, cause: str) -> None:
        """Not met here: there are no files."""


def train(folder: Path, bank: Path, seed: int, epochs: int, dtype: str) -> None:
    """Train on what the bank holds and save the network in `folder`."""
    sounds = Bank(bank)
    heard = {name for entry in sounds.entries for name in with_parents(entry.labels)}
    classes = [node.name for node in audioset_classes() if node.name in heard]
    extractor = ASTFeatureExtractor()
    model = from_scratch("tiny", classes, multi_label=True, frames=extractor.max_length, seed=seed)
    model.attn_implementation = "eager"  # on a CPU, faster than sdpa for the few tokens that patchout leaves

    def save(classifier: ASTForAudioClassification, row: dict[str, Any]) -> None:
        classifier.save_pretrained(folder)
        extractor.save_pretrained(folder)

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / COMMIT_FILE).exists():
        (folder / COMMIT_FILE).write_text(commit() + "\n", encoding="utf-8")
    Trainer(
        model,
        extractor,
        Mixer(sounds, classes, CLIPS_AN_EPOCH, first_alone=EPOCHS_ALONE),
        Mixer(sounds, classes, VALIDATION_CLIPS),
        mean_average_precision,
        settings(seed, epochs, dtype),
        folder,
        device="auto",
        save=save,
        watcher=Printer(len(classes)),
    ).run(resume=True)


def release(out: Path, trained: Path, bank: Path, test: Path, real: Path | None, command: str) -> None:
    """Test what was trained, and leave what is packaged in `out`."""
    model = ASTForAudioClassification.from_pretrained(trained)
    classes = list(model.config.id2label.values())
    sounds = Mixer(Bank(bank), classes, RELEASE_CLIPS, mixed=0.0)
    save_release(trained, out, learnt_classes(model, sounds))
    single, mixture = (score_test(out, test, name) for name in ("single", "mixture"))
    checked = check_real(Tagger.from_pretrained(out), real) if real else []
    write_card(out, trained, single, mixture, checked, command)


def require_same(path: Path, made_of: dict[str, Any]) -> None:
    """Refuse a folder whose sounds were made of something else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != made_of:
        sys.exit(f"{path.parent} holds sounds of another seed or other classes: name another --out")
    path.write_text(json.dumps(made_of, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Run the stages that are not done yet."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("build/tiny"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8, help=f"of {CLIPS_AN_EPOCH} clips")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--real", type=Path, help="real recordings to report on, see README.md")
    parser.add_argument("--processes", type=int, default=2, help="that render")
    arguments = parser.parse_args()
    bank, trained, test = (arguments.out / name for name in ("bank", "model", "test"))
    require_same(arguments.out / "sounds.json", {"seed": arguments.seed, "kinds": KINDS})
    if not (bank / "bank.json").exists():
        build(bank, jobs_for(KINDS, "train", arguments.seed), arguments.processes)
    train(trained, bank, arguments.seed, arguments.epochs, arguments.dtype)
    if not (test / "mixture.csv").exists():
        make_test(test, arguments.seed, arguments.processes)
    release(arguments.out / "tiny", trained, bank, test, arguments.real, shlex.join(["python", *sys.argv]))


if __name__ == "__main__":
    main()

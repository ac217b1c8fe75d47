"""`ast-tag eval`: labelled recordings in, metrics out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ast_cli.checkpoints.published import DEFAULT_MODEL
from ast_cli.cli import options
from ast_cli.cli.screen import TagScreen, stdout
from ast_cli.errors import ExitCode, UsageError
from ast_cli.extras import require_extra
from ast_cli.files import STDOUT, open_sink
from ast_cli.results import RunInfo, display_name
from ast_cli.scoring.labels import LabelSet
from ast_cli.settings import require_choice
from ast_cli.text import one_line
from ast_cli.training.datasets import Dataset, read_dataset

if TYPE_CHECKING:
    from ast_cli.networks.config import ASTConfig
    from ast_cli.training.evaluate import Evaluation
    from ast_cli.training.metrics import ClassMetrics, Metric

OUTPUT = "Output"
OUT_FORMATS = ("json", "csv")
COLUMNS = ("metric", "value", "low", "high")
BEST_AND_WORST = 5  # classes that the terminal shows of each
FEW = 3  # names in a warning


def evaluate(
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            show_default=False,
            help=options.LABELLED_DATA,
        ),
    ] = None,
    audio: options.AudioOption = None,
    classes: options.ClassesOption = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=options.LABELLED,
            help="Only this split: train, validation, test; or all.",
            show_default="test, else validation, else all",
        ),
    ] = None,
    fold: Annotated[
        str | None,
        typer.Option(
            metavar="N", rich_help_panel=options.LABELLED, help="Only this fold.", show_default="all of them"
        ),
    ] = None,
    folds: Annotated[
        bool,
        typer.Option(
            "--folds",
            rich_help_panel=options.LABELLED,
            help="Tell each fold's metrics, too; with --model 'DIR/fold-{fold}', as `finetune --folds` "
            "leaves them, each fold is scored by its own model: cross-validation.",
        ),
    ] = False,
    stored: Annotated[
        Path | None,
        typer.Option(
            "--scores",
            metavar="FILE",
            rich_help_panel=options.LABELLED,
            help="Measure stored scores instead of a model: .npz or .csv. An .npz knows what is right and "
            "needs no DATA.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="Everything as .json, or the classes as .csv.",
            show_default=False,
        ),
    ] = None,
    save_scores: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="Store the scores for --scores: .npz or .csv.",
            show_default=False,
        ),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="Write the threshold with the highest F1 of each class, as CSV for `tag --threshold`.",
            show_default=False,
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel=OUTPUT,
            help="Draw average precisions, and the confusion matrix where a clip has one label.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", rich_help_panel=OUTPUT, help="Replace files that are there already."),
    ] = False,
    bootstrap: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", rich_help_panel=OUTPUT, help="Resamples for the 95 % intervals; 0 for none."
        ),
    ] = 200,
    seed: Annotated[int, typer.Option(min=0, rich_help_panel=OUTPUT, help="Of the resampling.")] = 0,
    model: options.ModelOption = [DEFAULT_MODEL],  # noqa: B006 — Typer copies it
    revision: options.RevisionOption = None,
    offline: options.OfflineOption = False,
    batch_size: options.BatchSizeOption = None,
    device: options.DeviceOption = "auto",
    dtype: options.TorchDtypeOption = "auto",
    attn: options.AttnOption = "auto",
    workers: options.WorkersOption = None,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Measure a model on labelled recordings: mAP, mAUC, d′ and accuracy, with 95 % intervals.

    Several models are measured as the ensemble they form. Into a pipe the metrics are lines of
    metric, value and the ends of its interval, separated by tabs. Recordings that are missing are
    counted and named; exit code 1 tells that some could not be read.
    """
    if stored is not None and model != [DEFAULT_MODEL]:
        raise UsageError("--scores measures stored scores, not a model", "Leave --model or --scores out")
    if data is None and stored is None:
        raise UsageError("nothing to measure", "Name a data set, or stored --scores")
    require_extra("train", "sklearn", *(["matplotlib"] if pictures is not None else []))
    from ast_cli.training import evaluate as evaluation
    from ast_cli.training import scores, thresholds

    screen = TagScreen(quiet=quiet, verbose=verbose)
    targets = [name for name in (out, calibrate, save_scores) if name is not None and name != STDOUT]
    if len(set(map(Path, targets))) < len(targets):
        raise UsageError(f"two outputs would both be {targets[-1]}", "Name a file for each")
    with ExitStack() as stack:

        def opened(name: str | None, formats: tuple[str, ...]) -> TextIO | None:
            """Open an output before the scoring, which should not find a file in its way at its end."""
            if name is None:
                return None
            require_choice("format for this", _suffix(name), formats)
            return stack.enter_context(open_sink(name, overwrite=overwrite))

        to_out, to_thresholds = opened(out, OUT_FORMATS), opened(calibrate, ("csv",))
        to_scores = opened(save_scores, scores.FORMATS)
        found = None if stored is None else scores.read_scores(stored)
        dataset: Dataset | None = None
        if data is not None:
            if found is None:
                # Read alone, so that what is wrong with the data shows before the weights are read.
                first = model[0]
                if evaluation.FOLD in first:
                    own = read_dataset(data, audio=audio, classes=classes)
                    [(_, [first, *_]), *_] = evaluation.models_by_fold(model, own.folds if folds else ())
                config = _config(first, revision, offline=offline)
                labels = config.labels.names
            else:
                labels = found.labels
            dataset, split = evaluation.read_clips(
                data,
                labels,
                split=split,
                fold=fold,
                audio=audio,
                classes=classes,
                files_needed=found is None,
            )
            _tell_data(screen, dataset)
        if folds and not (dataset is not None and dataset.folds):
            raise UsageError("the data has no folds", "Leave --folds out")
        run: RunInfo | None = None
        if found is None:
            assert dataset is not None
            from ast_cli.tagger import Tagger

            def open_tagger(models: list[str]) -> Tagger:
                tagger = Tagger.from_pretrained(
                    models,
                    revision,
                    device=device,
                    dtype=dtype,
                    attn_implementation=attn,
                    # Where the model does not say if its classes exclude each other, the data does.
                    scores="sigmoid" if config.scores_are_guessed and dataset.multi_label else "auto",
                    offline=offline,
                )
                screen.note(tagger.description)
                screen.scores = tagger.scores
                return tagger

            with screen.closing_line(), screen.progress(lambda: dataset.clips):
                scored, run = evaluation.score_folds(
                    open_tagger,
                    model,
                    dataset,
                    folds=folds,
                    batch_size=batch_size,
                    workers=workers,
                    on_heard=screen.heard,
                    on_outcome=screen.outcome,
                )
        else:
            scored = found.as_they_are() if dataset is None else found.of_dataset(dataset)
            _tell_few(screen, "recordings without stored scores", scored.unscored)
        if to_scores is not None and save_scores is not None:
            scores.write_scores(scored, to_scores, _suffix(save_scores))
        measured = evaluation.evaluate(scored, resamples=bootstrap, seed=seed, by_fold=folds)
        _tell_classes(screen, measured)
        if to_out is not None and out is not None:
            if _suffix(out) == "csv":
                evaluation.write_classes(measured, to_out)
            else:
                about = {"source": data, "scores": stored, "split": split, "fold": fold}
                told = {
                    name: value if value is None else display_name(value) for name, value in about.items()
                }
                document = evaluation.document(measured, run=run, dataset=dataset, about=told)
                # ASCII, since names come from strangers and a terminal would obey some characters.
                to_out.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
        if to_thresholds is not None:
            best = thresholds.calibrate(scored.scores, scored.targets)
            thresholds.write_thresholds(best, LabelSet.from_names(scored.labels), to_thresholds)
        if pictures is not None:
            _draw(measured, pictures)
        _show(measured)
    if scored.failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _suffix(name: str) -> str:
    return PurePath(name).suffix.removeprefix(".").lower() or name


def _config(model: str, revision: str | None, *, offline: bool) -> ASTConfig:
    from ast_cli.networks.config import ASTConfig

    return ASTConfig.from_pretrained(model, revision, offline=offline)


def _draw(measured: Evaluation, folder: Path) -> None:
    from ast_cli.training.pictures import draw_average_precision, draw_confusion

    labels = measured.scored.labels
    draw_average_precision(folder / "average_precision.png", measured.metrics.classes, labels)
    if measured.confusion is not None:
        draw_confusion(folder / "confusion.png", measured.confusion, labels)


# Messages


def _tell_data(screen: TagScreen, dataset: Dataset) -> None:
    _tell_few(screen, "recordings that are not there", dataset.missing)
    _tell_few(screen, "folders without a recording, which are no classes", dataset.empty)
    if dataset.unknown:
        left_out = "left out of their clips" if dataset.multi_label else "left out with their clips"
        counts = [f"{label} ({count})" for label, count in dataset.unknown.items()]
        _tell_few(screen, f"labels that are no classes of the model, {left_out}", counts)


def _tell_few(screen: TagScreen, what: str, names: Sequence[str]) -> None:
    if names:
        few = ", ".join(map(display_name, names[:FEW]))
        screen.warn(f"{what}: {len(names):,}, namely {few}{' …' if len(names) > FEW else ''}")


def _tell_classes(screen: TagScreen, measured: Evaluation) -> None:
    count, classes = measured.metrics.without_positives, len(measured.metrics.classes)
    if count:
        screen.warn(f"{count} of {classes} classes have no recording here, and count in no mean")


# Results


def _show(measured: Evaluation) -> None:
    rows = [(name, metric.value, metric.low, metric.high) for name, metric in _named_metrics(measured)]
    with stdout() as console:
        if not console.is_terminal:
            lines = (COLUMNS, *((name, *map(_digits, numbers)) for name, *numbers in rows))
            console.file.writelines("\t".join(line) + "\n" for line in lines)
            return
        table = Table(*COLUMNS, box=None, pad_edge=False, header_style="dim")
        for name, *numbers in rows:
            value, *interval = (_digits(number, 3, "–") for number in numbers)
            table.add_row(Text(name), Text(value, "bold"), *(Text(end, "dim") for end in interval))
        console.print(table)
        _show_classes(console, measured)


def _named_metrics(measured: Evaluation) -> Iterator[tuple[str, Metric]]:
    """The metrics over all recordings, then those of each fold and their mean."""
    yield from measured.metrics.by_name().items()
    for fold, metrics in measured.folds.items():
        for name, metric in metrics.by_name().items():
            yield f"{name}, fold {one_line(fold)}", metric
    for name, metric in measured.mean_of_folds.items():
        yield f"{name}, mean of folds", metric


def _show_classes(console: Console, measured: Evaluation) -> None:
    """The classes with the highest and the lowest average precision, or all if they are few."""
    classes = [one for one in measured.metrics.classes if one.positives]
    classes.sort(key=lambda one: (-one.ap, one.index))
    shown: list[ClassMetrics | None] = [*classes]
    if len(classes) > 2 * BEST_AND_WORST:
        shown = [*classes[:BEST_AND_WORST], None, *classes[-BEST_AND_WORST:]]
    table = Table("AP", "positives", "label", box=None, pad_edge=False, header_style="dim")
    for one in shown:
        if one is None:
            table.add_row("…", "", "")
        else:
            label = Text(one_line(measured.scored.labels[one.index]))
            table.add_row(_digits(one.ap, 3), Text(str(one.positives), "dim"), label)
    console.print()
    console.print(table)


def _digits(number: float, digits: int = 6, undefined: str = "") -> str:
    return undefined if math.isnan(number) else f"{number:.{digits}f}"

"""`ast-tag eval`: labelled recordings in, metrics out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ast_cli.checkpoints.published import DEFAULT_MODEL
from ast_cli.cli import options
from ast_cli.cli.option_groups import argument, grouped, option, option_group, without
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
    from ast_cli.training.scores import ScoredClips

OUT_FORMATS = ("json", "csv")
COLUMNS = ("metric", "value", "low", "high")
BEST_AND_WORST = 5  # classes that the terminal shows of each
FEW = 3  # names in a warning


@option_group(options.LABELLED)
class EvalDataOptions(options.LabelledOptions):
    """What is measured on."""

    split: str | None = option(
        None,
        "Only this split: train, validation, test; or all.",
        metavar="NAME",
        show_default="test, else validation, else all",
    )
    fold: str | None = option(None, "Only this fold.", metavar="N", show_default="all of them")
    folds: bool = option(
        False,
        "Tell each fold's metrics, too; with --model 'DIR/fold-{fold}', as `finetune --folds` "
        "leaves them, each fold is scored by its own model: cross-validation.",
    )
    stored: Path | None = option(
        None,
        "Measure stored scores instead of a model: .npz or .csv. An .npz knows what is right and "
        "needs no DATA.",
        "--scores",
        metavar="FILE",
        show_default=False,
    )


@option_group(options.OUTPUT)
class EvalOutputOptions:
    """What is written beside the metrics on stdout, and how intervals are found."""

    out: str | None = option(
        None, "Everything as .json, or the classes as .csv.", "-o", metavar="FILE", show_default=False
    )
    save_scores: str | None = option(
        None, "Store the scores for --scores: .npz or .csv.", metavar="FILE", show_default=False
    )
    calibrate: str | None = option(
        None,
        "Write the threshold with the highest F1 of each class, as CSV for `tag --threshold`.",
        metavar="FILE",
        show_default=False,
    )
    pictures: Path | None = option(
        None,
        "Draw average precisions, and the confusion matrix where a clip has one label.",
        metavar="DIR",
        show_default=False,
    )
    overwrite: bool = option(False, "Replace files that are there already.")
    bootstrap: int = option(200, "Resamples for the 95 % intervals; 0 for none.", min=0, metavar="N")
    seed: int = option(0, "Of the resampling.", min=0)

    @contextmanager
    def opened(self, score_formats: tuple[str, ...]) -> Iterator[EvalFiles]:
        """The files, opened before the scoring, which should not find one in its way at its end."""
        targets = [one for one in (self.out, self.calibrate, self.save_scores) if one not in (None, STDOUT)]
        if len({Path(str(one)) for one in targets}) < len(targets):
            raise UsageError(f"two outputs would both be {targets[-1]}", "Name a file for each")
        with ExitStack() as stack:

            def file(name: str | None, formats: tuple[str, ...]) -> TextIO | None:
                if name is None:
                    return None
                require_choice("format for this", _suffix(name), formats)
                return stack.enter_context(open_sink(name, overwrite=self.overwrite))

            yield EvalFiles(
                file(self.out, OUT_FORMATS),
                file(self.calibrate, ("csv",)),
                file(self.save_scores, score_formats),
            )


@dataclass(frozen=True)
class EvalFiles:
    """The open files of `EvalOutputOptions`; None for those that were not asked for."""

    out: TextIO | None
    thresholds: TextIO | None
    scores: TextIO | None


@grouped
def evaluate(
    *,
    data: Path | None = argument(None, options.LABELLED_DATA, metavar="DATA", show_default=False),
    labelled: EvalDataOptions,
    output: EvalOutputOptions,
    model: options.ModelOptions,
    engine: Annotated[options.TorchEngineOptions, without("engine", "compile_")],
    messages: options.MessageOptions,
) -> None:
    """Measure a model on labelled recordings: mAP, mAUC, d′ and accuracy, with 95 % intervals.

    Several models are measured as the ensemble they form. Into a pipe the metrics are lines of
    metric, value and the ends of its interval, separated by tabs. Recordings that are missing are
    counted and named; exit code 1 tells that some could not be read.
    """
    if labelled.stored is not None and model.model != [DEFAULT_MODEL]:
        raise UsageError("--scores measures stored scores, not a model", "Leave --model or --scores out")
    if data is None and labelled.stored is None:
        raise UsageError("nothing to measure", "Name a data set, or stored --scores")
    require_extra("train", "sklearn", *(["matplotlib"] if output.pictures is not None else []))
    from ast_cli.training import evaluate as evaluation
    from ast_cli.training import scores

    screen = messages.screen()
    with output.opened(scores.SCORE_FORMATS) as files:
        stored = None if labelled.stored is None else scores.read_scores(labelled.stored)
        dataset: Dataset | None = None
        config: ASTConfig | None = None
        split = labelled.split
        if data is not None:
            if stored is None:
                config = _config(data, labelled, model)
                labels = config.labels.names
            else:
                labels = stored.labels
            dataset, split = evaluation.read_clips(
                data,
                labels,
                split=split,
                fold=labelled.fold,
                audio=labelled.audio,
                classes=labelled.classes,
                files_needed=stored is None,
            )
            _tell_data(screen, dataset)
        if labelled.folds and not (dataset is not None and dataset.folds):
            raise UsageError("the data has no folds", "Leave --folds out")
        run: RunInfo | None = None
        if stored is None:
            assert config is not None
            assert dataset is not None
            scored, run = _score(dataset, config, model, engine, screen, folds=labelled.folds)
        else:
            scored = stored.as_they_are() if dataset is None else stored.of_dataset(dataset)
            _tell_few(screen, "recordings without stored scores", scored.unscored)
        if files.scores is not None and output.save_scores is not None:
            scores.write_scores(scored, files.scores, _suffix(output.save_scores))
        measured = evaluation.evaluate(
            scored, resamples=output.bootstrap, seed=output.seed, by_fold=labelled.folds
        )
        _tell_classes(screen, measured)
        about = {"source": data, "scores": labelled.stored, "split": split, "fold": labelled.fold}
        _write(measured, files, output, run, dataset, about)
        _show(measured)
    if scored.failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _config(data: Path, labelled: EvalDataOptions, model: options.ModelOptions) -> ASTConfig:
    """Of the (first) model; read alone, so that what is wrong with the data shows before weights are read."""
    from ast_cli.networks.config import ASTConfig
    from ast_cli.training import evaluate as evaluation

    first = model.model[0]
    if evaluation.FOLD in first:
        own = read_dataset(data, audio=labelled.audio, classes=labelled.classes)
        folds = own.folds if labelled.folds else ()
        [(_, [first, *_]), *_] = evaluation.models_by_fold(model.model, folds)
    return ASTConfig.from_pretrained(first, model.revision, offline=model.offline)


def _score(
    dataset: Dataset,
    config: ASTConfig,
    model: options.ModelOptions,
    engine: options.EngineOptions,
    screen: TagScreen,
    *,
    folds: bool,
) -> tuple[ScoredClips, RunInfo]:
    """The scores of the model for the data set, and what they were made with."""
    from ast_cli.tagger import Tagger
    from ast_cli.training import evaluate as evaluation

    # Where the model does not say if its classes exclude each other, the data does.
    is_sigmoid = config.scores_are_guessed and dataset.multi_label
    how = engine.settings(model, "sigmoid" if is_sigmoid else "auto")

    def open_tagger(models: list[str]) -> Tagger:
        tagger = Tagger.open(models, how)
        screen.note(tagger.description)
        screen.scores = tagger.scores
        return tagger

    with screen.closing_line(), screen.progress(lambda: dataset.clips):
        return evaluation.score_folds(
            open_tagger,
            model.model,
            dataset,
            folds=folds,
            batch_size=engine.batch_size,
            workers=engine.workers,
            on_heard=screen.heard,
            on_outcome=screen.outcome,
        )


def _write(
    measured: Evaluation,
    files: EvalFiles,
    output: EvalOutputOptions,
    run: RunInfo | None,
    dataset: Dataset | None,
    about: Mapping[str, Path | str | None],
) -> None:
    """Write what was asked for beside stdout."""
    from ast_cli.training import evaluate as evaluation
    from ast_cli.training import thresholds

    scored = measured.scored
    if files.out is not None and output.out is not None:
        if _suffix(output.out) == "csv":
            evaluation.write_classes(measured, files.out)
        else:
            told = {name: value if value is None else display_name(value) for name, value in about.items()}
            document = evaluation.document(measured, run=run, dataset=dataset, about=told)
            # ASCII, since names come from strangers and a terminal would obey some characters.
            files.out.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
    if files.thresholds is not None:
        best = thresholds.calibrate(scored.scores, scored.targets)
        thresholds.write_thresholds(best, LabelSet.from_names(scored.labels), files.thresholds)
    if output.pictures is not None:
        _draw(measured, output.pictures)


def _suffix(name: str) -> str:
    return PurePath(name).suffix.removeprefix(".").lower() or name


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

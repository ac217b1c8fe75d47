"""Options that say which labels and events are shown, in groups of those that go together."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ast_cli.cli.option_groups import option, option_group
from ast_cli.cli.options import DEFAULTS, completing
from ast_cli.errors import UsageError
from ast_cli.settings import (
    DEFAULT_EVENT_THRESHOLD,
    Aggregation,
    EventSettings,
    LabelSettings,
    Scores,
    Threshold,
)

if TYPE_CHECKING:
    from ast_cli.scoring.labels import LabelSet

LABELS = "Labels"
EVENTS = "Events"
EVENT_DEFAULTS = EventSettings()
AnyLabelSettings = TypeVar("AnyLabelSettings", bound=LabelSettings)


@dataclass(frozen=True)
class GivenThreshold:
    """What --threshold says: a number for all classes, or the file that has one for each."""

    number: float | None = None
    file: Path | None = None

    def of(self, labels: LabelSet) -> Threshold:
        """For these classes."""
        if self.file is None:
            return self.number
        from ast_cli.training.thresholds import read_thresholds

        return read_thresholds(self.file, labels)


def require_threshold(number: float, scores: str) -> float:
    """The number, unless all scores of this kind, or none, are above it: it is not what was meant.

    Args:
        number: What --threshold says.
        scores: Of `settings.Scores`, where auto is never logits; empty if it is not known.
    """
    if scores in ("", "logits") or not math.isfinite(number) or 0 <= number <= 1:
        return number
    meant = f"Did you mean {number / 100:g}?" if 1 < number <= 100 else "Choose a number in between"
    raise UsageError(f"--threshold {number:g} fits no score: they are from 0 to 1", meant)


def _classes() -> Iterable[str]:
    """Of one word each: the shell would take more for several arguments."""
    from ast_cli.scoring.labels import audioset_classes

    return (node.name for node in audioset_classes() if node.name.isalpha())


complete_class = completing(_classes)


@option_group(LABELS)
class LabelOptions:
    """Which labels are shown."""

    top_k: int = option(DEFAULTS.top_k, "Labels per file (0: all).", "-k", min=0)
    threshold: str | None = option(
        None,
        "Drop labels scored below it; a CSV of `eval --calibrate` has one for each class.",
        metavar="NUMBER|FILE",
        show_default="none dropped; 0.5 for events",
    )
    include: list[str] = option(
        [],
        "Only these: a name, mid, index or glob; 'Animal/**' is a class with all below it. May be repeated.",
        metavar="CLASS",
        autocompletion=complete_class,
        show_default=False,
    )
    exclude: list[str] = option(
        [], "Not these, likewise.", metavar="CLASS", autocompletion=complete_class, show_default=False
    )
    rollup: bool = option(
        DEFAULTS.rollup, "Give each class the highest score among itself and all below it in AudioSet's tree."
    )

    def threshold_of(self, scores: str) -> GivenThreshold:
        """What --threshold says of scores of this kind: see `require_threshold`."""
        if self.threshold is None:
            return GivenThreshold()
        try:
            return GivenThreshold(require_threshold(float(self.threshold), scores))
        except ValueError:
            if not os.path.exists(self.threshold):  # noqa: PTH110 — Path.exists may raise
                raise UsageError(
                    f"--threshold {self.threshold} is neither a number nor a file",
                    "`ast-tag eval --calibrate` writes one",
                ) from None
            return GivenThreshold(file=Path(self.threshold))

    def applied_to(
        self, settings: AnyLabelSettings, threshold: Threshold, events: EventSettings | None
    ) -> AnyLabelSettings:
        """The settings with these labels."""
        return replace(
            settings,
            top_k=self.top_k,
            threshold=threshold,
            include=tuple(self.include),
            exclude=tuple(self.exclude),
            rollup=self.rollup,
            events=events,
        )


ScoresOption = Annotated[
    Scores, typer.Option(rich_help_panel=LABELS, help="What a score is; auto follows the checkpoint.")
]
TimelineOption = Annotated[
    bool,
    typer.Option(
        "--timeline",
        rich_help_panel=LABELS,
        help="The labels of every window; in JSON beside those of the file, in other formats instead.",
    ),
]
AGGREGATE_HELP = "Windows to file: mean, weighed by the seconds each newly covers, or max."


@option_group(LABELS)
class TagLabelOptions(LabelOptions):
    """Which labels are shown, and how scores become those of a file."""

    scores: ScoresOption = "auto"
    aggregate: Aggregation = option(DEFAULTS.aggregate, AGGREGATE_HELP)
    timeline: TimelineOption = DEFAULTS.timeline


EventThresholdOption = Annotated[
    str | None,
    typer.Option(
        "--threshold",
        metavar="NUMBER|FILE",
        rich_help_panel=LABELS,
        help="The score at which an event begins; a CSV of `eval --calibrate` has one for each class.",
        show_default=f"{DEFAULT_EVENT_THRESHOLD:g}",
    ),
]


@option_group(LABELS)
class EventLabelOptions(LabelOptions):
    """Which classes have events, where these are all that is told."""

    threshold: EventThresholdOption = None


@option_group(EVENTS)
class EventOptions:
    """How windows become events."""

    hysteresis: float = option(
        EVENT_DEFAULTS.hysteresis,
        "An event begins at the threshold and lasts while the score is at least this part of it.",
        metavar="PART",
    )
    min_duration: float = option(EVENT_DEFAULTS.min_duration, "Leave out shorter events.", metavar="SECONDS")
    max_gap: float = option(
        EVENT_DEFAULTS.max_gap, "Events of a class that are this close are one.", metavar="SECONDS"
    )

    @property
    def settings(self) -> EventSettings:
        """What these options say."""
        return EventSettings(self.hysteresis, self.min_duration, self.max_gap)

    def settings_if(self, *, wanted: bool) -> EventSettings | None:
        """The same; None where there are no events, for which nothing may be said either."""
        if self.settings != EVENT_DEFAULTS and not wanted:
            raise UsageError(
                "--hysteresis, --min-duration and --max-gap tell of events, which are not asked for",
                "Add --events, or a --format of events",
            )
        return self.settings if wanted else None


def windows_left_out(format_: str, *, events: bool) -> str:
    """The warning that a format does not show the windows of --timeline; empty if it does.

    Args:
        format_: A key of `outputs.FORMATS`.
        events: Whether there are events, asked for or because the format is of events.
    """
    if not events or format_ in ("json", "jsonl"):
        return ""
    return f"{format_} shows events alone, without the windows of --timeline; json --events has both"

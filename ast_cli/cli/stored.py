"""What the commands that read stored results share: `export`, `clips` and `report`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ast_cli.cli.label_options import GivenThreshold
from ast_cli.errors import UsageError
from ast_cli.results import FileResult

if TYPE_CHECKING:
    from ast_cli.outputs.json_reader import StoredRun
    from ast_cli.scoring.labels import LabelSet
    from ast_cli.settings import Threshold

ResultsArgument = Annotated[
    str,
    typer.Argument(
        metavar="RESULTS",
        help="What `tag` wrote: .jsonl, .json, or the .journal of a run that was broken off; - is stdin.",
    ),
]


def scores_of(stored: StoredRun) -> str:
    """What the scores of a stored run are; empty if it does not say, or has none."""
    return next((one.scores for one in stored.outcomes() if isinstance(one, FileResult)), "")


def threshold_for(given: GivenThreshold, labels: LabelSet, stored: StoredRun) -> Threshold:
    """What --threshold says for the classes of a stored run."""
    if given.file is not None and not all(labels.names):
        raise UsageError(
            f"a threshold for each class needs the names of all, and {stored.path} has but those it found",
            "Tag with --keep-scores, or give one number",
        )
    return given.of(labels)


def lacking(recordings: int, results: str) -> str:
    """The warning that results of a stored run are less than what was asked for."""
    what = "recording may lack" if recordings == 1 else "recordings may lack"
    return (
        f"{recordings:,} {what} labels or events, for which {results} kept too few labels: "
        "tag with --keep-scores to have all"
    )

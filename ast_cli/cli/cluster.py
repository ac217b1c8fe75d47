"""`ast-tag tag --ray`: the same run on Ray."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ast_cli.audio.discover import discover
from ast_cli.cli.screen import TagScreen
from ast_cli.errors import UsageError
from ast_cli.extras import require_extra
from ast_cli.files import STDOUT
from ast_cli.names import STDIN
from ast_cli.settings import TagSettings, require_choice

if TYPE_CHECKING:
    from ast_cli.outputs.writer import Writer


def cluster_format(asked: str | None, out: str) -> tuple[str, type[Writer]]:
    """The format of the shards, and its writer.

    Raises:
        UsageError: --out cannot hold shards, or the format cannot be divided into them.
        EngineError: The format needs an extra that is not installed.
    """
    from ast_cli.cluster.run import SHARDED
    from ast_cli.outputs import FORMATS, choose_format

    if out in ("", STDOUT) or Path(out).is_file():
        raise UsageError(
            "--ray writes a folder of shards", "Add --out DIR, or an address such as s3://bucket/dir"
        )
    require_choice("format of shards", asked or SHARDED[0], SHARDED)
    format_ = choose_format(asked or SHARDED[0], out)
    return format_, FORMATS[format_]


def tag_on_cluster(
    address: str,
    screen: TagScreen,
    inputs: Iterable[str],
    settings: TagSettings,
    *,
    out: str,
    format_: str,
    model: Sequence[str],
    thresholds: Path | None,
    how: dict[str, Any],
    batch_size: int | None,
    workers: int | None,
    shard_size: int | None,
    resume: bool,
    overwrite: bool,
    verbose: bool,
) -> None:
    """Tag on a cluster; what failed is told as on one machine.

    Args:
        address: See `connection.cluster`.
        screen: Where messages go.
        inputs: What the user named.
        settings: How recordings are tagged.
        out: Folder or address.
        format_: See `cluster_format`.
        model: Names of the checkpoints.
        thresholds: A file of them, or None.
        how: Further arguments of `Tagger.from_pretrained`.
        batch_size: See `Tagger.tag_many`.
        workers: Likewise.
        shard_size: Recordings in a shard.
        resume: See `run.prepare`, as for the next.
        overwrite: Likewise.
        verbose: See `connection.cluster`.

    Raises:
        AstCliError: See `connection.cluster` and `run.prepare`.
    """
    from ast_cli.cluster.connection import cluster, room_for, without_stdout
    from ast_cli.cluster.run import SHARD_SIZE, prepare
    from ast_cli.cluster.worker import Job

    require_extra("ray")
    from ast_cli.checkpoints.checkpoint import Checkpoint
    from ast_cli.networks.config import ASTConfig
    from ast_cli.tagger import Tagger

    # Asked here first: what no actor could do is told before there are any.
    checkpoints = [Checkpoint.open(one, how["revision"], offline=how["offline"]) for one in model]
    config = ASTConfig.from_pretrained(checkpoints[0])
    if thresholds is not None:
        from ast_cli.training.thresholds import read_thresholds

        settings = replace(settings, threshold=read_thresholds(thresholds, config.labels))
    asked = {"models": [*model], "revision": how["revision"], "scores": how["scores"], **asdict(settings)}
    job = Job(
        out=out if "://" in out else os.path.abspath(out),  # noqa: PTH100 — links stay as they were named
        format=format_,
        open_tagger=partial(Tagger.from_pretrained, [*model], **how),
        settings=settings,
        batch_size=batch_size,
        workers=workers,
        folder=os.getcwd(),  # noqa: PTH109
    )
    # Connected first: where there is no cluster, nothing is written.
    without = nullcontext() if verbose else without_stdout()
    with without, cluster(address, verbose=verbose), screen.closing_line(lambda: out):
        screen.scores = config.scores if how["scores"] == "auto" else how["scores"]
        screen.warn_if_guessed(model[0], how["scores"], guessed=config.scores_are_guessed)
        actors = room_for(how["device"])
        run = prepare(
            job,
            lambda: discover(_no_stdin(inputs), [out]),
            asked,
            shard_size=shard_size or SHARD_SIZE,
            resume=resume,
            overwrite=overwrite,
        )
        screen.skip(run.skipped)
        screen.note(f"{actors.count} × {actors.cores} cores, {actors.gpus} GPUs each")
        with screen.progress(lambda: range(run.manifest.recordings)):
            for report in run.reports(actors):
                screen.report(report)


def _no_stdin(inputs: Iterable[str]) -> Iterable[str]:
    for one in inputs:
        if one == STDIN:
            raise UsageError("an actor has no standard input", "Name a file instead of -")
        yield one

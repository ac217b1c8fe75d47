"""`ast-tag tag --ray`: the same run on Ray."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ast_cli.audio.discover import discover
from ast_cli.cli.option_groups import option, option_group
from ast_cli.cli.options import CLUSTER, OutputOptions
from ast_cli.cli.screen import TagScreen
from ast_cli.errors import UsageError
from ast_cli.extras import require_extra
from ast_cli.files import STDOUT
from ast_cli.names import STDIN
from ast_cli.settings import require_choice

if TYPE_CHECKING:
    from ast_cli.cli.tag import TagRequest
    from ast_cli.outputs.writer import Writer


@option_group(CLUSTER)
class ClusterOptions:
    """Which cluster, and what its actors take at once."""

    ray: str | None = option(
        None,
        "Tag on Ray: local starts one here, auto joins the cluster of RAY_ADDRESS or this machine. "
        "--out is then a folder or an address such as s3://bucket/dir, for a file per shard.",
        metavar="local|auto|ADDRESS",
    )
    shard_size: int | None = option(
        None, "Recordings in a shard, which is tagged in one go.", metavar="N", min=1, show_default="256"
    )


def cluster_format(output: OutputOptions) -> tuple[str, type[Writer]]:
    """The format of the shards, and its writer.

    Raises:
        UsageError: --out cannot hold shards, or the format cannot be divided into them.
        EngineError: The format needs an extra that is not installed.
    """
    from ast_cli.cluster.run import SHARDED
    from ast_cli.outputs import FORMATS, choose_format

    if output.out in ("", STDOUT) or Path(output.out).is_file():
        raise UsageError(
            "--ray writes a folder of shards", "Add --out DIR, or an address such as s3://bucket/dir"
        )
    asked = output.format_ or SHARDED[0]
    require_choice("format of shards", asked, SHARDED)
    format_ = choose_format(asked, output.out)
    return format_, FORMATS[format_]


def tag_on_cluster(options: ClusterOptions, request: TagRequest, screen: TagScreen, *, verbose: bool) -> None:
    """Tag on a cluster; what failed is told as on one machine.

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

    how, output = request.how, request.output
    # Asked here first: what no actor could do is told before there are any.
    checkpoints = [Checkpoint.open(one, how.revision, offline=how.offline) for one in request.models]
    config = ASTConfig.from_pretrained(checkpoints[0])
    settings = replace(request.settings, threshold=request.threshold.of(config.labels))
    job = Job(
        out=output.out if "://" in output.out else os.path.abspath(output.out),  # noqa: PTH100 — links stay
        format=request.format,
        open_tagger=partial(Tagger.open, request.models, how),
        settings=settings,
        batch_size=request.engine.batch_size,
        workers=request.engine.workers,
        folder=os.getcwd(),  # noqa: PTH109
    )
    asked = {"models": request.models, "revision": how.revision, "scores": how.scores, **asdict(settings)}
    # Connected first: where there is no cluster, nothing is written.
    without = nullcontext() if verbose else without_stdout()
    assert options.ray is not None
    with without, cluster(options.ray, verbose=verbose), screen.closing_line(lambda: output.out):
        screen.scores = config.scores if how.scores == "auto" else how.scores
        screen.warn_if_guessed(request.models[0], how.scores, guessed=config.scores_are_guessed)
        actors = room_for(how.device)
        run = prepare(
            job,
            lambda: discover(_no_stdin(request.names), [output.out], screen.passed_over),
            asked,
            shard_size=options.shard_size or SHARD_SIZE,
            resume=output.resume,
            overwrite=output.overwrite,
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

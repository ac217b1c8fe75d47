"""What an actor does with a shard: tag its recordings and write its file. Knows nothing of Ray."""

from __future__ import annotations

import json
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ast_cli.allocation import keep_memory
from ast_cli.cluster.manifest import RunShard, read_shard, require_run
from ast_cli.cluster.store import Store
from ast_cli.errors import AstCliError, EngineError
from ast_cli.outputs import FORMATS
from ast_cli.outputs.destination import write_file
from ast_cli.results import FileFailure, Outcome
from ast_cli.settings import TagSettings

if TYPE_CHECKING:
    from ast_cli.tagger import Tagger

Rows = dict[str, Any]  # columns of a batch of Ray Data


@dataclass(frozen=True)
class Job:
    """What every shard of a run has in common.

    Attributes:
        out: Address of the folder.
        format: A key of `outputs.FORMATS`.
        open_tagger: Called once by each actor, where it runs.
        settings: How recordings are tagged.
        batch_size: See `Tagger.tag_many`.
        workers: See `Tagger.tag_many`; None for one a core of the actor.
        folder: Relative names are meant from here, where it is there.
        run: See `RunManifest`.
        again: Numbers of shards that have their file, and failures that are to be tried again.
    """

    out: str
    format: str
    open_tagger: Callable[[], Tagger]
    settings: TagSettings
    batch_size: int | None = None
    workers: int | None = None
    folder: str = ""
    run: str = ""
    again: frozenset[int] = frozenset()

    def file(self, shard: RunShard) -> str:
        """The name of a shard's results."""
        return shard.file(FORMATS[self.format].suffix)


@dataclass
class ShardReport:
    """What a shard's recordings came to.

    Attributes:
        tagged: Recordings that have a result.
        again: Of all, how many had been through before.
        seconds: Of audio that was scored.
        notices: The tagger's, of how it runs.
        failures: What has none, as `FileFailure` has it.
        places: Where these are in the shard.
        warnings: File and what was odd about it.
    """

    tagged: int = 0
    again: int = 0
    seconds: float = 0.0
    notices: list[str] = field(default_factory=list)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)

    def add_seconds(self, seconds: float) -> None:
        """More audio was scored."""
        self.seconds += seconds

    def add(self, outcome: Outcome) -> Outcome:
        """One more has its outcome, which is handed on."""
        if isinstance(outcome, FileFailure):
            self.places.append(self.tagged + len(self.failures))
            self.failures.append((outcome.file, outcome.error, outcome.message))
        else:
            self.tagged += 1
            self.warnings.extend((outcome.file, warning) for warning in outcome.warnings)
        return outcome


class ShardTagger:
    """Tags shards one after the other with one tagger.

    Args:
        job: The run they are of.
        cores: That are its own.
    """

    def __init__(self, job: Job, cores: int) -> None:
        self._job = job
        self._cores = cores
        self._notices: list[str] = []
        self._tagger: Tagger | None = None
        with suppress(OSError):  # of a machine that does not share the folder: names will be not found
            if job.folder:
                os.chdir(job.folder)
        keep_memory()
        torch.set_num_threads(cores)

    def __call__(self, rows: Rows) -> Rows:
        """Tag the shards of a batch; returns their reports, or the error that ends the run."""
        shards = zip(*(map(int, rows[one.name]) for one in fields(RunShard)), strict=True)
        try:
            return {"report": [pickle.dumps(self.tag(RunShard(*shard))) for shard in shards]}
        except AstCliError as error:  # Ray would make a traceback of it
            return {"report": [pickle.dumps(error)]}
        except Exception as error:  # and show the user but its end
            fault = EngineError(
                f"{type(error).__name__}: {error}", "This is a fault of the tool: please report it"
            )
            return {"report": [pickle.dumps(fault)]}

    def tag(self, shard: RunShard) -> ShardReport:
        """Tag a shard and write its file.

        Raises:
            AstCliError: There is no such model, or the file cannot be written.
        """
        job, store, tagger = self._job, Store(self._job.out), self._opened()
        report = ShardReport()
        found = read_shard(store, shard.begin, shard.end)
        if shard.number in job.again:
            if store.has(shard.failures):  # else an actor that was lost then had them done
                places = json.loads(store.read(shard.failures))
                report.again = sum(
                    1 for _ in map(report.add, self._outcomes([found[at] for at in places], report))
                )
                if not report.tagged:  # all as before: the others need not be done again for them
                    return self._complete(report)
            report = ShardReport(again=len(found))
        info = partial(tagger.run_info, batch_size=job.batch_size or "auto", **asdict(job.settings))
        name = job.file(shard)
        with tempfile.TemporaryDirectory() as folder:
            local, failures = Path(folder) / name, Path(folder) / shard.failures
            write_file(local, job.format, info, map(report.add, self._outcomes(found, report)))
            require_run(store, job.run)
            if report.places:
                failures.write_text(json.dumps(report.places), "ascii")
                store.put(failures, shard.failures)
            store.put(local, name)
            if shard.number in job.again and not report.failures:
                store.remove(shard.failures)
        return self._complete(report)

    def _outcomes(self, found: list[str | Outcome], report: ShardReport) -> Iterator[Outcome]:
        job = self._job
        return self._opened().tag_found(
            found,
            batch_size=job.batch_size,
            workers=job.workers or self._cores,
            on_heard=report.add_seconds,
            settings=job.settings,
        )

    def _complete(self, report: ShardReport) -> ShardReport:
        report.notices, self._notices[:] = [*self._notices], []
        return report

    def _opened(self) -> Tagger:
        if self._tagger is None:
            self._tagger = self._job.open_tagger()
            for engine in self._tagger.engines:
                engine.on_notice = self._notices.append
        return self._tagger

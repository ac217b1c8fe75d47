"""The driver of a run on Ray over very many recordings, whose network is a stand-in: prints its peak memory.

python -m tests.cluster.many COUNT OUT
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from ast_cli.cluster.connection import cluster, room_for
from ast_cli.cluster.run import prepare
from ast_cli.cluster.worker import Job
from ast_cli.results import FileResult, ModelInfo, RunInfo, Tag
from ast_cli.settings import TagSettings
from tests.peak import peak_megabytes

TAGS = tuple(Tag(rank, rank, f"/m/{rank}", f"label {rank}", 1 / rank) for rank in range(1, 6))


class StandIn:
    """A tagger that hears the same in every recording, and opens none."""

    engines = ()

    def tag_found(self, found: Iterable[str], **_: Any) -> Iterator[FileResult]:
        return (FileResult(file, 10.0, 10.0, 16_000, 1, TAGS, scores="sigmoid") for file in found)

    def run_info(self, **settings: object) -> RunInfo:
        return RunInfo((ModelInfo("stand-in", "", "", "sigmoid", 6),), settings)


def main(count: int, out: str) -> None:
    job = Job(out, "jsonl", StandIn, TagSettings())
    tagged = 0
    with cluster("local"):
        run = prepare(job, lambda: (f"/recordings/{number:012}.wav" for number in range(count)), {})
        for report in run.reports(room_for("cpu")):
            tagged += report.tagged
        assert tagged == count
        print(round(peak_megabytes()))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

"""Tags the files of a list and tells each outcome in a line of JSON: the process that is watched.

python -m tools.fuzz.tag_all LIST WORKERS; without workers, every file is tagged in a run of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from ast_cli import FileResult, Tagger
from ast_cli.results import Outcome
from tests.peak import peak_megabytes
from tests.stand_in import install, save_stand_in


def main() -> None:
    """Print a line of JSON for each file."""
    files = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    workers = int(sys.argv[2])
    install()
    with tempfile.TemporaryDirectory() as folder:
        tagger = Tagger.from_pretrained(save_stand_in(Path(folder)), device="cpu")
    print(json.dumps({"ready": True}), flush=True)
    before = time.monotonic()
    for outcome in outcomes(tagger, files, workers):
        seconds = time.monotonic() - before
        line = {"file": outcome.file, **told(outcome), "seconds": seconds, "peak": peak_megabytes()}
        print(json.dumps(line), flush=True)
        before = time.monotonic()


def outcomes(tagger: Tagger, files: list[str], workers: int) -> Iterator[Outcome]:
    """One for each file, in order."""
    if workers:
        yield from tagger.tag_many(files, workers=workers)
        return
    for file in files:
        yield from tagger.tag_many([file], workers=1)


def told(outcome: Outcome) -> dict[str, str]:
    """The word of a failure, or that there is a result and what tells it from others: its every digit."""
    if not isinstance(outcome, FileResult):
        return {"word": outcome.error, "message": outcome.message}
    facts = (outcome.tags, outcome.duration, outcome.seconds_heard, outcome.sample_rate, outcome.warnings)
    return {"word": "tagged", "message": sha256(repr(facts).encode()).hexdigest()}


if __name__ == "__main__":
    main()

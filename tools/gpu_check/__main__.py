"""Run the GPU checks one after the other, each within its own time; each writes JSON as soon as it ends.

    PYTHONPATH=. python -m tools.gpu_check --out DIR [--dry] [--steps tests,network] [--limit 540]

A step that fails or runs out of time costs no other. `--dry` runs every step for some seconds on the CPU.
Recordings and the checkpoint with random weights lie in --scratch, which does not travel; DIR holds one
small JSON file a step.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools.gpu_check.common import write_json

# In this order; seconds that each may take, together less than nine minutes.
STEPS = {
    "prepare": 50,
    "feed": 150,
    "tests": 80,
    "network": 100,
    "kernels": 40,
    "candidates": 60,
    "transformers": 50,
}
TAIL = 4000  # characters of what a step prints


def main() -> None:
    """Run the steps; exits with 1 if one of them failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", required=True, type=Path, help="folder for the JSON files")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "gpu_check")
    parser.add_argument("--steps", default=",".join(STEPS), help="with commas; prepare is wanted by most")
    parser.add_argument("--limit", type=float, default=540, help="seconds for all steps together")
    parser.add_argument("--dry", action="store_true", help="tiny sizes on the CPU")
    asked = parser.parse_args()
    steps = asked.steps.split(",")
    if unknown := set(steps) - set(STEPS):
        parser.error(f"no such step: {', '.join(sorted(unknown))}")
    asked.out.mkdir(parents=True, exist_ok=True)
    asked.scratch.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + asked.limit
    failed = []
    for step in steps:
        allowed = min(STEPS[step] * (3 if asked.dry else 1), end - time.monotonic())
        ok = allowed > 1 and run_step(step, asked, allowed)
        if not ok:
            failed.append(step)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def run_step(step: str, asked: argparse.Namespace, allowed: float) -> bool:
    """Run a step in a process group of its own; returns whether it ended well in time."""
    dry = ["--dry"] if asked.dry else []
    command = [sys.executable, "-m", f"tools.gpu_check.{step}"]
    command += ["--out", str(asked.out), "--scratch", str(asked.scratch), *dry]
    print(f"{step}: {' '.join(command)}", flush=True)
    start = time.monotonic()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        printed, timed_out = process.communicate(timeout=allowed)[0], False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        printed, timed_out = process.communicate()[0], True
    seconds = time.monotonic() - start
    write_json(
        asked.out / f"{step}.log.json",
        {
            "command": command,
            "seconds": round(seconds, 1),
            "exit": process.returncode,
            "timed_out": timed_out,
            "printed": printed[-TAIL:],
        },
    )
    print(printed[-TAIL:])
    print(f"{step}: exit {process.returncode} after {seconds:.1f} s", flush=True)
    return process.returncode == 0


if __name__ == "__main__":
    main()

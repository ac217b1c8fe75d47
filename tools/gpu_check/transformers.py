"""`ast-tag bench DIR --peer transformers` on a few hundred recordings."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from tools.gpu_check.common import CHECKPOINT, FEW, Step


def main() -> None:
    """Run it once."""
    step = Step.from_arguments("transformers")
    command = [sys.executable, "-m", "ast_cli", "bench", str(step.scratch / FEW), "--json", "--repeats", "1"]
    command += ["--model", str(step.scratch / CHECKPOINT), "--device", step.device, "--dtype", step.dtype]
    command += ["--batch-size", "8", "--peer", "transformers"]
    start = time.monotonic()
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    result = json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr[-2000:]}
    step.write(command=command[1:], seconds=time.monotonic() - start, result=result)
    if "error" in result:
        sys.exit(result["error"])
    for run in result["runs"]:
        print(f"{run['engine']}: {run['flow']['files_per_s']:.1f} files/s")


if __name__ == "__main__":
    main()

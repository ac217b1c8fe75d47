"""`ast-tag bench`: the network alone, by number format, attention, batch size, and compiled."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from tools.gpu_check.common import CHECKPOINT, Step

SIZES, DRY_SIZES = "1,2,4,8,32", "1,2"
CASES = (  # options, seconds that they may take
    (["--dtype", "float16"], 25),
    (["--dtype", "bfloat16", "--attn", "sdpa"], 20),
    (["--dtype", "float32", "--attn", "sdpa"], 20),
    (["--dtype", "float16", "--attn", "sdpa", "--compile"], 60),
)


def main() -> None:
    """Measure each case."""
    step = Step.from_arguments("network")
    runs = []
    for options, limit in CASES[:-1] if step.dry else CASES:  # compiling takes minutes on a CPU
        allowed = 3 * limit if step.dry else limit
        wanted = ["--dtype", "float32", *options[2:]] if step.dry else options
        command = [
            sys.executable,
            "-m",
            "ast_cli",
            "bench",
            "--model",
            str(step.scratch / CHECKPOINT),
            "--json",
        ]
        command += ["--device", step.device, "--batch-size", DRY_SIZES if step.dry else SIZES]
        command += ["--repeats", "1" if step.dry else "5", *wanted]
        start = time.monotonic()
        try:
            done = subprocess.run(command, text=True, capture_output=True, timeout=allowed, check=False)
            result = json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr[-2000:]}
        except subprocess.TimeoutExpired:
            result = {"error": f"not done in {allowed} s"}
        seconds = time.monotonic() - start
        runs.append({"command": command[1:], "seconds": seconds, "result": result})
        step.write(runs=runs)
        print(" ".join(wanted), f"{seconds:.1f} s", result.get("error", ""))
        for one in result.get("runs", ()):
            ratio = one["roofline"]["ratio"] if one["roofline"] else 0
            print(
                f"  {one['attn']:6} {one['batch_size']:3} windows  {one['windows_per_s']:8.1f} windows/s  "
                f"{ratio:.0%} of GEMM"
            )
    if any("error" in one["result"] for one in runs):
        sys.exit("a case failed")


if __name__ == "__main__":
    main()

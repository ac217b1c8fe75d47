"""Run the tests that need a CUDA device."""

from __future__ import annotations

import subprocess
import sys
import time

from tools.gpu_check.common import Step


def main() -> None:
    """Run them; exits as pytest does."""
    step = Step.from_arguments("tests")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "cuda",
        "tests/gpu",
        "-q",
        "-n",
        "2" if step.dry else "8",
    ]
    command += ["-p", "no:cacheprovider", "--durations", "5"]
    start = time.monotonic()
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    print(done.stdout[-3000:])
    step.write(
        command=command, exit=done.returncode, seconds=time.monotonic() - start, printed=done.stdout[-8000:]
    )
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()

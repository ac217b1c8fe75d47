"""How much memory this process has ever held at once."""

from __future__ import annotations

from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_megabytes() -> float:
    """The resident peak; unlike `getrusage`, it owes nothing to the process that started this one."""
    [kilobytes] = [line.split()[1] for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(kilobytes) / 1024

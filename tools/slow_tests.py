"""Print the test files whose slow tests a change concerns, for `.ci/run`; on stderr, why these.

    python tools/slow_tests.py [SINCE]

Without SINCE, what counts is what changed since the branch left main, or, on main itself, in its last commit.
Where git cannot say, as in a clone without history, none are printed: `make test-all` runs them all.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Slow tests, and the beginnings of the paths that they cover. A test file covers itself.
COVERS = {
    "tests/audio/test_remote.py": ("ast_cli/audio/remote", "ast_cli/audio/shards"),
    "tests/cli/test_finetune.py": ("ast_cli/cli/finetune", "ast_cli/training/"),
    "tests/cli/test_finetune_defaults.py": ("ast_cli/cli/finetune", "ast_cli/training/settings"),
    "tests/cli/test_resume.py": ("ast_cli/outputs/journal", "ast_cli/files", "ast_cli/pipeline/"),
    "tests/cli/test_user.py": ("ast_cli/cli/user",),
    "tests/cluster/test_ray.py": ("ast_cli/cluster/", "examples/cluster/job.sh"),
    "tests/docs/test_readme.py": ("README.md", "ast_cli/cli/", "ast_cli/data/tiny/", "examples/"),
    "tests/engines/test_torch_engine.py": ("ast_cli/engines/torch_engine",),
    "tests/explain/test_explain.py": ("ast_cli/explain/",),
    "tests/parity/test_network.py": ("ast_cli/networks/",),
    "tests/pipeline/test_pipeline.py": ("ast_cli/pipeline/",),
    "tests/pipeline/test_planted.py": ("ast_cli/features/", "ast_cli/audio/resample"),
    "tests/scoring/test_search_in_noise.py": ("ast_cli/scoring/embedding", "ast_cli/scoring/search"),
    "tests/tools/test_fuzz.py": ("ast_cli/audio/", "tools/fuzz/"),
    "tests/tools/test_memory.py": ("ast_cli/pipeline/", "ast_cli/outputs/", "tools/benchmarks/"),
    "tests/tools/test_plan.py": ("tools/cluster/",),
    "tests/tools/test_side_by_side.py": ("tools/benchmarks/",),
    "tests/training/test_processes.py": ("ast_cli/training/",),
}


def git(*arguments: str) -> str | None:
    """What git says, or None where it fails or is not there."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def since() -> str | None:
    """The commit that changes are counted from."""
    head = git("rev-parse", "HEAD")
    for main in ("origin/HEAD", "origin/main", "main"):
        base = git("merge-base", "HEAD", main)
        if base and base != head:
            return base
    return git("rev-parse", "--verify", "--quiet", "HEAD^")


def slow_tests(changed: Iterable[str]) -> dict[str, str]:
    """The test files that changed paths concern, each with the first such path."""
    changed = sorted(changed)
    concerned = {
        file: next((path for path in changed if path.startswith((file, *prefixes))), "")
        for file, prefixes in COVERS.items()
    }
    return {file: path for file, path in concerned.items() if path}


def main() -> None:
    """Print them."""
    base = sys.argv[1] if len(sys.argv) > 1 else since()
    listed = git("diff", "--name-only", base) if base else None
    if listed is None:
        print("no history here: no slow tests are run; `make test-all` runs them all", file=sys.stderr)
        return
    for file, path in slow_tests(listed.splitlines()).items():
        print(f"{file}: {path} changed since {base}", file=sys.stderr)
        print(file)


if __name__ == "__main__":
    main()

"""Print how `ast_cli` is built, read from its source: modules, lines, the longest function, who imports whom.

    python tools/structure.py            # the figures
    python tools/structure.py --arrows   # and every import between the parts

A part is a module or package directly in `ast_cli`.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path


def part_of(module: Path, package: Path) -> str:
    """The part that a module belongs to: `errors` for `errors.py`, `audio` for `audio/decode.py`."""
    return module.relative_to(package).parts[0].removesuffix(".py")


def imported_parts(source: str, package: str = "ast_cli") -> Iterator[str]:
    """The parts that a source imports, in functions and for type checkers too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = [f"{package}.(relative)"]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for _, part in (name.split(".")[:2] for name in names if name.startswith(f"{package}.")):
            if part != "__version__":
                yield part


def arrows(package: Path) -> set[tuple[str, str]]:
    """Every (part, part that it imports), without the package's own `__init__`."""
    found = set()
    for module in package.rglob("*.py"):
        own = part_of(module, package)
        if own != "__init__":
            found |= {(own, other) for other in imported_parts(module.read_text("utf-8")) if other != own}
    return found


def module_arrows(package: Path) -> int:
    """Number of different (module, module that it imports)."""
    found = set()
    for module in package.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ast_cli."):
                found.add((module, node.module))
    return len(found)


def floors(package: Path) -> dict[str, int]:
    """The length of the longest chain of imports below each part; fails where imports run in a circle."""
    below: dict[str, set[str]] = {part_of(module, package): set() for module in package.rglob("*.py")}
    below.pop("__init__", None)
    for own, other in arrows(package):
        below[own].add(other)
    heights: dict[str, int] = {}
    while len(heights) < len(below):
        ready = [part for part in below if part not in heights and below[part] <= set(heights)]
        if not ready:
            raise SystemExit(f"imports run in a circle among {', '.join(sorted(set(below) - set(heights)))}")
        for part in ready:
            heights[part] = 1 + max((heights[other] for other in below[part]), default=-1)
    return heights


def functions(package: Path) -> Iterator[tuple[int, str]]:
    """The lines and the place of each function."""
    for module in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.end_lineno - node.lineno + 1, f"{module.relative_to(package)}:{node.name}"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arrows", action="store_true", help="print every import between the parts")
    parser.add_argument("package", type=Path, nargs="?", default=Path(__file__).parents[1] / "ast_cli")
    asked = parser.parse_args()
    modules = sorted(asked.package.rglob("*.py"))
    between, heights = arrows(asked.package), floors(asked.package)
    print(f"parts\t{len(heights)}")
    print(f"floors\t{max(heights.values()) + 1}")
    print(f"arrows between parts\t{len(between)}")
    print(f"arrows between modules\t{module_arrows(asked.package)}")
    print(f"modules\t{len(modules)}")
    print(f"lines\t{sum(len(module.read_text('utf-8').splitlines()) for module in modules)}")
    for lines, place in sorted(functions(asked.package), reverse=True)[:5]:
        print(f"longest function\t{lines}\t{place}")
    if asked.arrows:
        for own in sorted(heights, key=lambda part: (heights[part], part)):
            print(
                f"{heights[own]:>2} {own}: {' '.join(sorted(other for one, other in between if one == own))}"
            )


if __name__ == "__main__":
    main()

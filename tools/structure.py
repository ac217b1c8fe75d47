"""Print how `ast_cli` is built, read from its source: modules, lines, long functions, who imports whom.

    python tools/structure.py            # the figures
    python tools/structure.py --arrows   # and for each part, its layer and the parts that it imports
    python tools/structure.py --arrows ../old/ast_cli   # of another checkout

A part is a module or package directly in `ast_cli`. Its layer is the length of the longest chain of imports
below it. Imports in functions and those for type checkers count; those of `ast_cli/__init__.py`, which names
what the package exports, do not count between parts.
"""

from __future__ import annotations

import argparse
import ast
import signal
from collections.abc import Iterator
from pathlib import Path

LONGEST = 5  # functions that are printed


def part_of(module: Path, package: Path) -> str:
    """The part that a module belongs to: `errors` for `errors.py`, `audio` for `audio/decode.py`."""
    return module.relative_to(package).parts[0].removesuffix(".py")


def imported_names(source: str, package: str = "ast_cli") -> Iterator[str]:
    """The full names that a source imports from the package: `ast_cli.audio.decode.open_recording`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = [f"{package}.(relative)"]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.startswith(f"{package}."))


def imported_parts(source: str, package: str = "ast_cli") -> Iterator[str]:
    """The parts that a source imports."""
    for name in imported_names(source, package):
        part = name.split(".")[1]
        if part != "__version__":
            yield part


def part_imports(package: Path) -> dict[str, set[str]]:
    """For each part, the others that it imports."""
    found: dict[str, set[str]] = {}
    for module in package.rglob("*.py"):
        own = part_of(module, package)
        if own != "__init__":
            found.setdefault(own, set()).update(set(imported_parts(module.read_text("utf-8"))) - {own})
    return found


def module_imports(package: Path) -> set[tuple[Path, Path]]:
    """Every (module, module that it imports)."""
    found = set()
    for module in package.rglob("*.py"):
        for name in imported_names(module.read_text("utf-8")):
            place = package
            for step in name.split(".")[1:]:  # what is no folder or module is a name in the last
                if not (place / step).is_dir() and not (place / f"{step}.py").is_file():
                    break
                place = place / step
            found.add((module, place / "__init__.py" if place.is_dir() else place.with_suffix(".py")))
    return found


def layers(package: Path) -> dict[str, int]:
    """The length of the longest chain of imports below each part; fails where imports run in a circle."""
    below = part_imports(package)
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
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a word
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arrows", action="store_true", help="print the parts that each part imports")
    parser.add_argument("package", type=Path, nargs="?", default=Path(__file__).parents[1] / "ast_cli")
    args = parser.parse_args()
    package = args.package.resolve()
    modules = sorted(package.rglob("*.py"))
    imports, heights = part_imports(package), layers(package)
    print(f"modules\t{len(modules)}")
    print(f"lines\t{sum(len(module.read_text('utf-8').splitlines()) for module in modules)}")
    print(f"modules at the top level\t{len([*package.glob('*.py')])}")
    print(f"packages at the top level\t{len([*package.glob('*/__init__.py')])}")
    print(f"parts\t{len(heights)}")
    print(f"layers\t{max(heights.values()) + 1}")
    print(f"imports between parts\t{sum(map(len, imports.values()))}")
    print(f"imports between modules\t{len(module_imports(package))}")
    for lines, place in sorted(functions(package), reverse=True)[:LONGEST]:
        print(f"longest functions\t{lines}\t{place}")
    if args.arrows:
        for own in sorted(heights, key=lambda part: (heights[part], part)):
            print(f"{heights[own]:>2} {own}: {' '.join(sorted(imports[own]))}")


if __name__ == "__main__":
    main()

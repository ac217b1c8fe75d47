"""Tag a folder from Python and count what is heard most.

python examples/tag_a_folder.py FOLDER [MODEL]
"""

from __future__ import annotations

import sys
from collections import Counter

from ast_cli import FileFailure, Tagger


def main(folder: str, model: str = "MIT/ast-finetuned-audioset-10-10-0.4593") -> None:
    """Print the labels that are first most often, and the recordings that failed."""
    tagger = Tagger.from_pretrained(model)
    first: Counter[str] = Counter()
    for result in tagger.tag_many([folder], top_k=1):
        if isinstance(result, FileFailure):
            print(f"{result.file}: {result.error}: {result.message}", file=sys.stderr)
        else:
            first.update(tag.label for tag in result.tags)
    for label, count in first.most_common(10):
        print(f"{count:6}  {label}")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Make the pictures in `docs/pictures` from the example clips, with the built-in model.

    python tools/pictures/make_pictures.py [FOLDER]

Needs the extra `plot`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from ast_cli import Tagger
from ast_cli.explain.attribution import explain
from ast_cli.explain.picture import write_explanation
from ast_cli.explain.window import choose_window

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "examples" / "clips" / "speech-then-music-then-siren.ogg"
LABELS = ("Speech", "Music")


def main(folder: Path) -> None:
    """Write `explain.png` into a folder."""
    tagger = Tagger.from_pretrained("tiny", device="cpu", dtype="float32")
    window = choose_window(tagger, str(CLIP), at=0)
    labels = [index for name in LABELS for index in tagger.labels.matching(name)]
    found = explain(tagger, window.frames, window.length, window.start, labels=labels, fine=True)
    path = folder / "explain.png"
    write_explanation(path, found, CLIP.name)
    with Image.open(path) as picture:
        few_colours = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)  # half of the bytes
    few_colours.save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "pictures")

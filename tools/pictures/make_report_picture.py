"""Makes docs/pictures/report.png, the picture in the README: the report on the example clips in a browser.

    python tools/pictures/make_report_picture.py

Needs playwright, and a Chromium on the PATH.
"""

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CLIPS = ROOT / "examples" / "clips"
SHOWN = "speech-then-music-then-siren.ogg"
AT = 12.5  # seconds into it
MARGIN = 16  # pixels
COLOURS = 128  # of the picture: enough for a page, and a quarter of the bytes


def make_report(folder: Path) -> Path:
    """Write the page on a copy of the clips; returns where it is."""
    shutil.copytree(CLIPS, folder / "clips")
    command = "report clips --model tiny --hop 1 --out report.html --title".split()
    subprocess.run([sys.executable, "-m", "ast_cli", *command, "The example clips"], cwd=folder, check=True)
    return folder / "report.html"


def photograph(page_path: Path) -> bytes:
    """The list of recordings with one of them open."""
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 900}, color_scheme="light")
        page.goto(page_path.as_uri())
        page.get_by_label("Name or label").fill("speech")
        page.wait_for_timeout(500)
        page.get_by_role("button", name=SHOWN).click()
        audio = page.locator(".body audio")
        audio.evaluate(
            "(audio, at) => new Promise(done => { audio.onseeked = done; audio.currentTime = at; })", AT
        )
        page.wait_for_timeout(500)
        box = page.locator("#browse").bounding_box()
        around = {"x": box["x"] - MARGIN, "y": box["y"] - MARGIN}
        around |= {"width": box["width"] + 2 * MARGIN, "height": box["height"] + 2 * MARGIN}
        picture = page.screenshot(clip=around, full_page=True)
        browser.close()
    return picture


def main() -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        picture = photograph(make_report(Path(folder)))
    small = Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS)
    small.save(ROOT / "docs" / "pictures" / "report.png", optimize=True)


if __name__ == "__main__":
    main()

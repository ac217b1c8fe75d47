"""`ast-tag report` as it is used: of results and of recordings, and what is said when something is odd."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ast_cli.errors import ExitCode
from tests.cli.runner import ast_tag
from tests.report.stored import event, result, save, save_sound, tag, window

ROOT = Path(__file__).parents[2]
SPEECH, DOG = tag(0, "Speech", 0.9), tag(74, "Dog", 0.4, 2)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def page(path: str = "report.html") -> str:
    return Path(path).read_text(encoding="utf-8")


def data(name: str, path: str = "report.html") -> Any:
    [text] = re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', page(path), re.DOTALL)
    return json.loads(text)


def simple(file: str = "a.wav", seconds: float = 1.0, **more: Any) -> dict[str, Any]:
    timed = {
        "windows": [window(0, seconds, SPEECH, DOG)],
        "events": [event(0, seconds, 0, "Speech")],
    }
    return result(file, seconds, [SPEECH, DOG], **timed | more)


@pytest.mark.parametrize("more", [(), ("--quiet",)])
def test_that_pictures_are_drawn_shows_on_a_terminal(
    more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.wav", "b.wav"):
        save_sound(Path(name), 1)
    save(Path("r.jsonl"), simple("a.wav"), simple("b.wav"))
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100)
    monkeypatch.setattr("ast_cli.cli.screen.stderr", lambda: console)
    assert ast_tag("report", "r.jsonl", "--out", "report.html", *more).code == ExitCode.OK
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    assert ("drawing" in shown, "2/2" in shown) == ((False, False) if more else (True, True))


def test_recordings_are_tagged_and_shown() -> None:
    Path("sounds").mkdir()
    shutil.copy(ROOT / "examples/clips/siren.flac", "sounds")
    Path("sounds/broken.wav").write_text("no sound")
    done = ast_tag("report", "sounds", "--model", "tiny", "--hop", "2", "--out", "report.html")
    assert done.code == ExitCode.SOME_FAILED
    assert "sounds/broken.wav: unsupported-format" in done.err
    broken, siren = data("rows")
    assert (broken["name"], broken["error"]) == ("sounds/broken.wav", "unsupported-format")
    assert siren["name"] == "sounds/siren.flac"
    assert siren["notes"] == []
    assert "Siren" in siren["labels"]
    detail = data("detail-1")
    assert detail["audio"] == "sounds/siren.flac"
    assert detail["picture"]["uri"].startswith("data:image/")
    assert 0 not in base64.b64decode(detail["heat"]["values"])  # every score is known
    assert "Tagged with <bdi>tiny</bdi>; sigmoid scores" in page()


@pytest.mark.parametrize("name", ["r.json", "r.jsonl"])
def test_what_a_run_stored_gives_the_same_page_as_its_recordings(name: str) -> None:
    shutil.copy(ROOT / "examples/clips/siren.flac", "siren.flac")
    options = ("siren.flac", "--model", "tiny", "--hop", "2")
    assert ast_tag("tag", *options, "--keep-scores", "--out", name).code == ExitCode.OK
    assert ast_tag("report", *options, "--out", "direct.html").code == ExitCode.OK
    assert ast_tag("report", name, "--out", "stored.html").code == ExitCode.OK
    for part in ("rows", "detail-0"):
        assert data(part, "stored.html") == data(part, "direct.html")


def test_a_run_with_windows_alone_has_events_made_of_them() -> None:
    save_sound(Path("a.wav"), 1)
    entry = simple()
    del entry["events"]
    save(Path("r.jsonl"), entry)
    assert ast_tag("report", "r.jsonl", "--out", "report.html").code == ExitCode.OK
    assert data("detail-0")["events"] == [[0, 1, "Speech", 0.9]]


def test_a_run_without_times_says_so() -> None:
    save_sound(Path("a.wav"), 1)
    save(Path("r.jsonl"), result("a.wav", 1.0, [SPEECH]))
    assert ast_tag("report", "r.jsonl", "--out", "report.html").code == ExitCode.OK
    assert data("detail-0")["heat"] is None
    assert "This run kept no events" in page()


def test_links_lead_from_the_page_to_the_audio(here: Path) -> None:
    save_sound(here / "in" / "50% #1: ü?.wav", 1)
    save(Path("r.jsonl"), simple("in/50% #1: ü?.wav"))
    (here / "out").mkdir()
    assert ast_tag("report", "r.jsonl", "--out", "out/report.html").code == ExitCode.OK
    assert data("detail-0", "out/report.html")["audio"] == "../in/50%25%20%231%3A%20%C3%BC%3F.wav"


def test_audio_that_was_moved_is_found_again_or_missed(here: Path) -> None:
    save_sound(here / "new/a.wav", 1)
    save(Path("r.jsonl"), simple("old/a.wav"))
    done = ast_tag("report", "r.jsonl", "--out", "report.html")
    assert done.code == ExitCode.OK
    assert "1 recording cannot be played or drawn as tagged" in done.one_line()
    [row] = data("rows")
    assert "not where it was" in row["notes"][0]
    assert data("detail-0")["audio"] == ""
    done = ast_tag("report", "r.jsonl", "--audio", "new", "--out", "report.html", "--overwrite")
    assert (done.code, done.err) == (ExitCode.OK, "")
    assert data("detail-0")["audio"] == "new/a.wav"


def test_audio_that_changed_is_not_drawn(here: Path) -> None:
    save_sound(here / "a.wav", 2)
    (here / "b.wav").write_text("no sound any more")
    save(Path("r.jsonl"), simple("a.wav"), simple("b.wav"))
    assert ast_tag("report", "r.jsonl", "--out", "report.html").code == ExitCode.OK
    changed, unreadable = data("rows")
    assert "has changed since it was tagged: it lasts 2.000 s" in changed["notes"][0]
    assert "cannot be read any more" in unreadable["notes"][0]
    assert data("detail-0")["picture"] is None


def test_the_audio_can_be_in_the_page(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_sound(here / "a.wav", 1)
    save(Path("r.jsonl"), simple())
    assert ast_tag("report", "r.jsonl", "--embed", "--out", "report.html").code == ExitCode.OK
    detail = data("detail-0")
    assert base64.b64decode(detail["bytes"]) == Path("a.wav").read_bytes()
    assert detail["audio"] == ""
    assert detail["type"].startswith("audio/")
    monkeypatch.setattr("ast_cli.report.page.MOST_EMBEDDED", 1000)
    assert ast_tag("report", "r.jsonl", "--embed", "--out", "report.html", "--overwrite").code == ExitCode.OK
    detail = data("detail-0")
    assert (detail["audio"], "bytes" in detail) == ("a.wav", False)
    assert "linked, not embedded" in data("rows")[0]["notes"][0]


def test_without_pictures_nothing_is_read(here: Path) -> None:
    (here / "a.wav").write_text("no sound")
    save(Path("r.jsonl"), simple())
    done = ast_tag("report", "r.jsonl", "--no-spectrograms", "--out", "report.html")
    assert (done.code, done.err) == (ExitCode.OK, "")
    assert data("detail-0")["picture"] is None


def test_a_run_in_which_all_failed_has_a_page() -> None:
    save(Path("r.jsonl"), {"file": "a.wav", "error": "empty", "message": "the file is empty (0 bytes)"})
    assert ast_tag("report", "r.jsonl", "--out", "-").out.count("the file is empty") == 2
    assert ast_tag("report", "r.jsonl", "--out", "report.html").code == ExitCode.OK
    assert "Nothing has a label." in page()


def test_hostile_text_is_text(here: Path) -> None:
    name = "x</script><script>alert(1)</script>'\"\n.wav"
    bad = tag(5, '<img src=x onerror="alert(2)">', 0.9)
    lines = [result(name, 1.0, [bad]), {"file": "{{ 7*7 }}<b>", "error": "<i>", "message": "<script>"}]
    save(Path("r.jsonl"), *lines)
    done = ast_tag("report", "r.jsonl", "--title", "<script>alert(3)</script>", "--out", "report.html")
    assert done.code == ExitCode.OK
    text = page()
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "{{ 7*7 }}&lt;b&gt;" in text
    assert len(re.findall(r"<script\b", text)) == 1 + 1 + 2  # the program, the rows, two details
    assert data("rows")[0]["tags"] == [[bad["label"], 0.9]]


def test_the_page_forbids_itself_the_network() -> None:
    save(Path("r.jsonl"), simple())
    ast_tag("report", "r.jsonl", "--out", "report.html")
    [policy] = re.findall('http-equiv="Content-Security-Policy" content="(.*?)"', page())
    assert unescape(policy).startswith("default-src 'none'; script-src 'sha256-")
    assert not re.search("https?:|unsafe|\\*", policy)
    assert not re.search("https?://", page())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("r.jsonl", "a.wav"), ExitCode.USAGE, "r.jsonl holds results, beside which nothing else"),
        (("r.jsonl", "--model", "tiny"), ExitCode.USAGE, "--model says how recordings are tagged"),
        (("r.jsonl", "--hop", "1"), ExitCode.USAGE, "--hop says how recordings are tagged"),
        (("r.wav", "--audio", "x"), ExitCode.USAGE, "--audio says where the recordings"),
        (
            ("none.wav", "neither"),
            ExitCode.SOME_FAILED,
            "no such file: none.wav, neither. Check the spelling",
        ),
        (("none.jsonl",), ExitCode.CANNOT_RUN, "cannot read the results none.jsonl"),
        (("empty.jsonl",), ExitCode.CANNOT_RUN, "it is empty"),
        (("none.json",), ExitCode.CANNOT_RUN, "holds no results"),
        (("later.json",), ExitCode.CANNOT_RUN, "ast-tag/9 and not ast-tag/1"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(arguments: tuple[str, ...], code: ExitCode, message: str) -> None:
    save(Path("r.jsonl"), simple())
    Path("empty.jsonl").touch()
    run = {"model": None, "settings": {}, "results": [], "errors": []}
    Path("none.json").write_text(json.dumps({"schema": "ast-tag/1"} | run))
    Path("later.json").write_text(json.dumps({"schema": "ast-tag/9"} | run))
    done = ast_tag("report", *arguments, "--out", "report.html")
    assert done.code == code
    assert message in done.one_line()
    assert not Path("report.html").exists()


def test_a_page_that_is_there_stays() -> None:
    save(Path("r.jsonl"), simple())
    Path("report.html").write_text("mine")
    done = ast_tag("report", "r.jsonl", "--out", "report.html")
    assert done.code == ExitCode.CANNOT_RUN
    assert "--overwrite" in done.one_line()
    assert page() == "mine"


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_a_missing_package_is_named_with_its_remedy(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    save(Path("r.jsonl"), simple())
    found = importlib.util.find_spec
    monkeypatch.setattr("ast_cli.extras.find_spec", lambda name: None if name == module else found(name))
    done = ast_tag("report", "r.jsonl", "--out", "report.html")
    assert done.code == ExitCode.CANNOT_RUN
    assert done.one_line() == f"ast-tag: {module} is not installed. pip install 'ast-cli[report]'"
    if module == "matplotlib":
        assert ast_tag("report", "r.jsonl", "--no-spectrograms", "--out", "report.html").code == ExitCode.OK


def test_results_come_through_a_pipe() -> None:
    save_sound(Path("a.wav"), 1)
    save(Path("r.jsonl"), simple())
    done = ast_tag("report", "-", "--out", "report.html", stdin=Path("r.jsonl").read_bytes())
    assert (done.code, done.err) == (ExitCode.OK, "")
    assert "<h1><bdi>What was heard</bdi></h1>" in page()
    assert data("detail-0")["audio"] == "a.wav"


def test_the_page_is_the_same_every_time() -> None:
    save_sound(Path("a.wav"), 1)
    save(Path("r.jsonl"), simple())
    for name in ("one.html", "two.html"):
        assert ast_tag("report", "r.jsonl", "--out", name).code == ExitCode.OK
    assert page("one.html") == page("two.html")


def test_the_package_holds_the_template() -> None:
    from ast_cli.report.page import TEMPLATES

    assert {file.name for file in TEMPLATES.iterdir()} == {"report.html.jinja", "report.css", "report.js"}
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert not {"*.html.jinja", "*.css", "*.js", "templates/"} & {*ignored}  # what git ignores no wheel has

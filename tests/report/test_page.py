"""The page in a browser, opened from a file as its reader opens it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.cli.runner import ast_tag
from tests.report.stored import Entry, event, result, save, save_sound, tag, window

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(find_spec("playwright") is None, reason="playwright is not installed"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium"),
]
# A container has no sandbox to give; the page is our own.
ARGUMENTS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
HOSTILE = "x</script><script>window.ran = 1</script>'\"\n\u202ecod.wav"
HOSTILE_LABEL = "<img src=x onerror='window.ran = 2'>"
SPEECH, DOG, RAIN = (0, "Speech"), (74, "Dog"), (283, "Rain")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


def entries() -> Iterator[Entry]:
    windows = [
        window(0, 2, tag(*SPEECH, 0.9), tag(*DOG, 0.2, 2)),
        window(2, 4, tag(*DOG, 0.8), tag(*SPEECH, 0.1, 2)),
    ]
    events = [event(0, 2, *SPEECH), event(1, 2, *DOG), event(2.5, 4, *DOG)]
    tags = [tag(*SPEECH, 0.5), tag(*DOG, 0.45, 2)]
    yield result("b10.wav", 4.0, tags, windows=windows, events=events)
    yield result("b9.wav", 2.0, [tag(*RAIN, 0.7)], windows=[window(0, 2, tag(*RAIN, 0.7))], events=[])
    yield result("moved.wav", 3.0, [tag(*DOG, 0.6)], windows=[window(0, 3, tag(*DOG, 0.6))], events=[])
    yield {"file": "broken.wav", "error": "unreadable", "message": "it is damaged"}
    bad = (5, HOSTILE_LABEL)
    heard = {"windows": [window(0, 1, tag(*bad, 0.9))], "events": [event(0, 1, *bad)]}
    yield result(HOSTILE, 1.0, [tag(*bad, 0.9)], **heard)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    save_sound(folder / "b10.wav", 4)
    save_sound(folder / "b9.wav", 2)
    save(folder / "r.jsonl", *entries())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert ast_tag("report", "r.jsonl", "--out", "report.html", "--title", HOSTILE).code == 0
        assert ast_tag("report", "r.jsonl", "--out", "embedded.html", "--embed").code == 0
    return folder / "report.html"


class Opened:
    """The page, and all that went wrong in it."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(5000)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: self.wrong.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def names(self) -> list[str]:
        found: list[str] = self.page.locator("#list > li h3 bdi").all_text_contents()
        return found

    def open(self, name: str) -> Any:
        """Open a recording; returns its part of the page."""
        row = self.page.locator("#list > li").filter(has_text=name)
        row.locator("h3 button").click()
        row.locator(".body").wait_for()
        return row

    def seconds(self, row: Any) -> float:
        """Where the sound is, once it is there."""
        audio = row.locator("audio").element_handle()
        self.page.wait_for_function("audio => audio.readyState > 0 && !audio.seeking", arg=audio)
        return float(audio.evaluate("audio => audio.currentTime"))

    def cursor(self, row: Any) -> float:
        """Where the line is, in percent of the time axis."""
        return float(row.locator(".cursor").evaluate("line => parseFloat(line.style.left) || 0"))


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Opened]:
    one = Opened(browser, report, viewport={"width": 1280, "height": 900})
    yield one
    one.context.close()
    assert one.wrong == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in one.requests)


def test_the_page_shows_what_was_heard(opened: Opened) -> None:
    names = ["b10.wav", "b9.wav", "moved.wav", "broken.wav"]
    assert opened.names()[:4] == names
    assert opened.page.locator("#count").inner_text() == "5 of 5"
    assert "not where it was" in opened.page.locator("#list > li").nth(2).inner_text()
    assert "unreadable: it is damaged" in opened.page.locator("#list > li").nth(3).inner_text()
    assert [opened.page.locator("h1").count(), opened.page.locator("main").count()] == [1, 1]
    dog = opened.page.locator("tbody tr").filter(has_text="Dog").first
    assert dog.locator("td").all_inner_texts() == ["1", "2", "0:02"]


def test_filters(opened: Opened) -> None:
    page = opened.page
    page.get_by_label("Name or label").fill("DOG")
    page.wait_for_function("() => document.querySelectorAll('#list > li').length === 2")
    assert opened.names() == ["b10.wav", "moved.wav"]
    page.get_by_label("Show", exact=True).select_option("notes")
    assert opened.names() == ["moved.wav"]
    page.get_by_label("Name or label").fill("no such thing")
    page.wait_for_function("() => document.querySelectorAll('#list > li').length === 0")
    assert page.get_by_role("status").inner_text() == "None of 5 is like that."
    page.get_by_label("Name or label").fill("")
    page.get_by_label("Show", exact=True).select_option("failed")
    page.wait_for_function("() => document.querySelectorAll('#list > li').length === 1")
    assert opened.names() == ["broken.wav"]
    page.get_by_label("Show", exact=True).select_option("")
    page.get_by_label("Label", exact=True).select_option("Rain")
    assert opened.names() == ["b9.wav"]
    page.get_by_role("button", name="Show recordings with Dog").click()
    assert opened.names() == ["b10.wav", "moved.wav"]


def test_sorting(opened: Opened) -> None:
    page = opened.page
    order = page.get_by_label("Sort by")
    order.select_option("name")
    assert opened.names()[:4] == ["b9.wav", "b10.wav", "broken.wav", "moved.wav"]  # as people count
    order.select_option("seconds")
    assert opened.names()[0] == "broken.wav"
    assert opened.names()[-3:] == ["b9.wav", "moved.wav", "b10.wav"]
    page.get_by_role("button", name="Reverse").click()
    assert opened.names()[:3] == ["b10.wav", "moved.wav", "b9.wav"]
    page.get_by_role("button", name="Reverse").click()
    order.select_option("score")
    assert opened.names()[1:4] == ["b9.wav", "moved.wav", "b10.wav"]
    order.select_option("events")
    assert opened.names()[0] == "b10.wav"


def test_the_cursor_moves_with_the_sound(opened: Opened) -> None:
    row = opened.open("b10.wav")
    assert opened.seconds(row) == 0
    audio = row.locator("audio").element_handle()
    assert audio.evaluate("audio => audio.duration") == pytest.approx(4, abs=0.01)
    audio.evaluate("audio => audio.play()")
    opened.page.wait_for_function("audio => audio.currentTime > 0.3", arg=audio)
    audio.evaluate("audio => audio.pause()")
    opened.page.wait_for_timeout(50)
    assert opened.cursor(row) == pytest.approx(100 * opened.seconds(row) / 4, abs=0.5)


def test_an_event_leads_to_its_second(opened: Opened) -> None:
    row = opened.open("b10.wav")
    row.get_by_role("button", name="Dog, 0:02.5 to 0:04.0, score 0.90").click()
    assert opened.seconds(row) == pytest.approx(2.5, abs=0.01)
    assert opened.cursor(row) == pytest.approx(62.5, abs=0.1)
    row.locator("summary").click()
    row.locator(".spans button").filter(has_text="0:01.0").click()
    assert opened.seconds(row) == pytest.approx(1, abs=0.01)
    row.get_by_role("button", name="Dog: highest score 0.80 at 0:02.0").click()
    assert opened.seconds(row) == pytest.approx(2, abs=0.01)


def test_a_place_in_the_picture_leads_there(opened: Opened) -> None:
    row = opened.open("b10.wav")
    band = row.locator(".picture .band")
    box = band.bounding_box()
    band.click(position={"x": box["width"] * 0.75, "y": 5})
    assert opened.seconds(row) == pytest.approx(3, abs=0.05)


def test_everything_lies_on_one_time_axis(opened: Opened) -> None:
    row = opened.open("b10.wav")
    boxes = [one.bounding_box() for one in row.locator(".band").all()]
    assert len(boxes) == 4  # the picture, two labels, the seconds
    assert len({(box["x"], box["width"]) for box in boxes}) == 1
    box = boxes[0]
    late = row.get_by_role("button", name="Dog, 0:02.5").bounding_box()
    assert late["x"] == pytest.approx(box["x"] + box["width"] * 2.5 / 4, abs=1)
    assert late["width"] == pytest.approx(box["width"] * 1.5 / 4, abs=1)
    image = row.locator("img").bounding_box()
    assert image["width"] == pytest.approx(box["width"] * 3.98 / 4, abs=1)
    over = row.locator(".over").bounding_box()
    assert (over["x"], over["width"]) == pytest.approx((box["x"], box["width"]), abs=1)
    # Darkness: of Dog, 0.2 in the first half and 0.8 in the second.
    alpha = """canvas => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, 1);
        return [0.25, 0.75].map(part => data[4 * Math.floor(part * canvas.width) + 3] / 255); }"""
    dog = row.get_by_role("img", name="Dog over time")
    assert dog.evaluate(alpha) == pytest.approx([0.2, 0.8], abs=0.01)


def test_the_keyboard_reaches_everything(opened: Opened) -> None:
    page = opened.page
    active = """() => { const one = document.activeElement;
        return one === document.body ? "" : one.ariaLabel || one.id || one.textContent.trim(); }"""

    def tab_until(wanted: str) -> list[str]:
        passed = []
        for _ in range(60):
            page.keyboard.press("Tab")
            passed.append(page.evaluate(active))
            if passed[-1].startswith(wanted):
                return passed
        raise AssertionError(f"{wanted} is not among {passed}")

    passed = tab_until("b10.wav")
    assert passed[0] == "Skip to the recordings"
    assert {"search", "label", "state", "order", "direction"} <= {*passed}
    outline = "() => getComputedStyle(document.activeElement, '::after').outlineStyle"
    assert page.evaluate(outline) == "solid"
    page.keyboard.press("Enter")
    assert page.locator("h3 button").first.get_attribute("aria-expanded") == "true"
    row = page.locator("#list > li").first
    tab_until("Play b10.wav")
    page.keyboard.press("Space")
    page.wait_for_function("() => !document.querySelector('audio').paused")
    page.keyboard.press("Space")
    page.wait_for_function("() => document.querySelector('audio').paused")
    tab_until("Dog, 0:01.0")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(active).startswith("Dog, 0:02.5")
    page.keyboard.press("Enter")
    assert opened.seconds(row) == pytest.approx(2.5, abs=0.01)
    tab_until("3 events, as a list")
    page.keyboard.press("Enter")
    tab_until("0:01.0 – 0:02.0 Dog")
    page.keyboard.press("Enter")
    assert opened.seconds(row) == pytest.approx(1, abs=0.01)
    tab_until("b9.wav")


def test_every_control_has_a_name(opened: Opened) -> None:
    opened.open("b10.wav")
    nameless = """() => [...document.querySelectorAll("button, select, input, audio, img, canvas")]
        .filter(one => !(one.ariaLabel || one.alt || one.textContent.trim() || one.labels?.length))
        .map(one => one.outerHTML)"""
    assert opened.page.evaluate(nameless) == []
    levels = "() => [...document.querySelectorAll('h1, h2, h3')].map(one => Number(one.tagName[1]))"
    found = opened.page.evaluate(levels)
    assert found[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(found))


def test_hostile_text_does_not_run(opened: Opened) -> None:
    row = opened.open("window.ran = 1")
    assert row.locator("h3 bdi").inner_text() == HOSTILE.replace("\n", "\\n").replace("\u202e", "\\u202e")
    assert HOSTILE_LABEL in row.locator(".tags").inner_text()
    assert row.locator("img").count() == 0
    opened.page.get_by_role("button", name=f"Show recordings with {HOSTILE_LABEL}").click()
    assert len(opened.names()) == 1
    assert opened.page.evaluate("window.ran") is None
    assert opened.page.locator("h1 bdi").inner_text().startswith("x</script><script>")


def test_the_network_is_out_of_reach(browser: Any, report: Path) -> None:
    one = Opened(browser, report)
    asked = "fetch('http://127.0.0.1:9/').then(() => 'answered', () => 'refused')"
    assert one.page.evaluate(asked) == "refused"
    assert any("Content Security Policy" in text for text in one.wrong)
    one.context.close()


def test_embedded_audio_plays_without_its_file(browser: Any, report: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copy(report.with_name("embedded.html"), tmp_path))
    one = Opened(browser, alone)
    row = one.open("b10.wav")
    row.get_by_role("button", name="Dog, 0:02.5").click()
    assert one.seconds(row) == pytest.approx(2.5, abs=0.01)
    one.context.close()
    assert one.wrong == []


def test_audio_that_went_later_is_missed_in_words(browser: Any, report: Path, tmp_path: Path) -> None:
    one = Opened(browser, Path(shutil.copy(report, tmp_path)))
    row = one.open("b10.wav")
    row.locator(".unplayable").wait_for()
    assert "cannot be played here" in row.locator(".unplayable").inner_text()
    one.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_any_screen(browser: Any, report: Path, scheme: str) -> None:
    one = Opened(browser, report, color_scheme=scheme)
    one.open("b10.wav")
    for width in (320, 400, 1280, 2500):
        one.page.set_viewport_size({"width": width, "height": 900})
        assert one.page.evaluate("document.documentElement.scrollWidth") <= width
    contrast = """() => {
        const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(part => {
            const one = part / 255; return one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4; });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const back = light(getComputedStyle(document.querySelector("#list > li")).backgroundColor);
        return [...document.querySelectorAll(".score, .error, .plain, .legend, h3")].map(one => {
            const text = light(getComputedStyle(one).color);
            return (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05); }); }"""
    assert min(one.page.evaluate(contrast)) >= 4.5
    one.context.close()


def test_six_hours_open_at_once(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hours, step = 6 * 3600, 4
    windows = [window(at, at + step, tag(*RAIN, 0.3 + at / hours / 2)) for at in range(0, hours, step)]
    events = [event(at, at + 2, *RAIN, score=0.5 + at / hours / 2) for at in range(0, hours, 20)]
    save(
        tmp_path / "r.jsonl",
        result("day.wav", float(hours), [tag(*RAIN, 0.5)], windows=windows, events=events),
    )
    assert ast_tag("report", "r.jsonl", "--out", "report.html").code == 0
    assert (tmp_path / "report.html").stat().st_size < 150_000
    one = Opened(browser, tmp_path / "report.html")
    row = one.open("day.wav")
    assert row.locator(".event").count() == 300
    row.locator("summary").click()
    row.locator(".spans li").nth(299).wait_for()
    assert row.locator(".spans li").count() == 300
    row.get_by_role("button", name="Show more").click()
    assert row.locator(".spans li").count() == 600
    row.locator(".spans button").nth(1).click()
    assert one.cursor(row) == pytest.approx(100 * 20 / hours, abs=0.001)
    one.context.close()
    assert one.wrong == []


def test_many_recordings_do_not_stutter(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tags = [tag(index, f"Class {index}", 0.9 - index / 10, index + 1) for index in range(5)]
    save(tmp_path / "r.jsonl", *(result(f"{number}.wav", 1.0, tags) for number in range(1200)))
    assert ast_tag("report", "r.jsonl", "--no-spectrograms", "--out", "report.html").code == 0
    one = Opened(browser, tmp_path / "report.html")
    assert one.page.locator("#list > li").count() == 500
    assert one.page.locator("#count").inner_text() == "1,200 of 1,200, the first 500 are shown"
    took = """() => { const before = performance.now(); const order = document.querySelector("#order");
        order.value = "name"; order.dispatchEvent(new Event("change")); document.body.offsetHeight;
        return performance.now() - before; }"""
    assert one.page.evaluate(took) < 2000  # some 50 ms where nothing else runs
    print("milliseconds:", one.page.evaluate(took))
    one.page.get_by_role("button", name="Show more").click()
    assert one.page.locator("#list > li").count() == 1000
    assert one.page.evaluate("document.activeElement.textContent").startswith("500.wav")
    one.context.close()
    assert one.wrong == []

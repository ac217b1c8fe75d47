"""`ast-tag explain`: why this label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.table import Table
from rich.text import Text

from ast_cli.cli import options
from ast_cli.cli.option_groups import argument, grouped, only, option, option_group, without
from ast_cli.cli.screen import stdout
from ast_cli.errors import InputError, OutputError, UsageError
from ast_cli.extras import require_extra
from ast_cli.outputs.json_writer import dump
from ast_cli.results import FRAMES_PER_SECOND, display_name
from ast_cli.text import cell, one_line

if TYPE_CHECKING:
    from ast_cli.explain.attribution import Explanation

WHAT = "What is explained"
SUFFIXES = (".png", ".npz", ".html")
COLUMNS = ("label", "score", "method", "start", "end", "low_hz", "high_hz", "lost", "random")
LONG_SECONDS = 600  # from here on it is said that --at would be faster


@option_group(WHAT)
class AttributionOptions:
    """What is explained, and how."""

    label: list[str] = option(
        [],
        "A name, mid, index or glob; may be repeated.",
        "-l",
        metavar="CLASS",
        show_default="the three of the highest scores",
    )
    at: float | None = option(
        None,
        "Where the window begins; nothing else is scored.",
        metavar="SECONDS",
        show_default="the window with the highest score",
    )
    method: Literal["occlusion", "gradient", "rollout"] = option(
        "occlusion",
        "Take parts away and see what is lost; weigh attention by its gradient; or follow attention "
        "alone, whatever the label.",
    )
    fill: Literal["silence", "padding"] = option(
        "silence", "What is put in the place of a part that is taken away; padding is loud in a quiet place."
    )
    fine: bool = option(
        False, "Occlusion by parts of half the height and width: four times as many forward passes."
    )
    seed: int = option(0, "Of the random tenths to compare with.", min=0)


@option_group(options.OUTPUT)
class ExplanationOptions:
    """Where explanations go, and as what."""

    out: Path | None = option(
        None,
        "Heat over the spectrogram as .png or .html, with the extra plot; arrays as .npz.",
        "-o",
        metavar="FILE",
        show_default=False,
    )
    overwrite: options.OverwriteOption = False
    as_json: bool = option(False, "One JSON document.", "--json")


@grouped
def explain(
    *,
    clip: str = argument(..., "An audio file or its address; - is standard input.", metavar="CLIP"),
    asked: AttributionOptions,
    windows: Annotated[options.WindowOptions, only("channel")],
    model: options.OneModelOptions,
    engine: Annotated[options.EngineOptions, only("device")],
    output: ExplanationOptions,
    messages: Annotated[options.MessageOptions, without("verbose")],
) -> None:
    """Say which parts of a window's spectrogram speak for its labels.

    The strongest part of each label is told in seconds and Hz, and how far it can be believed: the
    score that is lost without the hottest tenth of the window, and without a tenth drawn at random.
    """
    if asked.fine and asked.method != "occlusion":
        raise UsageError("--fine is of occlusion", "Leave out --fine or --method")
    channel = windows.channel_number
    _check_out(output.out, output.overwrite)
    screen = messages.screen()
    tagger = options.open_tagger(model.model, replace(engine.settings(model), dtype="float32"), screen)
    from ast_cli.explain.attribution import explain as explain_window
    from ast_cli.explain.picture import write_explanation
    from ast_cli.explain.window import choose_window

    chosen = list(dict.fromkeys(index for one in asked.label for index in tagger.labels.matching(one)))
    heard = 0.0

    def on_heard(seconds: float) -> None:
        nonlocal heard
        if heard < LONG_SECONDS <= heard + seconds:
            screen.said("hearing all to find the window of the highest score; --at goes straight to one")
        heard += seconds
        screen.heard(seconds)

    with screen.progress(None, "hearing"):
        window = choose_window(tagger, clip, asked.at, chosen, channel=channel, on_heard=on_heard)
    name = display_name(clip)
    for warning in window.warnings:
        screen.warn(f"{name}: {warning}")
    try:
        with screen.progress(None, "explaining"):
            explanation = explain_window(
                tagger,
                window.frames,
                window.length,
                window.start,
                labels=chosen,
                method=asked.method,
                fill=asked.fill,
                fine=asked.fine,
                seed=asked.seed,
                on_pass=screen.passed,
            )
    except InputError as error:
        raise InputError(error.word, f"{name}: {error.cause}", error.remedy) from error
    if output.out is not None:
        write_explanation(output.out, explanation, name)
    with stdout() as console:
        if output.as_json:
            document = {
                "schema": "ast-explain/1",
                "file": name,
                "model": model.model,
                **_document(explanation),
            }
            console.file.write(dump(document, indent=2) + "\n")
        elif console.is_terminal:
            table = Table(*COLUMNS, box=None, pad_edge=False, header_style="dim")
            for row in _rows(explanation):
                table.add_row(Text(one_line(row[0])), *row[1:])
            console.print(table)
        else:
            rows = [(cell(first), *others) for first, *others in _rows(explanation)]
            console.file.writelines("\t".join(row) + "\n" for row in (COLUMNS, *rows))
    grid = explanation.grid
    end = grid.start + grid.length / FRAMES_PER_SECOND
    screen.said(f"{grid.start:.2f} to {end:.2f} s of {name}, {explanation.passes} passes")


def _check_out(out: Path | None, overwrite: bool) -> None:
    """Raise before anything is computed what would be raised after it."""
    if out is None:
        return
    if out.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--out {one_line(str(out))} is none of {', '.join(SUFFIXES)}", "Change its suffix")
    if out.exists() and not overwrite:
        raise OutputError(f"{out} is there already", "--overwrite replaces it; or choose another name")
    if not out.parent.is_dir():
        raise OutputError(f"cannot write {out}: no such folder", "Make its folder first")
    if out.suffix.lower() != ".npz":
        require_extra("plot")


def _rows(explanation: Explanation) -> list[tuple[str, ...]]:
    return [
        (
            *(one.label, f"{one.score:.6f}", explanation.method),
            *(f"{one.spot.start:.3f}", f"{one.spot.end:.3f}"),
            *(f"{one.spot.low_hz:.0f}", f"{one.spot.high_hz:.0f}"),
            *(f"{one.lost:.6f}", f"{one.random:.6f}"),
        )
        for one in explanation.labels
    ]


def _document(explanation: Explanation) -> dict[str, Any]:
    grid = explanation.grid
    rows, columns = grid.shape
    return {
        "method": explanation.method,
        "fill": explanation.fill,
        "passes": explanation.passes,
        "scores": explanation.scores,
        "window": {"start": round(grid.start, 3), "seconds_heard": round(grid.length / FRAMES_PER_SECOND, 3)},
        "patches": {
            "seconds": [[round(time, 3) for time in grid.seconds(column)] for column in range(columns)],
            "hz": [[round(hertz, 1) for hertz in grid.hertz(row)] for row in range(rows)],
            "heard": grid.with_audio,
        },
        "labels": [
            {
                "index": one.index,
                "mid": one.mid,
                "label": one.label,
                "score": round(one.score, 6),
                "strongest": {
                    "start": round(one.spot.start, 3),
                    "end": round(one.spot.end, 3),
                    "low_hz": round(one.spot.low_hz, 1),
                    "high_hz": round(one.spot.high_hz, 1),
                },
                "lost": round(one.lost, 6),
                "random": round(one.random, 6),
                "heat": [[round(float(value), 6) for value in row] for row in one.heat],
            }
            for one in explanation.labels
        ],
    }

"""The whole flow over a folder: what is counted, and that both ways hear the same."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from ast_cli.bench import folder
from ast_cli.bench.folder import FolderTagger, Processed, bench_folder, num_windows
from ast_cli.bench.request import Request
from ast_cli.errors import UsageError
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.networks.processor import fastest_attention
from ast_cli.tagger import Tagger

CLIPS = Path(__file__).parents[2] / "examples/clips"
NANO = ASTFeatureExtractor(max_length=128)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Three of the example clips, and a file that is no recording."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("birds.ogg", "silence.flac", "siren.flac"):
        shutil.copy(CLIPS / name, folder)
    (folder / "notes.wav").write_text("This is no recording.")
    return folder


def quick(checkpoint: Path, folder: Path, **more: Any) -> Request:
    return Request(model=str(checkpoint), device="cpu", folder=str(folder), **{"repeats": 1} | more)


def test_the_folder_is_heard_and_bad_files_are_counted(checkpoint: Path, clips: Path) -> None:
    told: list[str] = []
    document = bench_folder(quick(checkpoint, clips, repeats=2), on_notice=told.append)
    [run] = document.runs
    flow = run.flow
    assert flow is not None
    assert (flow.files, flow.failed) == (3, 1)
    heard = Tagger.from_pretrained(str(checkpoint), device="cpu").tag_many(
        clips.glob("*.[fo]*"), timeline=True
    )
    seconds, windows = zip(*((one.seconds_heard, len(one.windows)) for one in heard), strict=True)
    assert (flow.seconds, flow.windows) == (pytest.approx(sum(seconds)), sum(windows))
    assert (run.attn, run.batch_size) == (fastest_attention(), 8)
    assert run.windows_per_s == pytest.approx(flow.windows / flow.wall_seconds.median)
    assert run.x_realtime == pytest.approx(flow.seconds / flow.wall_seconds.median)
    assert flow.load_seconds > 0
    assert told == ["1 of 4 recordings could not be read; `ast-tag` on the folder says why"]


def test_a_plain_pipeline_hears_as_much(checkpoint: Path, clips: Path) -> None:
    document = bench_folder(quick(checkpoint, clips, peer="transformers", batch_sizes=(2,)))
    ours, theirs = document.runs
    assert (theirs.engine, theirs.attn, theirs.batch_size) == ("transformers", "sdpa", 2)
    assert ours.flow is not None
    assert theirs.flow is not None
    assert (theirs.flow.files, theirs.flow.failed) == (ours.flow.files, ours.flow.failed)
    assert theirs.flow.seconds == pytest.approx(ours.flow.seconds, abs=0.1)
    assert theirs.flow.windows == pytest.approx(ours.flow.windows, abs=2)
    [ratio] = document.speedup
    assert ratio.speedup == pytest.approx(theirs.ms_per_window.median / ours.ms_per_window.median)


@pytest.mark.parametrize(
    ("seconds", "windows"), [(0.025, 1), (1.0, 1), (1.295, 1), (1.305, 2), (2.575, 2), (2.585, 3)]
)
def test_windows_hold_all_frames(seconds: float, windows: int) -> None:
    # 128 frames of 25 ms every 10 ms last 1.295 s.
    assert num_windows(seconds, NANO) == windows


def test_a_folder_that_is_not_there_or_holds_nothing_is_named(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        bench_folder(quick(checkpoint, tmp_path / "missing"))
    with pytest.raises(UsageError, match="holds no recordings"):
        bench_folder(quick(checkpoint, tmp_path))
    (tmp_path / "notes.wav").write_text("This is no recording.")
    with pytest.raises(UsageError, match="none of the recordings could be tagged"):
        bench_folder(quick(checkpoint, tmp_path))


def test_a_recording_too_short_for_a_frame_fails_in_both(checkpoint: Path, clips: Path) -> None:
    soundfile.write(clips / "click.wav", np.zeros(100), 16_000)
    document = bench_folder(quick(checkpoint, clips, peer="transformers"))
    assert [run.flow.failed for run in document.runs if run.flow] == [2, 2]


def test_the_first_pass_is_never_timed() -> None:
    class Counting(FolderTagger):
        engine = "none"

        def __init__(self) -> None:
            super().__init__(batch_size=2)
            self.passes: list[tuple[int, list[str]]] = []

        def tag(self, paths: Sequence[str]) -> None:
            self.passes.append((len(self.seconds), [*paths]))
            self.processed = Processed(len(paths), 0, 1.0, 1)

    tagger = Counting()
    folder._measure([lambda: tagger], ["a", "b", "c"], 2, torch.device("cpu"), lambda _: None)
    assert tagger.passes == [(0, ["a", "b"]), (0, ["a", "b", "c"]), (1, ["a", "b", "c"])]
    assert len(tagger.seconds) == 2

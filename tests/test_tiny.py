"""The built-in model: whole, small, and right about the example clips and sounds with a definition."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ast_cli import ASTConfig, Tagger
from ast_cli.checkpoints.locate import find_checkpoint
from ast_cli.errors import CheckpointError
from ast_cli.results import FileResult
from ast_cli.scoring.labels import audioset_classes, tree_paths
from tests.cli.runner import ast_tag

CLIPS = Path(__file__).parents[1] / "examples" / "clips"
RATE = 16_000


@pytest.fixture(scope="module")
def tiny() -> Tagger:
    return Tagger.from_pretrained("tiny")


def expected() -> dict[str, set[str]]:
    with (CLIPS / "expected.csv").open(encoding="utf-8", newline="") as table:
        return {row["file"]: set(row["labels"].split(";")) for row in csv.DictReader(table)}


def test_it_is_the_small_network_that_it_says_it_is() -> None:
    files, config = find_checkpoint("tiny"), ASTConfig.from_pretrained("tiny")
    shape = (config.hidden_size, config.num_hidden_layers, config.num_attention_heads)
    assert shape == (192, 12, 3)
    assert (config.frequency_stride, config.time_stride, config.max_length) == (16, 16, 1024)
    assert files.weights.stat().st_size < 12e6


def test_its_classes_are_audiosets_and_at_least_40() -> None:
    names = [*ASTConfig.from_pretrained("tiny").id2label.values()]
    assert len(names) >= 40
    assert set(names) <= {node.name for node in audioset_classes()}


def test_its_card_says_first_what_it_is() -> None:
    card = (find_checkpoint("tiny").weights.parent / "README.md").read_text(encoding="utf-8")
    first = card.splitlines()[0]
    assert "synthetic sound only" in first
    assert "not for conclusions about the world" in first


def test_every_example_clip_has_its_expected_labels_and_the_other_way_round() -> None:
    audio = {path.name for path in CLIPS.iterdir() if path.suffix in (".flac", ".ogg")}
    assert audio == expected().keys()
    assert len(audio) >= 10


def test_the_top_label_is_right_on_the_example_clips(tiny: Tagger) -> None:
    wrong = {
        Path(result.file).name: result.tags[0].label
        for result in tiny.tag_many([CLIPS])
        if isinstance(result, FileResult) and result.tags[0].label not in expected()[Path(result.file).name]
    }
    assert len(wrong) <= len(expected()) // 10, wrong


def test_a_recording_beyond_ten_seconds_is_heard_to_its_end(tiny: Tagger) -> None:
    clip = CLIPS / "speech-then-music-then-siren.ogg"
    whole = tiny.tag(clip, timeline=True, aggregate="max", top_k=0)
    scores = {tag.label: tag.score for tag in whole.tags}
    first = {tag.label: tag.score for tag in whole.windows[0].tags}
    assert scores["Siren"] > 0.5 > first["Siren"]


def above(label: str) -> set[str]:
    """A class and what stands above it: as a rule that scores a little higher."""
    [node] = [node for node in audioset_classes() if node.name == label]
    return {label}.union(*tree_paths(node))


def seconds(duration: float) -> np.ndarray:
    return np.arange(round(duration * RATE)) / RATE


def busy_signal(low: float, high: float, on: float) -> np.ndarray:
    time = seconds(6)
    tone = np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time)
    return 0.2 * tone * (time % (2 * on) < on)


def dialling(digits: str) -> np.ndarray:
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477)
    keys = {key: (rows[n // 3], columns[n % 3]) for n, key in enumerate("123456789*0#")}
    time = seconds(0.12)
    tones = [sum(np.sin(2 * np.pi * f * time) for f in keys[digit]) for digit in digits]
    return 0.2 * np.concatenate([np.concatenate([tone, np.zeros(len(time))]) for tone in tones])


@pytest.mark.parametrize(
    ("label", "sound"),
    [
        ("Silence", lambda: np.zeros(5 * RATE)),
        ("Silence", lambda: 1e-5 * np.random.default_rng(0).standard_normal(3 * RATE)),
        ("Busy signal", lambda: busy_signal(480, 620, 0.5)),
        ("Busy signal", lambda: busy_signal(425, 425, 0.5)),
        ("Telephone dialing, DTMF", lambda: dialling("5551234")),
        ("Sine wave", lambda: 0.3 * np.sin(2 * np.pi * 1000 * seconds(4))),
        ("White noise", lambda: 0.1 * np.random.default_rng(0).standard_normal(5 * RATE)),
    ],
)
def test_what_has_a_definition_is_named(tiny: Tagger, label: str, sound: Callable[[], np.ndarray]) -> None:
    tags = tiny.tag_waveform(sound().astype(np.float32), RATE, top_k=3).tags
    assert tags[0].label in above(label)
    assert label in [tag.label for tag in tags]


def test_the_name_means_the_built_in_model_and_a_path_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint("tiny").weights.is_file()
    with pytest.raises(CheckpointError, match=r"\./tiny holds no model\.safetensors"):
        _ = find_checkpoint("./tiny").weights


def test_it_has_no_revision() -> None:
    with pytest.raises(CheckpointError, match="built in"):
        find_checkpoint("tiny", "main")


def test_it_runs_without_a_network_and_results_name_it(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", 0.1 * np.random.default_rng(0).standard_normal(RATE), RATE)
    done = ast_tag(str(tmp_path / "clip.wav"), "--model", "tiny", "--offline", "--format", "json")
    assert done.code == 0
    assert json.loads(done.out)["model"]["id"] == "tiny"


def test_it_is_never_used_unasked_but_named_where_the_hub_cannot_be_reached(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", np.zeros(RATE), RATE)
    done = ast_tag(str(tmp_path / "clip.wav"), "--offline")
    assert (done.code, done.out) == (3, "")
    assert "`--model tiny` is built in" in done.err

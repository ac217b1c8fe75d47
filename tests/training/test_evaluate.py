"""Data sets through a tagger: every clip gets the scores it would get alone, and none vanishes."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ast_cli.errors import CheckpointError, UsageError
from ast_cli.results import FileFailure, FileResult
from ast_cli.tagger import Tagger
from ast_cli.training.datasets import Dataset, LabelledClip, read_dataset
from ast_cli.training.evaluate import document, evaluate, read_clips, score_clips, write_classes
from ast_cli.training.scores import ScoredClips, read_scores, write_scores
from ast_cli.training.waveforms import open_clip
from tests.random_checkpoint import random_config, save_random_checkpoint

RATE = 16_000
RAMP = np.arange(4 * RATE, dtype=np.float32) / (8 * RATE)  # a sample tells its own place
AUDIOSET = """\
# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=4, num_segs=4, num_unique_labels=3, num_positive_labels=5
# YTID, start_seconds, end_seconds, positive_labels
-aaaaaaaaaa, 0.000, 10.000, "/m/09x0r"
bbbbbbbbbbb, 30.000, 40.000, "/m/09x0r,/m/0bt9lr"
ccccccccccc, 5.000, 15.000, "/m/04rlf"
ddddddddddd, 0.000, 8.000, "/m/0bt9lr"
eeeeeeeeeee, 0.000, 10.000, "/m/0bt9lr"
"""


@pytest.fixture(scope="module")
def tagger(checkpoint: Path) -> Tagger:
    return Tagger.from_pretrained(checkpoint, device="cpu")


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """A folder with a.wav to d.wav of 1 to 4 seconds, and broken.wav."""
    generator = np.random.default_rng(0)
    for seconds, name in enumerate("abcd", start=1):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * generator.standard_normal(seconds * RATE), RATE)
    (tmp_path / "broken.wav").write_text("This is no recording.")
    return tmp_path


def table(folder: Path, *rows: str) -> Path:
    path = folder / "data.csv"
    path.write_text("\n".join(("file,labels,start,end,fold", *rows)) + "\n")
    return path


def all_scores(result: FileResult) -> list[float]:
    return [tag.score for tag in sorted(result.tags, key=lambda tag: tag.index)]


# Parts of recordings


def samples_of(clip: LabelledClip) -> np.ndarray:
    with open_clip(clip) as recording:
        return np.concatenate(list(recording.blocks))[:, 0]


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        (None, None, 0, 64_000),
        (1.0, None, 16_000, 64_000),
        (None, 2.5, 0, 40_000),
        (0.5, 3.25, 8_000, 52_000),
        (3.5, 9.0, 56_000, 64_000),
    ],
)
def test_a_part_is_cut_to_the_sample(
    start: float | None, end: float | None, first: int, last: int, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "ramp.wav", RAMP, RATE, subtype="FLOAT")
    part = samples_of(LabelledClip(str(tmp_path / "ramp.wav"), (), start, end))
    assert np.array_equal(part, RAMP[first:last])


def test_parts_are_cut_across_blocks(tmp_path: Path) -> None:
    long = np.random.default_rng(0).standard_normal(35 * RATE).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", long, RATE, subtype="FLOAT")
    for may_be_cut in (False, True):
        clip = LabelledClip(str(tmp_path / "long.wav"), (), 9.5, 30.5, may_be_cut=may_be_cut)
        assert np.array_equal(samples_of(clip), long[152_000:488_000])


@pytest.mark.parametrize(("start", "end"), [(30.0, 34.0), (2.0, 6.0), (0.0, 4.0), (100.0, 103.6)])
def test_a_file_that_is_the_part_already_is_heard_whole(start: float, end: float, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "ramp.wav", RAMP, RATE, subtype="FLOAT")
    clip = LabelledClip(str(tmp_path / "ramp.wav"), (), start, end, may_be_cut=True)
    assert np.array_equal(samples_of(clip), RAMP)


def test_a_part_behind_the_end_fails_and_one_cut_off_warns(noise: Path, tagger: Tagger) -> None:
    dataset = read_dataset(table(noise, "a.wav,Speech,1.0,2,", "b.wav,Dog,1,9,"), labels=tagger.labels.names)
    outcomes: list[FileResult | FileFailure] = []
    scored = score_clips(tagger, dataset, on_outcome=outcomes.append)
    [failure] = scored.failed
    assert failure.file == f"{noise}/a.wav#t=1,2"
    assert failure.error == "too-short"
    assert "it ends after 1.000 s, before the part from 1 s" in failure.message
    [_, result] = outcomes
    assert isinstance(result, FileResult)
    assert result.file == scored.names[0] == f"{noise}/b.wav#t=1,9"
    assert result.warnings == ("cut off: it ends after 2.000 s, the part at 9 s",)


# Scores


def test_every_clip_gets_the_scores_it_gets_alone(noise: Path, tagger: Tagger) -> None:
    rows = ("a.wav,Speech,,,", "d.wav,Dog,0.5,2,", "b.wav,Dog;Music,,,", "c.wav,Music,,,")
    dataset = read_dataset(table(noise, *rows), labels=tagger.labels.names)
    heard: list[float] = []
    scored = score_clips(tagger, dataset, batch_size=3, on_heard=heard.append)
    wave, _ = soundfile.read(noise / "d.wav")
    part = tagger.tag_waveform(wave[8_000:32_000], RATE, top_k=0)
    alone = [tagger.tag(noise / f"{name}.wav", top_k=0) for name in "abc"]
    expected = [all_scores(result) for result in (alone[0], part, alone[1], alone[2])]
    assert scored.scores == pytest.approx(np.array(expected), abs=1e-6)
    assert [set(np.flatnonzero(row)) for row in scored.targets] == [{0}, {74}, {74, 137}, {137}]
    assert scored.names[1] == f"{noise}/d.wav#t=0.5,2"
    assert sum(heard) == pytest.approx(1 + 1.5 + 2 + 3, abs=0.1)


def test_an_ensemble_is_scored_as_the_mean_of_its_members(
    noise: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, tagger: Tagger
) -> None:
    other = save_random_checkpoint(tmp_path_factory.mktemp("other"), seed=1)
    dataset = read_dataset(table(noise, "a.wav,Speech,,,"), labels=tagger.labels.names)
    one, two, both = (
        score_clips(Tagger.from_pretrained(model, device="cpu"), dataset).scores
        for model in (checkpoint, other, [checkpoint, other])
    )
    assert both == pytest.approx((one + two) / 2, abs=1e-6)


def test_what_cannot_be_read_is_left_out_and_named(noise: Path, tagger: Tagger) -> None:
    rows = ("a.wav,Speech,,,", "broken.wav,Dog,,,", "b.wav,Dog,,,", "broken.wav,Dog,1,2,", "gone.wav,Dog,,,")
    dataset = read_dataset(table(noise, *rows), labels=tagger.labels.names)
    scored = score_clips(tagger, dataset)
    assert [Path(name).name for name in scored.names] == ["a.wav", "b.wav"]
    assert [Path(failure.file).name for failure in scored.failed] == ["broken.wav", "broken.wav#t=1,2"]
    assert {failure.error for failure in scored.failed} == {"unsupported-format"}
    told = document(evaluate(scored), dataset=dataset)
    assert told["data"] == {"clips": 5, "scored": 2, "multi_label": False}
    assert told["missing"] == [f"{noise}/gone.wav"]
    assert len(told["failed"]) == 2


def test_data_read_for_other_classes_is_refused(noise: Path, tagger: Tagger) -> None:
    with pytest.raises(CheckpointError, match="not the same classes"):
        score_clips(tagger, read_dataset(table(noise, "a.wav,Speech,,,")))


# What is measured


@pytest.mark.parametrize(
    ("splits", "asked", "chosen"),
    [
        (("train", "val", "test"), None, "test"),
        (("train", "dev"), None, "validation"),
        (("train",), None, None),
        (("train", "test"), "all", None),
        (("train", "test"), "train", "train"),
    ],
)
def test_the_test_split_is_measured_where_nothing_else_is_said(
    splits: Sequence[str], asked: str | None, chosen: str | None, tmp_path: Path
) -> None:
    for split in splits:
        (tmp_path / split / "Dog").mkdir(parents=True)
        (tmp_path / split / "Dog" / "a.wav").touch()
    dataset, split = read_clips(tmp_path, ("Dog", "Cat"), split=asked)
    assert split == chosen
    assert len(dataset.clips) == (1 if chosen else len(splits))


def scored_by_hand(tmp_path: Path) -> ScoredClips:
    """AudioSet's table of five segments, four of which are there, with scores for three of its classes."""
    for ytid in ("-aaaaaaaaaa", "bbbbbbbbbbb", "ccccccccccc", "ddddddddddd"):
        (tmp_path / f"{ytid}.wav").touch()
    (tmp_path / "eval_segments.csv").write_text(AUDIOSET)
    dataset = read_dataset(tmp_path / "eval_segments.csv")
    rows = np.full((4, 527), 0.01, np.float32)
    rows[:, [0, 74, 137]] = [[0.9, 0.5, 0.8], [0.7, 0.9, 0.7], [0.8, 0.1, 0.6], [0.1, 0.6, 0.5]]
    return ScoredClips.of(dataset, list(rows))


def test_an_audioset_table_worked_by_hand(tmp_path: Path) -> None:
    evaluation = evaluate(scored_by_hand(tmp_path), resamples=20, seed=3)
    told = document(evaluation, dataset=read_dataset(tmp_path / "eval_segments.csv"), about={"split": None})
    # Speech: clips in the order a+ c b+ d, so (1/1 + 2/3) / 2. Dog: b+ d+ a c. Music: a b c+ d, so 1/3.
    assert told["metrics"]["mAP"]["value"] == pytest.approx((5 / 6 + 1 + 1 / 3) / 3, abs=1e-6)
    assert told["metrics"]["mAUC"]["value"] == pytest.approx((3 / 4 + 1 + 1 / 3) / 3, abs=1e-6)
    assert told["metrics"]["d_prime"]["value"] == pytest.approx(0.7191, abs=1e-4)
    assert told["metrics"]["accuracy"]["value"] == 0.75
    assert told["bootstrap"] == {"resamples": 20, "level": 0.95, "seed": 3}
    assert told["schema"] == "ast-eval/1"
    assert told["data"] == {"split": None, "clips": 5, "scored": 4, "multi_label": True}
    assert (told["classes_without_positives"], told["classes_without_negatives"]) == (524, 0)
    assert told["classes"][0] == {
        "index": 0,
        "mid": "/m/09x0r",
        "label": "Speech",
        "positives": 2,
        "AP": pytest.approx(5 / 6, abs=1e-6),
        "AUC": 0.75,
    }
    assert told["classes"][1]["AP"] is None
    assert told["missing"] == ["eeeeeeeeeee#t=0,10"]
    assert told["model"] is None
    assert "confusion" not in told
    json.dumps(told, allow_nan=False)


def test_classes_as_csv(tmp_path: Path) -> None:
    stream = io.StringIO()
    write_classes(evaluate(scored_by_hand(tmp_path)), stream)
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["index,mid,label,positives,AP,AUC", "0,/m/09x0r,Speech,2,0.833333,0.750000"]
    assert lines[24] == '23,/t/dd00002,"Baby cry, infant cry",0,,'
    assert len(lines) == 528


def test_folds_are_measured_each_on_its_own() -> None:
    clips = tuple(LabelledClip(f"{n}.wav", (n % 2,), fold=str(n // 4 * 9 + 1)) for n in range(8))
    dataset = Dataset(clips, ("a", "b"), multi_label=False)
    right = [[1, 0], [0, 1]] * 2
    scored = ScoredClips.of(dataset, [np.array(row, np.float32) for row in right + [[1, 0]] * 4])
    told = document(evaluate(scored, by_fold=True))
    assert [(fold["fold"], fold["clips"], fold["metrics"]["accuracy"]) for fold in told["folds"]] == [
        ("1", 4, 1.0),
        ("10", 4, 0.5),
    ]
    assert told["mean_of_folds"]["accuracy"] == 0.75
    assert told["confusion"] == [[4, 0], [2, 2]]
    assert told["folds"][0]["metrics"]["d_prime"] is None  # infinite
    assert "folds" not in document(evaluate(scored))


def test_the_model_is_told(noise: Path, tagger: Tagger, checkpoint: Path) -> None:
    dataset = read_dataset(table(noise, "a.wav,Speech,,,", "b.wav,Dog,,,"), labels=tagger.labels.names)
    evaluation = evaluate(score_clips(tagger, dataset))
    told = document(evaluation, run=tagger.run_info(batch_size=8), dataset=dataset)
    assert told["model"]["id"] == str(checkpoint)
    assert told["settings"]["batch_size"] == 8
    both = Tagger.from_pretrained([checkpoint, checkpoint], device="cpu")
    told = document(evaluation, run=both.run_info())
    assert told["model"]["id"] == f"{checkpoint} + {checkpoint}"
    assert len(told["model"]["members"]) == 2


# Stored scores


def store(scored: ScoredClips, path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        write_scores(scored, stream, path.suffix[1:])
    return path


@pytest.mark.parametrize("format_", ["npz", "csv"])
def test_stored_scores_measure_the_same(format_: str, tmp_path: Path) -> None:
    scored = scored_by_hand(tmp_path)
    stored = read_scores(store(scored, tmp_path / f"scores.{format_}"))
    assert np.array_equal(stored.scores, scored.scores)
    dataset = read_dataset(tmp_path / "eval_segments.csv", labels=stored.labels)
    again = evaluate(stored.of_dataset(dataset), resamples=20)
    assert again.metrics == evaluate(scored, resamples=20).metrics


def test_a_table_of_scores_has_nothing_that_a_terminal_obeys_and_gives_it_back(tmp_path: Path) -> None:
    labels, names = ("no\x1b", "yes"), ("\x9b2J.wav",)
    clips = tuple(LabelledClip(name, (0,)) for name in names)
    dataset = Dataset(clips, labels, multi_label=False)
    path = store(ScoredClips.of(dataset, [np.array([0.25, 0.75], np.float32)]), tmp_path / "scores.csv")
    assert path.read_text("utf-8").replace("\n", "").isprintable()
    stored = read_scores(path)
    assert (stored.names, stored.labels) == (names, labels)


def test_an_npz_knows_what_is_right(tmp_path: Path) -> None:
    scored = scored_by_hand(tmp_path)
    again = read_scores(store(scored, tmp_path / "scores.npz")).as_they_are()
    assert np.array_equal(again.targets, scored.targets)
    assert again.multi_label
    with pytest.raises(UsageError, match="does not tell what is right"):
        read_scores(store(scored, tmp_path / "scores.csv")).as_they_are()


def test_clips_are_found_where_paths_are_relative_to_another_folder(tmp_path: Path) -> None:
    text = "file,no,yes\ndata/x/a.wav,0.9,0.1\n./b.wav,0.2,0.8\ny/a.wav,0.3,0.7\n"
    (tmp_path / "scores.csv").write_text(text)
    stored = read_scores(tmp_path / "scores.csv")
    names = ("x/a.wav", "/somewhere/b.wav", "a.wav", "c.wav")
    clips = tuple(LabelledClip(name, (0,)) for name in names)
    scored = stored.of_dataset(Dataset(clips, ("no", "yes"), multi_label=False))
    assert dict(zip(scored.names, scored.scores[:, 0].tolist(), strict=True)) == pytest.approx(
        {"x/a.wav": 0.9, "/somewhere/b.wav": 0.2}
    )
    assert scored.unscored == ("a.wav", "c.wav")  # two are called a.wav: neither is taken
    assert document(evaluate(scored))["missing"] == ["a.wav", "c.wav"]


def test_scores_of_quite_other_recordings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("file,yes\na.wav,0.9\n")
    dataset = Dataset((LabelledClip("b.wav", (0,)),), ("yes",), multi_label=False)
    with pytest.raises(UsageError, match=r"no scores for b.wav or any other .* called as a.wav"):
        read_scores(tmp_path / "scores.csv").of_dataset(dataset)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("s.csv", "name,yes\na.wav,1\n", "lacks the column file"),
        ("s.csv", "file\na.wav\n", "no column of scores"),
        ("s.csv", "file,yes\na.wav,high\n", "line 2: yes is 'high'"),
        ("s.csv", "file,yes\na.wav\n", "line 2: 1 cells"),
        ("s.csv", "file,yes\na.wav,1\na.wav,2\n", "scores for a.wav twice"),
        ("s.npz", "no archive", "holds no scores: it is no npz file"),
        ("s.json", "{}", "no such format of scores: json"),
    ],
)
def test_a_file_of_scores_that_makes_no_sense_is_one_clear_line(
    name: str, text: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError) as caught:
        read_scores(tmp_path / name)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    np.savez(path, files=["a"], labels=["x", "y"], scores=np.zeros((2, 1), np.float32))
    with pytest.raises(UsageError, match=r"scores \[2, 1\] of float32 for 1 files and 2 labels"):
        read_scores(path)
    np.savez(path, files=["a"], scores=np.zeros((1, 1), np.float32))
    with pytest.raises(UsageError, match="labels"):
        read_scores(path)
    with pytest.raises(UsageError, match="no such file of scores"):
        read_scores(tmp_path / "gone.npz")


def test_single_label_classes_are_measured_with_a_confusion_matrix(
    noise: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = random_config(labels=3, problem_type="single_label_classification")
    tagger = Tagger.from_pretrained(
        save_random_checkpoint(tmp_path_factory.mktemp("three"), config), device="cpu"
    )
    rows = [f"{name}.wav,class {number % 3},,," for number, name in enumerate("abcd")]
    scored = score_clips(tagger, read_dataset(table(noise, *rows), labels=tagger.labels.names))
    assert scored.scores.sum(axis=1) == pytest.approx(1)
    matrix = document(evaluate(scored))["confusion"]
    assert [sum(row) for row in matrix] == [2, 1, 1]

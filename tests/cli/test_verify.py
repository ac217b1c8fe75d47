"""`ast-tag verify`: checkpoints that are what they should be, and some that are not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from ast_cli.checkpoints.published import DEFAULT_MODEL
from ast_cli.errors import ExitCode
from ast_cli.networks.ast import ASTForAudioClassification
from tests.cli.known import save_known_checkpoint
from tests.cli.runner import Done, ast_tag, in_a_process
from tests.reference import torchaudio, why

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PUBLISHED = {0: -0.8760, 1: -7.0042, 2: -8.6602}  # the model card's, for the default model
NUMPY = "ast-tag: {}: features are compared with those of transformers by numpy\n"
CLIP = "datasets--nielsr--audio-spectogram-transformer-checkpoint"


def against_transformers(model: Path, *more: str) -> Done:
    return ast_tag("verify", "clip.wav", "--against", "transformers", "-m", model, *more)


def verdicts(done: Done) -> list[str]:
    header, *rows = [line.split("\t") for line in done.out.splitlines()]
    assert (header[0], header[-1]) == ("what", "verdict")
    return [row[-1] for row in rows]


def snapshot(cache: Path, repository: str) -> Path:
    """The folder of a repository's only commit in the Hub's cache."""
    refs = cache / repository / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text(COMMIT)
    folder = cache / repository / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def published(hub_cache: Path) -> Callable[[dict[int, float]], None]:
    """Puts the sample clip in the cache, and a default model with these logits."""

    def put(logits: dict[int, float]) -> None:
        noise = 0.1 * np.random.default_rng(0).standard_normal((16_000, 2))
        soundfile.write(snapshot(hub_cache, CLIP) / "sample_audio.flac", noise, 16_000)
        save_known_checkpoint(snapshot(hub_cache, f"models--{DEFAULT_MODEL.replace('/', '--')}"), logits)

    return put


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint that may be spoiled."""
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def tamper(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


# Against the published logits


def test_the_published_logits_are_recognised(published: Callable[[dict[int, float]], None]) -> None:
    published(PUBLISHED)
    done = ast_tag("verify", "--offline")
    assert (done.code, done.err) == (0, "")
    assert verdicts(done) == ["equal"] * 3
    assert "logit 1 (Male speech, man speaking)" in done.out


def test_rounding_is_forgiven_and_no_more(published: Callable[[dict[int, float]], None]) -> None:
    published({0: PUBLISHED[0] + 9e-5, 1: PUBLISHED[1] - 9e-5, 2: PUBLISHED[2] + 2e-4})
    done = ast_tag("verify", "--offline")
    assert done.code == ExitCode.SOME_FAILED
    assert verdicts(done) == ["equal", "equal", "different"]


def test_another_network_under_a_published_name_is_found_out(
    published: Callable[[dict[int, float]], None],
) -> None:
    published(PUBLISHED | {0: -0.5050})
    done = ast_tag("verify", "--offline")
    assert done.code == ExitCode.SOME_FAILED
    assert verdicts(done) == ["different", "equal", "equal"]
    assert done.one_line() == f"ast-tag: {DEFAULT_MODEL} differs from the published logits by more than 1e-04"


def test_weights_that_are_no_numbers_are_refused(published: Callable[[dict[int, float]], None]) -> None:
    published(PUBLISHED | {1: float("nan")})
    done = ast_tag("verify", "--offline")
    assert (done.code, done.out) == (ExitCode.CANNOT_RUN, "")
    assert "holds numbers that are not finite: classifier.dense.bias" in done.one_line()


@pytest.mark.parametrize("model", ["MIT/ast-finetuned-speech-commands-v2", "someone/tagger", "."])
def test_where_nobody_has_published_logits_it_says_so(model: str, here: Path) -> None:
    done = ast_tag("verify", "-m", model)
    assert (done.code, done.out) == (ExitCode.CANNOT_RUN, "")
    assert done.one_line().startswith(f"ast-tag: nobody has published logits of {model}. ")


def test_without_model_or_clip_it_says_what_is_missing(hub_cache: Path) -> None:
    done = ast_tag("verify", "--offline")
    assert (done.code, done.out) == (ExitCode.CANNOT_RUN, "")
    assert DEFAULT_MODEL in done.one_line()
    save_known_checkpoint(snapshot(hub_cache, f"models--{DEFAULT_MODEL.replace('/', '--')}"))
    assert "sample_audio.flac" in ast_tag("verify", "--offline").one_line()


def test_logits_are_published_for_no_file_of_ones_own(here: Path) -> None:
    done = ast_tag("verify", "clip.wav")
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert "--against transformers" in done.one_line()


# Against transformers


def test_features_and_logits_are_those_of_transformers(here: Path, checkpoint: Path) -> None:
    done = against_transformers(checkpoint)
    said = "" if torchaudio else NUMPY.format(why)
    assert (done.code, done.err) == (0, said)
    assert verdicts(done) == ["equal"] * 3


def test_a_torchaudio_that_does_not_load_breaks_nothing(
    here: Path, checkpoint: Path, broken_torchaudio: str
) -> None:
    done = in_a_process(
        *("verify", here / "clip.wav", "--against", "transformers", "-m", checkpoint),
        env={"PYTHONPATH": broken_torchaudio},
    )
    said = "torchaudio does not load: libtorchaudio.so: undefined symbol: [red]_ZN2at"
    assert (done.code, done.err) == (0, NUMPY.format(said))
    assert verdicts(done) == ["equal"] * 3
    assert done.out.splitlines()[1].startswith("features, numpy (the worst of ")


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"layer_norm_eps": 0.1}),
        ("config.json", {"hidden_act": "relu"}),
        ("config.json", {"dtype": "bfloat16"}),
        ("preprocessor_config.json", {"mean": -6.8, "std": 5.5}),
        ("preprocessor_config.json", {"do_normalize": False}),
        ("preprocessor_config.json", {"sampling_rate": 8000}),
    ],
)
def test_both_read_the_same_from_the_same_files(
    file: str, values: dict[str, Any], here: Path, copy: Path
) -> None:
    tamper(copy / file, **values)
    done = against_transformers(copy)
    compared = (
        3 if torchaudio or "sampling_rate" not in values else 2
    )  # without it, transformers has none at 8 kHz
    assert (done.code, verdicts(done)) == (0, ["equal"] * compared)


def test_a_network_that_computes_something_else_is_found_out(
    here: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(*args: Any, **options: Any) -> ASTForAudioClassification:
        model = ASTForAudioClassification.from_pretrained(*args, **options)
        with torch.no_grad():
            model.classifier.dense.bias[3] += 0.001
        return model

    class Spoiled:
        from_pretrained = staticmethod(spoiled)

    monkeypatch.setattr("ast_cli.checks.verify.ASTForAudioClassification", Spoiled)
    done = against_transformers(checkpoint)
    assert done.code == ExitCode.SOME_FAILED
    assert verdicts(done) == ["equal", "different", "different"]
    assert done.err.splitlines()[-1] == f"ast-tag: {checkpoint} differs from transformers by more than 1e-04"
    assert len(done.err.splitlines()) == (1 if torchaudio else 2)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"layer_norm_eps": "small"}),
        ("config.json", {"hidden_act": "shout"}),
        ("config.json", {"qkv_bias": False}),
        ("config.json", {"max_length": 64}),
        ("config.json", {"model_type": "bert"}),
        ("preprocessor_config.json", {"max_length": 64}),
        ("preprocessor_config.json", {"num_mel_bins": 64}),
        ("preprocessor_config.json", {"std": 0}),
    ],
)
def test_files_that_do_not_fit_together_are_refused_in_one_line(
    file: str, values: dict[str, Any], here: Path, copy: Path
) -> None:
    tamper(copy / file, **values)
    done = against_transformers(copy)
    assert (done.code, done.out) == (ExitCode.CANNOT_RUN, "")
    assert done.one_line().startswith("ast-tag: ")


def test_weights_that_transformers_would_not_read_are_not_compared(here: Path, copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "epoch-3.safetensors")
    done = against_transformers(copy / "epoch-3.safetensors")
    assert (done.code, done.out) == (ExitCode.CANNOT_RUN, "")
    assert "epoch-3.safetensors" in done.one_line()


@pytest.mark.parametrize("name", ["missing.wav", "notes.wav"])
def test_a_file_that_cannot_be_heard_is_named(name: str, here: Path, checkpoint: Path) -> None:
    done = ast_tag("verify", name, "--against", "transformers", "-m", checkpoint)
    assert done.code == ExitCode.USAGE  # 1 would mean that the numbers differ
    assert done.one_line().startswith(f"ast-tag: {name}: ")


def test_without_transformers_its_name_is_told(
    here: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ast_cli.extras.find_spec", lambda name: None)
    done = against_transformers(checkpoint)
    assert (done.code, done.out) == (ExitCode.CANNOT_RUN, "")
    assert done.one_line() == "ast-tag: transformers is not installed. pip install 'ast-cli[verify]'"


def test_nobody_else_is_compared_with(here: Path) -> None:
    assert ast_tag("verify", "clip.wav", "--against", "hearsay").code == ExitCode.USAGE

"""Vectors of recordings against the network of `transformers`, and one way of running against another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from ast_cli import FileFailure, Tagger
from ast_cli.errors import InputError, UsageError
from ast_cli.features.masking import NoiseMasking
from ast_cli.features.window_stream import Window
from ast_cli.pipeline.windows import fitting
from ast_cli.results import Facts
from ast_cli.scoring.embedding import Embedding, Pooling, unit_length
from tests.extras import Extra

transformers = Extra("transformers")

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def tagger(checkpoint: Path) -> Tagger:
    return Tagger.from_pretrained(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of 0.3 to 4 s, a window being 1.28 s."""
    folder = tmp_path_factory.mktemp("recordings")
    generator = np.random.default_rng(0)
    for number, seconds in enumerate((0.3, 1.28, 2.0, 4.0, 1.0)):
        samples = generator.standard_normal(round(16_000 * seconds)) * 0.1 * (number + 1)
        soundfile.write(folder / f"{number}.wav", samples, 16_000)
    return sorted(folder.iterdir())


def embed(tagger: Tagger, paths: object, **options) -> list[Embedding]:
    found = [*tagger.embed(paths, **options)]
    assert all(isinstance(one, Embedding) for one in found)
    return found


def by_transformers(checkpoint: Path, waveform: NDArray[np.float64]) -> NDArray[np.float32]:
    """The pooled vector [D] of the beginning of a waveform."""
    extractor = transformers.ASTFeatureExtractor.from_pretrained(checkpoint)
    model = transformers.ASTModel.from_pretrained(checkpoint).eval()
    inputs = extractor(waveform.astype(np.float32), sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).pooler_output[0].numpy()


def test_a_vector_is_the_pooled_output_of_transformers(
    tagger: Tagger, checkpoint: Path, recordings: list[Path]
) -> None:
    for path in recordings:
        [found] = embed(tagger, path, per="window", normalize=False)
        expected = by_transformers(checkpoint, soundfile.read(path)[0])
        np.testing.assert_allclose(found.vectors[0], expected, atol=TOLERANCE)


def test_a_normalized_vector_points_the_same_way_with_length_one(
    tagger: Tagger, recordings: list[Path]
) -> None:
    for plain, unit in zip(
        embed(tagger, recordings, normalize=False), embed(tagger, recordings), strict=True
    ):
        assert np.linalg.norm(unit.vectors) == pytest.approx(1, abs=1e-6)
        assert np.linalg.norm(plain.vectors) != pytest.approx(1, abs=0.1)
        np.testing.assert_allclose(unit.vectors, unit_length(plain.vectors), atol=1e-6)


@pytest.mark.parametrize("short", ["pad", "repeat", "crop"])
def test_noise_is_masked_before_a_window_is_padded(tagger: Tagger, tmp_path: Path, short: str) -> None:
    samples = np.random.default_rng(0).standard_normal(8_000) * 0.1
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    [found] = embed(tagger, tmp_path / "a.wav", short=short, noise_masking=10, normalize=False)
    frames = tagger.extractor.fbank(torch.from_numpy(samples.astype(np.float32)))
    frames = NoiseMasking(tagger.extractor, 10)(frames)
    engine = tagger.engines[0]
    fit = fitting(tagger.extractor, short, engine.config.cropped_length)  # type: ignore[arg-type]
    window = Window(0, len(frames), len(frames), fit(frames))
    expected = engine.pooled().start([window])().numpy()
    np.testing.assert_allclose(found.vectors, expected, atol=1e-5)


def test_a_noise_far_below_masks_nothing(tagger: Tagger, recordings: list[Path]) -> None:
    for plain, masked in zip(
        embed(tagger, recordings), embed(tagger, recordings, noise_masking=300), strict=True
    ):
        np.testing.assert_allclose(masked.vectors, plain.vectors, atol=1e-5)


def test_frames_are_masked_where_the_engine_would_take_waveforms(
    tagger: Tagger, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = embed(tagger, recordings, noise_masking=10)
    pooled = tagger.engines[0].pooled()
    monkeypatch.setattr(pooled, "takes_waveforms", True)
    monkeypatch.setattr(tagger.engines[0], "pooled", lambda: pooled)
    for one, other in zip(embed(tagger, recordings, noise_masking=10), expected, strict=True):
        np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-6)


def test_a_vector_of_zeros_stays_one() -> None:
    np.testing.assert_array_equal(unit_length(np.zeros((2, 3), np.float32)), np.zeros((2, 3)))


@pytest.mark.parametrize("per", ["file", "window"])
def test_batches_give_what_one_by_one_gives(tagger: Tagger, recordings: list[Path], per: str) -> None:
    batched = embed(tagger, recordings, per=per, batch_size=5, workers=2)
    assert [one.file for one in batched] == [str(path) for path in recordings]
    for path, one in zip(recordings, batched, strict=True):
        [single] = embed(tagger, str(path), per=per, batch_size=1, workers=1)
        np.testing.assert_allclose(one.vectors, single.vectors, atol=1e-6)
        np.testing.assert_array_equal(one.starts, single.starts)


def test_a_recording_is_the_mean_of_its_windows_weighed_by_what_each_newly_covers(
    tagger: Tagger, recordings: list[Path]
) -> None:
    path = recordings[3]
    options = {"normalize": False, "window": 1.0, "hop": 0.7}
    [each] = embed(tagger, path, per="window", **options)
    [whole] = embed(tagger, path, **options)
    assert each.starts.tolist() == pytest.approx([0, 0.7, 1.4, 2.1, 2.8, 2.98])
    assert (whole.starts.tolist(), whole.ends.tolist()) == ([0], [4])
    assert each.ends.tolist() == pytest.approx([1, 1.7, 2.4, 3.1, 3.8, 4])
    weights = np.array([1, 0.7, 0.7, 0.7, 0.7, 0.18])
    np.testing.assert_allclose(whole.vectors[0], weights @ each.vectors / weights.sum(), atol=1e-6)


@pytest.mark.parametrize("short", ["pad", "repeat", "crop"])
def test_short_recordings_may_be_heard_in_each_way(
    tagger: Tagger, recordings: list[Path], short: str
) -> None:
    [found] = embed(tagger, recordings[0], short=short)
    assert found.vectors.shape == (1, 64)
    assert (found.duration, found.ends.tolist()) == (0.3, [0.3])


def test_what_cannot_be_read_costs_nobody_else(
    tagger: Tagger, recordings: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "no.wav").write_text("no audio")
    heard: list[float] = []
    first, bad, last = tagger.embed(
        [recordings[0], tmp_path / "no.wav", recordings[1]], on_heard=heard.append
    )
    assert isinstance(first, Embedding)
    assert isinstance(last, Embedding)
    assert isinstance(bad, FileFailure)
    assert bad.error == "unsupported-format"
    assert sum(heard) == pytest.approx(1.58, abs=0.05)


def test_a_number_that_is_not_finite_is_a_failure() -> None:
    pooling = Pooling("x.wav", "file", normalize=True)
    pooling.add(0, 100, 100, np.array([1, np.inf], np.float32))
    with pytest.raises(InputError, match="not finite"):
        pooling.result(Facts(1.0, 98, 16_000, 1))


def test_labels_are_as_they_were_after_embedding(tagger: Tagger, recordings: list[Path]) -> None:
    before = tagger.tag(recordings[3])
    embed(tagger, recordings)
    assert tagger.tag(recordings[3]) == before


def test_several_models_have_no_vector(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="several models"):
        Tagger.from_pretrained([checkpoint, checkpoint], device="cpu").embed("x.wav")


def test_openvino_has_no_vectors(checkpoint: Path) -> None:
    pytest.importorskip("openvino")
    tagger = Tagger.from_pretrained(checkpoint, engine="openvino", on_notice=lambda _: None)
    with pytest.raises(UsageError, match="--engine torch"):
        tagger.embed("x.wav")


@pytest.mark.parametrize("options", [{"per": "second"}, {"hop": 9.0}, {"batch_size": 0}, {"workers": 0}])
def test_what_cannot_be_is_refused_at_once(tagger: Tagger, options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        tagger.embed("x.wav", **options)

"""Mean and standard deviation of the fbank, streamed, against numpy on everything at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from ast_cli.errors import InputError
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.networks.config import FeatureConfig
from ast_cli.results import FileFailure
from ast_cli.training.datasets import LabelledClip
from ast_cli.training.stats import Stats, measure_norm
from tests.reference import torchaudio, why

EXTRACTOR = ASTFeatureExtractor(max_length=30)
SAMPLES = [300_000, 401, 5_000, 16_000]  # longer than a decoded block, a single frame, a window, several


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledClip]:
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    found = []
    for number, samples in enumerate(SAMPLES):
        file = folder / f"{number}.wav"
        soundfile.write(file, 10.0**-number * rng.standard_normal(samples), 16_000, subtype="FLOAT")
        found.append(LabelledClip(str(file), ()))
    return found


def kaldi(clip: LabelledClip) -> Tensor:
    """All frames of a clip by torchaudio, as the original recipe calls it."""
    waveform = torch.from_numpy(soundfile.read(clip.file, dtype="float32")[0]).unsqueeze(0)
    if torchaudio is None:
        pytest.skip(why)
    return torchaudio.compliance.kaldi.fbank(
        waveform, htk_compat=True, sample_frequency=16_000, use_energy=False, window_type="hanning",
        num_mel_bins=128, dither=0.0, frame_shift=10,
    )  # fmt: skip


def test_over_every_real_frame(clips: list[LabelledClip]) -> None:
    heard: list[float] = []
    stats = measure_norm(clips, EXTRACTOR, on_clip=heard.append)
    everything = torch.cat([kaldi(clip) for clip in clips]).double().numpy()
    assert len(everything) == sum(EXTRACTOR.num_frames(samples) for samples in SAMPLES)
    assert stats.mean == pytest.approx(everything.mean(), abs=1e-6)
    assert stats.std == pytest.approx(everything.std(ddof=1), abs=1e-6)
    assert (stats.clips, stats.failed) == (4, ())
    assert heard == pytest.approx([samples / 16_000 for samples in SAMPLES])
    assert stats.seconds == pytest.approx(sum(SAMPLES) / 16_000)


def test_as_the_original_recipe_counts(clips: list[LabelledClip]) -> None:
    """`get_norm_stats.py`: first window of each clip, filled up with zeros, over everything."""
    windows = []
    for clip in clips:
        frames = kaldi(clip)[:30]
        windows.append(torch.nn.ZeroPad2d((0, 0, 0, 30 - len(frames)))(frames))
    everything = torch.stack(windows).double()
    stats = measure_norm(clips, EXTRACTOR, with_padding=True)
    assert stats.mean == pytest.approx(float(everything.mean()), abs=1e-6)
    assert stats.std == pytest.approx(float(everything.std()), abs=1e-6)
    assert stats.mean != pytest.approx(measure_norm(clips, EXTRACTOR).mean, abs=0.1)


def test_window_lengths_do_not_matter(clips: list[LabelledClip]) -> None:
    found = [measure_norm(clips, ASTFeatureExtractor(max_length=length)) for length in (7, 30, 1024)]
    assert [one.mean for one in found] == pytest.approx([found[0].mean] * 3, abs=1e-7)
    assert [one.std for one in found] == pytest.approx([found[0].std] * 3, abs=1e-7)


def test_normalised_by_its_own_numbers_audio_is_0_and_one_half(clips: list[LabelledClip]) -> None:
    stats = measure_norm(clips, EXTRACTOR)
    own = ASTFeatureExtractor(mean=stats.mean, std=stats.std)
    assert stats.normalised(own) == (0.0, 0.5)
    normalised = own.normalize(torch.cat([kaldi(clip) for clip in clips]))
    assert float(normalised.mean()) == pytest.approx(0, abs=1e-5)
    assert float(normalised.std()) == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize(
    ("mean", "std", "fits"),
    [
        *((-4, 4.5, True), (-4, 3.7, True), (-4, 3.5, False)),
        *((-3.2, 4.5, True), (-3.0, 4.5, False), (-5, 5.5, False)),
    ],
)
def test_what_fits(mean: float, std: float, fits: bool) -> None:
    """A tenth, after normalising, either way: 0.9 of the mean here, 0.9 of the standard deviation."""
    assert Stats(mean, std, 1, 1.0).fits(FeatureConfig(mean=-4.0, std=4.5)) is fits


def test_what_cannot_be_read_is_named_and_not_counted(clips: list[LabelledClip], tmp_path: Path) -> None:
    (tmp_path / "no.wav").write_text("no recording")
    (tmp_path / "cut.wav").write_bytes(Path(clips[0].file).read_bytes()[:60])
    gone = FileFailure("gone.wav", "not-found", "no such file")
    bad = [LabelledClip(str(tmp_path / name), ()) for name in ("no.wav", "cut.wav")]
    stats = measure_norm([bad[0], gone, *clips[:2], bad[1], *clips[2:]], EXTRACTOR)
    whole = measure_norm(clips, EXTRACTOR)
    assert (stats.mean, stats.std, stats.clips) == (whole.mean, whole.std, 4)
    assert [Path(one.file).name for one in stats.failed] == ["no.wav", "gone.wav", "cut.wav"]


def test_nothing_to_measure(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of 0 recordings could be read"):
        measure_norm([], EXTRACTOR)
    gone = FileFailure("gone.wav", "not-found", "no such file")
    with pytest.raises(InputError, match=r"none of 1 .* read, the first: gone\.wav: no such file"):
        measure_norm([gone], EXTRACTOR)


def test_a_part_of_a_recording(clips: list[LabelledClip]) -> None:
    part = LabelledClip(clips[0].file, (), start=1.0, end=2.5)
    stats = measure_norm([part], EXTRACTOR)
    frames = kaldi(clips[0])[100 : 100 + EXTRACTOR.num_frames(24_000)]
    assert stats.mean == pytest.approx(float(frames.double().mean()), abs=1e-6)
    assert stats.seconds == 1.5

"""Why a label: heat that lies where the sound is, attention against hand-made products, axes, windows."""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from ast_cli import Tagger
from ast_cli.errors import InputError, UsageError
from ast_cli.explain.attribution import Explanation, attention_rollout, explain, relevance, strongest
from ast_cli.explain.patches import Grid, Spot, largest_spot
from ast_cli.explain.picture import cell_edges, overlay, write_explanation
from ast_cli.explain.window import ChosenWindow, choose_window
from ast_cli.networks.config import ASTConfig
from ast_cli.scoring.labels import LabelSet

CLIPS = Path(__file__).parents[2] / "examples" / "clips"
RATE = 16_000
QUICK = {"birds.ogg", "heartbeat.flac"}


@pytest.fixture(scope="module")
def tiny() -> Tagger:
    return Tagger.from_pretrained("tiny", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Tagger:
    return Tagger.from_pretrained(checkpoint, device="cpu", dtype="float32")


def clips() -> list[object]:
    with (CLIPS / "expected.csv").open(encoding="utf-8", newline="") as table:
        names = [row["file"] for row in csv.DictReader(table)]
    return [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in names
        if name != "silence.flac"  # holds no sound: see below
    ]


def explained(tagger: Tagger, window: ChosenWindow, **options) -> Explanation:
    return explain(tagger, window.frames, window.length, window.start, **options)


def waves(tagger: Tagger, seconds: float = 1.3) -> tuple[torch.Tensor, int]:
    """A window of noise, and the number of its frames."""
    extractor = tagger.extractor
    noise = 0.1 * torch.randn(round(seconds * RATE), generator=torch.Generator().manual_seed(0))
    frames = extractor.fbank(noise)[: extractor.max_length]
    return extractor.pad(frames), len(frames)


@pytest.mark.parametrize("method", ["occlusion", "gradient"])
def test_heat_lies_on_a_sound_planted_in_silence(method: str, tiny: Tagger, tmp_path: Path) -> None:
    sound, rate = soundfile.read(CLIPS / "telephone-dialing.ogg", dtype="float32")
    assert sound.ndim == 1
    sound = sound[: 3 * rate]
    clip = np.zeros(round(10.24 * rate), np.float32)
    clip[3 * rate : 6 * rate] = sound
    soundfile.write(tmp_path / "planted.wav", clip, rate)
    window = choose_window(tiny, str(tmp_path / "planted.wav"), at=0)
    [index] = tiny.labels.matching("Telephone dialing, DTMF")

    found = explained(tiny, window, labels=[index], method=method)

    [one] = found.labels
    columns = strongest(torch.from_numpy(one.heat), found.grid.with_audio).nonzero()[:, 1].tolist()
    times = [found.grid.seconds(column) for column in columns]
    on_it = [start < 6 and end > 3 for start, end in times]
    assert sum(on_it) >= 0.8 * len(on_it)
    assert one.spot.start < 6
    assert one.spot.end > 3
    assert one.lost > one.random + 0.1


@pytest.mark.parametrize("name", clips())
def test_the_hottest_tenth_matters_more_than_random_ones(name: str, tiny: Tagger) -> None:
    window = choose_window(tiny, str(CLIPS / name), at=0)
    for method in ("occlusion", "gradient"):
        [one] = explained(tiny, window, top_k=1, method=method).labels
        assert one.lost > one.random, method


def test_occlusion_by_hand(nano: Tagger) -> None:
    """Twelve by twelve patches: blocks of 3 × 1, of which a mask made here takes one away."""
    frames, length = waves(nano)
    found = explain(nano, frames, length, labels=[5, 7])
    assert found.grid.shape == (12, 12)
    assert found.passes == 1 + 4 * 12 + 2 + 8
    hurt = frames.clone()
    hurt[20:36, 30:66] = math.log(torch.finfo(torch.float32).eps)  # time patch 2, frequency patches 3 to 5
    engine = nano.engines[0]
    lost = engine.logits(frames[None])[0] - engine.logits(hurt[None])[0]
    for one in found.labels:
        assert one.heat[3:6, 2] == pytest.approx(np.full(3, float(lost[one.index])), abs=1e-5)


def test_padding_is_what_the_network_takes_for_it(nano: Tagger) -> None:
    frames, length = waves(nano)
    found = explain(nano, frames, length, labels=[5], fill="padding")
    hurt = nano.extractor.normalize(frames)
    hurt[20:36, 30:66] = (0 + 4.2677393) / 9.1379948
    with torch.inference_mode():
        logits = nano.engines[0].model(torch.stack([nano.extractor.normalize(frames), hurt])).logits[:, 5]
    assert found.labels[0].heat[3, 2] == pytest.approx(float(logits[0] - logits[1]), abs=1e-5)


def test_fine_parts_are_smaller(nano: Tagger) -> None:
    frames, length = waves(nano)
    found = explain(nano, frames, length, labels=[5], fine=True)
    assert found.passes == 1 + 6 * 12 + 1 + 8


@pytest.mark.parametrize("method", ["occlusion", "gradient", "rollout"])
def test_padding_has_no_heat(method: str, nano: Tagger) -> None:
    frames, length = waves(nano, 0.5)
    assert length == 48
    found = explain(nano, frames, length, top_k=2, method=method)
    assert found.grid.with_audio == 5  # the last one begins at frame 40
    for one in found.labels:
        assert not one.heat[:, 5:].any()
        assert one.heat[:, :5].any()
        assert one.spot.end <= 0.65 + 1e-6


def test_rollout_by_hand() -> None:
    first = torch.tensor([[[0.5, 0.5], [0.25, 0.75]], [[0.7, 0.3], [0.25, 0.75]]])
    second = torch.tensor([[[1.0, 0.0], [0.5, 0.5]]])
    # Means of heads with the identity: [[.8, .2], [.125, .875]], then [[1, 0], [.25, .75]].
    expected = [[0.8, 0.2], [0.25 * 0.8 + 0.75 * 0.125, 0.25 * 0.2 + 0.75 * 0.875]]
    assert attention_rollout([first, second]).numpy() == pytest.approx(np.array(expected), abs=1e-6)


def test_rollout_of_a_network_of_two_layers(nano: Tagger) -> None:
    frames, length = waves(nano)
    model = nano.engines[0].model
    before = model.attn_implementation
    model.attn_implementation = "eager"
    output = model(nano.extractor.normalize(frames)[None], output_attentions=True)
    model.attn_implementation = before
    one, two = ((each[0].mean(0) + torch.eye(146)) / 2 for each in output.attentions)
    product = two @ one
    assert attention_rollout([each[0] for each in output.attentions]).sum(1).numpy() == pytest.approx(1)

    found = explain(nano, frames, length, labels=[0, 1], method="rollout")

    expected = (product[0, 2:] + product[1, 2:]) / 2
    for each in found.labels:  # the same for all
        assert each.heat == pytest.approx(expected.view(12, 12).numpy(), abs=1e-7)
    assert model.attn_implementation == before


def test_relevance_by_hand() -> None:
    attention = torch.tensor([[[0.5, 0.5], [0.2, 0.8]]])
    slope = torch.tensor([[[2.0, -1.0], [1.0, 0.5]]])
    # [[1, 0], [.2, .4]] on top of the identity, twice
    expected = [[4.0, 0.0], [0.2 + 0.2 * 2 + 0.4 * 0.2, 1.4 * 1.4]]
    assert relevance([attention] * 2, [slope] * 2).numpy() == pytest.approx(np.array(expected), abs=1e-6)


def test_gradients_are_those_of_the_label(nano: Tagger) -> None:
    frames, length = waves(nano)
    model = nano.engines[0].model
    heat = explain(nano, frames, length, labels=[3], method="gradient").labels[0].heat
    window = nano.extractor.normalize(frames)[None]
    model.attn_implementation = "eager"
    with torch.enable_grad():
        output = model(window.requires_grad_(), output_attentions=True)
        attentions = output.attentions
        gradients = torch.autograd.grad(output.logits[0, 3], attentions)
    model.attn_implementation = "sdpa"
    mixed = torch.eye(146)
    for attention, gradient in zip(attentions, gradients, strict=True):
        weighed = torch.zeros(146, 146)
        for head in range(2):
            weighed += torch.relu(attention[0, head].detach() * gradient[0, head]) / 2
        mixed = mixed + weighed @ mixed
    assert heat == pytest.approx(mixed[:2, 2:].mean(0).view(12, 12).numpy(), rel=1e-3, abs=1e-9)
    assert heat.max() > 0


def test_softmax_is_explained_by_its_odds(nano: Tagger) -> None:
    frames, length = waves(nano)
    softmax = Tagger(nano.engines, nano.extractor, nano.labels, "softmax")
    [one] = explain(softmax, frames, length, top_k=1).labels
    scores = nano.engines[0].logits(frames[None]).softmax(-1)[0]
    assert one.score == pytest.approx(float(scores.max()), abs=1e-6)
    hurt = frames.clone()
    hurt[20:36, 30:66] = math.log(torch.finfo(torch.float32).eps)
    less = nano.engines[0].logits(hurt[None]).softmax(-1)[0, one.index]
    assert one.heat[4, 2] == pytest.approx(float(scores.max().logit() - less.logit()), abs=1e-4)


def test_the_same_seed_gives_the_same(nano: Tagger) -> None:
    frames, length = waves(nano)
    first, again, other = (
        explain(nano, frames, length, labels=[1], method="rollout", seed=seed).labels[0] for seed in (0, 0, 1)
    )
    assert (first.lost, first.random) == (again.lost, again.random)
    assert first.lost == other.lost
    assert first.random != other.random


def grid(start: float = 0.0, length: int = 1024, **config) -> Grid:
    return Grid(ASTConfig(**config), RATE, start, length)


def test_axes_by_hand() -> None:
    sixteen = grid(20.0, frequency_stride=16, time_stride=16)
    assert sixteen.shape == (8, 64)
    # Time patch 3 holds frames 48 to 63, the last of which begins at 0.63 s and takes 25 ms.
    assert sixteen.seconds(3) == pytest.approx((20.48, 20.655))
    assert grid().seconds(100) == pytest.approx((10.0, 10.175))
    assert grid(length=1000).with_audio == 100  # patch 100 begins at frame 1000, which is padding
    assert grid(length=1001).with_audio == 101
    # Kaldi's mel: 1127 ln(1 + f / 700); 129 steps from 20 Hz to 8 kHz, bin m from half a step before its
    # centre at step m + 1 to half a step behind.
    lowest, highest = 1127 * math.log(1 + 20 / 700), 1127 * math.log(1 + 8000 / 700)
    step = (highest - lowest) / 129

    def hertz(steps: float) -> float:
        return 700 * (math.exp((lowest + steps * step) / 1127) - 1)

    assert sixteen.hertz(0) == pytest.approx((hertz(0.5), hertz(16.5)))
    assert sixteen.hertz(7) == pytest.approx((hertz(112.5), hertz(128.5)))
    assert grid().hertz(1) == pytest.approx((hertz(10.5), hertz(26.5)))


def test_a_tone_is_in_the_bin_that_the_axis_says(nano: Tagger) -> None:
    edges = grid().mel_edges
    for hertz in (500, 1000, 4000):
        tone = torch.sin(2 * math.pi * hertz * torch.arange(RATE) / RATE)
        loudest = int(nano.extractor.fbank(tone).mean(0).argmax())
        assert edges[loudest] <= hertz <= edges[loudest + 1]


def test_the_spot_is_the_largest_connected_part() -> None:
    heat = np.zeros((8, 64), np.float32)
    heat[1, 2], heat[5, 10:13], heat[6, 12] = 2, 1, 1
    spot = largest_spot(grid(frequency_stride=16, time_stride=16), heat, heat > 0)
    axes = grid(frequency_stride=16, time_stride=16)
    assert spot == Spot(axes.seconds(10)[0], axes.seconds(12)[1], axes.hertz(5)[0], axes.hertz(6)[1])


def test_silence_and_methods_that_are_not(nano: Tagger) -> None:
    silent = nano.extractor.pad(nano.extractor.fbank(torch.zeros(RATE)))
    with pytest.raises(InputError, match="holds no sound at all"):
        explain(nano, silent, 98)
    frames, length = waves(nano)
    with pytest.raises(UsageError, match="no such method: guess"):
        explain(nano, frames, length, method="guess")  # type: ignore[arg-type]
    two = Tagger(nano.engines * 2, nano.extractor, nano.labels, nano.scores)
    with pytest.raises(UsageError, match="one checkpoint"):
        explain(two, frames, length)


def ramp(path: Path, seconds: float, rate: int = RATE) -> np.ndarray:
    """A recording whose every moment is another."""
    samples = 0.1 * np.random.default_rng(1).standard_normal(round(seconds * rate)).astype(np.float32)
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return samples


@pytest.mark.parametrize(("at", "start"), [(0, 0), (12.5, 12.5), (23, 23), (24.4, 23.7), (24.99, 23.7)])
def test_the_window_at_a_time(at: float, start: float, nano: Tagger, tmp_path: Path) -> None:
    samples = torch.from_numpy(ramp(tmp_path / "long.wav", 25))
    window = choose_window(nano, str(tmp_path / "long.wav"), at=at)
    expected = round(start * 100)  # 25 s are 2,498 frames, the last window of which begins at 2,370
    assert (window.start, window.length) == (expected / 100, 128)
    first = expected * 160
    assert torch.equal(window.frames, nano.extractor.fbank(samples[first : first + 400 + 127 * 160]))


def test_only_the_window_is_decoded(nano: Tagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ast_cli.audio.decode import Recording
    from ast_cli.explain import window as module

    read = []

    def blocks():
        for number in range(6 * 360):  # six hours
            read.append(number)
            yield np.full((10 * 100, 1), 0.5, np.float32)

    class Opened:
        def __enter__(self) -> Recording:
            return Recording(100, 1, blocks())

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(module, "open_recording", lambda path: Opened())
    monkeypatch.setattr(Tagger, "each_window", None)
    window = choose_window(nano, "six-hours.wav", at=7200)
    assert window.start == 7200
    assert len(read) == 721
    with pytest.raises(UsageError, match=r"behind the end of the recording, which is at 21600\.00 s"):
        choose_window(nano, "six-hours.wav", at=30_000)


def test_the_window_of_the_highest_score(nano: Tagger, tmp_path: Path) -> None:
    ramp(tmp_path / "long.wav", 5)
    result = nano.tag(tmp_path / "long.wav", timeline=True, top_k=0)
    best = max(result.windows, key=lambda each: each.tags[0].score)
    heard: list[float] = []
    window = choose_window(nano, str(tmp_path / "long.wav"), on_heard=heard.append)
    assert window.start == pytest.approx(best.start)
    assert sum(heard) == pytest.approx(4.98)
    of_nine = max(result.windows, key=lambda each: next(tag.score for tag in each.tags if tag.index == 9))
    assert choose_window(nano, str(tmp_path / "long.wav"), labels=[9]).start == pytest.approx(of_nine.start)


@pytest.mark.parametrize("at", [-1, math.nan, math.inf])
def test_times_that_cannot_be(at: float, nano: Tagger) -> None:
    with pytest.raises(UsageError, match="--at must be 0 s or more"):
        choose_window(nano, "clip.wav", at=at)


def test_arrays(nano: Tagger, tmp_path: Path) -> None:
    frames, length = waves(nano)
    found = explain(nano, frames, length, 3.0, labels=[4, 2], method="gradient")
    write_explanation(tmp_path / "a.npz", found, "clip.wav")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert arrays["heat"].shape == (2, 12, 12)
        assert arrays["log_mel"].shape == (128, 128)
        assert arrays["label"].tolist() == [nano.labels.names[4], nano.labels.names[2]]
        assert arrays["patch_start_s"][:2] == pytest.approx([3.0, 3.1])
        assert arrays["patch_end_s"][0] == pytest.approx(3.175)
        assert arrays["mel_edges_hz"].shape == (129,)
        assert arrays["patch_low_hz"][0] == arrays["mel_edges_hz"][0]


def test_the_picture_puts_cells_where_patches_are() -> None:
    assert cell_edges(3, 16, 16).tolist() == [0, 16, 32, 48]
    assert cell_edges(3, 10, 16).tolist() == [0, 13, 23, 36]
    colours = overlay(np.array([[0.5, -1.0, 0.0]], np.float32))
    assert colours[0, :, 3] == pytest.approx([0.4, 0.8, 0.0])
    assert colours[0, 0, 0] > colours[0, 0, 2]  # for: orange
    assert colours[0, 1, 0] < colours[0, 1, 2]  # against: blue
    assert not overlay(np.zeros((2, 2), np.float32))[..., 3].any()


def test_names_of_strangers_are_text(nano: Tagger, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    frames, length = waves(nano)
    names = ("<script>alert(1)</script> $x^$", *nano.labels.names[1:])
    strange = Tagger(nano.engines, nano.extractor, LabelSet(names, nano.labels.mids), nano.scores)
    found = explain(strange, frames, length, labels=[0], method="rollout")
    write_explanation(tmp_path / "a.html", found, 'a<b>"\n$\\frac.wav')
    page = (tmp_path / "a.html").read_text()
    assert "<script>" not in page
    assert "a&lt;b&gt;&quot;\\n$" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "http:" not in page
    assert "https:" not in page
    write_explanation(tmp_path / "a.png", dataclasses.replace(found), 'a<b>"\n$\\frac.wav')
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def drawn(found: Explanation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The axes of a picture: those of the labels, then that of the color bar."""
    from matplotlib.figure import Figure

    figures: list[Any] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **b: (figures.append(self), save(self, *a, **b)))
    write_explanation(tmp_path / "a.png", found, "clip.wav")
    return list(figures[0].axes)


def test_all_labels_have_one_scale_with_a_bar(
    nano: Tagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    frames, length = waves(nano)
    found = explain(nano, frames, length, labels=[4, 2])
    strong, weak = found.labels
    weak = dataclasses.replace(weak, heat=strong.heat / 2)
    axes = drawn(dataclasses.replace(found, labels=(strong, weak)), tmp_path, monkeypatch)
    opacities = [one.collections[0].get_facecolor()[:, 3].max() for one in axes[:2]]
    assert opacities[1] == pytest.approx(opacities[0] / 2)
    assert axes[2].get_ylabel() == "log-odds lost without the patch"
    assert axes[2].get_ylim()[1] == pytest.approx(float(np.abs(strong.heat).max()))


def test_what_is_lost_has_one_sign(nano: Tagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the picture as in the table: above zero is lost."""
    pytest.importorskip("matplotlib")
    frames, length = waves(nano)
    found = explain(nano, frames, length, labels=[4], method="rollout")
    one = dataclasses.replace(found.labels[0], lost=0.25, random=-0.01)
    axes = drawn(dataclasses.replace(found, labels=(one,)), tmp_path, monkeypatch)
    told = axes[0].get_title(loc="left")
    assert "lost without the hottest tenth 0.250, without a random one -0.010" in told


@pytest.mark.parametrize("method", ["occlusion", "gradient", "rollout"])
def test_how_far_it_is_is_told(method: Any, nano: Tagger) -> None:
    frames, length = waves(nano)
    told: list[tuple[int, int]] = []
    found = explain(
        nano, frames, length, method=method, top_k=2, on_pass=lambda done, total: told.append((done, total))
    )
    assert told[-1] == (found.passes, found.passes)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert {total for _, total in told[1:]} == {found.passes}

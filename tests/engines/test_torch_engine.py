"""`TorchEngine` in every number format and attention against the plain network; and what it refuses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ast_cli.engines.torch_engine import TorchEngine
from ast_cli.errors import EngineError
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.features.window_stream import Window
from ast_cli.networks.ast import ASTForAudioClassification
from tests.random_checkpoint import random_model

# float32 sums in another order; seen to reach 1.2e-6 on logits of size 7.
TOLERANCE = 1e-5
CPU = torch.device("cpu")
EXTRACTOR = ASTFeatureExtractor(max_length=128)


def windows(count: int = 3, seed: int = 0) -> Tensor:
    """Unnormalised windows of noise that swells, as the features come."""
    generator = torch.Generator().manual_seed(seed)
    loudness = torch.logspace(-4, 0, count)[:, None]
    waveforms = loudness * torch.randn(count, 400 + 127 * 160, generator=generator)
    return EXTRACTOR.fbank(waveforms)


def engine(dtype: torch.dtype = torch.float32, attn: str = "sdpa") -> TorchEngine:
    model = random_model()
    model.attn_implementation = attn
    return TorchEngine(model, EXTRACTOR, CPU, dtype)


def by_the_network() -> Tensor:
    """The logits of the network itself, without an engine, with the plain attention."""
    model = random_model()
    model.attn_implementation = "eager"
    with torch.inference_mode():
        return model((windows() + 4.2677393) / (2 * 4.5689974)).logits


@pytest.mark.parametrize("attn", ["eager", "sdpa", "heads", "math", "flash"])
def test_every_attention_of_the_cpu_gives_the_logits_of_the_network(attn: str) -> None:
    found = engine(attn=attn).logits(windows())
    torch.testing.assert_close(found, by_the_network(), rtol=0, atol=TOLERANCE)


@pytest.mark.filterwarnings("ignore:record_property is incompatible with junit_family")
@pytest.mark.parametrize("attn", ["eager", "sdpa", "heads", "math", "flash"])
@pytest.mark.parametrize(
    ("dtype", "bound"),
    # Twice what was seen: 8 or 11 bits, through two layers.
    [(torch.bfloat16, 0.01), (torch.float16, 0.001)],
)
def test_scores_in_half_precision_stay_close_to_float32(
    dtype: torch.dtype, bound: float, attn: str, record_property: Callable[[str, object], None]
) -> None:
    found = engine(dtype, attn).logits(windows())
    assert found.dtype == torch.float32
    deviation = (found.sigmoid() - by_the_network().sigmoid()).abs().max().item()
    record_property("score_deviation", deviation)
    assert 0 < deviation <= bound


@pytest.mark.parametrize("attn", ["cudnn", "efficient"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_attention_that_the_cpu_lacks_is_an_error_with_a_remedy(attn: str, dtype: torch.dtype) -> None:
    with pytest.raises(
        EngineError, match=rf"cpu has no {attn} attention for {str(dtype)[6:]}\. Use --attn sdpa"
    ):
        engine(dtype, attn).logits(windows())


class LittleMemory:
    """Stands before a network's forward pass: refuses batches of more than `most` windows."""

    def __init__(self, tested: TorchEngine, most: int) -> None:
        self.tried: list[int] = []
        self._forward, self._most = tested._forward, most

    def __call__(self, windows: Tensor, lengths: Tensor | None = None) -> Tensor:
        self.tried.append(len(windows))
        if len(windows) > self._most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return self._forward(windows, lengths)


def with_memory_for(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[TorchEngine, LittleMemory, list[str]]:
    """An engine that runs whole batches, as on a GPU, of at most so many windows."""
    notices: list[str] = []
    tested = TorchEngine(random_model(), EXTRACTOR, CPU, torch.float32, notices.append)
    little = LittleMemory(tested, most)
    monkeypatch.setattr(tested, "_threads", None)
    monkeypatch.setattr(tested, "_forward", little)
    return tested, little, notices


def test_too_large_a_batch_is_run_in_smaller_ones_and_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = engine().logits(windows(7))
    tested, little, notices = with_memory_for(3, monkeypatch)
    for _ in range(2):
        torch.testing.assert_close(tested.logits(windows(7)), expected, rtol=0, atol=TOLERANCE)
    assert little.tried == [7, 3, 3, 1, 3, 3, 1]
    assert notices == ["cpu has too little memory for 7 windows at once: going on with 3"]


def test_smaller_and_smaller_batches_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tested, little, notices = with_memory_for(1, monkeypatch)
    assert len(tested.logits(windows(8))) == 8
    assert little.tried == [8, 4, 2, *[1] * 8]
    assert len(notices) == 3


def test_too_little_memory_for_one_window_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    tested, _, _ = with_memory_for(0, monkeypatch)
    with pytest.raises(EngineError, match="cpu has too little memory for one window at once") as caught:
        tested.logits(windows(3))
    assert "--batch-size" in caught.value.remedy


def test_nothing_of_the_batch_that_had_no_room_on_cuda_is_held_while_smaller_ones_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tested = TorchEngine(random_model(), EXTRACTOR, CPU, torch.float32, lambda _: None)
    tried: list[tuple[int, object]] = []

    def forward(windows: Tensor, lengths: Tensor | None = None) -> Tensor:
        tried.append((len(windows), sys.exc_info()[0]))  # what is handled holds the frames it came through
        if len(windows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return torch.zeros(len(windows), 527)

    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *shape, pin_memory=False: empty(*shape))
    monkeypatch.setattr(tested, "_place", torch.device("cuda"))
    monkeypatch.setattr(tested, "_threads", None)
    monkeypatch.setattr(tested, "_copy", lambda staged: staged)
    monkeypatch.setattr(tested, "_forward", forward)
    logits = tested.start([Window(0, 128, 128, window) for window in windows(4)])()
    assert logits.shape == (4, 527)
    assert tried == [(4, None), (4, None), (2, None), (2, None)]


def test_batches_are_timed_on_the_stream_of_the_engines_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = engine()
    recorded: list[object] = []

    class Event:
        def __init__(self, **_: object) -> None: ...

        def record(self, stream: object = "of the current device") -> None:
            recorded.append(stream)

        def synchronize(self) -> None: ...

        def elapsed_time(self, _: object) -> float:
            return 6.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"of {device}")
    assert tested._seconds(2) == 3.0
    assert recorded == ["of cpu", "of cpu"]


def test_without_a_listener_a_notice_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = engine()
    monkeypatch.setattr(tested, "_threads", None)
    monkeypatch.setattr(tested, "_forward", LittleMemory(tested, 2))
    with pytest.warns(UserWarning, match="too little memory for 3 windows at once: going on with 1"):
        tested.logits(windows(3))


def test_a_compiled_network_gives_the_same_logits_and_is_compiled_for_one_size_of_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []  # of each of its two blocks

    def compile_(block: Callable[..., object], **_: object) -> Callable[..., object]:
        def run(tokens: Tensor, *arguments: object, **more: object) -> object:
            sizes.append(len(tokens))
            return block(tokens, *arguments, **more)

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    expected = engine().logits(windows(5))
    tested = TorchEngine(random_model(), EXTRACTOR, CPU, torch.float32, compiled=True)
    torch.testing.assert_close(tested.logits(windows(5)), expected, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(tested.logits(windows(5)[:2]), expected[:2], rtol=0, atol=TOLERANCE)
    assert sizes == [5, 5] * 2
    torch.testing.assert_close(
        tested.pooled().logits(windows(5)), engine().pooled().logits(windows(5)), rtol=0, atol=TOLERANCE
    )
    assert sizes == [5, 5] * 3


def test_a_compiled_network_too_runs_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def compile_(block: Callable[..., object], **_: object) -> Callable[..., object]:
        def run(tokens: Tensor, *arguments: object, **more: object) -> object:
            sizes.append(len(tokens))
            if len(tokens) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
            return block(tokens, *arguments, **more)

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    expected = engine().logits(windows(7))
    tested = TorchEngine(random_model(), EXTRACTOR, CPU, torch.float32, lambda _: None, compiled=True)
    torch.testing.assert_close(tested.logits(windows(7)), expected, rtol=0, atol=TOLERANCE)
    assert sizes == [7, *[3, 3] * 3]


@pytest.mark.slow
def test_torch_compiles_the_network() -> None:
    tested = TorchEngine(random_model(), EXTRACTOR, CPU, torch.float32, compiled=True)
    torch.testing.assert_close(tested.logits(windows(5)), engine().logits(windows(5)), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("torchs", "ours"),
    [
        ("InvalidCxxCompiler: No working C++ compiler found in ('g++',)", r"no C\+\+ compiler"),
        ("Failed to find C compiler. Please specify via CC environment variable", "no C compiler"),
        ("Cannot find a working triton installation. Either the package", "no Triton"),
        ("Found GTX which is too old to be supported by the triton GPU compiler", "this GPU is too old"),
    ],
)
def test_a_compiler_that_is_missing_is_an_error_with_a_remedy(
    torchs: str, ours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = engine()

    def no_compiler(*_: object, **__: object) -> None:
        raise RuntimeError(f"InductorError: {torchs}")

    monkeypatch.setattr(tested, "_forward", no_compiler)
    with pytest.raises(EngineError, match=f"{ours}.*--compile"):
        tested.logits(windows())


def test_any_other_error_is_passed_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = engine()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(tested.model, "forward", fail)
    with pytest.raises(RuntimeError, match="something else"):
        tested.logits(windows())


def test_a_batch_equals_its_windows_one_by_one() -> None:
    tested, batch = engine(), windows(5)
    alone = torch.cat([tested.logits(window[None]) for window in batch])
    torch.testing.assert_close(tested.logits(batch), alone, rtol=0, atol=TOLERANCE)


def test_windows_are_normalised_by_the_extractors_numbers_and_stay_as_they_are() -> None:
    batch = windows()
    seen: list[Tensor] = []
    for extractor, mean, deviation in (
        (EXTRACTOR, -4.2677393, 4.5689974),
        (ASTFeatureExtractor(max_length=128, mean=-6.845978, std=5.5654526), -6.845978, 5.5654526),
        (ASTFeatureExtractor(max_length=128, do_normalize=False), 0.0, 0.5),
    ):
        tested = TorchEngine(random_model(), extractor, CPU, torch.float32)
        with tested.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
            for window in batch:
                tested.logits(window[None])
        torch.testing.assert_close(torch.cat(seen[-3:]), (batch - mean) / (2 * deviation), rtol=0, atol=1e-6)
    assert torch.equal(batch, windows())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_only_the_linear_layers_of_the_blocks_are_of_half_precision(dtype: torch.dtype) -> None:
    tested = engine(dtype)
    halved = {name for name, weight in tested.model.named_parameters() if weight.dtype == dtype}
    assert halved == {
        f"audio_spectrogram_transformer.layers.{layer}.{linear}.{kind}"
        for layer in (0, 1)
        for linear in ("attention.qkv", "attention.output", "mlp.fc1", "mlp.fc2")
        for kind in ("weight", "bias")
    }
    sums: list[torch.dtype] = []
    for layer in tested.model.audio_spectrogram_transformer.layers:
        layer.register_forward_hook(lambda _, __, outputs: sums.append(outputs[0].dtype))
    tested.logits(windows(1))
    assert sums == [torch.float32, torch.float32]


@pytest.mark.parametrize("attn", ["eager", "sdpa", "heads"])
def test_that_halves_the_error_of_a_network_that_is_rounded_as_a_whole(attn: str) -> None:
    whole = random_model()
    whole.attn_implementation = attn
    with torch.inference_mode():
        rounded = whole.bfloat16()(EXTRACTOR.normalize(windows(16)).bfloat16()).logits.float()
    expected = engine(attn="eager").logits(windows(16))
    error, of_the_whole = (
        (logits - expected).square().mean().sqrt().item()
        for logits in (engine(torch.bfloat16, attn).logits(windows(16)), rounded)
    )
    assert 0 < error < 0.6 * of_the_whole


def test_the_network_is_ready_to_run_and_not_to_train(checkpoint: Path) -> None:
    model = ASTForAudioClassification.from_pretrained(checkpoint).train()
    tested = TorchEngine(model, EXTRACTOR, CPU, torch.float16)
    assert not any(module.training for module in tested.model.modules())
    assert not any(weight.requires_grad for weight in tested.model.parameters())
    logits = tested.logits(windows())
    assert (logits.dtype, logits.device, logits.shape) == (torch.float32, CPU, (3, 527))
    assert logits.isfinite().all()


def test_pooled_vectors_come_by_the_same_ways_as_logits() -> None:
    tested = engine()
    before = tested.logits(windows())
    with torch.inference_mode():
        expected = random_model().audio_spectrogram_transformer(EXTRACTOR.normalize(windows())).pooler_output
    torch.testing.assert_close(tested.pooled().logits(windows()), expected, rtol=0, atol=TOLERANCE)
    assert torch.equal(tested.logits(windows()), before)

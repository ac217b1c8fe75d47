"""What runs on a CUDA device against the same on the CPU, in every number format and attention it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from ast_cli import FileFailure, FileResult, Tagger
from ast_cli.bench.network import bench_network
from ast_cli.bench.request import Request
from ast_cli.engines.devices import resolve_device
from ast_cli.engines.torch_engine import SIZES, TorchEngine
from ast_cli.errors import EngineError
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.features.window_stream import Window
from tests.random_checkpoint import random_config, random_model, save_random_checkpoint

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here"),
    pytest.mark.filterwarnings("ignore:record_property is incompatible with junit_family"),
]

CUDA = "cuda"
LOGITS = 1e-4  # float32 sums in another order, without TF32
SCORES = {torch.float16: 0.005, torch.bfloat16: 0.05}  # 11 and 8 bits, through twelve layers
FRAMES = {"nano": 128, "tiny": 1024}  # 146 and 1214 tokens


@lru_cache
def windows(size: str, count: int = 2) -> Tensor:
    """Unnormalised windows of noise, some quiet, some loud."""
    generator = torch.Generator().manual_seed(0)
    loudness = torch.logspace(-3, 0, count)[:, None]
    samples = 400 + (FRAMES[size] - 1) * 160
    extractor = ASTFeatureExtractor(max_length=FRAMES[size])
    return extractor.fbank(loudness * torch.randn(count, samples, generator=generator))


def logits(size: str, device: str, dtype: torch.dtype = torch.float32, attn: str = "sdpa") -> Tensor:
    model = random_model(random_config(size, frames=FRAMES[size]))
    model.attn_implementation = attn
    extractor = ASTFeatureExtractor(max_length=FRAMES[size])
    return TorchEngine(model, extractor, resolve_device(device), dtype).logits(windows(size))


@lru_cache
def cpu_logits(size: str) -> Tensor:
    return logits(size, "cpu", attn="eager")


def logits_if_there(size: str, dtype: torch.dtype, attn: str) -> Tensor:
    """Not every device has every attention in every number format; the plain ones, all have."""
    try:
        return logits(size, CUDA, dtype, attn)
    except EngineError as error:
        if attn in ("eager", "sdpa", "math"):
            raise
        pytest.skip(str(error))


def deviation(found: Tensor, expected: Tensor) -> float:
    assert found.isfinite().all()
    return (found - expected).abs().max().item()


# The network


# Why torch leaves out a backend it tells in warnings.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("attn", ["eager", "sdpa", "math", "efficient", "flash", "cudnn"])
@pytest.mark.parametrize("size", FRAMES)
def test_logits_in_float32_equal_the_cpus(
    size: str, attn: str, record_property: Callable[[str, object], None]
) -> None:
    found = deviation(logits_if_there(size, torch.float32, attn), cpu_logits(size))
    record_property("logits_deviation", found)
    assert found <= LOGITS


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("attn", ["eager", "sdpa", "math", "efficient", "flash", "cudnn"])
@pytest.mark.parametrize("dtype", SCORES, ids=str)
@pytest.mark.parametrize("size", FRAMES)
def test_scores_in_half_precision_stay_close_to_the_cpus(
    size: str, dtype: torch.dtype, attn: str, record_property: Callable[[str, object], None]
) -> None:
    found, expected = logits_if_there(size, dtype, attn), cpu_logits(size)
    record_property("logits_deviation", deviation(found, expected))
    scores = deviation(found.sigmoid(), expected.sigmoid())
    record_property("score_deviation", scores)
    assert 0 < scores <= SCORES[dtype]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("attn", ["flash", "cudnn"])
def test_an_attention_without_float32_is_an_error_with_a_remedy(attn: str) -> None:
    with pytest.raises(EngineError, match=rf"no {attn} attention for float32\. Use --attn sdpa"):
        logits("nano", CUDA, torch.float32, attn)


def test_a_batch_equals_its_windows_one_by_one() -> None:
    extractor = ASTFeatureExtractor(max_length=128)
    engine = TorchEngine(random_model(), extractor, resolve_device(CUDA), torch.float32)
    batch = windows("nano", 7)
    alone = torch.cat([engine.logits(window[None]) for window in batch])
    torch.testing.assert_close(engine.logits(batch), alone, rtol=0, atol=LOGITS)


def test_logits_come_back_to_the_cpu_and_torchs_own_settings_stay() -> None:
    before = (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
    found = logits("nano", CUDA)
    assert (found.device.type, found.dtype) == ("cpu", torch.float32)
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


# Devices


def test_auto_is_cuda() -> None:
    assert resolve_device("auto").type == "cuda"
    assert resolve_device("cuda:0") == torch.device("cuda:0")


def test_a_device_beyond_the_last_is_an_error() -> None:
    with pytest.raises(EngineError, match=r"no device cuda:99: torch finds \d+"):
        resolve_device("cuda:99")


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Leave this process a thousandth of the device's memory for a while."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.001)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


@pytest.mark.usefixtures("little_memory")
def test_too_large_a_batch_is_run_in_smaller_ones() -> None:
    extractor, notices = ASTFeatureExtractor(max_length=128), []
    engine = TorchEngine(random_model(), extractor, resolve_device(CUDA), torch.float32, notices.append)
    total = torch.cuda.get_device_properties(0).total_memory
    count = total // 1000 // (128 * 128 * 4) + 1  # their input alone is more
    batch = windows("nano", 3).repeat(-(-count // 3), 1, 1)[:count]
    expected = engine.logits(batch[:3])
    torch.testing.assert_close(engine.logits(batch)[-3:], expected[torch.arange(count - 3, count) % 3])
    assert notices[0].startswith(f"cuda has too little memory for {count} windows at once: going on with")


def test_a_batch_size_for_long_runs_is_found() -> None:
    engine = TorchEngine(
        random_model(), ASTFeatureExtractor(max_length=128), resolve_device(CUDA), torch.float16
    )
    assert engine.batch_size == 8
    assert engine.find_batch_size() in SIZES


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_scores_in_batches_of_any_size() -> None:
    extractor = ASTFeatureExtractor(max_length=128)
    device = resolve_device(CUDA)
    plain = TorchEngine(random_model(), extractor, device, torch.float16)
    compiled = TorchEngine(random_model(), extractor, device, torch.float16, compiled=True)
    batch = windows("nano", 9)
    for count in (4, 9, 1, 9, 5):
        found, expected = compiled.logits(batch[:count]), plain.logits(batch[:count])
        assert deviation(found.sigmoid(), expected.sigmoid()) <= SCORES[torch.float16]


def test_a_network_that_is_captured_as_a_graph_gives_the_logits_of_its_first_run() -> None:
    """From the second batch of a shape on; of any shapes in turn, and from several threads at once."""
    engine = TorchEngine(
        random_model(), ASTFeatureExtractor(max_length=128), resolve_device(CUDA), torch.float32
    )
    batch = windows("nano", 12)
    expected = engine.logits(batch)
    pieces = [slice(0, 1), slice(1, 4), slice(4, 5), slice(5, 8), slice(8, 12), slice(3, 4), slice(2, 6)]

    def run(piece: slice) -> float:
        return max(deviation(engine.logits(batch[piece]), expected[piece]) for _ in range(5))

    assert max(map(run, pieces)) <= LOGITS
    with ThreadPoolExecutor(4) as threads:
        assert max(threads.map(run, pieces * 10)) <= LOGITS


# What is on its way


def test_batches_on_their_way_keep_their_own_logits() -> None:
    """Several are started before the first is waited for: neither copies nor results may be overwritten."""
    engine = TorchEngine(
        random_model(), ASTFeatureExtractor(max_length=128), resolve_device(CUDA), torch.float32
    )
    assert engine.takes_waveforms
    assert engine.ahead > 0
    batch = windows("nano", 60)
    pieces = [
        [Window(0, 128, 128, window) for window in batch[start : start + 6]] for start in range(0, 60, 6)
    ]
    for _ in range(20):
        pending = [engine.start(piece) for piece in pieces]
        found = torch.cat([wait() for wait in pending])
        assert deviation(found, engine.logits(batch)) <= LOGITS


def test_frames_extracted_on_the_device_are_those_of_the_host() -> None:
    extractor = ASTFeatureExtractor(max_length=128)
    engine = TorchEngine(random_model(), extractor, resolve_device(CUDA), torch.float32)
    generator = torch.Generator().manual_seed(0)
    lengths = [128, 50, 1]
    waveforms = [0.1 * torch.randn(extractor.num_samples(length), generator=generator) for length in lengths]
    given = [
        Window(0, length, length, extractor.pad_waveform(waveform))
        for length, waveform in zip(lengths, waveforms, strict=True)
    ]
    expected = engine.logits(
        torch.stack([extractor.pad(extractor.fbank(waveform)) for waveform in waveforms])
    )
    assert deviation(engine.start(given)(), expected) <= LOGITS


# Features


@pytest.mark.parametrize("samples", [400, 16_000, 164_080])
def test_the_features_equal_the_cpus(samples: int, record_property: Callable[[str, object], None]) -> None:
    extractor = ASTFeatureExtractor()
    generator = torch.Generator().manual_seed(0)
    waveforms = torch.logspace(-3, 0, 3)[:, None] * torch.randn(3, samples, generator=generator)
    found = extractor.fbank(waveforms.to(CUDA))
    assert found.device.type == CUDA
    expected = extractor.fbank(waveforms)
    record_property("fbank_deviation", deviation(found.cpu(), expected))
    # The rounding of a Fourier transform is relative to the loudest of a frame; the logarithm of next to
    # nothing shows it large. The CPU's energies are 7e-7 from those in float64, and TF32's would be 5e-4.
    loudest = expected.exp().amax(dim=-1, keepdim=True)
    assert deviation(found.cpu().exp() / loudest, expected.exp() / loudest) <= 2e-6
    assert (found.cpu() - expected).abs().median() <= 1e-6


def test_silence_has_the_features_of_silence() -> None:
    extractor = ASTFeatureExtractor()
    silence = torch.zeros(16_000)
    torch.testing.assert_close(
        extractor.fbank(silence.to(CUDA)).cpu(), extractor.fbank(silence), rtol=0, atol=1e-5
    )


# Tagging


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Recordings of one to nine windows, and one that is none."""
    folder = tmp_path_factory.mktemp("recordings")
    generator = np.random.default_rng(0)
    names = []
    for number, seconds in enumerate([2.0, 0.5, 11.3, 0.03, 5.0]):
        names.append(str(folder / f"{number}.wav"))
        soundfile.write(names[-1], 0.1 * generator.standard_normal(round(16_000 * seconds)), 16_000, "FLOAT")
    names.insert(2, str(folder / "missing.wav"))
    return names


def all_scores(result: FileResult) -> list[float]:
    return [tag.score for tag in sorted(result.tags, key=lambda tag: tag.index)]


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (3, 2), (8, 4)])
def test_tagging_on_cuda_equals_tagging_on_the_cpu(
    checkpoint: Path, paths: list[str], batch_size: int, workers: int
) -> None:
    options = {"batch_size": batch_size, "workers": workers, "top_k": 0}
    expected = list(Tagger.from_pretrained(checkpoint, device="cpu").tag_many(paths, **options))
    tagger = Tagger.from_pretrained(checkpoint, device=CUDA, dtype="float32")
    found = list(tagger.tag_many(paths, **options))
    assert [outcome.file for outcome in found] == paths
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, FileFailure):
            assert one == other
        else:
            np.testing.assert_allclose(all_scores(one), all_scores(other), rtol=0, atol=LOGITS)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_tagging_in_half_precision_stays_close_to_the_cpu(
    checkpoint: Path, paths: list[str], dtype: str
) -> None:
    expected = Tagger.from_pretrained(checkpoint, device="cpu").tag(paths[0], top_k=0)
    tagger = Tagger.from_pretrained(checkpoint, device=CUDA, dtype=dtype)
    bound = SCORES[getattr(torch, dtype)]
    np.testing.assert_allclose(
        all_scores(tagger.tag(paths[0], top_k=0)), all_scores(expected), rtol=0, atol=bound
    )
    assert f"{dtype} on cuda" in tagger.description


def test_auto_is_half_precision_and_moves_no_score_by_more_than_it_may(
    checkpoint: Path, paths: list[str]
) -> None:
    tagger = Tagger.from_pretrained(checkpoint, device=CUDA)
    assert "float16 on cuda" in tagger.description
    expected = Tagger.from_pretrained(checkpoint, device="cpu").tag(paths[0], top_k=0)
    found = tagger.tag(paths[0], top_k=0)
    np.testing.assert_allclose(all_scores(found), all_scores(expected), rtol=0, atol=SCORES[torch.float16])


def test_an_ensemble_on_cuda_equals_one_on_the_cpu(checkpoint: Path, paths: list[str]) -> None:
    pair = [checkpoint, checkpoint]
    expected = Tagger.from_pretrained(pair, device="cpu").tag(paths[0], top_k=0)
    found = Tagger.from_pretrained(pair, device=CUDA, dtype="float32").tag(paths[0], top_k=0)
    np.testing.assert_allclose(all_scores(found), all_scores(expected), rtol=0, atol=LOGITS)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", LOGITS), ("float16", 0.01)])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_embedding_on_cuda_equals_embedding_on_the_cpu(
    checkpoint: Path, paths: list[str], batch_size: int, dtype: str, bound: float
) -> None:
    expected = list(Tagger.from_pretrained(checkpoint, device="cpu").embed(paths, per="window"))
    tagger = Tagger.from_pretrained(checkpoint, device=CUDA, dtype=dtype)
    found = list(tagger.embed(paths, per="window", batch_size=batch_size))
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, FileFailure):
            assert one == other
        else:
            np.testing.assert_allclose(one.vectors, other.vectors, rtol=0, atol=bound)


def test_the_benchmark_measures_the_device(tmp_path: Path) -> None:
    save_random_checkpoint(tmp_path)
    request = Request(str(tmp_path), device=CUDA, batch_sizes=(1, 2), repeats=2)
    document = bench_network(request)
    assert [run.name for run in document.runs] == ["eager", "eager", "sdpa", "sdpa"]
    assert document.machine.gpu == torch.cuda.get_device_name()
    assert document.gemm is not None
    assert document.gemm.way == "torch"
    for run in document.runs:
        assert (run.dtype, run.device) == ("float16", CUDA)
        assert run.peak_memory_mb is not None
        assert 0 < run.peak_memory_mb < 1000  # of the device, not of this process
        assert run.deviation is not None
        assert run.deviation < SCORES[torch.float16]

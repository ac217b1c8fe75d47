"""OpenVINO against the plain network: formats, one window and many; what is kept, and what is refused."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from ast_cli import FileResult, Tagger
from ast_cli.checkpoints.checkpoint import Checkpoint
from ast_cli.engines import openvino_engine
from ast_cli.engines.factory import open_engine
from ast_cli.engines.openvino_engine import CAPABILITIES, OpenVINOEngine
from ast_cli.errors import EngineError, UsageError
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.networks.ast import ASTForAudioClassification
from ast_cli.settings import ModelSettings
from tests.engines.test_torch_engine import EXTRACTOR, windows
from tests.random_checkpoint import random_config, save_random_checkpoint

openvino = pytest.importorskip("openvino")

FORMATS = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
LOGITS = 1e-4
CANNOT = r"OpenVINO cannot run the network here: no such operation\. Use --engine torch"
# Twice what was seen: 8 or 11 bits, or 8-bit whole numbers, through two layers.
SCORES = {"bfloat16": 0.02, "float16": 0.002, "int8": 0.06}


def require_format(dtype: str) -> None:
    """Skip a test where the processor, or what oneDNN is held to of it, lacks a number format."""
    if CAPABILITIES[dtype] not in FORMATS:
        pytest.skip(f"this processor does not compute in {dtype}")
    if "ONEDNN_MAX_CPU_ISA" in os.environ:
        pytest.skip("oneDNN is held to less than OpenVINO finds in the processor")


@pytest.fixture(autouse=True)
def graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where converted networks are kept in this test."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "hf" / "ast-tag" / "openvino"


def engine(checkpoint: Path, dtype: str = "auto", notices: list[str] | None = None) -> OpenVINOEngine:
    notices = [] if notices is None else notices
    opened, _ = open_engine(
        Checkpoint.open(checkpoint), ModelSettings(engine="openvino", dtype=dtype), notices.append
    )
    assert isinstance(opened, OpenVINOEngine)
    return opened


def by_the_network(checkpoint: Path, batch: Tensor) -> Tensor:
    model = ASTForAudioClassification.from_pretrained(checkpoint, attn_implementation="eager")
    with torch.inference_mode():
        return model((batch + 4.2677393) / (2 * 4.5689974)).logits


@pytest.mark.parametrize("count", [1, 2, 5])
def test_logits_are_those_of_the_network(checkpoint: Path, count: int) -> None:
    found = engine(checkpoint).logits(windows(count))
    assert (found.dtype, found.shape) == (torch.float32, (count, 527))
    torch.testing.assert_close(found, by_the_network(checkpoint, windows(count)), rtol=0, atol=LOGITS)


@pytest.mark.parametrize("dtype", SCORES)
def test_scores_in_other_formats_stay_close(checkpoint: Path, dtype: str) -> None:
    require_format(dtype)
    found = engine(checkpoint, dtype).logits(windows(4)).sigmoid()
    deviation = (found - by_the_network(checkpoint, windows(4)).sigmoid()).abs().max().item()
    assert 0 < deviation <= SCORES[dtype]


def test_batches_of_any_size_after_each_other(checkpoint: Path) -> None:
    tested, expected = engine(checkpoint), by_the_network(checkpoint, windows(5))
    for count in (1, 5, 1, 3):
        torch.testing.assert_close(tested.logits(windows(5)[:count]), expected[:count], rtol=0, atol=LOGITS)


def test_several_threads_may_use_one_engine(checkpoint: Path) -> None:
    tested = engine(checkpoint)
    batches = [windows(3, seed) for seed in range(4)]
    expected = [tested.logits(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            for found, right in zip(pool.map(tested.logits, batches), expected, strict=True):
                torch.testing.assert_close(found, right, rtol=0, atol=LOGITS)


def test_the_extractors_numbers_are_used(tmp_path: Path) -> None:
    save_random_checkpoint(tmp_path)
    ASTFeatureExtractor(max_length=128, mean=-6.0, std=5.0).save_pretrained(tmp_path)
    expected = by_the_network(tmp_path, (windows() + 6.0) / 10.0 * (2 * 4.5689974) - 4.2677393)
    torch.testing.assert_close(engine(tmp_path).logits(windows()), expected, rtol=0, atol=LOGITS)


# What is kept


def test_a_network_is_converted_once(checkpoint: Path, graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notices: list[str] = []
    first = engine(checkpoint, notices=notices).logits(windows())
    assert notices == [f"{checkpoint} is converted for OpenVINO, once"]
    assert [sorted(file.name for file in folder.iterdir()) for folder in graphs.iterdir()] == [
        ["graph.bin", "graph.xml", "of.txt"]
    ]
    # From now on the network itself is not even read.
    monkeypatch.setattr(openvino_engine, "ASTForAudioClassification", None)
    assert torch.equal(engine(checkpoint, notices=notices).logits(windows()), first)
    assert len(notices) == 1


def test_weights_that_changed_are_converted_anew_and_what_they_were_is_removed(
    tmp_path: Path, graphs: Path
) -> None:
    other = save_random_checkpoint(tmp_path / "other")
    engine(other)
    engine(tmp_path / "other", "int8")
    save_random_checkpoint(tmp_path, seed=0)
    before = engine(tmp_path).logits(windows())
    save_random_checkpoint(tmp_path, random_config(), seed=1)
    after = engine(tmp_path).logits(windows())
    assert not torch.allclose(before, after, atol=0.1)
    assert len(list(graphs.iterdir())) == 3  # one of these weights, two of the others
    torch.testing.assert_close(after, by_the_network(tmp_path, windows()), rtol=0, atol=LOGITS)


@pytest.mark.parametrize(("dtype", "fewer_bytes"), [("bfloat16", 2), ("int8", 3)])
def test_each_format_is_a_graph_of_its_own_in_which_the_blocks_weights_are_smaller(
    checkpoint: Path, graphs: Path, dtype: str, fewer_bytes: int
) -> None:
    require_format(dtype)
    weights = 2 * (3 * 64 * 64 + 64 * 64 + 2 * 64 * 128)  # of two blocks
    if dtype == "int8":
        weights -= 3 * 64 * 64  # queries, keys and values of the last block, which computes two tokens
    engine(checkpoint)
    [whole] = graphs.glob("*")
    engine(checkpoint, dtype)
    [made] = set(graphs.glob("*")) - {whole}
    saved = (whole / "graph.bin").stat().st_size - (made / "graph.bin").stat().st_size
    assert saved == pytest.approx(fewer_bytes * weights, rel=0.05)


def test_a_damaged_graph_is_made_anew(checkpoint: Path, graphs: Path) -> None:
    expected = engine(checkpoint).logits(windows())
    [kept] = graphs.glob("*/graph.xml")
    kept.write_text("<net")
    notices: list[str] = []
    assert torch.equal(engine(checkpoint, notices=notices).logits(windows()), expected)
    assert len(notices) == 1


def test_a_graph_is_for_whoever_may_read_the_cache(checkpoint: Path, graphs: Path, tmp_path: Path) -> None:
    engine(checkpoint)
    [folder] = graphs.iterdir()
    (tmp_path / "usual").mkdir()
    assert folder.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_cache_that_lets_nobody_in_costs_only_the_keeping(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: object) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    opened, notices = Checkpoint.open(checkpoint), list[str]()
    _ = opened.files.weights, opened.files.config
    monkeypatch.setattr(openvino_engine.Path, "mkdir", refuse)
    monkeypatch.setattr(openvino_engine.Path, "exists", refuse)
    tested, _ = open_engine(opened, ModelSettings(engine="openvino"), notices.append)
    assert "Permission denied" in notices[1]
    monkeypatch.undo()
    torch.testing.assert_close(
        tested.logits(windows()), by_the_network(checkpoint, windows()), rtol=0, atol=LOGITS
    )


def test_a_damaged_graph_that_cannot_be_removed_costs_only_the_keeping(
    checkpoint: Path, graphs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = engine(checkpoint).logits(windows())
    [kept] = graphs.glob("*/graph.xml")
    kept.write_text("<net")
    monkeypatch.setattr(openvino_engine.shutil, "rmtree", lambda *_, **__: None)
    notices: list[str] = []
    assert torch.equal(engine(checkpoint, notices=notices).logits(windows()), expected)
    assert "cannot be kept" in notices[1]


def test_a_cache_that_cannot_be_written_costs_only_the_keeping(checkpoint: Path, graphs: Path) -> None:
    graphs.parent.parent.write_text("no folder")
    notices: list[str] = []
    tested = engine(checkpoint, notices=notices)
    torch.testing.assert_close(
        tested.logits(windows()), by_the_network(checkpoint, windows()), rtol=0, atol=LOGITS
    )
    assert "cannot be kept" in notices[1]


# Tagging


def test_tagging_equals_torchs(checkpoint: Path) -> None:
    waveform = 0.1 * torch.randn(2, 80_000, generator=torch.Generator().manual_seed(0))

    def scores(**options: object) -> dict[int, float]:
        result = Tagger.from_pretrained(checkpoint, **options).tag_waveform(waveform, 16_000, top_k=0)
        assert isinstance(result, FileResult)
        return {tag.index: tag.score for tag in result.tags}

    found = scores(engine="openvino", on_notice=lambda _: None)
    assert found == pytest.approx(scores(), abs=1e-5)


def test_the_engine_is_named_where_results_tell_what_made_them(checkpoint: Path) -> None:
    tagger = Tagger.from_pretrained(checkpoint, engine="openvino", on_notice=lambda _: None)
    made_with = {"engine": "openvino", "device": "cpu", "dtype": "float32"}
    assert made_with.items() <= tagger.run_info().settings.items()
    assert tagger.description.endswith("float32 on cpu by openvino")


# What is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (ModelSettings(engine="openvino", device="cuda"), "no device cuda"),
        (ModelSettings(engine="openvino", attn="eager"), "no attention eager"),
        (ModelSettings(engine="openvino", compile=True), "--compile is torch's"),
        (ModelSettings(engine="openvino", dtype="float64"), "no such number format: float64"),
        (ModelSettings(engine="onnx"), "no such engine: onnx. Choose one of torch, openvino"),
        (ModelSettings(engine="torch", device="cpu", dtype="int8"), "int8. Use --engine openvino"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(
    checkpoint: Path, settings: ModelSettings, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        open_engine(Checkpoint.open(checkpoint), settings)


def test_a_format_that_the_processor_lacks_is_an_error_with_a_remedy(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CAPABILITIES, "bfloat16", "NONE")
    with pytest.raises(EngineError, match=r"does not compute in bfloat16\. Use --dtype float32"):
        engine(checkpoint, "bfloat16")


def no_such_operation(*_: object) -> None:
    raise RuntimeError("Exception from src/inference/src/cpp/core.cpp:109:\n\nno such operation\n")


def test_a_network_that_openvino_cannot_convert_is_an_error_with_a_remedy(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_engine, "_convert", no_such_operation)
    with pytest.raises(EngineError, match=CANNOT):
        engine(checkpoint)


def test_a_network_that_openvino_cannot_compile_is_an_error_with_a_remedy(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = engine(checkpoint)
    monkeypatch.setattr(tested, "_core", SimpleNamespace(compile_model=no_such_operation))
    with pytest.raises(EngineError, match=CANNOT):
        tested.logits(windows())


def test_without_openvino_it_is_an_error_with_a_remedy(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"OpenVINO is not installed\. pip install 'ast-cli\[openvino\]'"):
        Tagger.from_pretrained(checkpoint, engine="openvino")


def test_windows_that_are_cropped_are_refused(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match=r"whole windows of 128 frames, not of 64\. Use --short pad"):
        engine(checkpoint).logits(windows()[:, :64])


def test_cropping_is_refused_before_anything_is_heard(checkpoint: Path) -> None:
    tagger = Tagger.from_pretrained(checkpoint, engine="openvino", on_notice=lambda _: None)
    with pytest.raises(UsageError, match=r"openvino runs whole windows only\. Use --short pad"):
        tagger.tag_many(["no such file"], short="crop")


def test_its_extractor_is_the_checkpoints(checkpoint: Path) -> None:
    _, extractor = open_engine(Checkpoint.open(checkpoint), ModelSettings(engine="openvino"), lambda _: None)
    assert extractor == EXTRACTOR

"""A checkpoint -> OpenVINO's graph of its network, converted once and kept in the cache folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor, nn

from ast_cli import __version__
from ast_cli.checkpoints.checkpoint import Checkpoint
from ast_cli.checkpoints.locate import converted_folder
from ast_cli.networks.ast import ASTForAudioClassification
from ast_cli.networks.config import ASTConfig

GRAPH = "graph.xml"
OF = "of.txt"  # which weights, in which format
HALF_PRECISION = {"bfloat16": torch.bfloat16, "float16": torch.float16}
INT8_LARGEST = 127
FORM = 2  # of the graphs: those of another are made anew. Since 2, the last block computes two tokens


def load_graph(
    core: Any, checkpoint: Checkpoint, config: ASTConfig, dtype: str, notice: Callable[[str], None]
) -> Any:
    """The graph of the checkpoint's network for one window [1, T, M], from the cache folder if it is there.

    Args:
        core: OpenVINO's.
        checkpoint: Which network.
        config: The checkpoint's.
        dtype: `float32`; `bfloat16` or `float16` as `ASTForAudioClassification.round_blocks` does it; or
            `int8`, to which the weights of the blocks' linear layers are rounded.
        notice: Called if the network has to be converted, or the graph cannot be kept.
    """
    folder = converted_folder() / _key(checkpoint, dtype)
    try:
        if (folder / GRAPH).exists():
            return core.read_model(folder / GRAPH)
    except RuntimeError:  # damaged: made again
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # another user's, without permission to read it
        pass
    notice(f"{checkpoint.files.id} is converted for OpenVINO, once")
    network = ASTForAudioClassification.from_pretrained(checkpoint)
    if dtype in HALF_PRECISION:
        network.round_blocks(HALF_PRECISION[dtype])
    graph = _convert(network, config)
    if dtype == "int8":
        _round_weights(graph)
    try:
        _keep(graph, folder, f"{checkpoint.files.weights.resolve()}\n{dtype}\n")
        return core.read_model(folder / GRAPH)  # whose weights are mapped from the file, not held
    except (OSError, RuntimeError) as error:
        notice(f"the converted network cannot be kept in {folder.parent}: {error}")
        return graph


def _key(checkpoint: Checkpoint, dtype: str) -> str:
    """What a graph depends on, as the name of a folder."""
    import openvino

    files = [file.resolve() for file in (checkpoint.files.weights, checkpoint.files.config) if file]
    stamps = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    text = json.dumps([FORM, __version__, openvino.__version__, torch.__version__, stamps, dtype])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class _Logits(nn.Module):
    """The network as a function of windows alone."""

    def __init__(self, network: ASTForAudioClassification) -> None:
        super().__init__()
        self.network = network

    def forward(self, windows: Tensor) -> Tensor:
        logits: Tensor = self.network(windows, return_dict=True).logits
        return logits


def _convert(network: ASTForAudioClassification, config: ASTConfig) -> Any:
    # Not `openvino.convert_model`: it reports to its makers that it was called.
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    shape = [1, config.max_length, config.num_mel_bins]
    windows = torch.zeros(shape)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that shapes are fixed, which is wanted
        traced = torch.jit.trace(_Logits(network).eval(), windows, check_trace=False)  # type: ignore[no-untyped-call]
        frontend = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced, example_input=windows)  # must live until it is converted
        graph = frontend.convert(frontend.load(decoder))
    graph.reshape(shape)
    return graph


def _round_weights(graph: Any) -> None:
    """Round the weights [O, I] of the blocks' linear layers to 8 bits, with a scale for each output."""
    from openvino import opset13

    for node in graph.get_ordered_ops():
        if node.get_type_name() != "MatMul" or "classifier" in node.get_friendly_name():
            continue
        weights = node.input_value(1).get_node()
        if weights.get_type_name() != "Constant" or len(weights.get_output_shape(0)) != 2:
            continue
        values = weights.get_data().astype(np.float32)
        inputs = 1 if node.get_attributes()["transpose_b"] else 0
        scale = np.maximum(np.abs(values).max(axis=inputs, keepdims=True), np.finfo(np.float32).tiny)
        scale = (scale / INT8_LARGEST).astype(np.float32)
        rounded = opset13.constant(np.round(values / scale).astype(np.int8))
        restored = opset13.multiply(opset13.convert(rounded, np.float32), opset13.constant(scale))
        node.input(1).replace_source_output(restored.output(0))


def _keep(graph: Any, folder: Path, of: str) -> None:
    """Write the graph as a whole or not at all, though other processes may do the same now.

    Those of the same weights as they were before, or of another version of us, are removed.
    """
    import openvino

    part = folder.with_name(f"part-{uuid4().hex}")
    part.mkdir(parents=True)  # not by `tempfile`, whose folders are for their owner alone
    try:
        openvino.save_model(graph, part / GRAPH, compress_to_fp16=False)
        (part / OF).write_text(of, encoding="utf-8", errors="surrogateescape")
        for other in folder.parent.glob(f"*/{OF}"):
            if other.parent not in (part, folder) and _same(other, of):
                shutil.rmtree(other.parent, ignore_errors=True)
        with suppress(FileExistsError):
            part.rename(folder)
    except OSError:
        if not (folder / GRAPH).exists():
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _same(file: Path, of: str) -> bool:
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape") == of
    except OSError:
        return False

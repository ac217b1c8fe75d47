"""Runs a network with OpenVINO, on the CPU: as a graph that is made once and kept in the cache folder.

Windows run side by side, each on one thread; one alone runs on all threads.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor, nn

from ast_cli import __version__
from ast_cli.checkpoints.checkpoint import Checkpoint
from ast_cli.checkpoints.locate import converted_folder
from ast_cli.engines.devices import DTYPES
from ast_cli.engines.engine import Engine
from ast_cli.errors import EngineError, UsageError
from ast_cli.extras import require_extra
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.networks.ast import ASTForAudioClassification
from ast_cli.networks.config import ASTConfig, require_fit

# What the processor must be able to do, by OpenVINO's names.
CAPABILITIES = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16", "int8": "INT8"}
# Inputs of a linear layer that share one scale in int8; more are less exact, and fewer slower.
INT8_GROUP = 64
INT8_LARGEST = 127
GRAPH = "graph.xml"
OF = "of.txt"  # which weights, in which format
FORM = 2  # of the graphs: those of another are made anew. Since 2, the last block computes two tokens


class OpenVINOEngine(Engine):
    """Runs a network with OpenVINO.

    Args:
        checkpoint: Converted when it is first run here, then kept in the cache folder.
        extractor: Whose mean and standard deviation the windows are normalized with.
        dtype: `auto` (float32), `float32`, `bfloat16`, `float16`, or `int8`: linear layers of 8-bit weights
            and inputs, the rest in float32.
        on_notice: See `Engine`.

    Raises:
        EngineError: OpenVINO is not installed, cannot convert the network, or the processor does not have
            the number format.
    """

    name = "openvino"
    crops = False

    def __init__(
        self,
        checkpoint: Checkpoint,
        extractor: ASTFeatureExtractor,
        dtype: str,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        dtype = "float32" if dtype == "auto" else dtype
        require_extra("openvino")
        import openvino

        config = ASTConfig.from_pretrained(checkpoint)
        require_fit(config, extractor)
        super().__init__(config, "cpu", dtype, "sdpa", on_notice)
        self._extractor = extractor
        self._core: Any = openvino.Core()
        if CAPABILITIES[dtype] not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise EngineError(f"this processor does not compute in {dtype}", "Use --dtype float32")
        with _what_cannot_run():
            self._graph = _load_graph(self._core, checkpoint, config, dtype, self.on_notice)
        self._queues: dict[int, Any] = {}
        self._one_at_a_time = Lock()  # a queue has one callback for its results

    def _run(self, windows: Tensor, lengths: Tensor | None) -> Tensor:
        frames = self.config.max_length
        if windows.shape[1] != frames:
            raise UsageError(
                f"OpenVINO runs whole windows of {frames} frames, not of {windows.shape[1]}",
                "Use --short pad or repeat, or --engine torch",
            )
        if self._extractor.do_normalize:
            windows = self._extractor.normalize(windows)
        logits = np.empty((len(windows), self.config.num_labels), np.float32)

        def store(request: Any, number: int) -> None:
            logits[number] = request.get_output_tensor(0).data[0]

        with self._one_at_a_time, _what_cannot_run():
            queue = self._queue_for(len(windows))
            queue.set_callback(store)
            for number, window in enumerate(windows.numpy()):
                queue.start_async({0: window[None]}, number)
            queue.wait_all()
        return torch.from_numpy(logits)

    def _queue_for(self, windows: int) -> Any:
        """Requests on one thread each; or a single one on all threads, until there are several windows."""
        import openvino

        threads = torch.get_num_threads()
        streams = threads if windows > 1 or threads in self._queues else 1
        if streams not in self._queues:
            self._queues.clear()  # each holds the weights
            settings = {
                "INFERENCE_PRECISION_HINT": "f32",  # what the graph says, it says of itself
                "DYNAMIC_QUANTIZATION_GROUP_SIZE": INT8_GROUP if self.dtype == "int8" else 0,
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": streams,
            }
            compiled = self._core.compile_model(self._graph, "CPU", settings)
            self._queues[streams] = openvino.AsyncInferQueue(compiled, streams)
        return self._queues[streams]


@contextmanager
def _what_cannot_run() -> Iterator[None]:
    """Turn OpenVINO's errors of many lines into an EngineError of one."""
    try:
        yield
    except RuntimeError as error:
        *_, cause = str(error).strip().splitlines() or [type(error).__name__]
        raise EngineError(f"OpenVINO cannot run the network here: {cause}", "Use --engine torch") from error


def _load_graph(
    core: Any, checkpoint: Checkpoint, config: ASTConfig, dtype: str, notice: Callable[[str], None]
) -> Any:
    """The graph of the checkpoint's network for one window [1, T, M], from the cache folder if it is there.

    Half precision is that of `ASTForAudioClassification.round_blocks`; to int8, the weights of the blocks'
    linear layers are rounded. Notices say that a network is converted, or that its graph cannot be kept.
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
    if dtype in ("bfloat16", "float16"):
        network.round_blocks(DTYPES[dtype])
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
            with suppress(OSError):
                same = other.read_text(encoding="utf-8", errors="surrogateescape") == of
                if same and other.parent not in (part, folder):
                    shutil.rmtree(other.parent, ignore_errors=True)
        with suppress(FileExistsError):
            part.rename(folder)
    except OSError:
        if not (folder / GRAPH).exists():
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)

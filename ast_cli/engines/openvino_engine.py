"""Runs a network with OpenVINO, on the CPU. How a network becomes a graph of its own, `openvino_graph` knows.

Windows run side by side, each on one thread; one alone runs on all threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ast_cli.checkpoints.checkpoint import Checkpoint
from ast_cli.engines.engine import Engine
from ast_cli.engines.openvino_graph import load_graph
from ast_cli.errors import EngineError, UsageError
from ast_cli.extras import require_extra
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.networks.config import ASTConfig, require_fit

# What the processor must be able to do, by OpenVINO's names.
CAPABILITIES = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16", "int8": "INT8"}
# Inputs of a linear layer that share one scale in int8; more are less exact, and fewer slower.
INT8_GROUP = 64


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
            raise EngineError(
                f"this processor does not compute in {dtype}",
                "Use --dtype float32",
            )
        with _what_cannot_run():
            self._graph = load_graph(self._core, checkpoint, config, dtype, self.on_notice)
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

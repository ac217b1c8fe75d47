"""CUDA graphs of a network: the hundreds of kernels of a forward pass are launched as one.

Launching them one by one takes longer than one window does, and keeps Python from decoding meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

MOST_GRAPHS = 8  # each keeps the memory of its batch


@dataclass
class _Graph:
    graph: torch.cuda.CUDAGraph
    windows: Tensor
    output: Tensor


@dataclass
class Graphs:
    """A function of windows on CUDA, captured for each shape of them that comes again.

    Args:
        run: [B, T, M] -> [B, …]; launches the same kernels on each call, and waits for nothing.
    """

    run: Callable[[Tensor], Tensor]
    _seen: set[torch.Size] = field(default_factory=set)
    _graphs: dict[torch.Size, _Graph | None] = field(default_factory=dict)  # None: the memory was too little
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, windows: Tensor) -> Tensor:
        """What `run` gives for the windows; raises what it raises."""
        with self._one_at_a_time:  # what is captured reads and writes where it always does
            shape = windows.shape
            if shape not in self._seen:
                # As it is, for libraries to choose their kernels, and for a shape that may never come again.
                if len(self._seen) < MOST_GRAPHS:
                    self._seen.add(shape)
                return self.run(windows)
            if shape not in self._graphs:
                self._graphs[shape] = self._capture(windows)
            captured = self._graphs[shape]
            if captured is None:
                return self.run(windows)
            captured.windows.copy_(windows)
            captured.graph.replay()
            return captured.output.clone()

    def clear(self) -> None:
        """Give the memory of all graphs back."""
        with self._one_at_a_time:
            self._seen.clear()
            self._graphs.clear()

    def _capture(self, windows: Tensor) -> _Graph | None:
        """The graph of a shape; None where the memory is too little for it."""
        graph, place = torch.cuda.CUDAGraph(), windows.clone()
        try:
            # Other threads may go on using the device meanwhile.
            with (
                torch.cuda.device(windows.device),
                torch.cuda.graph(graph, capture_error_mode="thread_local"),
            ):
                output = self.run(place)
        except torch.OutOfMemoryError:
            return None
        return _Graph(graph, place, output)

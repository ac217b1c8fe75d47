"""How much of what the machine can multiply a network makes use of.

The ceiling is not the data sheet's: it is the fastest of the network's own products, each alone, in the same
number format on the same device in the same run.

Shapes: B windows, N tokens, D width, I inputs, O outputs of a product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ast_cli.bench.timing import Stopwatch
from ast_cli.engines.cpu_threads import WindowThreads
from ast_cli.engines.devices import what_cannot_run
from ast_cli.errors import TooLittleMemoryError
from ast_cli.networks.config import ASTConfig
from ast_cli.networks.kernels import Linear

TRIES = 4  # of each product; the first of them warms up
IN_A_ROW = 20  # on a device that works on one while the next is handed to it


@dataclass(frozen=True, slots=True)
class Product:
    """A product [rows, I] × [I, O] and how fast it was.

    Attributes:
        rows: Tokens of all windows of a batch.
        inputs: I.
        outputs: O.
        way: How it was computed.
        flops: Operations a second.
    """

    rows: int
    inputs: int
    outputs: int
    way: str
    flops: float


def num_tokens(config: ASTConfig) -> int:
    """N, with the cls and the distillation token."""
    return config.frequency_patches * config.time_patches + 2


def window_flops(config: ASTConfig, *, whole: bool = False) -> int:
    """Operations of the matrix products for one window; a multiplication and its addition are two.

    Without norms, activations and softmax, which are about a hundredth. The last block computes only the two
    tokens that are pooled (`ASTModel.pooled`), unless the network is computed `whole`.
    """
    width, tokens, blocks = config.hidden_size, num_tokens(config), config.num_hidden_layers
    patches = (tokens - 2) * config.patch_size**2 * width
    projections = 4 * width * width  # query, key, value; output
    mlp = 2 * width * config.intermediate_size
    attention = 2 * tokens * tokens * width  # scores; context
    block = tokens * (projections + mlp) + attention
    of_two = 2 * (projections + mlp) + 2 * (2 * config.num_attention_heads * tokens * width)
    last = block if whole else of_two
    return 2 * (patches + (blocks - 1) * block + last + width * config.num_labels)


def fastest_product(
    config: ASTConfig,
    batch_sizes: Sequence[int],
    device: torch.device,
    dtype: torch.dtype,
    stopwatch: Stopwatch | None = None,
) -> Product | None:
    """The product of the network that runs at most operations a second, each as large as in some batch.

    None where there is room for none of them.
    """
    stopwatch = stopwatch or Stopwatch(device)
    times = 1 if device.type == "cpu" else IN_A_ROW
    best: Product | None = None
    for batch_size in batch_sizes:
        for inputs, outputs in _shapes(config):
            # A network may run in smaller batches where a whole one has no room, a product may not.
            with suppress(TooLittleMemoryError), what_cannot_run(device, "", str(dtype), batch_size):
                rows = torch.randn(batch_size, num_tokens(config), inputs).to(device, dtype)
                operations = 2 * rows.numel() * outputs
                for way, run in _ways(rows, inputs, outputs):
                    seconds = min(stopwatch.seconds(run, times) for _ in range(TRIES))
                    flops = operations / seconds
                    if best is None or flops > best.flops:
                        best = Product(batch_size * num_tokens(config), inputs, outputs, way, flops)
    return best


def _shapes(config: ASTConfig) -> list[tuple[int, int]]:
    """Inputs and outputs: of a projection, of all three at once, and of either layer of the MLP."""
    width, inner = config.hidden_size, config.intermediate_size
    return [*dict.fromkeys([(width, width), (width, 3 * width), (width, inner), (inner, width)])]


def _ways(rows: Tensor, inputs: int, outputs: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """How rows [B, N, I] can be multiplied: the names, and what does it."""
    for name, kind in (("torch", nn.Linear), ("kernels", Linear)):
        if kind is Linear and rows.device.type != "cpu":
            return  # it is torch's there
        layer = kind(inputs, outputs, bias=False, device=rows.device, dtype=rows.dtype)
        multiply = partial(_multiply, layer)
        if rows.device.type != "cpu":
            yield name, partial(multiply, rows)
            continue
        yield f"{name}, all threads", partial(multiply, rows)
        if len(rows) > 1:
            yield f"{name}, side by side", partial(WindowThreads().map, multiply, rows)


def _multiply(layer: nn.Linear, rows: Tensor) -> Tensor:
    with torch.inference_mode():  # of the thread that runs it
        product: Tensor = layer(rows)
        return product

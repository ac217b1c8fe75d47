"""What would make the network faster on CUDA, measured before it is built: each part alone, then together.

The sum of two tensors with the norm behind it in one kernel, GELU in place, the last block for the two tokens
that leave it, products in float8. Each whole forward pass is a CUDA graph of 32 windows in float16, as a run
launches it, and tells the farthest score from the same network in float32. Nothing here is used by `ast_cli`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ast_cli import ASTConfig, ASTForAudioClassification
from tools.gpu_check.common import Step

TOKENS, WIDTH, HEADS = 1214, 768, 12
PRODUCTS = ((768, 2304), (768, 768), (768, 3072), (3072, 768))


@triton.jit
def add_norm_kernel(x, y, weight, bias, total, normed, width, eps, BLOCK: tl.constexpr):  # noqa: N803
    """One row: total = x + y, normed = LayerNorm(total)."""
    row = tl.program_id(0).to(tl.int64) * width
    column = tl.arange(0, BLOCK)
    inside = column < width
    both = tl.load(x + row + column, mask=inside, other=0.0).to(tl.float32)
    both += tl.load(y + row + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(total + row + column, both.to(total.dtype.element_ty), mask=inside)
    centered = tl.where(inside, both - tl.sum(both, 0) / width, 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(centered * centered, 0) / width + eps)
    out = centered * scale * tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    out += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(normed + row + column, out.to(normed.dtype.element_ty), mask=inside)


@triton.jit
def gelu_kernel(x, count, BLOCK: tl.constexpr):  # noqa: N803
    """The exact GELU, in place."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    value = 0.5 * value * (1.0 + tl.erf(value * 0.7071067811865476))
    tl.store(x + place, value.to(x.dtype.element_ty), mask=inside)


def add_norm(x: Tensor, y: Tensor, norm: nn.LayerNorm, warps: int = 4) -> tuple[Tensor, Tensor]:
    """The sum, and its norm."""
    total, normed = torch.empty_like(x), torch.empty_like(x)
    rows = x.numel() // WIDTH
    add_norm_kernel[(rows,)](
        x, y, norm.weight, norm.bias, total, normed, WIDTH, norm.eps, BLOCK=1024, num_warps=warps
    )
    return total, normed


def gelu(x: Tensor, block: int = 4096) -> Tensor:
    """The exact GELU, in place."""
    gelu_kernel[(triton.cdiv(x.numel(), block),)](x, x.numel(), BLOCK=block, num_warps=8)
    return x


def last_block(tokens: Tensor, normed: Tensor, layer: Any) -> Tensor:
    """[B, N, D] -> [B, 2, D]: a block of which only the first two tokens are wanted.

    (K q) · x instead of q · (K x), and V behind the weighted sum, so that only `normed` has N rows.
    """
    attention = layer.attention
    query_w, key_w, value_w = attention.qkv.weight.view(3, HEADS, -1, WIDTH)
    query_b, _, value_b = attention.qkv.bias.view(3, HEADS, -1)  # that of the keys moves all weights alike
    windows = len(tokens)
    query = F.linear(normed[:, :2], query_w.flatten(0, 1), query_b.flatten()).unflatten(-1, (HEADS, -1))
    absorbed = torch.einsum("bthe,hed->bhtd", query * query.shape[-1] ** -0.5, key_w).flatten(1, 2)
    weights = (absorbed @ normed.transpose(1, 2)).softmax(-1, dtype=torch.float32).to(normed.dtype)
    context = (weights @ normed).view(windows, HEADS, 2, WIDTH)
    context = torch.einsum("bhtd,hed->bthe", context, value_w) + value_b
    kept = tokens[:, :2] + attention.output(context.flatten(2))
    out: Tensor = kept + layer.mlp(layer.layernorm_after(kept))
    return out


class Candidates:
    """The figures so far, written after each."""

    def __init__(self, step: Step) -> None:
        self.step, self.figures = step, {}
        self.half = torch.float32 if step.dry else torch.float16
        self.windows = 1 if step.dry else 32
        self._random = torch.Generator(device=step.device).manual_seed(0)

    def draw(self, *shape: int) -> Tensor:
        """Unit normal numbers, never zeros: those are multiplied faster."""
        numbers = torch.randn(*shape, device=self.step.device, generator=self._random)
        return numbers.to(self.half)

    def tell(self, name: str, figure: object) -> None:
        """Keep and print a figure."""
        self.figures[name] = figure
        self.step.write(figures=self.figures)
        print(f"{name}: {figure}", flush=True)

    def time(self, name: str, run: Callable[[], Any], operations: float = 0.0) -> None:
        """Milliseconds, and with `operations` their rate; an error is a figure, too."""
        from triton.testing import do_bench

        try:
            run()
            if self.step.dry:
                return self.tell(name, "ran")
            ms = do_bench(run, warmup=20, rep=60, return_mode="median")
            rate = f", {operations / ms / 1e9:.0f} TFLOP/s" if operations else ""
            self.tell(name, f"{ms:.3f} ms{rate}")
        except Exception as error:
            self.tell(name, f"{type(error).__name__}: {str(error)[:200]}")

    def products(self) -> None:
        """Each product of a block, in half precision and in float8."""
        rows = self.windows * 1216  # float8 wants a multiple of 16
        for inputs, outputs in PRODUCTS:
            x, weight, bias = self.draw(rows, inputs), self.draw(outputs, inputs), self.draw(outputs)
            work = 2.0 * rows * inputs * outputs
            name = f"{inputs} -> {outputs}"
            self.time(f"product {name}", lambda x=x, w=weight, b=bias: F.linear(x, w, b), work)
            if self.step.dry:
                continue
            x8, w8 = x.to(torch.float8_e4m3fn), weight.to(torch.float8_e4m3fn).t()
            one = torch.ones((), device=x.device)
            by_row = torch.ones(rows, 1, device=x.device), torch.ones(1, outputs, device=x.device)
            for fast in (False, True):
                self.time(
                    f"float8, one scale, {fast=}, {name}",
                    lambda x=x8, w=w8, b=bias, s=one, f=fast: torch._scaled_mm(
                        x, w, s, s, bias=b, out_dtype=torch.float16, use_fast_accum=f
                    ),
                    work,
                )
            self.time(
                f"float8, a scale a row, {name}",
                lambda x=x8, w=w8, s=by_row: torch._scaled_mm(x, w, *s, out_dtype=torch.bfloat16),
                work,
            )

    def elementwise(self) -> None:
        """Sums, norms and GELU."""
        x, y = self.draw(self.windows, TOKENS, WIDTH), self.draw(self.windows, TOKENS, WIDTH)
        norm = nn.LayerNorm(WIDTH, 1e-12, device=self.step.device, dtype=self.half).requires_grad_(False)
        hidden = self.draw(self.windows, TOKENS, 4 * WIDTH)
        self.time("sum and norm", lambda: norm(x + y))
        self.time("gelu", lambda: F.gelu(hidden))
        if self.step.dry:
            return
        for warps in (1, 2, 4, 8):
            self.time(f"sum and norm, one kernel, {warps} warps", lambda w=warps: add_norm(x, y, norm, w))
        exact = F.layer_norm(x.double() + y.double(), (WIDTH,), norm.weight.double(), norm.bias.double())
        self.tell("one kernel's error", (add_norm(x, y, norm)[1] - exact).abs().max().item())
        for block in (1024, 4096, 8192):
            self.time(f"gelu in place, {block}", lambda b=block: gelu(hidden, b))

    def attention(self) -> None:
        """Each backend, with the layout that the fused projection gives and with a contiguous one."""
        if self.step.dry:
            return
        query, key, value = self.draw(self.windows, TOKENS, 3, HEADS, 64).permute(2, 0, 3, 1, 4)
        for backend in (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION):
            with sdpa_kernel(backend):
                for name, all_three in (
                    ("as projected", (query, key, value)),
                    ("contiguous", (query.contiguous(), key.contiguous(), value.contiguous())),
                ):
                    self.time(
                        f"{backend.name}, {name}",
                        lambda q=all_three: F.scaled_dot_product_attention(*q),
                        4.0 * self.windows * HEADS * TOKENS**2 * 64,
                    )

    def forward(self) -> None:
        """Whole forward passes."""
        network = ASTForAudioClassification(ASTConfig(id2label=dict.fromkeys(range(527), "")))
        network = network.to(self.step.device).eval().requires_grad_(False)
        torch.manual_seed(0)
        for one in network.parameters():
            if one.ndim > 1:
                nn.init.normal_(one, std=0.9 / one[0].numel() ** 0.5)
        windows = self.draw(self.windows, 1024, 128).float()
        exact = torch.cat([network(one[None]).logits for one in windows]).sigmoid()
        if not self.step.dry:
            network.round_blocks(torch.float16, whole=True)
        backbone = network.audio_spectrogram_transformer
        layers = list(backbone.layers)

        def classify(tokens: Tensor) -> Tensor:
            tokens = backbone.layernorm(tokens.to(backbone.layernorm.weight.dtype))
            logits: Tensor = network.classifier((tokens[:, 0] + tokens[:, 1]) / 2)
            return logits.float()

        def as_it_is() -> Tensor:
            return network(windows).logits.float()

        def short() -> Tensor:
            tokens = backbone.embeddings(windows)
            for layer in layers[:-1]:
                tokens, _ = layer(tokens, None, "sdpa")
            return classify(last_block(tokens, layers[-1].layernorm_before(tokens), layers[-1]))

        def fused(activation: Callable[[Tensor], Tensor]) -> Tensor:
            tokens = backbone.embeddings(windows)
            normed = layers[0].layernorm_before(tokens)
            for layer, after in pairwise(layers):
                qkv = layer.attention.qkv(normed).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
                context = F.scaled_dot_product_attention(*qkv).transpose(1, 2).flatten(2)
                tokens, normed = add_norm(tokens, layer.attention.output(context), layer.layernorm_after)
                hidden = layer.mlp.fc2(activation(layer.mlp.fc1(normed)))
                tokens, normed = add_norm(tokens, hidden, after.layernorm_before)
            return classify(last_block(tokens, normed, layers[-1]))

        ways: dict[str, Callable[[], Tensor]] = {"as it is": as_it_is, "short last block": short}
        if not self.step.dry:
            ways["short, fused"] = lambda: fused(gelu)
            ways["short, fused but for gelu"] = lambda: fused(F.gelu)
        for name, way in ways.items():
            self.tell(f"{name}, deviation", (way().sigmoid() - exact).abs().max().item())
            if not self.step.dry:
                self.time(name, as_graph(way))


def as_graph(run: Callable[[], Tensor]) -> Callable[[], None]:
    """The same kernels, launched as one."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()
        run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def main() -> None:
    """Measure what fits into the time; the whole passes first."""
    candidates = Candidates(Step.from_arguments("candidates"))
    with torch.inference_mode():
        for part in (candidates.forward, candidates.elementwise, candidates.attention, candidates.products):
            try:
                part()
            except Exception:  # noqa: PERF203
                candidates.tell(f"{part.__name__} failed", traceback.format_exc()[-1500:])


if __name__ == "__main__":
    main()

"""Linear layers and attention, computed as is fastest on a CPU; public torch operators only.

torch gives float32 products to MKL, which on processors by AMD has half the speed of oneDNN. oneDNN is what
torch gives convolutions to, and a linear layer is a convolution of one by one: the tokens are its pixels, as
they lie in memory. Gradients, other devices and other formats are left to torch.

Shapes: B windows, N tokens, D width, H heads; R rows, I inputs, O outputs of a product.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ast_cli.networks.processor import products_want_onednn

FEWEST_ROWS = 64  # of a product for which setting up a convolution pays


class Linear(nn.Linear):
    """`torch.nn.Linear`, with the same parameters and the same results up to rounding.

    Of half-precision weights, float32 inputs are rounded to their format.
    """

    def forward(self, rows: Tensor) -> Tensor:
        """[..., I] -> [..., O]."""
        if self.weight.dtype != torch.float32:
            rows = rows.to(self.weight.dtype)
        if not _convolution_is_faster(rows):
            return F.linear(rows, self.weight, self.bias)
        flat = rows.reshape(-1, rows.shape[-1])
        return _convolve(flat, self.weight, self.bias).view(*rows.shape[:-1], -1)


def attention_by_heads(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention, one head of one window after the other, so that each stays in the cache.

    Query, key and value are [B, H, N, D / H], as is the result, which lies in memory as [B, N, H, D / H].
    """
    windows, heads, tokens, width = query.shape
    context = query.new_empty(windows, tokens, heads, width)
    scaled = query * width**-0.5
    for window in range(windows):
        columns = value[window].transpose(1, 2).contiguous()  # [H, D / H, N]
        for head in range(heads):
            weights = _product(scaled[window, head], key[window, head]).softmax(dim=-1)  # [N, N]
            context[window, :, head] = _product(weights, columns[head])
    return context.transpose(1, 2)


def _product(rows: Tensor, columns: Tensor) -> Tensor:
    """[R, I] times [O, I] -> [R, O]: each row with each column."""
    rows, columns = rows.contiguous(), columns.contiguous()
    if _convolution_is_faster(rows):
        return _convolve(rows, columns, None)
    return rows @ columns.t().contiguous()


def _convolution_is_faster(rows: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()
        and products_want_onednn()
        and rows.device.type == "cpu"
        and rows.dtype == torch.float32
        and rows.numel() >= FEWEST_ROWS * rows.shape[-1]
        and not torch.is_grad_enabled()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
        and bool(torch.backends.mkldnn.enabled)
    )


def _convolve(rows: Tensor, columns: Tensor, bias: Tensor | None) -> Tensor:
    """[R, I] times [O, I] -> [R, O]; copies nothing: rows lie in memory as channels-last pixels do."""
    image = rows.view(1, *rows.shape[:1], 1, rows.shape[1]).permute(0, 3, 1, 2)  # [1, I, R, 1]
    # Of one pixel, the dilation says nothing; but with it torch takes oneDNN on a single thread too.
    pixels = F.conv2d(image, columns[:, :, None, None], bias, dilation=2)  # [1, O, R, 1]
    return pixels.permute(0, 2, 3, 1).reshape(len(rows), -1)

"""The Audio Spectrogram Transformer (arXiv 2104.01778), top-down: classifier, backbone, block, attention.

Shapes: B windows, T frames, M mel bins, N tokens, D width, H heads, C classes. Knows torch and the config;
no audio, no devices, no files.

Classes, arguments and outputs follow the `transformers` classes of the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ast_cli.errors import UsageError
from ast_cli.networks.config import ASTConfig
from ast_cli.networks.kernels import Linear, attention_by_heads
from ast_cli.networks.outputs import ASTClassifierOutput, ASTModelOutput
from ast_cli.networks.pretrained import ASTPreTrainedModel

ACTIVATION_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "selu": F.selu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
}
SDPA_BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}


class ASTForAudioClassification(ASTPreTrainedModel):
    """AST with a linear classifier on the pooled tokens: windows [B, T, M] -> logits [B, C]."""

    def __init__(self, config: ASTConfig, attn_implementation: str = "sdpa") -> None:
        super().__init__(config, attn_implementation)
        self.audio_spectrogram_transformer = ASTModel(config, attn_implementation)
        self.classifier = nn.Sequential()
        self.classifier.add_module("layernorm", nn.LayerNorm(config.hidden_size, config.layer_norm_eps))
        self.classifier.add_module("dense", Linear(config.hidden_size, config.num_labels))
        self._init_weights()

    def forward(
        self,
        input_values: Tensor,
        *,
        head_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        cropped: bool = False,
    ) -> ASTClassifierOutput | tuple[Any, ...]:
        """Score windows, and with `labels` compute the loss that the config's `problem_type` names.

        Args:
            input_values: [B, T, M], normalized features.
            head_mask: [H] or [layers, H]; 0 silences a head.
            labels: [B] class indices for cross-entropy, [B, C] of 0 and 1 in floating point for binary
                cross-entropy, or [B] or [B, C] values for mean-square. Without a `problem_type`, one class
                means mean-square, whole numbers cross-entropy, other numbers binary cross-entropy.
            output_attentions: Whether to return attentions; the config decides if None.
            output_hidden_states: Whether to return hidden states; the config decides if None.
            return_dict: Whether to return a record rather than a tuple; the config decides if None.
            cropped: Whether windows may be shorter than the config's: then only the tokens that they have are
                computed, with the positions that these have in a whole window.
        """
        backbone = self.audio_spectrogram_transformer
        wants_attentions = _either(output_attentions, self.config.output_attentions)
        wants_hidden_states = _either(output_hidden_states, self.config.output_hidden_states)
        hidden_states = attentions = None
        if self.training or wants_attentions or wants_hidden_states:
            hidden = backbone(
                input_values,
                head_mask=head_mask,
                output_attentions=wants_attentions,
                output_hidden_states=wants_hidden_states,
                return_dict=True,
                cropped=cropped,
            )
            pooled, hidden_states, attentions = hidden.pooler_output, hidden.hidden_states, hidden.attentions
        else:
            pooled = backbone.pooled(input_values, head_mask=head_mask, cropped=cropped)
        logits = self.classifier(pooled)
        loss = None if labels is None else self._loss(logits, labels)
        output = ASTClassifierOutput(loss, logits, hidden_states, attentions)
        return output if _either(return_dict, self.config.return_dict) else output.to_tuple()

    def round_blocks(self, dtype: torch.dtype, *, whole: bool = False) -> None:
        """Convert the linear layers of the blocks, which are nearly all of the cost, to half precision.

        What they add up to, the norms, the embeddings and the classifier stay in float32: of the error of a
        network that is rounded as a whole, that leaves half. `whole` converts all of the blocks and the
        embeddings: on a GPU, which waits for its memory rather than for its arithmetic in everything but
        products, a tenth is gained.
        """
        backbone = self.audio_spectrogram_transformer
        if whole:
            backbone.embeddings.to(dtype)
            backbone.layers.to(dtype)
            return
        for module in backbone.layers.modules():
            if isinstance(module, Linear):
                module.to(dtype)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        problem = self.config.problem_type
        if problem is None:
            if self.config.num_labels == 1:
                problem = "regression"
            elif labels.is_floating_point():
                problem = "multi_label_classification"
            else:
                problem = "single_label_classification"
        if problem == "regression":
            return F.mse_loss(logits.squeeze(), labels.squeeze().to(logits.dtype))
        if problem == "single_label_classification":
            return F.cross_entropy(logits.view(-1, self.config.num_labels), labels.view(-1))
        return F.binary_cross_entropy_with_logits(logits, labels)


class ASTModel(ASTPreTrainedModel):
    """The backbone: windows [B, T, M] -> tokens [B, N, D] and their pooled vector [B, D]."""

    def __init__(self, config: ASTConfig, attn_implementation: str = "sdpa") -> None:
        super().__init__(config, attn_implementation)
        self.embeddings = ASTEmbeddings(config)
        self.layers = nn.ModuleList(ASTLayer(config) for _ in range(config.num_hidden_layers))
        self.layernorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self._init_weights()

    def forward(
        self,
        input_values: Tensor,
        *,
        head_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        cropped: bool = False,
    ) -> ASTModelOutput | tuple[Any, ...]:
        """Encode windows; see `ASTForAudioClassification.forward` for the arguments.

        Raises:
            UsageError: Attentions are asked for, but the attention in use never forms them.
        """
        attn = self.attn_implementation
        wants_attentions = _either(output_attentions, self.config.output_attentions)
        wants_hidden_states = _either(output_hidden_states, self.config.output_hidden_states)
        if wants_attentions and attn != "eager":
            raise UsageError(f"{attn} never forms the attentions", "Use attn_implementation='eager'")

        tokens = self.embeddings(input_values, cropped)  # [B, N, D]
        hidden_states, attentions = [tokens], []
        with _backend(attn):
            for layer, mask in zip(self.layers, self._masks(head_mask), strict=True):
                tokens, attention = layer(tokens, mask, attn)
                if wants_hidden_states:
                    hidden_states.append(tokens)
                if wants_attentions:
                    attentions.append(attention)
        tokens = self._normalized(tokens)
        output = ASTModelOutput(
            last_hidden_state=tokens,
            pooler_output=_mean_of_two(tokens),
            hidden_states=tuple(hidden_states) if wants_hidden_states else None,
            attentions=tuple(attentions) if wants_attentions else None,
        )
        return output if _either(return_dict, self.config.return_dict) else output.to_tuple()

    def pooled(
        self, input_values: Tensor, *, head_mask: Tensor | None = None, cropped: bool = False
    ) -> Tensor:
        """[B, T, M] -> `pooler_output` [B, D]: less work, as the last block computes only two tokens.

        With eager attention, which the others are compared with, nothing is left out.
        """
        attn = self.attn_implementation
        if attn == "eager":
            whole = self(input_values, head_mask=head_mask, return_dict=True, cropped=cropped)
            pooler_output: Tensor = whole.pooler_output
            return pooler_output
        tokens = self.embeddings(input_values, cropped)
        with _backend(attn):
            for layer, mask in zip(self.layers, self._masks(head_mask), strict=True):
                tokens, _ = layer(tokens, mask, attn, only_two=layer is self.layers[-1])
        return _mean_of_two(self._normalized(tokens))

    def _masks(self, head_mask: Tensor | None) -> Sequence[Tensor | None]:
        """A mask [H], or None, for each block."""
        layers, heads = len(self.layers), self.config.num_attention_heads
        if head_mask is None:
            return [None] * layers
        if head_mask.shape not in ((heads,), (layers, heads)):
            raise UsageError(f"head_mask is {list(head_mask.shape)}, not [{heads}] or [{layers}, {heads}]")
        return head_mask.expand(layers, -1).unbind()

    def _normalized(self, tokens: Tensor) -> Tensor:
        normalized: Tensor = self.layernorm(tokens.to(self.layernorm.weight.dtype))  # of rounded blocks too
        return normalized


class ASTEmbeddings(nn.Module):
    """Patches, the cls and the distillation token, and where they stand."""

    def __init__(self, config: ASTConfig) -> None:
        super().__init__()
        width, patches = config.hidden_size, config.frequency_patches * config.time_patches
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.distillation_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embeddings = nn.Parameter(torch.zeros(1, patches + 2, width))
        self.patch_embeddings = ASTPatchEmbeddings(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.frequency_patches = config.frequency_patches

    def forward(self, input_values: Tensor, cropped: bool = False) -> Tensor:
        """[B, T, M] -> [B, N, D]."""
        special = torch.cat([self.cls_token, self.distillation_token], dim=1)
        patches = self.patch_embeddings(input_values, cropped)
        tokens = torch.cat([special.expand(len(patches), -1, -1), patches], dim=1)
        embedded: Tensor = self.dropout(tokens + self._positions(patches.shape[1]))
        return embedded

    def _positions(self, patches: int) -> Tensor:
        """[1, N, D]: of all patches, or of the first in time where there are fewer."""
        positions = self.position_embeddings
        if positions.shape[1] == patches + 2:
            return positions
        grid = positions[:, 2:].view(1, self.frequency_patches, -1, positions.shape[-1])
        first = grid[:, :, : patches // self.frequency_patches].flatten(1, 2)
        return torch.cat([positions[:, :2], first], dim=1)


class ASTPatchEmbeddings(nn.Module):
    """Overlapping patches, each projected to the width."""

    def __init__(self, config: ASTConfig) -> None:
        super().__init__()
        self.expected = (config.max_length, config.num_mel_bins)
        self.projection = nn.Conv2d(
            1, config.hidden_size, config.patch_size, (config.frequency_stride, config.time_stride)
        )

    def forward(self, input_values: Tensor, cropped: bool = False) -> Tensor:
        """[B, T, M] -> [B, N − 2, D], frequency-major."""
        frames, mel_bins = self.expected
        fits = input_values.ndim == 3 and input_values.shape[2] == mel_bins
        if fits and cropped:
            fits = self.projection.kernel_size[1] <= input_values.shape[1] <= frames
        elif fits:
            fits = input_values.shape[1] == frames
        if not fits:
            raise UsageError(
                f"input_values are {list(input_values.shape)}, not [B, {frames}, {mel_bins}]",
                "Make them with the checkpoint's own ASTFeatureExtractor",
            )
        image = input_values.unsqueeze(1).transpose(2, 3).to(self.projection.weight.dtype)  # [B, 1, M, T]
        patches: Tensor = self.projection(image)  # [B, D, frequency patches, time patches]
        return patches.flatten(2).transpose(1, 2)


class ASTLayer(nn.Module):
    """A transformer block, pre-norm."""

    def __init__(self, config: ASTConfig) -> None:
        super().__init__()
        self.layernorm_before = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.attention = ASTAttention(config)
        self.layernorm_after = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.mlp = ASTMLP(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, tokens: Tensor, head_mask: Tensor | None, attn: str, *, only_two: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """[B, N, D] -> [B, N, D], and the attentions [B, H, N, N] if `attn` is `eager`.

        If the first two tokens are wanted and no others, [B, 2, D] and None.
        """
        normalized = self.layernorm_before(tokens)
        if only_two:
            tokens, attention = tokens[:, :2], None
            attended = self.attention.of_first_two(normalized, head_mask)
        else:
            attended, attention = self.attention(normalized, head_mask, attn)
        tokens = tokens + self.dropout(attended)
        return tokens + self.dropout(self.mlp(self.layernorm_after(tokens))), attention


class ASTAttention(nn.Module):
    """Multi-head self-attention over all tokens; query, key and value in one projection."""

    def __init__(self, config: ASTConfig) -> None:
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.dropout_prob = config.attention_probs_dropout_prob
        self.qkv = Linear(config.hidden_size, 3 * config.hidden_size, bias=config.qkv_bias)
        self.output = Linear(config.hidden_size, config.hidden_size)

    def forward(self, tokens: Tensor, head_mask: Tensor | None, attn: str) -> tuple[Tensor, Tensor | None]:
        """[B, N, D] -> [B, N, D], and the attentions [B, H, N, N] if `attn` is `eager`."""
        qkv = self.qkv(tokens).unflatten(-1, (3, self.num_heads, -1))  # [B, N, 3, H, D / H]
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # [B, H, N, D / H] each
        dropout = self.dropout_prob if self.training else 0.0
        attention: Tensor | None = None
        if attn == "eager":
            weights = (query @ key.transpose(-1, -2)) * query.shape[-1] ** -0.5
            # The softmax of a half-precision network is taken in float32, as the reference does.
            attention = F.dropout(F.softmax(weights, dim=-1, dtype=torch.float32).to(value.dtype), dropout)
            if head_mask is not None:
                attention = attention * head_mask.view(1, -1, 1, 1).to(value.dtype)
            context = attention @ value
        else:
            if attn == "heads" and not dropout:
                context = attention_by_heads(query, key, value)
            else:
                context = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
            if head_mask is not None:
                # A head's mask scales all of its attentions alike, so it may scale their sums instead.
                context = context * head_mask.view(1, -1, 1, 1).to(value.dtype)
        return self.output(context.transpose(1, 2).flatten(2)), attention

    def of_first_two(self, tokens: Tensor, head_mask: Tensor | None) -> Tensor:
        """[B, N, D] -> [B, 2, D]: what the first two tokens attend to, without forming keys and values.

        q · (K x) = (Kᵀ q) · x, and Σ p (V x) = V Σ p x: of 2 H vectors of all heads, not of N tokens. The
        keys' bias adds the same to all scores of a query, which softmax does not see; weights sum to one, so
        that the values' bias is added once.
        """
        query_weight, key_weight, value_weight = self.qkv.weight.chunk(3)  # [D, D] each
        has_bias = cast("Tensor | None", self.qkv.bias) is not None
        query_bias, _, value_bias = self.qkv.bias.chunk(3) if has_bias else (None, None, None)
        heads, width = self.num_heads, tokens.shape[-1]
        query = F.linear(tokens[:, :2].to(query_weight.dtype), query_weight, query_bias).to(tokens.dtype)
        query = query.view(len(query), 2, heads, -1).transpose(1, 2)  # [B, H, 2, D / H]
        query = query * query.shape[-1] ** -0.5
        absorbed = query @ key_weight.to(tokens.dtype).view(heads, -1, width)  # [B, H, 2, D]
        scores = absorbed.flatten(1, 2) @ tokens.transpose(1, 2)  # [B, 2 H, N]
        weights = scores.softmax(dim=-1, dtype=torch.float32).to(tokens.dtype)
        mean = (weights @ tokens).unflatten(1, (heads, 2))  # [B, H, 2, D]
        context = mean @ value_weight.to(tokens.dtype).view(heads, -1, width).transpose(1, 2)
        if value_bias is not None:
            context = context + value_bias.to(tokens.dtype).view(heads, 1, -1)
        if head_mask is not None:
            context = context * head_mask.view(1, -1, 1, 1).to(tokens.dtype)
        out: Tensor = self.output(context.transpose(1, 2).flatten(2))
        return out


class ASTMLP(nn.Module):
    """The two-layer perceptron of a block."""

    def __init__(self, config: ASTConfig) -> None:
        super().__init__()
        self.activation = ACTIVATION_FUNCTIONS[config.hidden_act]
        self.fc1 = Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, D]."""
        out: Tensor = self.fc2(self.activation(self.fc1(tokens)))
        return out


def _mean_of_two(tokens: Tensor) -> Tensor:
    """[B, N, D] -> [B, D]: the mean of the cls and the distillation token."""
    return (tokens[:, 0] + tokens[:, 1]) / 2


def _either(given: bool | None, default: bool) -> bool:
    return default if given is None else given


def _backend(attn: str) -> AbstractContextManager[None]:
    return sdpa_kernel(SDPA_BACKENDS[attn]) if attn in SDPA_BACKENDS else nullcontext()

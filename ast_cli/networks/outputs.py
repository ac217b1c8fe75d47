"""What the network returns: records that are mappings too, and can be read by position.

Shapes: B windows, N tokens, D width, H heads, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


class ModelOutput(Mapping[str, Any]):
    """A record that is also a mapping from names and can be read by position; what is None is left out."""

    def to_tuple(self) -> tuple[Any, ...]:
        """The values that are not None, in order."""
        return tuple(self.values())

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return self.to_tuple()[key]
        value = vars(self).get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name, value in vars(self).items() if value is not None)

    def __len__(self) -> int:
        return sum(value is not None for value in vars(self).values())


@dataclass(eq=False)
class ASTModelOutput(ModelOutput):
    """What the backbone computes.

    Attributes:
        last_hidden_state: [B, N, D], after the final LayerNorm.
        pooler_output: [B, D], the mean of the cls and the distillation token.
        hidden_states: [B, N, D] for the embeddings and after each block, if requested.
        attentions: [B, H, N, N] for each block, if requested.
    """

    last_hidden_state: Tensor
    pooler_output: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(eq=False)
class ASTClassifierOutput(ModelOutput):
    """What the classifier computes.

    Attributes:
        loss: A number, if labels were given.
        logits: [B, C].
        hidden_states: As `ASTModelOutput.hidden_states`.
        attentions: As `ASTModelOutput.attentions`.
    """

    loss: Tensor | None
    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None

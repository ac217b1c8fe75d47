"""The pooled vectors of windows -> the vectors of a recording: their weighed mean, or each.

The pooled vector [D] is the mean of the cls and the distillation token behind the last norm, from which the
classifier works: `pooler_output` of `ASTModel`. Knows nothing of audio or of the network.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ast_cli.names import parse_name
from ast_cli.results import FRAMES_PER_SECOND, Facts
from ast_cli.scoring.aggregate import require_finite
from ast_cli.settings import Per


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """The vectors of a recording: R is 1, or the number of its windows.

    Attributes:
        file: The path as it was given; `-` for standard input. An address has lost its secrets.
        duration: Seconds of audio that could be decoded.
        starts: [R], seconds from the start of the recording.
        ends: [R], seconds from the start of the recording.
        vectors: [R, D], float32.
        warnings: What was wrong with the recording without preventing the result.
    """

    file: str
    duration: float
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    vectors: NDArray[np.float32] = field(repr=False)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "file", parse_name(self.file).shown)


class Pooling:
    """The vectors of one recording so far, of length one if they are to be normalized.

    `per` is `file` for the mean of the windows, each weighed by the seconds it newly covers; or `window`.
    """

    def __init__(self, file: str, per: Per, *, normalize: bool) -> None:
        self.file = file
        self._per = per
        self._normalize = normalize
        self._total: NDArray[np.float64] | None = None
        self._weight = 0
        self._windows: list[tuple[float, float, NDArray[np.float32]]] = []

    def add(self, start: int, length: int, new: int, vector: NDArray[np.float32]) -> None:
        """Take one more window, in order of time; see `Aggregate.add`."""
        if self._per == "window":
            self._windows.append(
                (start / FRAMES_PER_SECOND, (start + length) / FRAMES_PER_SECOND, vector.copy())
            )
            return
        weighed = vector.astype(np.float64) * new
        self._total = weighed if self._total is None else self._total + weighed
        self._weight += new

    def result(self, facts: Facts) -> Embedding:
        """The vectors, after the last window; InputError where huge samples made one not finite."""
        if self._total is not None:
            starts, ends = np.zeros(1), np.array([facts.duration])
            vectors = (self._total / self._weight)[None].astype(np.float32)
        else:
            start, end, each = zip(*self._windows, strict=True)
            starts, ends, vectors = np.array(start), np.array(end), np.stack(each)
            ends[-1] = facts.duration  # the last window ends with the recording
        require_finite(vectors)
        if self._normalize:
            vectors = unit_length(vectors)
        return Embedding(self.file, facts.duration, starts, ends, vectors, facts.warnings)


def unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors [R, D] with length one; one of zeros stays as it is."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    scaled: NDArray[np.float32] = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return scaled

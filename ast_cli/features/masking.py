"""Noise masking: what is quieter than a noise of a set level is hidden behind it, in every recording alike.

A recording and its copy in noise differ most where the recording is quiet: there the copy has the noise.
Behind a noise that both are given, they no longer differ. After D. H. Klatt, "A digital filter bank for
spectral matching", ICASSP 1976. The noise is white, of a level below that of the window; it is added as its
mean energies, without chance, so that equal recordings stay equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from ast_cli.errors import UsageError
from ast_cli.features.extractor import ASTFeatureExtractor


@dataclass(frozen=True, slots=True, eq=False)
class NoiseMasking:
    """Hides what is quiet in the frames of a window.

    Args:
        extractor: Made the frames.
        snr: How many dB the noise is below the window's mean power.

    Raises:
        UsageError: `snr` is no finite number.
    """

    extractor: ASTFeatureExtractor
    snr: float
    _noise: Tensor = field(init=False, repr=False)
    _weights: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not math.isfinite(self.snr):
            raise UsageError(f"noise is masked at a finite number of dB, not {self.snr}")
        object.__setattr__(self, "_noise", self.extractor.white_noise())
        object.__setattr__(self, "_weights", self.extractor.power_weights())

    def __call__(self, frames: Tensor) -> Tensor:
        """Frames [F, M] of log-mel energies, before padding -> the same in the noise."""
        power = (frames.exp() @ self._weights).mean()
        noise = self._noise * power * 10 ** (-self.snr / 10)
        return frames.logaddexp(noise.log())

"""Where the patches of a window lie, in seconds and in Hz, and where the hottest of them are together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ast_cli.features.extractor import FRAME_SECONDS, FRAMES_PER_SECOND
from ast_cli.features.mel_filters import mel_edges
from ast_cli.networks.config import ASTConfig


@dataclass(frozen=True)
class Grid:
    """Where patches lie.

    Attributes:
        config: Of the network.
        sampling_rate: Of the waveforms, in Hz.
        start: Of the window in the recording, in seconds.
        length: Frames of the window that hold audio.
    """

    config: ASTConfig
    sampling_rate: int
    start: float
    length: int

    @property
    def shape(self) -> tuple[int, int]:
        """F and P."""
        return self.config.frequency_patches, self.config.time_patches

    @property
    def with_audio(self) -> int:
        """Time patches that hold audio: the first ones; the others hold nothing but padding."""
        return min(self.config.time_patches, -(-self.length // self.config.time_stride))

    def frames(self, patch: int) -> tuple[int, int]:
        """The first frame of a time patch, and the one behind its last."""
        first = patch * self.config.time_stride
        return first, first + self.config.patch_size

    def bins(self, patch: int) -> tuple[int, int]:
        """The first mel bin of a frequency patch, and the one behind its last."""
        first = patch * self.config.frequency_stride
        return first, first + self.config.patch_size

    def seconds(self, patch: int) -> tuple[float, float]:
        """Start and end of the samples of a time patch, in seconds of the recording."""
        first, behind = self.frames(patch)
        start = self.start + first / FRAMES_PER_SECOND
        return start, self.start + (behind - 1) / FRAMES_PER_SECOND + FRAME_SECONDS

    def hertz(self, patch: int) -> tuple[float, float]:
        """Lowest and highest frequency of a frequency patch, in Hz: see `mel_edges`."""
        edges = self.mel_edges
        first, behind = self.bins(patch)
        return float(edges[first]), float(edges[behind])

    @property
    def mel_edges(self) -> NDArray[np.float64]:
        """[M + 1]: where mel bins meet, in Hz; see `mel_filters.mel_edges`."""
        return mel_edges(self.config.num_mel_bins, self.sampling_rate)


@dataclass(frozen=True, slots=True)
class Spot:
    """A part of the spectrogram: times in seconds of the recording, frequencies in Hz."""

    start: float
    end: float
    low_hz: float
    high_hz: float


def largest_spot(grid: Grid, heat: NDArray[np.float32], hottest: NDArray[np.bool_]) -> Spot:
    """The bounds of the connected patches among the `hottest` [F, P] that have the most heat [F, P]."""
    left = {(int(row), int(column)) for row, column in np.argwhere(hottest)}
    parts = []
    while left:
        part = [left.pop()]
        for row, column in part:  # grows while it is walked
            for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if near in left:
                    left.remove(near)
                    part.append(near)
        parts.append(part)
    # Of equal ones the first in time, so that the order of a set does not show.
    part = max(parts, key=lambda each: (sum(float(heat[patch]) for patch in sorted(each)), -min(each)[1]))
    rows, columns = zip(*part, strict=True)
    return Spot(
        grid.seconds(min(columns))[0],
        grid.seconds(max(columns))[1],
        grid.hertz(min(rows))[0],
        grid.hertz(max(rows))[1],
    )

"""Makers of sounds that have a definition: a formula, a standard or a simple physics, and no recording.

`MAKERS` has one maker for each AudioSet display name, the narrowest that holds; `unlabelled` makes noises
that are nothing in particular, so that a model learns that not every noise is an event. Every parameter is
drawn from wide ranges; nothing here is taken from a collection, so the two splits differ only by their seeds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sounds import LONGEST, Maker, Sound, Split, seconds, to_peak

from . import alarms, animals, bells, machines, objects, people, signals, weather

SHORTEST = 0.5  # seconds; shorter events are followed by silence


def _maker(render: Callable[[np.random.Generator], np.ndarray], *labels: str) -> Maker:
    """A maker of the sounds `render` gives, under these labels, at a common peak."""

    def make(rng: np.random.Generator, split: Split) -> Sound:
        waveform = render(rng)[: seconds(LONGEST)]
        missing = seconds(SHORTEST) - len(waveform)
        if missing > 0:
            waveform = np.concatenate([waveform, np.zeros(missing)])
        return Sound(to_peak(waveform - waveform.mean()), labels)

    return make


def _silence(rng: np.random.Generator, split: Split) -> Sound:
    """Silence is what its level says, so it is the one sound that is not brought to a common peak."""
    return Sound(signals.silence(rng), ("Silence",))


MAKERS: dict[str, Maker] = {
    "Silence": _silence,
    **{
        name: _maker(render, name)
        for family in (signals, alarms, bells, objects, machines, people, animals, weather)
        for name, render in family.SOUNDS.items()
    },
}

unlabelled: Maker = _maker(weather.background)

"""Bells, chimes, glass and coins: bodies of a few hard, inharmonic partials."""

from __future__ import annotations

import numpy as np
from sounds import seconds

from .parts import (
    Rng,
    band,
    beats,
    between,
    blows,
    chance,
    clicks,
    fade,
    place,
    random_modes,
    resonate,
    scattered,
)

# ---------------------------------------------------------------- bells and glass

# hum, prime, tierce, quint, nominal and those above it, relative to the prime
BELL = np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 2.67, 3.0, 4.0, 5.2, 6.6, 8.0, 9.6])
LOUD = np.array([0.7, 0.8, 0.9, 0.4, 1.0, 0.4, 0.3, 0.5, 0.4, 0.35, 0.3, 0.25, 0.2])


def _church_bell(
    rng: Rng, n: int, when: np.ndarray, prime: float, colour: dict[str, np.ndarray]
) -> np.ndarray:
    ratios = BELL * colour["detune"]
    # every partial is a pair that beats slowly, since no bell is perfectly round
    excitation = blows(rng, n, when, colour["contact"].item(), 0.1)
    decay = colour["decay"].item() / (0.5 + ratios) ** 0.9
    doublets = prime * np.concatenate([ratios, ratios * (1 + colour["split"])])
    amplitudes = np.concatenate([colour["amplitudes"], 0.6 * colour["amplitudes"]])
    return resonate(excitation, doublets, amplitudes, np.concatenate([decay, decay]))


def _bell_colour(rng: Rng) -> dict[str, np.ndarray]:
    return {
        "detune": 1 + 0.012 * rng.standard_normal(len(BELL)),
        "split": 0.0015 * rng.standard_normal(len(BELL)),
        "amplitudes": LOUD * rng.uniform(0.3, 1.3, len(BELL)),
        "decay": np.array(between(rng, 5, 25)),
        "contact": np.array(between(rng, 0.0001, 0.0008)),
    }


def church_bell(rng: Rng) -> np.ndarray:
    """One bell tolled or swung, sometimes a second one with it."""
    duration = rng.uniform(3, 10)
    n = seconds(duration)
    when = beats(rng, duration, between(rng, 0.9, 5), rng.uniform(0, 0.06))
    out = _church_bell(rng, n, when, between(rng, 150, 800), _bell_colour(rng))
    if chance(rng, 0.25):  # a second bell swings at its own pace
        other = beats(rng, duration, between(rng, 0.9, 3), 0.03)
        out += rng.uniform(0.4, 1) * _church_bell(rng, n, other, between(rng, 200, 900), _bell_colour(rng))
    return fade(out, 0.001, 0.3)


def change_ringing(rng: Rng) -> np.ndarray:
    """Four to eight bells of a scale, each once a round, their order changing between rounds."""
    duration = rng.uniform(5, 10)
    n = seconds(duration)
    count = int(rng.integers(4, 9))
    steps = np.array([12, 11, 9, 7, 5, 4, 2, 0])[-count:]
    prime, gap, colour = between(rng, 220, 500), rng.uniform(0.18, 0.35), _bell_colour(rng)
    colour["decay"] = np.array(between(rng, 2, 8))
    rings = [
        _church_bell(rng, seconds(3), np.array([0.0]), prime * 2 ** (step / 12), colour)
        * np.linspace(1, 0, seconds(3))
        for step in steps
    ]
    order, when, rung, now = list(range(count)), [], [], rng.uniform(0, 0.3)
    while now < duration:
        for bell in order:
            when.append(now + 0.02 * rng.standard_normal())
            rung.append(rings[bell])
            now += gap
        swap = int(rng.integers(count - 1))
        order[swap], order[swap + 1] = order[swap + 1], order[swap]
    return place(n, when, rung)


def bicycle_bell(rng: Rng) -> np.ndarray:
    """A cap that is dinged once, or rattled fast by a geared thumb lever, and rings on."""
    duration = rng.uniform(1, 6)
    n = seconds(duration)
    begins = beats(rng, duration, between(rng, 0.7, 2.5), 0.2)
    if chance(rng, 0.3):
        when = begins
    else:
        rate, count = between(rng, 12, 35), rng.integers(4, 16)
        when = np.concatenate([b + np.cumsum(rng.uniform(0.7, 1.3, count) / rate) for b in begins])
    base = between(rng, 1600, 4000)
    ratios = np.array([1, 1.005, rng.uniform(1.5, 1.9), rng.uniform(2.2, 2.8), rng.uniform(3, 4)])
    decays = between(rng, 0.4, 2.5) * np.array([1, 0.9, 0.6, 0.5, 0.3])
    hits = blows(rng, n, when, 0.0001, 0.4)
    return resonate(hits, base * ratios, rng.uniform(0.2, 1, 5), decays) + rng.uniform(0, 0.5) * band(
        hits, 2500, None
    )


def jingle_bell(rng: Rng) -> np.ndarray:
    """A string of little pellet bells, shaken in rhythm: showers of very high, short rings."""
    duration = rng.uniform(1.5, 8)
    n = seconds(duration)
    shakes = beats(rng, duration, between(rng, 0.12, 0.6), rng.uniform(0, 0.15))
    count = int(rng.integers(5, 16))
    out = np.zeros(n)
    low = between(rng, 2200, 4500)
    for _ in range(count):
        per_shake = rng.poisson(between(rng, 1.5, 5), len(shakes))
        when = np.repeat(shakes, per_shake)
        when = when + rng.exponential(between(rng, 0.008, 0.04), len(when))
        hits = clicks(n, when, rng.exponential(1.0, len(when)))
        frequency = low * rng.uniform(1, 1.8)
        out += resonate(
            hits, [frequency, frequency * rng.uniform(1.2, 1.7)], [1, 0.5], [between(rng, 0.05, 0.4)] * 2
        )
    return out


def wind_chime(rng: Rng) -> np.ndarray:
    """Free tubes or rods (partials 1 : 2.76 : 5.40 : 8.93) struck at random, in gusts."""
    duration = rng.uniform(3, 10)
    n = seconds(duration)
    count, base = int(rng.integers(4, 9)), between(rng, 350, 2200)
    scale = np.array([0, 2, 4, 7, 9, 12, 14, 16, 19])
    metal = (
        between(rng, 0.8, 8) if chance(rng, 0.8) else between(rng, 0.08, 0.25)
    )  # the latter: bamboo, shells
    out = np.zeros(n)
    gust = rng.uniform(0, duration)
    for tube in range(count):
        frequency = base * 2 ** ((scale[tube] + 0.15 * rng.standard_normal()) / 12)
        when = scattered(rng, duration, between(rng, 0.2, 1.5))
        if chance(rng, 0.5):
            when = np.concatenate([when, gust + rng.exponential(0.5, 3)])
        hits = clicks(n, when, rng.exponential(1.0, len(when)))
        out += resonate(
            hits,
            frequency * np.array([1, 2.756, 5.404]),
            [1, rng.uniform(0.2, 0.9), rng.uniform(0.1, 0.5)],
            metal * np.array([1, 0.5, 0.25]),
        )
    return out


def glass(rng: Rng) -> np.ndarray:
    """Glasses touch: a few hard modes from 1.2 to 7.5 kHz."""
    duration = rng.uniform(0.6, 5)
    n = seconds(duration)
    out = np.zeros(n)
    when = beats(rng, duration, between(rng, 0.25, 2.0), 0.4)
    for _ in range(2):  # both glasses ring
        base = between(rng, 1100, 3200)
        ratios = np.array([1, rng.uniform(1.6, 2.4), rng.uniform(2.6, 3.8), rng.uniform(4, 5)])
        decay = between(rng, 0.12, 1.5)
        out += resonate(
            blows(rng, n, when, 0.0001, 0.5),
            base * ratios,
            rng.uniform(0.2, 1, 4),
            decay * rng.uniform(0.3, 1, 4),
        )
    return out


def coin(rng: Rng) -> np.ndarray:
    """A coin bounces ever faster, spins and rattles flat; or several fall together."""
    out = np.zeros(seconds(rng.uniform(1.2, 4)))
    n = len(out)
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        gap, bounce = between(rng, 0.15, 0.4), rng.uniform(0.55, 0.8)
        gaps = gap * bounce ** np.arange(12)
        when = rng.uniform(0, 0.4) + np.concatenate([[0], np.cumsum(gaps)])
        sizes = bounce ** (0.8 * np.arange(13)) * rng.uniform(0.6, 1.2, 13)
        if chance(rng, 0.6):  # the spin: contacts that speed up until it lies
            spin = when[-1] + np.cumsum(np.geomspace(between(rng, 0.03, 0.08), 0.006, rng.integers(15, 50)))
            when, sizes = (
                np.concatenate([when, spin]),
                np.concatenate([sizes, rng.uniform(0.1, 0.3, len(spin))]),
            )
        hits = clicks(n, when, sizes)
        ring = resonate(
            hits,
            random_modes(rng, 6, 2200, 7800),
            rng.uniform(0.3, 1, 6),
            between(rng, 0.05, 0.5) * rng.uniform(0.4, 1, 6),
        )
        table = resonate(hits, random_modes(rng, 3, 150, 900), rng.uniform(0.2, 1, 3), np.full(3, 0.06))
        out += ring + rng.uniform(0, 0.6) * table
    return out


def ding_dong(rng: Rng) -> np.ndarray:
    """Two chime bars, the second a third (or so) below the first."""
    duration = rng.uniform(2, 6)
    n = seconds(duration)
    gap, high = rng.uniform(0.3, 1.0), between(rng, 450, 1000)
    low = high / 2 ** (float(rng.choice([3, 4, 4, 4, 5, 7])) / 12)
    begins = beats(rng, duration, gap * between(rng, 2.2, 5), 0.05, 0.2)
    partials = np.array([1, 2.756, 5.404]) if chance(rng, 0.6) else np.array([1, 2.0, 3.0])
    amplitudes = [1, rng.uniform(0.05, 0.6), rng.uniform(0.02, 0.3)]
    decays = between(rng, 0.8, 4) * np.array([1, 0.5, 0.25])
    soft = between(rng, 0.0002, 0.002)
    out = resonate(blows(rng, n, begins, soft, 0.1), high * partials, amplitudes, decays)
    return out + resonate(blows(rng, n, begins + gap, soft, 0.1), low * partials, amplitudes, decays)


SOUNDS = {
    "Church bell": church_bell,
    "Change ringing (campanology)": change_ringing,
    "Bicycle bell": bicycle_bell,
    "Jingle bell": jingle_bell,
    "Wind chime": wind_chime,
    "Chink, clink": glass,
    "Coin (dropping)": coin,
    "Ding-dong": ding_dong,
}

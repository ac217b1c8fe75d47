"""Wind, water, thunder and steam: noises that their spectra and their changes tell apart."""

from __future__ import annotations

import numpy as np
from sounds import LONGEST, SAMPLE_RATE, seconds

from .parts import (
    Rng,
    answer,
    band,
    between,
    chance,
    clicks,
    coloured,
    curve,
    drift,
    fade,
    hiss,
    narrow,
    place,
    resonate,
    scattered,
    tone,
    unit,
)


def wind(rng: Rng) -> np.ndarray:
    """Gusts that are brighter when they are stronger, and sometimes a gap that whistles."""
    n = seconds(rng.uniform(3, 10))
    gust = np.clip(0.5 + 0.3 * drift(rng, n, between(rng, 0.3, 2)), 0.03, 1.5)
    calm = unit(band(coloured(rng, n, rng.uniform(0.8, 2)), 40, between(rng, 150, 500)))
    strong = unit(band(hiss(rng, n), between(rng, 100, 500), between(rng, 700, 3000), 1))
    out = gust * calm + gust**2 * between(rng, 0.1, 1) * strong
    for _ in range(int(rng.choice([0, 0, 1, 2]))):
        centre = between(rng, 300, 1400) * (0.6 + 0.8 * gust)
        out += between(rng, 0.1, 1.2) * gust**2 * narrow(rng, centre, between(rng, 15, 150))
    return fade(out, 0.1, 0.1)


def wind_microphone(rng: Rng) -> np.ndarray:
    """Wind upon the microphone itself: low buffeting that overloads it."""
    n = seconds(rng.uniform(2, 10))
    buffet = np.clip(0.4 + 0.5 * drift(rng, n, between(rng, 1, 8)), 0.02, None) ** 1.5
    low = unit(band(coloured(rng, n, rng.uniform(1.5, 2.5)), 15, between(rng, 100, 350)))
    out = np.tanh(low * buffet * between(rng, 1, 6))
    return out + between(rng, 0.005, 0.1) * buffet * band(hiss(rng, n), 300, 4000, 1)


def rain(rng: Rng) -> np.ndarray:
    """A broad hiss of far drops, and near ones one by one."""
    duration = rng.uniform(3, 10)
    n = seconds(duration)
    far = unit(
        band(coloured(rng, n, rng.uniform(-0.5, 1.0)), between(rng, 200, 1200), between(rng, 4500, 7900), 1)
    )
    out = far * np.clip(1 + 0.12 * drift(rng, n, 1), 0.4, None) * between(rng, 0.15, 1)
    when = scattered(rng, duration, between(rng, 15, 700))
    drops = clicks(n, when, rng.exponential(1, len(when)) ** 1.5)
    splash = answer(drops, np.exp(-np.arange(160) / between(rng, 4, 40))) * hiss(rng, n)
    near = unit(band(splash, between(rng, 400, 2500), 7900, 1))
    if chance(rng, 0.4):  # on a roof, a window or a tent
        skin = resonate(
            drops,
            np.exp(rng.uniform(np.log(250), np.log(3500), 4)),
            np.ones(4),
            np.full(4, between(rng, 0.008, 0.05)),
        )
        near = near + rng.uniform(0.3, 1) * unit(skin)
    return fade(out + between(rng, 0.1, 1) * near, 0.05, 0.05)


def thunder(rng: Rng) -> np.ndarray:
    """Perhaps a crack, then claps from ever farther parts of the bolt that roll and darken for seconds."""
    duration = rng.uniform(3, 10)
    n = seconds(duration)
    near = rng.random()
    starts = rng.uniform(0, 0.4) + np.concatenate(
        [[0], np.sort(rng.exponential(duration / 4, rng.integers(3, 14)))]
    )
    claps = np.zeros(n)
    for k, start in enumerate(starts):
        first = seconds(min(start, duration - 0.2))
        t = np.arange(n - first) / SAMPLE_RATE
        claps[first:] += (
            between(rng, 0.3, 1)
            * np.clip(t / rng.uniform(0.02, 0.3), 0, 1)
            * np.exp(-t / between(rng, 0.3, 1.5))
            / (1 + 0.15 * k)
        )
    rumble = unit(band(coloured(rng, n, rng.uniform(1.5, 2.5)), 22, between(rng, 90, 350))) * (
        1 + 0.4 * drift(rng, n, 9)
    )
    bright = unit(band(hiss(rng, n), 100, between(rng, 800, 3500), 1))
    t = np.maximum(np.arange(n) / SAMPLE_RATE - starts[0], 0)
    out = claps * (rumble + near * bright * np.exp(-t / between(rng, 0.2, 1.2)))
    if near > 0.6:
        tear = hiss(rng, n) * (t > 0) * np.exp(-t / 0.12) * (1 + 0.8 * drift(rng, n, 120))
        out += rng.uniform(0.5, 2) * tear
    return fade(out, 0.002, 0.3)


def waves(rng: Rng) -> np.ndarray:
    """Swell that grows, breaks bright, and runs out hissing, every 3 to 9 seconds."""
    n = seconds(LONGEST) if chance(rng, 0.6) else seconds(rng.uniform(5, 10))
    period = between(rng, 3, 9)
    phase = (rng.random() + np.cumsum(1 / period * (1 + 0.2 * drift(rng, n, 0.3))) / SAMPLE_RATE) % 1
    rise = rng.uniform(0.25, 0.55)
    swell = np.where(phase < rise, (phase / rise) ** 2, np.exp(-(phase - rise) / rng.uniform(0.12, 0.35)))
    late = np.interp(phase, [0, rise, min(rise + 0.15, 0.9), 1], [0.05, 0.3, 1, 0.1])
    deep = unit(band(coloured(rng, n, 1.2), between(rng, 40, 120), between(rng, 500, 1500), 1))
    foam = unit(band(hiss(rng, n), between(rng, 600, 2000), 7500, 1))
    return fade(
        swell * deep + 0.15 * deep + between(rng, 0.15, 0.9) * late * foam * (1 + 0.1 * drift(rng, n, 40)),
        0.2,
        0.2,
    )


def stream(rng: Rng) -> np.ndarray:
    """Running water: many bubbles, each a short rising tone, over a soft rush."""
    duration = rng.uniform(3, 10)
    n = seconds(duration)
    out = np.zeros(n)
    for _ in range(10):  # ten sizes of bubbles
        when = scattered(rng, duration, between(rng, 5, 60))
        frequency = between(rng, 350, 3500)
        size = seconds(0.06)
        t = np.arange(size) / SAMPLE_RATE
        bubble = (
            np.sin(2 * np.pi * frequency * (t + rng.uniform(0, 4) * t**2))
            * np.exp(-t / between(rng, 0.004, 0.015))
            * np.clip(t / 0.002, 0, 1)
        )
        hits = clicks(n, when, rng.exponential(1, len(when)) ** 1.3)
        out += answer(hits, bubble) * (500 / frequency) ** 0.3
    rush = unit(
        band(coloured(rng, n, rng.uniform(0.3, 1.2)), between(rng, 150, 500), between(rng, 2500, 7900), 1)
    )
    return fade(unit(out) + between(rng, 0.05, 0.8) * rush, 0.05, 0.05)


def steam(rng: Rng) -> np.ndarray:
    """Gas under pressure through a valve: bright steady hiss, let go in puffs or for long."""
    n = seconds(rng.uniform(1.5, 8))
    out = band(coloured(rng, n, rng.uniform(-1.0, 0.2)), between(rng, 800, 3000), 7900, 1)
    centre = between(rng, 2500, 6500)
    out = unit(out) + rng.uniform(0, 1.2) * narrow(
        rng, np.full(n, centre) * (1 + 0.02 * drift(rng, n, 3)), between(rng, 300, 2000)
    )
    if chance(rng, 0.4):
        t = np.arange(n) / SAMPLE_RATE
        period = between(rng, 0.25, 2)
        out = out * np.exp(-((t + rng.random()) % period) / (period * rng.uniform(0.15, 0.6)))
    else:
        out = out * curve(
            n, (0, 0.05), (between(rng, 0.01, 0.2), 1), (0.6, rng.uniform(0.6, 1)), (1, rng.uniform(0, 0.6))
        )
    return fade(out * (1 + 0.08 * drift(rng, n, 20)), 0.01, 0.1)


def fire(rng: Rng) -> np.ndarray:
    """Crackles of all sizes over a soft, low, flapping roar."""
    duration = rng.uniform(3, 10)
    n = seconds(duration)
    out = np.zeros(n)
    activity = np.clip(1 + 0.8 * drift(rng, n, 1.5), 0.05, None)
    for _ in range(4):
        hits = (rng.random(n) < between(rng, 1.5, 25) * activity / SAMPLE_RATE) * rng.pareto(1.6, n)
        pop = hiss(rng, 240) * np.exp(-np.arange(240) / between(rng, 6, 60))
        out += answer(np.minimum(hits, 20), band(pop, between(rng, 300, 2500), None, 1))
    roar = unit(band(coloured(rng, n, 1.6), 30, between(rng, 200, 800))) * (1 + 0.4 * drift(rng, n, 7))
    return unit(out) + between(rng, 0.03, 0.6) * roar


SOUNDS = {
    "Wind": wind,
    "Wind noise (microphone)": wind_microphone,
    "Rain": rain,
    "Thunder": thunder,
    "Waves, surf": waves,
    "Stream": stream,
    "Steam": steam,
    "Crackle": fire,
}


def background(rng: Rng) -> np.ndarray:
    """A noise that is nothing in particular: some slope, some bands, some hum, steady or modulated."""
    n = seconds(rng.uniform(1, LONGEST))
    out = unit(coloured(rng, n, rng.uniform(0.3, 2.5)))
    for _ in range(rng.integers(0, 4)):
        low = between(rng, 40, 4000)
        out = out + between(rng, 0.05, 2) * unit(band(hiss(rng, n), low, low * between(rng, 1.2, 6)))
    if chance(rng, 0.3):
        out = band(out, between(rng, 30, 1500), between(rng, 1800, 7900), int(rng.integers(1, 5)))
    if chance(rng, 0.35):  # hum of a ventilator or a supply, somewhere in the room
        base = between(rng, 40, 400)
        for k in range(1, int(rng.integers(2, 8))):
            out = out + between(rng, 0.003, 0.2) / k * tone(
                base * k * (1 + 0.001 * drift(rng, n, 1)), n, rng.random()
            )
    if chance(rng, 0.4):
        out = out * np.clip(1 + rng.uniform(0.1, 0.5) * drift(rng, n, between(rng, 0.2, 12)), 0.02, None)
    if chance(rng, 0.15):  # stray bumps
        when = scattered(rng, n / SAMPLE_RATE, between(rng, 0.2, 3))
        bump = np.exp(-np.arange(2000) / between(rng, 50, 500))
        out = out + 3 * band(place(n, when, [bump * rng.random() for _ in when]), 30, 600) * unit(
            hiss(rng, n)
        )
    return fade(out, 0.02, 0.02)

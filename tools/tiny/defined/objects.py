"""Things that are struck, pressed or rubbed: clocks, knocks, steps, keys, zips and saws."""

from __future__ import annotations

import numpy as np
from sounds import SAMPLE_RATE, seconds

from .parts import (
    Rng,
    answer,
    band,
    beats,
    between,
    blows,
    chance,
    clicks,
    coloured,
    curve,
    drift,
    fade,
    hiss,
    place,
    random_modes,
    resonate,
    scattered,
    slope_down,
    unit,
)

# ---------------------------------------------------------------- clocks


def _tick(rng: Rng) -> np.ndarray:
    """One escapement blow: two or three contacts within a few milliseconds in a small hard case."""
    n = seconds(0.12)
    contacts = np.concatenate([[0.001], 0.001 + np.cumsum(rng.uniform(0.002, 0.012, rng.integers(1, 3)))])
    hits = clicks(n, contacts, rng.uniform(0.3, 1, len(contacts)))
    size = rng.choice([0.35, 1.0, 1.6], p=[0.25, 0.5, 0.25])  # hall clock, table clock, watch
    modes = random_modes(rng, 6, 900 * size, min(6500 * size, 7700))
    return resonate(hits, modes, rng.uniform(0.3, 1, 6), between(rng, 0.006, 0.05) * rng.uniform(0.5, 1.5, 6))


def tick(rng: Rng) -> np.ndarray:
    """One kind of blow, one to six times a second."""
    duration = rng.uniform(1.5, 10)
    n = seconds(duration)
    when = beats(rng, duration, 1 / float(rng.choice([1, 1, 1, 2, 4, 5, between(rng, 0.8, 6)])), 0.005)
    return place(n, when, [_tick(rng)] * len(when)) + between(rng, 1e-4, 0.01) * coloured(rng, n, 1)


def tick_tock(rng: Rng) -> np.ndarray:
    """Two unlike blows in turn."""
    duration = rng.uniform(2.5, 10)
    n = seconds(duration)
    when = beats(rng, duration, 1 / between(rng, 0.9, 5), 0.004)
    limp = rng.uniform(-0.08, 0.08) * (when[1] - when[0] if len(when) > 1 else 0.5)
    pair = (_tick(rng), rng.uniform(0.5, 1) * _tick(rng))
    out = place(n, when + limp * (np.arange(len(when)) % 2), [pair[i % 2] for i in range(len(when))])
    return out + between(rng, 1e-4, 0.01) * coloured(rng, n, 1)


# ---------------------------------------------------------------- blows and steps


def knock(rng: Rng) -> np.ndarray:
    """Knuckles on a door: groups of two to five dull blows."""
    duration = rng.uniform(1, 6)
    n = seconds(duration)
    groups = beats(rng, duration, between(rng, 1.2, 3), 0.2)
    gap = rng.uniform(0.12, 0.35)
    when = np.concatenate([g + gap * np.arange(rng.integers(2, 6)) * rng.uniform(0.9, 1.1) for g in groups])
    when = when + 0.01 * rng.standard_normal(len(when))
    hits = blows(rng, n, when, between(rng, 0.0002, 0.002), 0.25)
    low = between(rng, 80, 300)
    body = resonate(
        hits,
        random_modes(rng, 8, low, 6 * low),
        slope_down(8),
        between(rng, 0.03, 0.16) * rng.uniform(0.5, 1.2, 8),
    )
    return unit(body) + rng.uniform(0.1, 0.9) * unit(
        resonate(hits, random_modes(rng, 5, 600, 3500), np.ones(5), np.full(5, 0.015))
    )


def footsteps(rng: Rng) -> np.ndarray:
    """Heel and toe at walking pace on wood, stone (heels) or gravel, left and right a little unlike."""
    duration = rng.uniform(2, 10)
    n = seconds(duration)
    when = beats(rng, duration, 1 / between(rng, 1.3, 2.6), 0.05)
    surface = rng.choice(["wood", "stone", "gravel", "soft"], p=[0.3, 0.25, 0.3, 0.15])
    toe = when + rng.uniform(0.06, 0.16)
    feet = np.where(np.arange(len(when)) % 2, rng.uniform(0.7, 1), 1.0)
    if surface == "gravel":
        steps = []
        for foot in feet:
            length = rng.uniform(0.15, 0.35)
            size = seconds(length)
            shape = curve(size, (0, 0), (0.08, 1), (0.35, 0.35), (0.55, rng.uniform(0.4, 0.9)), (1, 0))
            grains = clicks(size, scattered(rng, length, 500)) * rng.exponential(1, size)
            steps.append(foot * shape * (0.3 * hiss(rng, size) + 4 * band(grains, 800, 7000)))
        return band(place(n, when, steps), between(rng, 80, 500), between(rng, 3500, 7900))
    both = np.concatenate([when, toe])
    sizes = np.concatenate([feet, rng.uniform(0.15, 0.7) * feet]) * np.exp(
        0.2 * rng.standard_normal(len(both))
    )
    contact = {"wood": 0.002, "stone": 0.0003, "soft": 0.006}[str(surface)] * between(rng, 0.6, 1.7)
    hits = answer(clicks(n, both, sizes), np.hanning(max(3, seconds(contact))))
    if surface == "wood":
        out = resonate(
            hits, random_modes(rng, 8, 60, 900), slope_down(8), between(rng, 0.04, 0.15) * np.ones(8)
        )
    elif surface == "stone":
        out = resonate(
            hits, random_modes(rng, 7, 500, 4500), np.ones(7), between(rng, 0.01, 0.04) * np.ones(7)
        )
    else:
        out = resonate(hits, random_modes(rng, 5, 50, 300), slope_down(5), np.full(5, 0.06))
    scuff = band(hiss(rng, n) * answer(clicks(n, when, feet), np.hanning(seconds(0.12))), 400, 5000)
    return unit(out) + between(rng, 0.01, 0.4) * unit(scuff)


def clip_clop(rng: Rng) -> np.ndarray:
    """A horse walks or trots on a hard road: hollow hooves, four or two to a stride."""
    duration = rng.uniform(2, 9)
    n = seconds(duration)
    when = beats(rng, duration, 1 / between(rng, 2, 7), 0.08)
    base = between(rng, 400, 1300)
    out = np.zeros(n)
    for hoof in range(4):
        hits = blows(rng, n, when[hoof::4], between(rng, 0.0003, 0.001), 0.2)
        low = base * rng.uniform(0.85, 1.2)
        hollow = low * np.array([1, rng.uniform(1.5, 1.9), rng.uniform(2.2, 3), rng.uniform(3.5, 5)])
        out += resonate(
            hits, hollow, [1, 0.6, 0.5, 0.3], between(rng, 0.02, 0.06) * np.array([1, 0.8, 0.6, 0.4])
        )
    return out


def hammer(rng: Rng) -> np.ndarray:
    """A steel head on a nail in wood, or on metal."""
    duration = rng.uniform(1.5, 8)
    n = seconds(duration)
    when = beats(rng, duration, 1 / between(rng, 1.2, 4.5), 0.1)
    if chance(rng, 0.5):  # in series, with pauses to set the next nail
        when = when[np.sin(2 * np.pi * when / between(rng, 2, 5)) > -0.3]
    hits = blows(rng, n, when if len(when) else np.array([0.2]), 0.0002, 0.3)
    steel = resonate(
        hits,
        random_modes(rng, 7, 900, 7500),
        rng.uniform(0.3, 1, 7),
        between(rng, 0.02, 0.3) * rng.uniform(0.3, 1, 7),
    )
    wood = resonate(hits, random_modes(rng, 6, 120, 900), slope_down(6), between(rng, 0.03, 0.1) * np.ones(6))
    return unit(steel) * rng.uniform(0.3, 1) + rng.uniform(0.2, 1) * unit(wood)


def basketball(rng: Rng) -> np.ndarray:
    """Dribbling: a low slap of the floor and the ball's own hollow ring."""
    duration = rng.uniform(1.5, 8)
    n = seconds(duration)
    if chance(rng, 0.7):
        when = beats(rng, duration, 1 / between(rng, 1.2, 3.2), 0.08)
    else:  # left to itself
        when = 0.1 + np.concatenate(
            [[0], np.cumsum(between(rng, 0.5, 0.9) * rng.uniform(0.8, 0.9) ** np.arange(25))]
        )
    hits = blows(rng, n, when, between(rng, 0.002, 0.006), 0.15)
    air = between(rng, 500, 1100)
    thump = resonate(hits, random_modes(rng, 4, 60, 220), slope_down(4), between(rng, 0.06, 0.2) * np.ones(4))
    ring = resonate(
        hits, [air, air * 1.45, air * 2.0], [1, 0.5, 0.3], between(rng, 0.08, 0.35) * np.array([1, 0.7, 0.5])
    )
    slap = band(hiss(rng, n) * answer(clicks(n, when), np.exp(-np.arange(500) / 60)), 500, 4000)
    return unit(thump) + rng.uniform(0.1, 0.6) * unit(ring) + rng.uniform(0.1, 0.4) * unit(slap)


# ---------------------------------------------------------------- keys


def _typed(rng: Rng, duration: float, rate: float) -> np.ndarray:
    """Times of key strokes: bursts with pauses to think."""
    when = beats(rng, duration, 1 / rate, 0.4)
    kept = when[drift(rng, len(when) * 100, 1.0)[::100][: len(when)] > -1.3]
    return kept if len(kept) > 2 else when


def computer_keyboard(rng: Rng) -> np.ndarray:
    """Keys going down and, fainter, up again, in bursts."""
    duration = rng.uniform(2, 10)
    n = seconds(duration)
    when = _typed(rng, duration, between(rng, 3.5, 12))
    release = when + rng.uniform(0.05, 0.12, len(when))
    out = np.zeros(n)
    keys = rng.integers(0, 4, len(when))
    loud_up, contact = rng.uniform(0.2, 0.8), between(rng, 0.0002, 0.0015)
    plastic = between(rng, 0.008, 0.04)
    for key in range(4):  # four neighbourhoods of keys that sound a little different
        mine = keys == key
        both = np.concatenate([when[mine], release[mine]])
        if not len(both):
            continue
        sizes = np.concatenate([np.ones(mine.sum()), np.full(mine.sum(), loud_up)])
        hits = answer(
            clicks(n, both, sizes * rng.uniform(0.4, 1.3, len(both))), np.hanning(max(3, seconds(contact)))
        )
        out += resonate(
            hits, random_modes(rng, 7, 350, 6500), rng.uniform(0.2, 1, 7), plastic * rng.uniform(0.4, 1.3, 7)
        )
    return out + between(rng, 1e-4, 0.01) * coloured(rng, n, 1)


def typewriter(rng: Rng) -> np.ndarray:
    """Loud type bars on a platen, the margin bell, and the carriage's ratchet."""
    duration = rng.uniform(2.5, 10)
    n = seconds(duration)
    when = _typed(rng, duration, between(rng, 3, 9))
    hits = blows(rng, n, when, 0.0002, 0.3) + 0.4 * blows(rng, n, when + rng.uniform(0.03, 0.07), 0.0002, 0.3)
    out = unit(
        resonate(
            hits,
            random_modes(rng, 8, 300, 6500),
            rng.uniform(0.3, 1, 8),
            between(rng, 0.02, 0.1) * np.ones(8),
        )
    )
    if chance(rng, 0.6):
        at = np.array([rng.uniform(0.5, duration - 1)])
        bell = between(rng, 1800, 3800)
        out += (
            0.2
            * unit(resonate(clicks(n, at), [bell, bell * 2.4], [1, 0.4], [1.2, 0.5]))
            * rng.uniform(0.5, 2)
        )
        ratchet = at + 0.5 + np.arange(0, rng.uniform(0.3, 0.7), 1 / between(rng, 30, 80))
        out += 0.4 * unit(
            resonate(clicks(n, ratchet), random_modes(rng, 4, 800, 5000), np.ones(4), np.full(4, 0.015))
        )
    return out


# ---------------------------------------------------------------- teeth


def zipper(rng: Rng) -> np.ndarray:
    """Teeth let go one by one, faster then slower, and the pitch of their rasp moves along."""
    pieces = []
    for _ in range(rng.integers(1, 4)):
        length = between(rng, 0.25, 1.5)
        size = seconds(length)
        top = between(rng, 80, 350)
        rate = curve(size, (0, 0.3 * top), (rng.uniform(0.3, 0.9), top), (1, rng.uniform(0.3, 1) * top))
        teeth = (
            np.diff(np.floor(np.cumsum(rate * (1 + 0.1 * hiss(rng, size))) / SAMPLE_RATE), prepend=0) > 0
        ).astype(float)
        teeth *= rng.uniform(0.5, 1.3, size)
        cloth = hiss(rng, size) * answer(teeth, np.exp(-np.arange(120) / between(rng, 10, 40)))
        early, late = (
            band(cloth, low, low * 3.2) for low in (between(rng, 900, 2000), between(rng, 1500, 2500))
        )
        mix = np.linspace(0, 1, size)
        zip_ = ((1 - mix) * early + mix * late) * curve(size, (0, 0.3), (0.4, 1), (0.95, 0.9), (1, 0))
        pieces += [fade(zip_, 0.01, 0.01), np.zeros(seconds(between(rng, 0.1, 0.8)))]
    return np.concatenate(pieces)


def sawing(rng: Rng) -> np.ndarray:
    """Strokes to and fro; the teeth rattle over wood that resonates."""
    duration = rng.uniform(2, 9)
    n = seconds(duration)
    rate = between(rng, 0.9, 3.2)
    phase = rng.random() + np.cumsum(rate * (1 + 0.1 * drift(rng, n, 2))) / SAMPLE_RATE
    speed = np.sin(2 * np.pi * phase)
    push = np.abs(speed) ** rng.uniform(0.6, 1.5) * np.where(speed > 0, 1, rng.uniform(0.15, 0.9))
    teeth_rate = between(rng, 80, 500) * np.abs(speed) + 15
    teeth = 1 + rng.uniform(0.2, 0.9) * np.sin(2 * np.pi * np.cumsum(teeth_rate) / SAMPLE_RATE)
    rasp = hiss(rng, n) * push * teeth
    wood = resonate(
        rasp, random_modes(rng, 5, 250, 3500), rng.uniform(0.3, 1, 5), np.full(5, between(rng, 0.003, 0.02))
    )
    return unit(wood) + rng.uniform(0.2, 1) * unit(
        band(rasp, between(rng, 500, 2000), between(rng, 3000, 7800))
    )


def drip(rng: Rng) -> np.ndarray:
    """Drops that close a bubble: each a short sine that rises a little as the bubble nears the surface."""
    duration = rng.uniform(1.5, 9)
    n = seconds(duration)
    when = beats(rng, duration, 1 / between(rng, 0.6, 7), rng.choice([0.03, 0.4]))
    base, drops = between(rng, 500, 2500), []
    for _ in when:
        size = seconds(0.18)
        t = np.arange(size) / SAMPLE_RATE
        frequency = base * np.exp(0.25 * rng.standard_normal()) * (1 + rng.uniform(0.5, 6) * t)
        bubble = np.sin(2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE) * 10 ** (
            -3 * t / between(rng, 0.03, 0.17)
        )
        delay = seconds(rng.uniform(0.002, 0.02))
        drop = np.concatenate([np.zeros(delay), fade(bubble, 0.001, 0.01)])
        drop[:60] += rng.uniform(0, 0.4) * hiss(rng, 60) * np.exp(-np.arange(60) / 12)
        drops.append(drop * between(rng, 0.4, 1))
    return place(n, when, drops)


SOUNDS = {
    "Tick": tick,
    "Tick-tock": tick_tock,
    "Knock": knock,
    "Walk, footsteps": footsteps,
    "Clip-clop": clip_clop,
    "Hammer": hammer,
    "Basketball bounce": basketball,
    "Computer keyboard": computer_keyboard,
    "Typewriter": typewriter,
    "Zipper (clothing)": zipper,
    "Sawing": sawing,
    "Drip": drip,
}

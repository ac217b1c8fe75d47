"""Engines, rotors, guns and powder: sounds of pulses and blasts."""

from __future__ import annotations

import numpy as np
from scipy import signal as dsp
from sounds import SAMPLE_RATE, seconds

from .parts import (
    Rng,
    answer,
    band,
    beats,
    between,
    burst,
    chance,
    clicks,
    coloured,
    curve,
    drift,
    fade,
    hiss,
    periodic,
    place,
    resonate,
    scattered,
    slope,
    tone,
    turns,
    unit,
)

# ---------------------------------------------------------------- engines


def _combustion(
    rng: Rng, rpm: np.ndarray, cylinders: int, strokes: int, load: np.ndarray | float
) -> np.ndarray:
    """Pressure pulses of unlike cylinders through an exhaust, plus the clatter and rush that follow them.

    Args:
        rng: all chance.
        rpm: crankshaft speed at every sample, [n].
        cylinders: how many fire in a cycle.
        strokes: 4 (each cylinder fires every second turn) or 2 (every turn).
        load: 0 (coasting) to 1 (full throttle), for every sample or all.
    """
    n = len(rpm)
    cycle = turns(rpm / (60 * strokes / 2), rng.random()) % 1
    size = 4096
    table = np.zeros(size)
    sharpness = between(rng, 0.08, 0.5) / cylinders
    uneven = rng.choice([0.0, 0.0, 0.15])  # V-twins and some V8 fire unevenly
    for k in range(cylinders):
        begin = int(size * ((k + uneven * (k % 2) + 0.01 * rng.standard_normal()) / cylinders)) % size
        shape = np.exp(-np.arange(size) / (size * sharpness)) * rng.uniform(0.75, 1.1)
        table += np.roll(shape, begin)
    table = dsp.lfilter([0.15], [1, -0.85], np.tile(table - table.mean(), 2))[size:]
    pulses = table[(cycle * size).astype(np.int64)]
    # every firing differs a little: a slow random gain read once per firing
    pulses = pulses * (
        1 + rng.uniform(0.05, 0.25) * drift(rng, n, float(rpm.mean()) / 60 * cylinders / strokes * 2)
    )
    pipes = between(rng, 60, 160) * np.array(
        [1, rng.uniform(1.8, 3.2), rng.uniform(4, 7), rng.uniform(9, 14)]
    )
    exhaust = unit(
        resonate(pulses, pipes, rng.uniform(0.2, 1, 4), between(rng, 0.01, 0.06) * np.ones(4))
    ) + 0.5 * unit(pulses)
    envelope = np.clip(pulses, 0, None) / (np.abs(pulses).max() + 1e-9)
    rush = unit(band(hiss(rng, n) * (0.2 + envelope), between(rng, 150, 800), between(rng, 1500, 7000)))
    return exhaust * (0.4 + 0.6 * load) + between(rng, 0.03, 0.5) * rush * (0.5 + 0.5 * load)


def _muffled(rng: Rng, waveform: np.ndarray) -> np.ndarray:
    """From under the bonnet, from within the car or from afar."""
    return band(waveform, between(rng, 20, 80), between(rng, 600, 7900), 1)


def engine(rng: Rng) -> np.ndarray:
    """Running at some speed, with slowly changing load."""
    n = seconds(rng.uniform(2.5, 10))
    rpm = (
        between(rng, 1200, 5500)
        * (1 + 0.03 * drift(rng, n, 1))
        * curve(n, (0, 1), (1, between(rng, 0.8, 1.25)))
    )
    load = np.clip(0.6 + 0.3 * drift(rng, n, 0.7), 0, 1)
    return _muffled(rng, _combustion(rng, rpm, int(rng.choice([1, 2, 3, 4, 4, 6, 8])), 4, load))


def idling(rng: Rng) -> np.ndarray:
    """No load: 550 to 1150 turns a minute, a little uneven, a belt or alternator whining."""
    n = seconds(rng.uniform(3, 10))
    rpm = between(rng, 550, 1150) * (1 + 0.015 * drift(rng, n, 4))
    out = _combustion(rng, rpm, int(rng.choice([1, 2, 3, 4, 4, 4, 6, 8])), 4, 0.1)
    whine = tone(rpm / 60 * float(rng.integers(8, 30)), n)  # alternator, belt
    return _muffled(rng, out + between(rng, 0.003, 0.1) * whine)


def revving(rng: Rng) -> np.ndarray:
    """The throttle opened and let go, once or again and again."""
    n = seconds(rng.uniform(2, 10))
    idle, top = between(rng, 800, 1500), between(rng, 3000, 9000)
    count = max(1, int(n / SAMPLE_RATE / between(rng, 0.8, 4)))
    points = [(0.0, 0.0)]
    for k in range(count):
        points += [
            ((k + rng.uniform(0.3, 0.6)) / count, rng.uniform(0.5, 1)),
            ((k + 0.95) / count, rng.uniform(0, 0.25)),
        ]
    throttle = curve(n, *points)
    rpm = idle + (top - idle) * throttle
    load = np.clip(np.gradient(throttle) * n / 4, 0, 1) * 0.7 + 0.3 * throttle
    out = _combustion(
        rng, rpm, int(rng.choice([1, 2, 2, 4, 4, 4, 6, 8])), int(rng.choice([4, 4, 4, 2])), load
    )
    return _muffled(rng, out * (0.3 + 0.7 * throttle))


def heavy_engine(rng: Rng) -> np.ndarray:
    """A big slow diesel: low pulses and the knock of its injection."""
    n = seconds(rng.uniform(3, 10))
    rpm = (
        between(rng, 350, 1500)
        * (1 + 0.01 * drift(rng, n, 2))
        * curve(n, (0, 1), (1, between(rng, 0.8, 1.3)))
    )
    cylinders = int(rng.choice([4, 6, 6, 8, 12]))
    out = _combustion(rng, rpm, cylinders, 4, 0.7)
    firing = np.diff(np.floor(turns(rpm / 120 * cylinders)), prepend=0) > 0
    knock = resonate(
        firing * rng.uniform(0.3, 1.2, n), np.sort(rng.uniform(700, 3500, 5)), np.ones(5), np.full(5, 0.012)
    )
    deep = band(out, None, between(rng, 150, 700))
    return unit(deep) + between(rng, 0.02, 0.4) * unit(knock) + between(rng, 0.02, 0.2) * unit(out)


def light_engine(rng: Rng) -> np.ndarray:
    """A small two-stroke or a mower: one cylinder, fast, shrill."""
    n = seconds(rng.uniform(3, 10))
    rpm = (
        between(rng, 3000, 11000)
        * (1 + 0.04 * drift(rng, n, 1.5))
        * (1 - between(rng, 0.01, 0.4) * (drift(rng, n, 0.8) > 0.5))
    )
    sharp = _combustion(rng, dsp.lfilter([0.001], [1, -0.999], rpm - rpm[0]) + rpm[0], 1, 2, 0.8)
    return band(sharp, between(rng, 80, 300), between(rng, 3000, 7900), 1)


def helicopter(rng: Rng) -> np.ndarray:
    """Blade slaps at 9 to 28 Hz, the whine of a turbine and the hum of the tail rotor."""
    n = seconds(rng.uniform(3, 10))
    rate = between(rng, 9, 28) * (1 + 0.01 * drift(rng, n, 0.5))
    phase = turns(rate, rng.random()) % 1
    slap = np.exp(-phase / rng.uniform(0.08, 0.3)) * np.clip(phase / 0.03, 0, 1)
    air = unit(band(hiss(rng, n), between(rng, 40, 150), between(rng, 500, 3500), 1)) * (
        slap + rng.uniform(0.05, 0.3)
    )
    # the slap itself: a low pulse that repeats with the blades
    body = band(periodic(rate, slope(30, rng.uniform(0.3, 1.1)), rng.random()), 20, between(rng, 200, 900), 1)
    tail = periodic(rate * rng.uniform(4.2, 6.5), slope(12, 1.0) * rng.uniform(0.2, 1, 12))
    turbine = tone(between(rng, 1500, 6000) * (1 + 0.005 * drift(rng, n, 1)), n)
    out = (
        rng.uniform(0.3, 1.2) * unit(air)
        + unit(body)
        + between(rng, 0.02, 0.4) * unit(tail)
        + between(rng, 0.002, 0.1) * turbine
    )
    if chance(rng, 0.5):
        out *= curve(n, (0, between(rng, 0.1, 1)), (rng.uniform(0.2, 0.8), 1), (1, between(rng, 0.1, 1)))
    return out


def jackhammer(rng: Rng) -> np.ndarray:
    """Hard blows at 12 to 35 Hz in runs, steel ringing, compressed air hissing."""
    duration = rng.uniform(2, 9)
    n = seconds(duration)
    when = beats(rng, duration, 1 / between(rng, 12, 35), 0.03)
    running = drift(rng, n, between(rng, 0.3, 1)) > -0.8
    when = (
        when[running[np.minimum((when * SAMPLE_RATE).astype(int), n - 1)]]
        if chance(rng, 0.6) and running.mean() > 0.3
        else when
    )
    hits = clicks(n, when, rng.uniform(0.6, 1.2, len(when)))
    steel = resonate(
        hits,
        np.sort(rng.uniform(400, 6500, 8)),
        rng.uniform(0.2, 1, 8),
        between(rng, 0.01, 0.08) * rng.uniform(0.4, 1.2, 8),
    )
    ground = resonate(hits, rng.uniform(60, 250, 3), np.ones(3), np.full(3, 0.05))
    after = answer(hits, np.exp(-np.arange(800) / between(rng, 60, 300)))
    stones = band(hiss(rng, n), between(rng, 400, 1500), 7000) * after
    return unit(steel) + rng.uniform(0.2, 1) * unit(ground) + rng.uniform(0.3, 1) * unit(stones)


# ---------------------------------------------------------------- guns and powder


def _shot(rng: Rng, calibre: float, tail: float) -> np.ndarray:
    """Muzzle blast (one steep N-shaped wave), its noise, and the slower roll from the surroundings."""
    n = seconds(min(2.2 * tail + 0.1, 4))
    t = np.arange(n) / SAMPLE_RATE
    period = 0.0008 * calibre
    blast = np.where(t < 4 * period, (1 - t / period) * np.exp(-t / period), 0.0)
    crack = band(hiss(rng, n), None, 7500 / calibre**0.5, 1) * np.exp(-t / (0.012 * calibre))
    roll = (
        band(hiss(rng, n), 60, 2500 / calibre**0.7, 1)
        * 10 ** (-3 * t / (2.2 * tail))
        * np.clip(t / 0.02, 0, 1)
    )
    return 6 * blast + 2.5 * crack + between(rng, 0.1, 0.6) * roll


def gunshot(rng: Rng) -> np.ndarray:
    """Single shots at uneven times, near or far."""
    duration = rng.uniform(0.7, 6)
    shot = _shot(rng, between(rng, 0.6, 5), between(rng, 0.08, 1.2))
    when = beats(rng, duration, between(rng, 0.25, 2.5), 0.5, 0.2)
    out = place(seconds(duration), when, [shot * rng.uniform(0.7, 1) for _ in when])
    return np.tanh(out * between(rng, 0.1, 1.5))  # recorders are overdriven by it


def machine_gun(rng: Rng) -> np.ndarray:
    """Bursts of shots at 7 to 20 a second."""
    duration = rng.uniform(1, 7)
    shot = _shot(rng, between(rng, 0.6, 4), between(rng, 0.05, 0.6))
    when, now, rate = [], rng.uniform(0, 0.2), between(rng, 7, 20)
    while now < duration:
        burst_ = now + np.arange(rng.integers(3, 30)) / rate
        when.append(burst_)
        now = burst_[-1] + between(rng, 0.2, 1.5)
    moments = np.concatenate(when)
    moments = moments[moments < duration]
    sizes = rng.uniform(0.8, 1, len(moments))
    train = clicks(seconds(duration), moments, sizes)
    return np.tanh(answer(train, shot) * between(rng, 0.1, 1.5))


def _blast(rng: Rng, size: float) -> np.ndarray:
    """An explosion: a front, a boom that darkens, and debris."""
    n = seconds(min(1.2 + 2.5 * size, 6))
    t = np.arange(n) / SAMPLE_RATE
    bright = band(hiss(rng, n), None, between(rng, 1500, 6000), 1) * np.exp(-t / (0.06 * (1 + size)))
    dark = unit(band(coloured(rng, n, 1.5), 25, between(rng, 150, 600))) * np.exp(-t / (0.25 + 0.45 * size))
    boom = tone(between(rng, 35, 90) * (0.5 + np.exp(-t / 0.3)), n) * np.exp(-t / (0.15 + 0.2 * size))
    out = bright + dark * (1 + 0.3 * drift(rng, n, 15)) + rng.uniform(0.3, 1.2) * boom
    return fade(out, 0.0005, 0.1)


def explosion(rng: Rng) -> np.ndarray:
    """One or a few blasts, perhaps with debris."""
    duration = rng.uniform(1.5, 8)
    n = seconds(duration)
    when = beats(rng, duration, between(rng, 1.0, 6), 0.5, 0.3)
    out = place(n, when, [_blast(rng, between(rng, 0.4, 2.5)) * between(rng, 0.4, 1) for _ in when])
    if chance(rng, 0.4):
        debris = scattered(rng, duration, between(rng, 5, 40))
        debris = debris[debris > when[0] + 0.3]
        out += 0.08 * resonate(
            clicks(n, debris, rng.exponential(1, len(debris))),
            rng.uniform(300, 4000, 4),
            np.ones(4),
            np.full(4, 0.02),
        )
    return np.tanh(out * between(rng, 0.3, 3))


def fireworks(rng: Rng) -> np.ndarray:
    """Rising whistles, dull booms from afar, and crackling showers."""
    duration = rng.uniform(3, 10)
    n = seconds(duration)
    out = np.zeros(n)
    far = between(rng, 600, 5000)
    for at in beats(rng, duration, between(rng, 0.5, 3), 0.5):
        if chance(rng, 0.35):
            length = rng.uniform(0.5, 1.5)
            size = seconds(length)
            rise = np.geomspace(between(rng, 900, 2500), between(rng, 2500, 5000), size)[
                :: int(rng.choice([1, -1]))
            ]
            out += place(
                n,
                [at],
                [
                    fade(tone(rise * (1 + 0.01 * drift(rng, size, 30)), size), 0.1, 0.1)
                    * between(rng, 0.03, 0.2)
                ],
            )
            at += length
        bang = band(_blast(rng, between(rng, 0.2, 0.8)), None, far, 1)
        out += place(n, [at], [bang * between(rng, 0.4, 1)])
        if chance(rng, 0.5):
            length = rng.uniform(0.5, 2)
            size = seconds(length)
            sparks = clicks(size, scattered(rng, length, between(rng, 30, 200)), 1.0) * rng.exponential(
                1, size
            )
            crackle = answer(sparks, burst(rng, 0.03, 0.02, 500, None)) * curve(
                size, (0, 0.3), (0.3, 1), (1, 0)
            )
            out += place(n, [at + rng.uniform(0.1, 0.5)], [crackle * between(rng, 0.1, 0.6)])
    return out


SOUNDS = {
    "Engine": engine,
    "Idling": idling,
    "Accelerating, revving, vroom": revving,
    "Heavy engine (low frequency)": heavy_engine,
    "Light engine (high frequency)": light_engine,
    "Helicopter": helicopter,
    "Jackhammer": jackhammer,
    "Gunshot, gunfire": gunshot,
    "Machine gun": machine_gun,
    "Explosion": explosion,
    "Fireworks": fireworks,
}

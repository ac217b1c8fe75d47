"""Sirens, alarms, beepers and horns: sounds made to be heard, whose patterns standards define."""

from __future__ import annotations

import numpy as np
from sounds import SAMPLE_RATE, seconds

from .parts import (
    Rng,
    band,
    beats,
    between,
    chance,
    clicks,
    coloured,
    drift,
    fade,
    gated,
    narrow,
    periodic,
    place,
    resonate,
    slope,
    tone,
    unit,
)

# ---------------------------------------------------------------- sirens and alarms


def _loudspeaker(rng: Rng, frequency: np.ndarray) -> np.ndarray:
    """An electronic siren's voice: a hard waveform through a horn loudspeaker."""
    count = 24
    amplitudes = slope(count, rng.uniform(0.5, 2.0)) * rng.uniform(0.4, 1, count)
    if chance(rng, 0.4):
        amplitudes[1::2] *= rng.uniform(0, 0.4)
    out = periodic(frequency, amplitudes)
    return band(out, between(rng, 200, 500), between(rng, 2500, 7900))


def siren(rng: Rng) -> np.ndarray:
    """Wail, yelp, two-tone (hi-lo) and their successions, sometimes passing by with a Doppler shift."""
    n = seconds(rng.uniform(2, 10))
    kind = rng.choice(["wail", "yelp", "two-tone", "mixed"], p=[0.33, 0.25, 0.3, 0.12])
    t = np.arange(n) / SAMPLE_RATE + rng.uniform(0, 5)
    low, high = between(rng, 380, 800), between(rng, 1000, 1800)
    rise = rng.uniform(0.3, 0.7)

    def sweep(period: float) -> np.ndarray:
        place_in = (t / period) % 1
        up = np.where(place_in < rise, place_in / rise, (1 - place_in) / (1 - rise))
        return low * (high / low) ** (0.5 - 0.5 * np.cos(np.pi * up))

    if kind == "wail":
        frequency = sweep(between(rng, 2, 8))
    elif kind == "yelp":
        frequency = sweep(between(rng, 0.17, 0.5))
    elif kind == "two-tone":
        ratio = rng.uniform(1.15, 1.45)  # German Martinshorn: a fourth, 4/3; French: 435 and 580 Hz
        base = between(rng, 360, 750)
        step = between(rng, 0.25, 1.0)
        frequency = np.where((t / step).astype(int) % 2 == 0, base, base * ratio)
    else:
        frequency = np.where(
            t - t[0] < rng.uniform(1, 4), sweep(between(rng, 2, 5)), sweep(between(rng, 0.2, 0.4))
        )
    level = np.ones(n)
    if chance(rng, 0.4):
        speed, distance = rng.uniform(8, 30), rng.uniform(4, 25)
        along = speed * (np.arange(n) / SAMPLE_RATE - rng.uniform(0, n / SAMPLE_RATE))
        away = np.hypot(along, distance)
        frequency = frequency * (1 - speed * along / away / 343)
        level = distance / away
    if kind == "two-tone" and chance(rng, 0.5):  # air horns: reedy, each tone set on anew
        out = periodic(frequency, slope(30, rng.uniform(0.3, 1.0)))
    else:
        out = _loudspeaker(rng, frequency)
    return fade(out * (0.1 + level), 0.03, 0.03)


def civil_defense_siren(rng: Rng) -> np.ndarray:
    """A motor siren: slow run-up and run-down, one or two rotors a minor third apart, rich in harmonics."""
    n = seconds(rng.uniform(5, 10))
    top, bottom = between(rng, 350, 750), between(rng, 120, 300)
    t = np.arange(n) / SAMPLE_RATE + rng.uniform(0, 10)
    if chance(rng, 0.6):
        frequency = bottom + (top - bottom) * (0.5 - 0.5 * np.cos(2 * np.pi * t / between(rng, 4, 10))) ** 0.6
    else:
        frequency = top - (top - bottom) * np.exp(-np.arange(n) / SAMPLE_RATE / between(rng, 0.7, 3))
    ratios = (1, 6 / 5) if chance(rng, 0.4) else ((1, 4 / 3) if chance(rng, 0.2) else (1,))
    amplitudes = slope(25, rng.uniform(0.5, 1.5)) * rng.uniform(0.4, 1, 25)
    out = sum(periodic(frequency * ratio, amplitudes, rng.random()) for ratio in ratios)
    return fade(out * (frequency / top) ** 1.5, 0.1, 0.1)


def _beeper(frequency: float, n: int, hard: float) -> np.ndarray:
    """A piezo beeper at a fixed frequency; `hard` from 0 (sine) to 1 (square)."""
    odd = slope(9, 1.0) * (np.arange(9) % 2 == 0) * hard
    odd[0] = 1
    return periodic(np.full(n, frequency), odd)


def reversing_beeps(rng: Rng) -> np.ndarray:
    """A fixed beep, on and off about once a second, over the murmur of a lorry."""
    n = seconds(rng.uniform(2, 10))
    period = between(rng, 0.6, 1.5)
    on = period * rng.uniform(0.35, 0.65)
    out = _beeper(between(rng, 650, 1700), n, rng.uniform(0.2, 1)) * gated(
        n, on, period - on, 0.008, rng.random()
    )
    rumble = band(coloured(rng, n, 1.5), 40, 400)
    return out + between(rng, 0.003, 0.2) * unit(rumble)


def smoke_alarm(rng: Rng) -> np.ndarray:
    """The temporal-three pattern at about 3 kHz, the older steady fast beeping, or a warbling horn."""
    n = seconds(rng.uniform(3, 10))
    frequency = rng.uniform(2700, 3500) if chance(rng, 0.85) else between(rng, 500, 560)
    out = _beeper(frequency, n, rng.uniform(0.1, 1))
    t = np.arange(n) / SAMPLE_RATE + rng.uniform(0, 4)
    if chance(rng, 0.7):
        on, off, pause = rng.uniform(0.3, 0.55), rng.uniform(0.3, 0.5), rng.uniform(1.0, 1.6)
        cycle = t % (3 * on + 2 * off + pause)
        gate = (cycle % (on + off) < on) & (cycle < 3 * on + 2 * off)
    else:
        period = between(rng, 0.12, 0.9)
        gate = t % period < period * rng.uniform(0.5, 0.9)
    return out * band(gate.astype(float), None, 300, 1)


def alarm_clock(rng: Rng) -> np.ndarray:
    """Digital: groups of (mostly four) fast beeps each second; or mechanical: twin bells hammered fast."""
    duration = rng.uniform(2, 10)
    n = seconds(duration)
    if chance(rng, 0.25):
        when = beats(rng, duration, 1 / between(rng, 12, 25), 0.05)
        base = between(rng, 1200, 3500)
        ratios = np.sort(rng.uniform(1, 4, 5))
        return resonate(
            clicks(n, when, rng.uniform(0.6, 1, len(when))),
            base * ratios,
            rng.uniform(0.3, 1, 5),
            between(rng, 0.1, 0.8) * np.ones(5),
        )
    count = int(rng.choice([1, 2, 3, 4, 4, 4, 4, 5]))
    on, off = between(rng, 0.04, 0.12), between(rng, 0.03, 0.1)
    cycle = max(count * (on + off) + 0.1, rng.uniform(0.6, 1.2))
    t = (np.arange(n) / SAMPLE_RATE + rng.random()) % cycle
    gate = (t % (on + off) < on) & (t < count * (on + off))
    beep = _beeper(between(rng, 1000, 4200), n, rng.uniform(0.1, 1))
    return beep * band(gate.astype(float), None, 400, 1)


def beep(rng: Rng) -> np.ndarray:
    """One to many single beeps of an appliance at a steady or random pace."""
    duration = rng.uniform(0.6, 8)
    n = seconds(duration)
    length = between(rng, 0.05, 0.6)
    tone_ = fade(_beeper(between(rng, 500, 4500), seconds(length), rng.random()), 0.004, 0.004)
    when = beats(rng, duration, length + between(rng, 0.1, 2), rng.choice([0.0, 0.3]))
    return place(n, when, [tone_] * len(when))


def whistle(rng: Rng) -> np.ndarray:
    """A referee's whistle: a high tone that the pea interrupts 20 to 60 times a second, and much air."""
    pieces = [np.zeros(seconds(rng.uniform(0, 0.2)))]
    base, pea = between(rng, 2000, 4200), between(rng, 18, 60)
    depth = rng.choice([0.0, rng.uniform(0.3, 0.9)], p=[0.2, 0.8])
    pair = rng.uniform(1.03, 1.2)  # many have two or three chambers
    for _ in range(rng.integers(1, 6)):
        n = seconds(between(rng, 0.12, 1.8))
        flutter = 1 - depth * (0.5 + 0.5 * tone(pea * (1 + 0.1 * drift(rng, n, 10)), n, rng.random()))
        frequency = base * (1 - 0.06 * np.exp(-np.arange(n) / 300)) * (1 + 0.015 * (flutter - 1))
        blown = periodic(frequency, [1, 0.15, 0.05]) + rng.uniform(0, 0.8) * periodic(
            frequency * pair, [1, 0.1]
        )
        air = rng.uniform(0.05, 0.4) * narrow(rng, frequency, between(rng, 200, 1500))
        pieces += [fade((blown + air) * flutter, 0.015, 0.03), np.zeros(seconds(between(rng, 0.06, 0.8)))]
    return np.concatenate(pieces)


def sonar(rng: Rng) -> np.ndarray:
    """A ping that rings on in the water, and its fainter returns."""
    duration = rng.uniform(3, 10)
    n = seconds(duration)
    when = beats(rng, duration, between(rng, 1.5, 5))
    base = between(rng, 500, 3000)
    length = seconds(between(rng, 0.04, 0.5))
    glide = rng.choice([1.0, 1.0, rng.uniform(0.9, 1.15)])
    ping = fade(tone(np.linspace(base, base * glide, length), length), 0.003, 0.02)
    t = np.arange(seconds(3)) / SAMPLE_RATE
    tail = 10 ** (-3 * t / between(rng, 0.6, 3)) * narrow(
        rng, np.full(len(t), base * glide), between(rng, 5, 30)
    )
    ping = np.concatenate([ping, np.zeros(len(tail))]) + rng.uniform(0.15, 0.6) * np.concatenate(
        [0 * ping, tail]
    )
    echo = rng.uniform(0.3, 1.5)
    out = place(n, when, [ping] * len(when)) + rng.uniform(0, 0.3) * place(n, when + echo, [ping] * len(when))
    return out + between(rng, 0.001, 0.03) * unit(band(coloured(rng, n, 1.5), 30, 800))


# ---------------------------------------------------------------- horns


def _horn(rng: Rng, notes: np.ndarray, n: int, tilt: float, bend: float = 0.03) -> np.ndarray:
    """Reeds or membranes sounding together: rich, slightly bent in pitch when the pressure comes and goes."""
    bends = 1 - bend * np.exp(-np.arange(n) / SAMPLE_RATE / 0.04) + 0.001 * drift(rng, n, 8)
    parts = [periodic(f * bends, slope(40, tilt) * rng.uniform(0.3, 1, 40), rng.random()) for f in notes]
    return fade(sum(parts), between(rng, 0.008, 0.05), between(rng, 0.02, 0.15))


def car_horn(rng: Rng) -> np.ndarray:
    """Two horns about a major third apart near 400 Hz, in toots or held."""
    low = between(rng, 300, 520)
    notes = low * np.array([1, rng.uniform(1.18, 1.28)]) if chance(rng, 0.8) else np.array([low])
    tilt, duration = rng.uniform(0.1, 1.4), rng.uniform(0.6, 6)
    when, end, pieces = [], rng.uniform(0, 0.2), []
    while end < duration and len(when) < 12:
        length = between(rng, 0.12, 2.5)
        when.append(end)
        pieces.append(_horn(rng, notes, seconds(length), tilt))
        end += length + between(rng, 0.06, 1.2)
    return band(
        place(seconds(min(max(duration, 0.6), 10)), when, pieces),
        between(rng, 150, 400),
        between(rng, 3000, 7900),
    )


def truck_horn(rng: Rng) -> np.ndarray:
    """Air horns, low and rich, in one to three blasts."""
    base = between(rng, 130, 300)
    notes = base * np.array([1, rng.uniform(1.15, 1.3)])[: rng.integers(1, 3)]
    lengths = [between(rng, 0.3, 3) for _ in range(rng.integers(1, 4))]
    pieces = [
        part
        for length in lengths
        for part in (_horn(rng, notes, seconds(length), 0.5, 0.08), np.zeros(seconds(between(rng, 0.1, 0.8))))
    ]
    return np.concatenate(pieces)


def train_horn(rng: Rng) -> np.ndarray:
    """Three to five chimes in a chord (such as D#, F#, G#, B, D#), blown in the pattern of a crossing."""
    chords = (
        (311, 370, 415, 494, 622),
        (277, 330, 370, 440, 554),
        (255, 311, 440),
        (311, 370, 470),
        (277, 440, 554),
        (300, 370),
        (350, 440, 520),
    )
    notes = np.array(chords[rng.integers(len(chords))]) * between(rng, 0.75, 1.25)
    notes = notes * (1 + 0.006 * rng.standard_normal(len(notes)))
    pattern = rng.choice([0.35, 1.0, 1.0], size=rng.integers(1, 5))
    stretch, tilt = between(rng, 0.8, 2.8), rng.uniform(0.2, 1.0)
    pieces = []
    for length in pattern:
        pieces += [
            _horn(rng, notes, seconds(stretch * length), tilt, 0.05),
            np.zeros(seconds(between(rng, 0.1, 0.8))),
        ]
    return np.concatenate(pieces)


def foghorn(rng: Rng) -> np.ndarray:
    """One very low blast, sometimes two in falling pitch, with long pauses."""
    base = between(rng, 70, 240)
    notes = base * np.array([1, rng.uniform(1.01, 1.5)])[: rng.integers(1, 3)]
    length = between(rng, 1, 5)
    blast = _horn(rng, notes, seconds(length), rng.uniform(0.8, 1.6), 0.1)
    if chance(rng, 0.2):  # the diaphone's closing grunt
        blast = np.concatenate([blast, _horn(rng, notes * 0.6, seconds(0.5), 1.0, 0.1)])
    out = np.concatenate([blast, np.zeros(seconds(between(rng, 0.5, 3)))])
    repeated = np.tile(out, max(1, int(10 * SAMPLE_RATE / len(out)))) if chance(rng, 0.5) else out
    return repeated + 0.02 * between(rng, 0.05, 1) * band(coloured(rng, len(repeated), 1.0), 40, 2000)


SOUNDS = {
    "Siren": siren,
    "Civil defense siren": civil_defense_siren,
    "Reversing beeps": reversing_beeps,
    "Smoke detector, smoke alarm": smoke_alarm,
    "Alarm clock": alarm_clock,
    "Beep, bleep": beep,
    "Whistle": whistle,
    "Sonar": sonar,
    "Vehicle horn, car horn, honking": car_horn,
    "Air horn, truck horn": truck_horn,
    "Train horn": train_horn,
    "Foghorn": foghorn,
}

"""Sounds people make without words: hearts, hands, breath, whistles and laughter."""

from __future__ import annotations

import numpy as np
from sounds import SAMPLE_RATE, seconds

from .parts import (
    Rng,
    answer,
    band,
    beats,
    between,
    burst,
    chance,
    coloured,
    curve,
    drift,
    fade,
    hiss,
    narrow,
    periodic,
    place,
    resonate,
    slope,
    tone,
    tract,
    turns,
    unit,
)

VOWELS = {
    "a": (730, 1200, 2500, 3400),
    "e": (530, 1800, 2500, 3500),
    "i": (300, 2250, 3000, 3600),
    "o": (520, 900, 2450, 3300),
    "u": (320, 850, 2250, 3200),
    "ə": (500, 1480, 2450, 3450),
}


def glottis(rng: Rng, frequency: np.ndarray, breath: float = 0.05, rough: float = 0.0) -> np.ndarray:
    """Voice source: falling harmonics, jittered pitch, breath that comes with every opening, [n].

    `rough` adds amplitude and pitch chaos, and a subharmonic, as in shouts, barks and caws.
    """
    n = len(frequency)
    frequency = frequency * (1 + (0.004 + 0.05 * rough) * drift(rng, n, 120))
    voice = unit(periodic(frequency, slope(60, rng.uniform(0.9, 1.4)), rng.random()))
    opening = 0.5 + 0.5 * np.sin(2 * np.pi * turns(frequency))
    if rough > 0:
        halves = 0.5 + 0.5 * np.sin(np.pi * turns(frequency))
        voice = voice * (1 - rough * halves) * (1 + rough * drift(rng, n, 200))
    return voice + breath * hiss(rng, n) * (0.4 + opening)


def heartbeat(rng: Rng) -> np.ndarray:
    """Lub-dub: two low thumps, the pause between them shorter than the one after; all of it low."""
    duration = rng.uniform(2.5, 10)
    n = seconds(duration)
    rate = between(rng, 45, 160) / 60
    when = beats(rng, duration, 1 / rate, 0.02)
    systole = min(rng.uniform(0.26, 0.36), 0.42 / rate)
    low = between(rng, 28, 80)

    def thump(pitch: float, length: float) -> np.ndarray:
        size = seconds(3 * length)
        t = np.arange(size) / SAMPLE_RATE
        shape = (t / length * np.exp(1 - t / length)) ** 1.5
        return shape * (
            tone(pitch, size, rng.random())
            + 0.5 * tone(1.7 * pitch, size, rng.random())
            + rng.uniform(0, 0.6) * unit(band(hiss(rng, size), 25, 200))
        )

    length = between(rng, 0.015, 0.04)
    lub, dub = thump(low, length), rng.uniform(0.4, 1.1) * thump(low * rng.uniform(1.1, 1.6), 0.7 * length)
    out = place(n, when, [lub * rng.uniform(0.85, 1) for _ in when])
    out += place(n, when + systole, [dub * rng.uniform(0.85, 1) for _ in when])
    if chance(rng, 0.3):  # the speaker or the film's sound designer adds bite
        out = np.tanh(out * between(rng, 1, 5) / np.abs(out).max())
    noise = band(coloured(rng, n, 1.0), 20, between(rng, 150, 1500))
    return unit(out) + between(rng, 0.003, 0.15) * unit(noise)


# ---------------------------------------------------------------- hands


def _clap(rng: Rng) -> np.ndarray:
    """Two palms: a very short burst, coloured by the hollow between them."""
    size = seconds(0.06)
    centre = between(rng, 600, 2600)
    t = np.arange(size) / SAMPLE_RATE
    wide = hiss(rng, size) * np.exp(-t / between(rng, 0.0015, 0.006))
    hollow = resonate(
        wide, [centre, centre * rng.uniform(1.7, 2.6)], [1, 0.5], [between(rng, 0.008, 0.03)] * 2
    )
    return unit(hollow) + rng.uniform(0.2, 1) * unit(wide)


def clapping(rng: Rng) -> np.ndarray:
    """One person, or two or three together, in a rhythm."""
    duration = rng.uniform(1.5, 8)
    n = seconds(duration)
    period = 1 / between(rng, 1.4, 6)
    out = np.zeros(n)
    for person in range(int(rng.choice([1, 1, 1, 2, 3]))):
        when = beats(rng, duration, period, rng.uniform(0.01, 0.06))
        if chance(rng, 0.2):  # a pattern: the third beat of four stays out
            when = when[np.arange(len(when)) % 4 != 3]
        hands = [_clap(rng) for _ in range(3)]
        out += place(n, when, [hands[rng.integers(3)] * rng.uniform(0.6, 1) for _ in when]) * (
            1 if person == 0 else 0.6
        )
    return out


def applause(rng: Rng) -> np.ndarray:
    """From a dozen people to a full hall, swelling and dying down."""
    duration = rng.uniform(2.5, 10)
    n = seconds(duration)
    rate = between(rng, 25, 2500)
    density = curve(
        n,
        (0, rng.uniform(0.1, 1)),
        (rng.uniform(0.1, 0.5), 1),
        (rng.uniform(0.6, 0.9), rng.uniform(0.5, 1)),
        (1, rng.uniform(0.05, 1)),
    )
    out = np.zeros(n)
    for _ in range(8):  # eight kinds of hands
        hits = (rng.random(n) < density * rate / 8 / SAMPLE_RATE) * rng.exponential(1, n)
        out += answer(hits, _clap(rng)) * rng.uniform(0.4, 1)
    if chance(rng, 0.4):  # the hall's murmur under it
        out = unit(out) + between(rng, 0.05, 0.3) * unit(band(coloured(rng, n, 0.8), 300, 2500)) * density
    return out


# ---------------------------------------------------------------- breath


def breathing(rng: Rng) -> np.ndarray:
    """In and out in turn, of unlike colour and length."""
    duration = rng.uniform(2.5, 10)
    half = between(rng, 0.35, 1.8)
    inward = between(rng, 700, 2500)
    pieces, total = [], 0.0
    while total < duration:
        for into in (True, False):
            length = half * rng.uniform(0.8, 1.2) * (1 if into else 1.2)
            size = seconds(length)
            throat = [between(rng, 400, 800), inward * (1.0 if into else 0.7), inward * 1.9, 4500]
            air = tract(band(hiss(rng, size), 200, None), throat, [300, 400, 600, 900])
            shape = curve(size, (0, 0), (rng.uniform(0.2, 0.5), 1), (0.7, 0.7), (1, 0)) ** 1.5
            pieces += [
                unit(air) * shape * (1 if into else rng.uniform(0.5, 1.4)),
                np.zeros(seconds(rng.uniform(0.02, 0.5) * half)),
            ]
            total += length
    return np.concatenate(pieces)


def snoring(rng: Rng) -> np.ndarray:
    """The soft palate flaps at 20 to 90 Hz while air goes in; out it goes quietly."""
    duration = rng.uniform(3.5, 10)
    pieces, total = [np.zeros(seconds(rng.uniform(0, 0.5)))], 0.0
    base, throat = (
        between(rng, 22, 110),
        [between(rng, 180, 500), between(rng, 700, 1400), between(rng, 1600, 2800)],
    )
    while total < duration:
        length = rng.uniform(0.7, 2.0)
        size = seconds(length)
        frequency = base * (1 + 0.12 * drift(rng, size, 8)) * curve(size, (0, 0.8), (0.6, 1.15), (1, 0.9))
        flap = np.exp(-(turns(np.maximum(frequency, 10)) % 1) / rng.uniform(0.05, 0.25))
        source = flap - flap.mean() + rng.uniform(0.1, 1.2) * hiss(rng, size) * (flap + 0.1)
        snore = unit(tract(source, throat, [120, 200, 300])) * curve(
            size, (0, 0), (0.3, 0.8), (0.8, 1), (1, 0)
        )
        out_length = rng.uniform(0.6, 1.5)
        exhale = unit(tract(hiss(rng, seconds(out_length)), [600, 1500, 2600], 400.0))
        exhale *= np.hanning(len(exhale)) * between(rng, 0.02, 0.4)
        pause = np.zeros(seconds(rng.uniform(0.1, 1.0)))
        pieces += [snore, np.zeros(seconds(0.1)), exhale, pause]
        total += length + out_length
    return np.concatenate(pieces)


def cough(rng: Rng) -> np.ndarray:
    """An explosive opening, then rough voice or breath, then sometimes a closing; in fits of one to five."""
    size_of_person = between(rng, 0.85, 1.35)
    throat = np.array([rng.uniform(550, 800), rng.uniform(1200, 1700), 2600, 3600]) * size_of_person
    pitch, voiced = between(rng, 110, 380), rng.uniform(0, 1.2)
    pieces = []
    for _ in range(rng.integers(1, 6)):
        length = rng.uniform(0.18, 0.45)
        size = seconds(length)
        open_ = burst(rng, length, between(rng, 0.06, 0.2), 300, None)
        frequency = pitch * curve(size, (0, 1.2), (0.3, 1), (1, 0.7))
        voice = glottis(rng, frequency, 0.5, 0.5) * curve(size, (0, 0), (0.15, 0.2), (0.35, 1), (1, 0)) ** 1.5
        tail = hiss(rng, size) * curve(size, (0, 1), (0.2, 0.5), (0.6, 0.35), (1, 0))
        pieces += [
            fade(tract(1.2 * open_ + voiced * voice + 0.6 * tail, throat, [130, 150, 250, 400]), 0.002, 0.02)
            * rng.uniform(0.6, 1),
            np.zeros(seconds(rng.uniform(0.03, 0.4))),
        ]
    return np.concatenate(pieces)


def sneeze(rng: Rng) -> np.ndarray:
    """A drawn-in vowel that rises, then a strong burst of breath."""
    pitch, size_of_person = between(rng, 120, 350), between(rng, 0.9, 1.3)
    throat = np.array(VOWELS["a"]) * size_of_person
    pieces = []
    for _ in range(rng.integers(1, 3)):
        n_in, n_out = seconds(rng.uniform(0.3, 0.8)), seconds(rng.uniform(0.2, 0.5))
        draw = glottis(rng, pitch * curve(n_in, (0, 0.9), (1, 1.5)), 0.8) * curve(
            n_in, (0, 0), (0.8, 1), (1, 0.2)
        )
        blow = hiss(rng, n_out) * curve(n_out, (0, 0), (0.05, 1), (0.3, 0.5), (1, 0))
        shape = band(blow, between(rng, 700, 2500), None)
        voice = glottis(rng, pitch * 1.6 * curve(n_out, (0, 1.2), (1, 0.6)), 0.3, 0.2) * curve(
            n_out, (0, 0), (0.1, 1), (0.6, 0.2), (1, 0)
        )
        pieces += [
            0.4 * unit(tract(draw, throat)),
            np.zeros(seconds(rng.uniform(0.02, 0.15))),
            unit(shape) * 1.2
            + rng.uniform(0, 1) * unit(tract(voice, np.array(VOWELS["u"]) * size_of_person)),
            np.zeros(seconds(rng.uniform(0.2, 0.8))),
        ]
    return np.concatenate(pieces)


def whistling(rng: Rng) -> np.ndarray:
    """Lips: almost a sine at 600 to 3500 Hz, with slides, vibrato and a breath of air around the note."""
    duration = rng.uniform(1.5, 10)
    n = seconds(duration)
    base = between(rng, 750, 1900)
    style = rng.choice(["tune", "call"], p=[0.75, 0.25])
    if style == "tune":
        count = max(2, int(duration * between(rng, 1.2, 5)))
        scale = np.array([-5, -3, -1, 0, 2, 4, 5, 7, 9, 11, 12])
        walk = np.cumsum(rng.integers(-3, 4, count)) + rng.integers(0, 20)
        walk = 10 - np.abs(walk % 20 - 10)  # turned back at both ends of the scale
        pitches = scale[walk] / 12 + 0.015 * rng.standard_normal(count)
        edges = np.sort(rng.uniform(0, 1, count - 1)) if chance(rng, 0.3) else np.arange(1, count) / count
        edges = np.concatenate([[0], edges, [1]]) * n
        slide = rng.uniform(0.1, 0.6)
        knots = np.stack([edges[:-1], edges[1:] - slide * np.diff(edges)], 1).ravel()
        octave = np.interp(np.arange(n), knots, np.repeat(pitches, 2))
        tongued = np.ones(n)
        for edge in edges[1:-1]:
            if chance(rng, 0.7):
                width = seconds(rng.uniform(0.02, 0.09))
                first, last = max(0, int(edge) - width), min(n, int(edge) + width)
                tongued[first:last] *= 1 - np.hanning(last - first) * rng.uniform(0.4, 1)
    else:  # to a dog or after someone: a rise, a rise and fall
        octave, tongued, now = np.zeros(n), np.zeros(n), rng.uniform(0, 0.2)
        while now < duration - 0.3:
            size = seconds(rng.uniform(0.2, 0.7))
            first = seconds(now)
            size = min(size, n - first)
            octave[first : first + size] = curve(
                size, (0, 0), (0.5, rng.uniform(0.2, 1.2)), (1, rng.uniform(-0.4, 1))
            )
            tongued[first : first + size] = np.hanning(size) ** 0.5
            now += size / SAMPLE_RATE + between(rng, 0.05, 0.8)
    vibrato = rng.choice([0.0, rng.uniform(0.003, 0.02)]) * tone(rng.uniform(4.5, 7.5), n)
    frequency = base * 2**octave * (1 + vibrato + 0.003 * drift(rng, n, 25))
    level = tongued * np.clip(0.8 + 0.2 * drift(rng, n, 4), 0.1, None)
    pure = periodic(frequency, [1, rng.uniform(0, 0.08), rng.uniform(0, 0.03)])
    breath = rng.uniform(0.05, 0.4) * narrow(rng, frequency, between(rng, 80, 500))
    air = between(rng, 0.003, 0.06) * band(hiss(rng, n), 1000, None)
    return fade((pure + breath + air) * level, 0.03, 0.05)


def laughter(rng: Rng) -> np.ndarray:
    """Runs of ha-ha: breathy onset, a short vowel, 4 to 6 a second, falling in pitch and strength."""
    duration = rng.uniform(1.2, 7)
    n = seconds(duration)
    out = np.zeros(n)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        woman = chance(rng, 0.5)
        pitch = between(rng, 220, 480) if woman else between(rng, 120, 280)
        vowel = np.array(VOWELS[str(rng.choice(["a", "ə", "e", "i", "o"], p=[0.4, 0.3, 0.15, 0.08, 0.07]))])
        throat = vowel * (1.15 if woman else 1.0) * rng.uniform(0.92, 1.08)
        rate, now = between(rng, 3.6, 6.5), rng.uniform(0, 0.3)
        pieces, starts = [], []
        while now < duration - 0.3:
            count = int(rng.integers(3, 12))
            fall = between(rng, 0.55, 1.05)
            for k in range(count):
                progress = k / count
                length = rng.uniform(0.6, 0.95) / rate
                size = seconds(length)
                share = rng.uniform(0.25, 0.5)  # of the h
                frequency = (
                    pitch
                    * fall**progress
                    * curve(size, (0, 1.0), (share, 1.2), (1, 0.85))
                    * rng.uniform(0.92, 1.1)
                )
                voice = glottis(rng, frequency, 0.1, rng.uniform(0, 0.2)) * curve(
                    size, (0, 0), (share, 0.3), (share + 0.15, 1), (0.85, 0.7), (1, 0)
                )
                aspirated = (
                    rng.uniform(0.15, 0.6)
                    * hiss(rng, size)
                    * curve(size, (0, 0), (0.4 * share, 1), (share + 0.2, 0.2), (1, 0.1))
                )
                pieces.append(
                    fade(tract(voice + aspirated, throat, [90, 110, 170, 250]) * (1 - 0.6 * progress))
                )
                starts.append(now)
                now += 1 / rate * rng.uniform(0.92, 1.08)
            if chance(rng, 0.7):  # the gasp for air
                size = seconds(rng.uniform(0.2, 0.6))
                gasp = tract(hiss(rng, size), throat, 250.0) * np.hanning(size)
                pieces.append(unit(gasp) * 0.05)
                starts.append(now)
                now += size / SAMPLE_RATE
            now += rng.uniform(0, 0.5)
        out += unit(place(n, starts, pieces)) * rng.uniform(0.5, 1)
    return out


SOUNDS = {
    "Heart sounds, heartbeat": heartbeat,
    "Clapping": clapping,
    "Applause": applause,
    "Breathing": breathing,
    "Snoring": snoring,
    "Cough": cough,
    "Sneeze": sneeze,
    "Whistling": whistling,
    "Laughter": laughter,
}

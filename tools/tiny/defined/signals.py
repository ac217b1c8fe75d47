"""Test tones, noises, telephones and a theremin: sounds that standards or circuits define."""

from __future__ import annotations

import numpy as np
from scipy import signal as dsp
from sounds import SAMPLE_RATE, seconds, times

from .parts import (
    Rng,
    answer,
    band,
    beats,
    between,
    chance,
    clicks,
    coloured,
    drift,
    fade,
    gated,
    hiss,
    periodic,
    resonate,
    scattered,
    slope,
    tone,
    unit,
)

# ---------------------------------------------------------------- test tones and noises


def sine_wave(rng: Rng) -> np.ndarray:
    """One steady tone, or several in turn as in a hearing test."""
    n = seconds(rng.uniform(1, 10))
    out = fade(tone(between(rng, 60, 7000), n, rng.random()), 0.01, 0.01)
    if chance(rng, 0.2):  # several steady tones one after another, as in a hearing test
        edges = np.sort(rng.integers(0, n, rng.integers(1, 4)))
        pieces = [
            fade(tone(between(rng, 100, 6000), len(part))) for part in np.split(out, edges) if len(part)
        ]
        out = np.concatenate(pieces)
    return out


def chirp_tone(rng: Rng) -> np.ndarray:
    """A sweep through many octaves, linear or logarithmic, up or down, alone or repeated."""
    length = between(rng, 0.3, 10)
    t = times(length)
    low, high = between(rng, 30, 800), between(rng, 1200, 7800)
    if chance(rng, 0.35):
        low, high = high, low
    method = str(rng.choice(["linear", "logarithmic", "hyperbolic"], p=[0.4, 0.5, 0.1]))
    sweep = fade(dsp.chirp(t, low, length, high, method=method), 0.01, 0.01)
    if length < 3:  # short sweeps are often repeated
        repeats = int(min(rng.integers(1, 7), 10 / (length + 0.05)))
        pause = np.zeros(seconds(rng.uniform(0, min(0.5, 10 / repeats - length))))
        sweep = np.concatenate([part for _ in range(repeats) for part in (sweep, pause)])
    return sweep


def white_noise(rng: Rng) -> np.ndarray:
    """Flat or very slightly tilted noise."""
    n = seconds(rng.uniform(1.5, 10))
    out = hiss(rng, n) if chance(rng, 0.6) else coloured(rng, n, rng.uniform(-0.4, 0.4))
    return fade(out, between(rng, 0.003, 0.5), between(rng, 0.003, 0.5))


def pink_noise(rng: Rng) -> np.ndarray:
    """Noise whose power falls as 1/f."""
    n = seconds(rng.uniform(1.5, 10))
    return fade(coloured(rng, n, rng.uniform(0.9, 1.15)), between(rng, 0.003, 0.5), between(rng, 0.003, 0.5))


def static(rng: Rng) -> np.ndarray:
    """Radio static: hiss of a receiver's band with crackles of all sizes."""
    duration = rng.uniform(1.5, 10)
    n = seconds(duration)
    out = unit(band(hiss(rng, n), between(rng, 30, 600), between(rng, 2500, 7900)))
    out *= 1 + 0.3 * rng.random() * drift(rng, n, between(rng, 1, 20))
    when = scattered(rng, duration, between(rng, 5, 300))
    crackle = clicks(n, when, rng.standard_t(2.5, len(when)) * between(rng, 3, 25))
    out = out + band(crackle, None, between(rng, 2500, 7900), 1)
    if chance(rng, 0.25):  # drop-outs and retunings
        out *= 0.15 + 0.85 * (drift(rng, n, 6) > -0.7)
    return np.clip(out, -8, 8)


def pulse(rng: Rng) -> np.ndarray:
    """Trains of clicks or short rectangular pulses at a steady rate."""
    duration = rng.uniform(1, 10)
    n = seconds(duration)
    rate = between(rng, 1, 60)
    when = beats(rng, duration, 1 / rate, 0.0 if chance(rng, 0.8) else 0.02)
    train = clicks(n, when)
    width = int(between(rng, 1, 0.2 * SAMPLE_RATE / rate))
    if chance(rng, 0.5):
        return answer(train, np.ones(min(width, 60)))
    if chance(rng, 0.5):
        return band(train, between(rng, 20, 300), between(rng, 800, 7900), 1)
    burst_of_tone = fade(tone(between(rng, 80, 3000), max(width, 80)), 0.001, 0.001)
    return answer(train, burst_of_tone)


def silence(rng: Rng) -> np.ndarray:
    """Digital zero, or what a quiet recorder leaves: noise at or below -75 dB of full scale."""
    n = seconds(rng.uniform(1, 10))
    if chance(rng, 0.4):
        return np.zeros(n, dtype=np.float32)
    level = 10 ** (rng.uniform(-105, -75) / 20)
    out = level * (coloured(rng, n, rng.uniform(0, 1.5)) if chance(rng, 0.7) else np.sign(hiss(rng, n)))
    if chance(rng, 0.3):  # dithered to 16 bits, or with an offset
        out = np.round(out * 32768 + rng.random(n) - 0.5) / 32768
    return out.astype(np.float32)


def mains_hum(rng: Rng) -> np.ndarray:
    """50 or 60 Hz and harmonics, over some hiss."""
    n = seconds(rng.uniform(1.5, 10))
    mains = float(rng.choice([50.0, 60.0])) * (1 + 0.002 * rng.standard_normal())
    # rectifiers and transformers give mostly even harmonics, ground loops all of them
    amplitudes = slope(40, rng.uniform(0.5, 2.2)) * rng.uniform(0.1, 1, 40)
    amplitudes[::2] *= between(rng, 0.15, 1.5)
    out = unit(periodic(np.full(n, mains), amplitudes)) * (1 + 0.05 * drift(rng, n, 1))
    return fade(out + between(rng, 0.003, 0.12) * coloured(rng, n, 1.0), 0.02, 0.02)


# ---------------------------------------------------------------- telephones


def _line(rng: Rng, waveform: np.ndarray) -> np.ndarray:
    """A telephone line: narrow, a little overdriven, a little noisy; or, half of the time, none."""
    if chance(rng, 0.5):
        return waveform
    waveform = np.tanh(waveform * between(rng, 0.3, 3))
    waveform = waveform + between(rng, 0.001, 0.03) * hiss(rng, len(waveform))
    return band(waveform, between(rng, 100, 400), between(rng, 2800, 4500))


# frequencies in Hz, seconds on and off: North America, its reorder tone, Europe, Britain, Japan, China …
BUSY = (
    ((480, 620), 0.5, 0.5),
    ((480, 620), 0.25, 0.25),
    ((425,), 0.5, 0.5),
    ((425,), 0.25, 0.25),
    ((425,), 0.48, 0.48),
    ((425,), 0.2, 0.2),
    ((400,), 0.375, 0.375),
    ((400,), 0.5, 0.5),
    ((450,), 0.35, 0.35),
    ((440,), 0.5, 0.5),
    ((420,), 0.375, 0.375),
)


def busy_signal(rng: Rng) -> np.ndarray:
    """The engaged or reorder tone of some country."""
    duration = rng.uniform(2, 10)
    n = seconds(duration)
    frequencies, on, off = BUSY[rng.integers(len(BUSY))]
    detune = 1 + 0.01 * rng.standard_normal()
    out = sum(rng.uniform(0.7, 1) * tone(f * detune, n, rng.random()) for f in frequencies)
    return _line(rng, out * gated(n, on, off, between(rng, 0.001, 0.01), rng.uniform(0, on + off)))


def dial_tone(rng: Rng) -> np.ndarray:
    """The continuous tone of some country: the line is free."""
    pairs = ((350, 440), (425,), (400,), (350, 450), (440,), (425, 400), (33, 400))
    n = seconds(rng.uniform(1.5, 10))
    detune = 1 + 0.01 * rng.standard_normal()
    out = sum(
        rng.uniform(0.7, 1) * tone(f * detune, n, rng.random()) for f in pairs[rng.integers(len(pairs))]
    )
    return _line(rng, fade(out))


ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)


def dtmf(rng: Rng) -> np.ndarray:
    """Touch tones of any of the 16 keys, dialled by machine (even) or by hand (uneven)."""
    on, off = between(rng, 0.05, 0.4), between(rng, 0.03, 0.4)
    by_hand = rng.uniform(0, 0.5) if chance(rng, 0.6) else 0.0
    twist = rng.uniform(0.6, 1.4)
    detune = 1 + 0.005 * rng.standard_normal()
    pieces, length = [np.zeros(seconds(rng.uniform(0, 0.3)))], 0.0
    for _ in range(rng.integers(1 if on > 0.2 else 3, 16)):
        press = on * np.exp(by_hand * rng.standard_normal())
        gap = off * np.exp(by_hand * rng.standard_normal())
        length += press + gap
        if length > 9.5:
            break
        n = seconds(press)
        # the letters A to D are rare: give the fourth column less
        column = COLUMNS[rng.choice(4, p=[0.3, 0.3, 0.3, 0.1])]
        key = tone(ROWS[rng.integers(4)] * detune, n, rng.random()) + twist * tone(
            column * detune, n, rng.random()
        )
        pieces += [fade(key, 0.002, 0.002), np.zeros(seconds(gap))]
    return _line(rng, np.concatenate(pieces))


def telephone_bell(rng: Rng) -> np.ndarray:
    """A clapper at twice 20 Hz between two gongs, in the ring cadence of some country."""
    duration = rng.uniform(2, 10)
    n = seconds(duration)
    bursts = ((0.0, between(rng, 0.8, 2.2)),) if chance(rng, 0.6) else ((0.0, 0.4), (0.6, 0.4))
    period = bursts[-1][0] + bursts[-1][1] + between(rng, 0.6, 4)
    strike = 1 / (2 * between(rng, 12, 27))
    low, ratio = between(rng, 600, 2400), rng.uniform(1.05, 1.35)
    excitations = [np.zeros(n), np.zeros(n)]
    for cycle in np.arange(-rng.uniform(0, 0.3), duration, period):
        for begin, length in bursts:
            when = cycle + begin + np.arange(0, length, strike)
            when = when + 0.02 * strike * rng.standard_normal(len(when))
            for side in range(2):
                excitations[side] += clicks(n, when[side::2], rng.uniform(0.8, 1.2, len(when[side::2])))
    decay = between(rng, 0.4, 2.5)
    out = np.zeros(n)
    for side, excitation in enumerate(excitations):
        ratios = np.array([1, rng.uniform(2.0, 2.9), rng.uniform(3.6, 5.5), rng.uniform(6, 8)])
        out += resonate(
            excitation,
            low * ratio**side * ratios,
            [1, *between(rng, 0.3, 1.5) * rng.uniform(0.2, 1, 3)],
            decay * np.array([1, 0.7, 0.5, 0.3]),
        )
    return out + between(rng, 0.05, 0.6) * band(excitations[0] + excitations[1], 800, None)


def ringtone(rng: Rng) -> np.ndarray:
    """Melodies and warbles of telephones that have a chip: square or sine tones, repeated with pauses."""
    duration = rng.uniform(2, 10)
    wave = [slope(15, rng.uniform(0.6, 1.5)) * (np.arange(15) % 2 == 0), slope(20, 1.2), np.array([1.0])][
        rng.integers(3)
    ]
    pause = np.zeros(seconds(between(rng, 0.2, 2.5)))
    if chance(rng, 0.4):  # a warble between two tones at 8 to 30 Hz
        n = seconds(between(rng, 0.4, 2))
        low, ratio = between(rng, 400, 2000), rng.uniform(1.1, 1.6)
        high = dsp.square(2 * np.pi * between(rng, 8, 30) * np.arange(n) / SAMPLE_RATE) > 0
        figure = fade(periodic(np.where(high, low * ratio, low), wave))
    else:
        step, root = between(rng, 0.07, 0.25), between(rng, 350, 1400)
        scale = np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16])
        decay = between(rng, 0.15, 3)
        pieces = []
        for _ in range(rng.integers(4, 14)):
            length = seconds(step * float(rng.choice([1, 1, 1, 2])))
            note = periodic(np.full(length, root * 2 ** (rng.choice(scale) / 12)), wave)
            pieces.append(fade(note * 10 ** (-3 * np.arange(length) / SAMPLE_RATE / decay), 0.003, 0.005))
        figure = np.concatenate(pieces)
    cycle = np.concatenate([figure, pause])
    return np.tile(cycle, int(np.ceil(seconds(duration) / len(cycle))))[: seconds(duration)]


# ---------------------------------------------------------------- an instrument


def theremin(rng: Rng) -> np.ndarray:
    """A singing near-sine that slides between notes with a wide vibrato."""
    n = seconds(rng.uniform(3, 10))
    count = max(2, int(n / SAMPLE_RATE * between(rng, 0.6, 2.5)))
    places = np.linspace(0, n, count)
    walk = np.cumsum(rng.choice([-7, -5, -3, -2, 2, 3, 5, 7], count)) + rng.integers(0, 48)
    steps = (12 - np.abs(walk % 48 - 24)) / 12  # turned back an octave above and below
    held = np.repeat(steps, 2)[:-1]
    edges = np.stack([places, places + rng.uniform(0.3, 0.9) * n / count], 1).ravel()[:-1]
    glide = np.interp(np.arange(n), edges, held)
    vibrato = (
        rng.uniform(0.005, 0.03) * tone(between(rng, 4, 8), n) * np.clip(0.6 + 0.5 * drift(rng, n, 1), 0, 1.5)
    )
    frequency = between(rng, 200, 900) * 2**glide * (1 + vibrato)
    out = periodic(frequency, slope(12, rng.uniform(1.4, 3.5)), rng.random())
    return fade(out * np.clip(0.8 + 0.3 * drift(rng, n, 1.5), 0.1, 1.5), 0.1, 0.2)


SOUNDS = {
    "Sine wave": sine_wave,
    "Chirp tone": chirp_tone,
    "White noise": white_noise,
    "Pink noise": pink_noise,
    "Static": static,
    "Pulse": pulse,
    "Mains hum": mains_hum,
    "Busy signal": busy_signal,
    "Dial tone": dial_tone,
    "Telephone dialing, DTMF": dtmf,
    "Telephone bell ringing": telephone_bell,
    "Ringtone": ringtone,
    "Theremin": theremin,
}

"""The few building blocks all defined sounds are made of: curves, sources, resonators and events in time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import fft, signal
from sounds import SAMPLE_RATE, seconds

Rng = np.random.Generator
NYQUIST = SAMPLE_RATE / 2


def between(rng: Rng, low: float, high: float) -> float:
    """A number from [low, high], equally likely on a logarithmic scale, as pitch and loudness are heard."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def chance(rng: Rng, probability: float) -> bool:
    """Whether something of this probability happens."""
    return bool(rng.random() < probability)


def drift(rng: Rng, n: int, rate: float) -> np.ndarray:
    """A wandering curve of about unit size with `rate` turning points a second, [n]."""
    knots = max(2, int(n / SAMPLE_RATE * rate) + 2)
    return np.interp(np.linspace(0, knots - 1, n), np.arange(knots), rng.standard_normal(knots))


def curve(n: int, *points: tuple[float, float]) -> np.ndarray:
    """Straight lines through (place in 0..1, value), [n]."""
    places, values = zip(*points, strict=True)
    return np.interp(np.linspace(0, 1, n), places, values)


def fade(waveform: np.ndarray, attack: float = 0.005, release: float = 0.005) -> np.ndarray:
    """The waveform with raised-cosine ends of these lengths in seconds."""
    n = len(waveform)
    rise, fall = (min(max(seconds(length), 1), n // 2) for length in (attack, release))
    out = waveform.copy()
    out[:rise] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(rise) / rise)
    out[n - fall :] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(1, fall + 1) / fall)
    return out


def hiss(rng: Rng, n: int) -> np.ndarray:
    """White noise, [n]."""
    return rng.standard_normal(n, dtype=np.float32)


def coloured(rng: Rng, n: int, exponent: float, floor: float = 20.0) -> np.ndarray:
    """Noise whose power falls as 1/f^exponent above `floor` Hz, unit variance, [n]."""
    size = fft.next_fast_len(n, real=True)
    frequencies = fft.rfftfreq(size, 1 / SAMPLE_RATE)
    shape = (np.maximum(frequencies, floor) ** (-exponent / 2)).astype(np.float32)
    shape[0] = 0
    out = fft.irfft(fft.rfft(hiss(rng, size)) * shape, size)[:n]
    return out / (out.std() + 1e-12)


def band(waveform: np.ndarray, low: float | None, high: float | None, order: int = 2) -> np.ndarray:
    """Butterworth filter; without `low` or `high` that side stays open."""
    high = None if high is None or high > 0.97 * NYQUIST else high
    if low is None and high is None:
        return waveform
    if low is None:
        sections = signal.butter(order, high, "lowpass", fs=SAMPLE_RATE, output="sos")
    elif high is None:
        sections = signal.butter(order, min(low, 0.95 * NYQUIST), "highpass", fs=SAMPLE_RATE, output="sos")
    else:
        sections = signal.butter(
            order, (min(low, 0.9 * high), high), "bandpass", fs=SAMPLE_RATE, output="sos"
        )
    return signal.sosfilt(sections, waveform)


def unit(waveform: np.ndarray) -> np.ndarray:
    """The waveform with a root mean square of one."""
    return waveform / (np.sqrt(np.mean(waveform**2)) + 1e-12)


def narrow(rng: Rng, centre: np.ndarray, width: float) -> np.ndarray:
    """Noise `width` Hz wide around a moving centre frequency [n]: a whistle of air."""
    n = len(centre)
    sections = signal.butter(2, max(width, 5.0) / 2, fs=SAMPLE_RATE, output="sos")
    slow = signal.sosfilt(sections, rng.standard_normal((2, n)), axis=-1)
    angle = turns(centre) * (2 * np.pi)
    return unit(slow[0] * np.cos(angle) - slow[1] * np.sin(angle))


def turns(frequency: np.ndarray, start: float = 0.0) -> np.ndarray:
    """Phase in whole turns of an oscillator that follows `frequency` in Hz, [n]."""
    return start + np.cumsum(frequency) / SAMPLE_RATE


def tone(frequency: np.ndarray | float, n: int, start: float = 0.0) -> np.ndarray:
    """A sine of a fixed or moving frequency, [n]."""
    if np.ndim(frequency) == 0:
        return np.sin(2 * np.pi * (start + float(frequency) * np.arange(n) / SAMPLE_RATE))
    return np.sin(2 * np.pi * turns(np.asarray(frequency), start))


def periodic(
    frequency: np.ndarray, amplitudes: Sequence[float] | np.ndarray, start: float = 0.0
) -> np.ndarray:
    """Harmonics 1, 2, … of these amplitudes over a moving fundamental, [n].

    One period is made once and read by phase; harmonics that could pass the Nyquist frequency are left out.
    """
    amplitudes = np.asarray(amplitudes, dtype=float)
    highest = max(1, int(0.98 * NYQUIST / max(float(frequency.max()), 1.0)))
    amplitudes = amplitudes[:highest]
    spectrum = np.zeros(2049, dtype=complex)
    # fixed, scattered phases: all in one phase would make needles no voice or horn has
    count = len(amplitudes)
    spectrum[1 : count + 1] = amplitudes * np.exp(-1j * (np.pi / 2 + 0.7 * np.arange(count) ** 1.5))
    table = fft.irfft(spectrum, 4096) * 2048
    return table[(turns(frequency, start) * 4096).astype(np.int64) & 4095]


def slope(count: int, tilt: float) -> np.ndarray:
    """Amplitudes of `count` harmonics that fall as 1/k^tilt."""
    return np.arange(1, count + 1, dtype=float) ** -tilt


def resonate(
    excitation: np.ndarray, frequencies: Sequence[float], amplitudes: Sequence[float], decays: Sequence[float]
) -> np.ndarray:
    """What a body with these modes answers to an excitation: modal synthesis.

    Args:
        excitation: [n]; a single 1.0 rings every mode once at its amplitude.
        frequencies: of the modes in Hz; those above the Nyquist frequency are silent.
        amplitudes: of the modes.
        decays: seconds each mode takes to fall by 60 dB.
    """
    out = np.zeros(len(excitation))
    for frequency, amplitude, decay in zip(frequencies, amplitudes, decays, strict=True):
        if not 10 < frequency < 0.98 * NYQUIST:
            continue
        radius = 10 ** (-3 / (decay * SAMPLE_RATE))
        angle = 2 * np.pi * frequency / SAMPLE_RATE
        out += signal.lfilter(
            [amplitude * np.sin(angle)], [1, -2 * radius * np.cos(angle), radius**2], excitation
        )
    return out


def tract(
    source: np.ndarray, formants: Sequence[float], widths: Sequence[float] | float = 90.0
) -> np.ndarray:
    """A source through a throat with these resonances in Hz: a cascade as in Klatt's synthesizer.

    A cascade falls steeply above its last resonance, so the higher ones that every throat has are added.
    """
    widths = list(np.broadcast_to(widths, len(formants)))
    formants = list(formants)
    while formants[-1] < 6400:
        formants.append(formants[-1] + 1050)
        widths.append(350.0)
    radius = np.exp(-np.pi * np.asarray(widths) / SAMPLE_RATE)
    angle = 2 * np.pi * np.minimum(np.asarray(formants), 0.97 * NYQUIST) / SAMPLE_RATE
    first, second = -2 * radius * np.cos(angle), radius**2
    sections = np.zeros((len(radius), 6))
    sections[:, 0], sections[:, 3], sections[:, 4], sections[:, 5] = 1 + first + second, 1, first, second
    return signal.sosfilt(sections, source)


def clicks(n: int, starts: np.ndarray, sizes: np.ndarray | float = 1.0) -> np.ndarray:
    """Single samples of these sizes at these times in seconds, [n]."""
    out = np.zeros(n)
    places = np.round(np.asarray(starts) * SAMPLE_RATE).astype(int)
    inside = (places >= 0) & (places < n)
    np.add.at(out, places[inside], np.broadcast_to(sizes, places.shape)[inside])
    return out


def answer(excitation: np.ndarray, response: np.ndarray) -> np.ndarray:
    """The excitation convolved with a response, cut to the excitation's length, [n]."""
    return signal.oaconvolve(excitation, response)[: len(excitation)]


def place(n: int, starts: Sequence[float] | np.ndarray, events: Sequence[np.ndarray]) -> np.ndarray:
    """Events laid over each other at these times in seconds, cut off at the end, [n]."""
    out = np.zeros(n)
    for start, event in zip(starts, events, strict=True):
        first = max(0, round(start * SAMPLE_RATE))
        if first < n:
            piece = event[: n - first]
            out[first : first + len(piece)] += piece
    return out


def beats(rng: Rng, duration: float, period: float, jitter: float = 0.0, lead: float = 0.3) -> np.ndarray:
    """Times in seconds of a pulse that `jitter` (a share of the period) makes uneven; the first by `lead`."""
    count = max(1, int((duration - 0.02) / period) + 2)
    gaps = period * np.clip(1 + jitter * rng.standard_normal(count), 0.25, 3.0)
    moments = rng.uniform(0, min(lead, 0.3 * duration)) + np.concatenate([[0.0], np.cumsum(gaps)])
    kept = moments[moments < duration - 0.05]
    return kept if len(kept) else moments[:1]


def scattered(rng: Rng, duration: float, rate: float) -> np.ndarray:
    """Times in seconds of events without memory, `rate` a second; at least one."""
    count = max(1, rng.poisson(rate * duration))
    return np.sort(rng.uniform(0, duration, count))


def gated(n: int, on: float, off: float, ramp: float = 0.004, start: float = 0.0) -> np.ndarray:
    """Ones for `on` seconds and zeros for `off` seconds in turn, with short ramps, [n]."""
    phase = (np.arange(n) / SAMPLE_RATE + start) % (on + off)
    return np.clip(np.minimum(phase / ramp, (on - phase) / ramp + 1), 0, 1)


def burst(rng: Rng, duration: float, decay: float, low: float | None, high: float | None) -> np.ndarray:
    """Noise of a band that falls by 60 dB in `decay` seconds: an impact."""
    n = seconds(duration)
    return band(hiss(rng, n), low, high) * 10 ** (-3 * np.arange(n) / (SAMPLE_RATE * decay))


def random_modes(rng: Rng, count: int, low: float, high: float) -> np.ndarray:
    """Random mode frequencies between two limits, the lowest first."""
    return np.sort(np.exp(rng.uniform(np.log(low), np.log(high), count)))


def blows(rng: Rng, n: int, when: np.ndarray, softness: float, spread: float = 0.3) -> np.ndarray:
    """Blows at these times: `softness` seconds of contact each, uneven by `spread`, [n]."""
    sizes = np.exp(spread * rng.standard_normal(len(when)))
    width = max(1, seconds(softness))
    return answer(clicks(n, when, sizes), np.hanning(width + 2)[1:-1] / width**0.5)


def slope_down(count: int) -> np.ndarray:
    """Amplitudes of modes: the low ones loudest."""
    return 1 / np.sqrt(np.arange(1, count + 1))

"""Animals: voices as a source and a throat, birds as fast glides, insects as pulses of one high tone."""

from __future__ import annotations

import numpy as np
from sounds import SAMPLE_RATE, seconds

from .parts import (
    Rng,
    band,
    beats,
    between,
    chance,
    coloured,
    curve,
    drift,
    fade,
    hiss,
    narrow,
    periodic,
    place,
    slope,
    tone,
    tract,
    turns,
    unit,
)
from .people import glottis


def _glide(source: np.ndarray, shapes: list[np.ndarray], widths: float = 100.0) -> np.ndarray:
    """A source through throats that follow each other: the filtered sounds are cross-faded, [n]."""
    n = len(source)
    at = np.linspace(0, len(shapes) - 1, n)
    return sum(
        np.clip(1 - np.abs(at - k), 0, 1) * unit(tract(source, shape, widths))
        for k, shape in enumerate(shapes)
    )


def _calls(rng: Rng, pieces: list[np.ndarray], pause: tuple[float, float]) -> np.ndarray:
    """Calls with pauses between them."""
    parts = [np.zeros(seconds(rng.uniform(0, 0.3)))]
    for piece in pieces:
        parts += [piece * rng.uniform(0.6, 1), np.zeros(seconds(between(rng, *pause)))]
    return np.concatenate(parts)


# ---------------------------------------------------------------- pets and the farm


def bark(rng: Rng) -> np.ndarray:
    """A rough burst whose pitch leaps up and falls, mouth opening and closing; small dogs higher."""
    pitch = between(rng, 220, 1000)
    size_of_dog = (pitch / 450) ** 0.5
    length, rough, breath = between(rng, 0.09, 0.28), rng.uniform(0.1, 0.6), rng.uniform(0.1, 0.6)
    pieces = []
    for _ in range(rng.integers(1, 9)):
        size = seconds(length * rng.uniform(0.8, 1.2))
        frequency = pitch * rng.uniform(0.92, 1.08) * curve(size, (0, 0.55), (0.3, 1.1), (0.6, 1.0), (1, 0.5))
        source = glottis(rng, frequency, breath, rough)
        closed, wide = (
            np.array([450, 1100, 2200, 3600]) * size_of_dog,
            np.array([850, 1500, 2600, 3900]) * size_of_dog,
        )
        voice = _glide(source, [closed, wide, wide, closed], 160.0)
        pieces.append(voice * curve(size, (0, 0), (0.08, 0.8), (0.35, 1), (0.65, 0.5), (1, 0)))
    return _calls(rng, pieces, (0.1, 0.9))


def howl(rng: Rng) -> np.ndarray:
    """A long held tone that climbs, stays and falls."""
    pitch = between(rng, 250, 750)
    pieces = []
    for _ in range(rng.integers(1, 3)):
        size = seconds(rng.uniform(1.5, 5))
        frequency = (
            pitch
            * curve(size, (0, 0.6), (0.15, 1), (0.7, rng.uniform(0.9, 1.1)), (1, 0.6))
            * (1 + 0.02 * drift(rng, size, 3))
        )
        source = periodic(frequency, slope(20, 1.6)) + 0.02 * hiss(rng, size)
        voice = _glide(
            source, [np.array([450, 900, 2300]), np.array([600, 1000, 2400]), np.array([400, 850, 2200])]
        )
        pieces.append(voice * curve(size, (0, 0), (0.1, 1), (0.8, 0.8), (1, 0)))
    return _calls(rng, pieces, (0.2, 1))


def meow(rng: Rng) -> np.ndarray:
    """mi-a-u: an arch of pitch, the mouth opening and closing slowly."""
    pitch, size_of_cat = between(rng, 320, 950), rng.uniform(1.2, 1.7)
    pieces = []
    for _ in range(rng.integers(1, 4)):
        size = seconds(between(rng, 0.35, 1.6))
        frequency = (
            pitch
            * rng.uniform(0.9, 1.1)
            * curve(size, (0, 0.8), (rng.uniform(0.2, 0.5), 1.2), (0.8, 1.0), (1, 0.75))
        )
        frequency = frequency * (1 + 0.01 * drift(rng, size, 12))
        source = glottis(rng, frequency, rng.uniform(0.02, 0.15), rng.choice([0.0, 0.0, 0.3]))
        shapes = [
            np.array(v) * size_of_cat
            for v in ((300, 1900, 2700), (700, 1500, 2500), (850, 1300, 2500), (450, 950, 2300))
        ]
        pieces.append(
            _glide(source, shapes, 130.0) * curve(size, (0, 0), (0.12, 0.7), (0.45, 1), (0.85, 0.5), (1, 0))
        )
    return _calls(rng, pieces, (0.2, 1.5))


def purr(rng: Rng) -> np.ndarray:
    """Pulses at 20 to 32 Hz without end, a little louder and higher on one of the two breaths."""
    n = seconds(rng.uniform(3, 10))
    breath_rate = between(rng, 0.35, 1.1)
    inward = np.clip(
        4 * np.sin(2 * np.pi * turns(breath_rate * (1 + 0.1 * drift(rng, n, 1)), rng.random())), -1, 1
    )
    rate = between(rng, 20, 32) * (1 + 0.04 * inward + 0.02 * drift(rng, n, 6))
    phase = turns(rate) % 1
    pulses = np.exp(-phase / rng.uniform(0.05, 0.2))
    source = (pulses - pulses.mean()) + rng.uniform(0.3, 1.5) * hiss(rng, n) * pulses
    low = between(rng, 90, 260)
    purred = unit(
        tract(source, [low, low * rng.uniform(2.2, 3.5), between(rng, 1100, 2600)], [100, 200, 400])
    )
    breath = band(hiss(rng, n), 700, 4000) * (1 + inward)
    gap = 1 - rng.uniform(0.5, 1) * np.exp(-((inward / 0.5) ** 2))  # the turn of the breath
    return purred * gap * (1 + rng.uniform(0.1, 0.4) * inward) + between(rng, 0.01, 0.15) * unit(breath)


def moo(rng: Rng) -> np.ndarray:
    """A low voice that opens from m to oo or aa."""
    pitch = between(rng, 90, 260)
    pieces = []
    for _ in range(rng.integers(1, 4)):
        size = seconds(between(rng, 0.8, 2.5))
        frequency = (
            pitch
            * curve(size, (0, 0.85), (0.4, 1.1), (0.8, 1.0), (1, 0.8))
            * (1 + 0.01 * drift(rng, size, 8))
        )
        source = glottis(rng, frequency, 0.05, rng.uniform(0, 0.3))
        shapes = [np.array([250, 700, 2100]), np.array([550, 950, 2200]), np.array([600, 1000, 2300])]
        pieces.append(
            _glide(source, shapes, 110.0) * curve(size, (0, 0), (0.25, 0.6), (0.6, 1), (0.9, 0.7), (1, 0))
        )
    return _calls(rng, pieces, (0.3, 1.5))


def bleat(rng: Rng) -> np.ndarray:
    """A sheep or goat: a held vowel shaken at 6 to 13 Hz."""
    pitch, shake = between(rng, 180, 600), between(rng, 6, 13)
    pieces = []
    for _ in range(rng.integers(1, 5)):
        size = seconds(between(rng, 0.4, 1.4))
        tremor = tone(shake, size, rng.random())
        frequency = (
            pitch * curve(size, (0, 0.9), (0.3, 1.05), (1, 0.85)) * (1 + rng.uniform(0.02, 0.08) * tremor)
        )
        source = glottis(rng, frequency, 0.1, 0.15) * (1 + rng.uniform(0.3, 0.8) * tremor)
        throat = np.array([rng.uniform(600, 850), rng.uniform(1500, 1900), 2600, 3700])
        pieces.append(unit(tract(source, throat, 120.0)) * curve(size, (0, 0), (0.1, 1), (0.7, 0.8), (1, 0)))
    return _calls(rng, pieces, (0.2, 1.5))


def rooster(rng: Rng) -> np.ndarray:
    """cock-a-doodle-doo: two short calls, one longer, one long that falls."""
    pitch = between(rng, 420, 900)
    pieces = []
    for _ in range(rng.integers(1, 3)):
        crow = []
        tempo = rng.uniform(0.8, 1.25)
        for length, start, top, end in (
            (0.16, 0.6, 0.85, 0.8),
            (0.14, 0.75, 0.95, 0.9),
            (0.4, 0.85, 1.15, 1.1),
            (rng.uniform(0.6, 1.1), 1.05, 1.15, 0.7),
        ):
            size = seconds(length * tempo * rng.uniform(0.85, 1.15))
            frequency = (
                pitch
                * curve(size, (0, start), (0.35, top), (0.7, 0.98 * top), (1, end))
                * (1 + 0.008 * drift(rng, size, 30))
            )
            source = glottis(rng, frequency, 0.08, rng.uniform(0.1, 0.35))
            voice = _glide(
                source,
                [
                    np.array([750, 1600, 2700, 4000]),
                    np.array([1050, 1900, 3000, 4300]),
                    np.array([850, 1500, 2700, 4000]),
                ],
                180.0,
            )
            crow += [
                voice * curve(size, (0, 0), (0.1, 0.9), (0.7, 1), (1, 0)),
                np.zeros(seconds(rng.uniform(0.01, 0.07))),
            ]
        pieces.append(np.concatenate(crow))
    return _calls(rng, pieces, (0.6, 2.5))


def quack(rng: Rng) -> np.ndarray:
    """Short, nasal, rough calls of a duck in a row."""
    pitch = between(rng, 160, 330)
    throat = np.array([rng.uniform(900, 1300), rng.uniform(1700, 2200), rng.uniform(2700, 3300), 4300])
    pieces = []
    for _ in range(rng.integers(2, 10)):
        size = seconds(rng.uniform(0.09, 0.28))
        source = glottis(rng, pitch * curve(size, (0, 1.1), (0.3, 1), (1, 0.8)), 0.1, rng.uniform(0.1, 0.4))
        pieces.append(
            unit(tract(band(source, 400, None), throat, 140.0))
            * curve(size, (0, 0), (0.08, 1), (0.6, 0.7), (1, 0))
        )
    return _calls(rng, pieces, (0.08, 0.6))


# ---------------------------------------------------------------- birds


def _syllable(rng: Rng) -> np.ndarray:
    """One note of a small bird: a sweep, an arch, a warble, a buzz or a trill."""
    kind = rng.choice(
        ["sweep", "arch", "warble", "buzz", "trill", "whistle"], p=[0.3, 0.22, 0.15, 0.08, 0.15, 0.1]
    )
    centre = between(rng, 1800, 6500)
    size = seconds(between(rng, 0.03, 0.25))
    width = rng.uniform(0.1, 0.7)
    if kind == "sweep":
        ends = (1 - width / 2, 1 + width / 2)[:: int(rng.choice([1, -1]))]
        bend = curve(size, (0, ends[0]), (1, ends[1])) ** rng.choice([1, 2])
    elif kind == "arch":
        bend = curve(
            size,
            (0, 1),
            (rng.uniform(0.2, 0.8), 1 + width * rng.choice([1, -0.6])),
            (1, rng.uniform(0.8, 1.1)),
        )
    elif kind == "warble":
        size = seconds(between(rng, 0.1, 0.6))
        bend = 1 + 0.4 * width * tone(between(rng, 12, 60), size, rng.random())
    elif kind == "buzz":
        size = seconds(between(rng, 0.08, 0.5))
        bend = 1 + 0.15 * width * tone(between(rng, 70, 200), size)
    elif kind == "trill":
        count, each = int(rng.integers(3, 14)), seconds(between(rng, 0.02, 0.07))
        note = fade(tone(centre * curve(each, (0, 1 + width / 2), (1, 1 - width / 2)), each), 0.004, 0.006)
        gap = np.zeros(seconds(between(rng, 0.005, 0.05)))
        return np.concatenate([part for _ in range(count) for part in (note, gap)])
    else:
        size = seconds(between(rng, 0.15, 0.6))
        bend = 1 + 0.01 * drift(rng, size, 10)
    harmonics = [1, rng.uniform(0, 0.25), rng.uniform(0, 0.1)]
    return fade(
        periodic(np.clip(centre * bend, 900, 7800), harmonics),
        0.3 * size / SAMPLE_RATE,
        0.3 * size / SAMPLE_RATE,
    )


def _song(rng: Rng, duration: float) -> np.ndarray:
    """One bird with a repertoire of one to five syllables and its own rhythm."""
    repertoire = [_syllable(rng) for _ in range(rng.integers(1, 6))]
    gap, rest = between(rng, 0.02, 0.25), between(rng, 0.2, 2.0)
    phrase = [int(rng.integers(len(repertoire))) for _ in range(rng.integers(1, 9))]
    pieces, total = [np.zeros(seconds(rng.uniform(0, 0.5)))], 0
    while total < seconds(duration):
        for k in phrase:
            pieces += [repertoire[k] * rng.uniform(0.6, 1), np.zeros(seconds(gap * rng.uniform(0.8, 1.2)))]
            total += len(pieces[-1]) + len(pieces[-2])
        pieces.append(np.zeros(seconds(rest * rng.uniform(0.6, 1.4))))
        total += len(pieces[-1])
        if chance(rng, 0.3):
            phrase = [int(rng.integers(len(repertoire))) for _ in range(rng.integers(1, 9))]
    return np.concatenate(pieces)[: seconds(duration)]


def birds(rng: Rng) -> np.ndarray:
    """One bird, or one near and a few farther off."""
    duration = rng.uniform(1.5, 10)
    out = _song(rng, duration)
    for _ in range(int(rng.choice([0, 0, 1, 2, 4]))):
        out = out + between(rng, 0.05, 0.8) * _song(rng, duration)
    return out


def hoot(rng: Rng) -> np.ndarray:
    """An owl: soft, low, almost pure tones in a fixed rhythm."""
    pitch = between(rng, 230, 800)
    figure = (
        [(0.35, 0.25)] * 2
        if chance(rng, 0.3)
        else [(rng.uniform(0.12, 0.7), rng.uniform(0.06, 0.5)) for _ in range(rng.integers(1, 7))]
    )
    pieces = []
    for _ in range(rng.integers(1, 4)):
        call = []
        for length, gap in figure:
            size = seconds(length)
            frequency = pitch * curve(size, (0, 0.93), (0.3, 1.02), (0.7, 1), (1, 0.92))
            if chance(rng, 0.15):  # the tawny owl's quaver
                frequency = frequency * (1 + 0.03 * tone(rng.uniform(10, 18), size))
            note = periodic(frequency, [1, rng.uniform(0.02, 0.25), rng.uniform(0, 0.08)]) + 0.1 * narrow(
                rng, frequency, 150
            )
            call += [fade(note, 0.3 * length, 0.35 * length) * rng.uniform(0.7, 1), np.zeros(seconds(gap))]
        pieces.append(np.concatenate(call))
    return _calls(rng, pieces, (0.5, 2.5))


def coo(rng: Rng) -> np.ndarray:
    """A pigeon or dove: low, rolling, in a rhythm of long and short."""
    pitch, roll = between(rng, 280, 620), between(rng, 14, 30)
    figure = (
        [(0.3, 0.05), (0.6, 0.1), (0.3, 0.3)]
        if chance(rng, 0.5)
        else [(rng.uniform(0.3, 1), rng.uniform(0.1, 0.4))] * 3
    )
    pieces = []
    for _ in range(rng.integers(1, 4)):
        for length, gap in figure:
            size = seconds(length)
            frequency = (
                pitch * curve(size, (0, 0.85), (0.4, 1.05), (1, 0.85)) * (1 + 0.01 * drift(rng, size, 20))
            )
            note = periodic(frequency, [1, rng.uniform(0.1, 0.6), 0.1]) * (
                1 + rng.uniform(0, 0.7) * tone(roll, size)
            )
            pieces += [fade(note, 0.05, 0.1), np.zeros(seconds(gap))]
    return _calls(rng, pieces, (0.02, 0.1))


def caw(rng: Rng) -> np.ndarray:
    """A crow: harsh voice at 250 to 600 Hz with strong resonances between 1 and 2.5 kHz."""
    pitch = between(rng, 230, 620)
    throat = np.array([rng.uniform(1000, 1400), rng.uniform(1600, 2100), rng.uniform(2500, 3200), 4600])
    length, rough = between(rng, 0.18, 0.6), rng.uniform(0.3, 0.8)
    pieces = []
    for _ in range(rng.integers(1, 8)):
        size = seconds(length * rng.uniform(0.85, 1.15))
        frequency = pitch * curve(size, (0, 0.85), (0.2, 1.05), (0.7, 1), (1, 0.8)) * rng.uniform(0.95, 1.05)
        source = glottis(rng, frequency, rng.uniform(0.1, 0.5), rough)
        pieces.append(
            unit(tract(band(source, 300, None), throat, 170.0))
            * curve(size, (0, 0), (0.07, 0.9), (0.6, 1), (1, 0))
        )
    return _calls(rng, pieces, (0.1, 1.0))


# ---------------------------------------------------------------- insects and frogs


def _cricket(rng: Rng, n: int) -> np.ndarray:
    carrier = between(rng, 2300, 6800) * (1 + 0.004 * drift(rng, n, 3))
    t = np.arange(n) / SAMPLE_RATE + rng.uniform(0, 3)
    pulse_rate = between(rng, 15, 70)
    count, duty = int(rng.integers(2, 8)), rng.uniform(0.5, 0.85)
    if chance(rng, 0.7):  # chirps of a few pulses; else an endless trill
        cycle = count / pulse_rate + between(rng, 0.1, 0.9)
        since = (t * (1 + 0.02 * drift(rng, n, 0.5))) % cycle
    else:
        since, cycle = t, 0.0
    part = (since * pulse_rate) % 1 / duty
    pulses = np.where(part < 1, np.sin(np.pi * np.minimum(part, 1)), 0.0)
    if cycle:
        pulses = pulses * (since < count / pulse_rate)
    wave = tone(carrier, n, rng.random()) + rng.uniform(0, 0.4) * narrow(rng, carrier, 200)
    return wave * pulses * np.clip(1 + 0.15 * drift(rng, n, 4), 0.2, None)


def cricket(rng: Rng) -> np.ndarray:
    """One cricket, or a meadow of them."""
    n = seconds(rng.uniform(2, 10))
    out = _cricket(rng, n)
    for _ in range(int(rng.choice([0, 0, 1, 3]))):  # a meadow
        out += between(rng, 0.05, 0.7) * _cricket(rng, n)
    return out


def _wings(rng: Rng, low: float, high: float, tilt: tuple[float, float]) -> np.ndarray:
    """An insect flying about: a buzz whose pitch wanders and whose loudness says how near it is."""
    n = seconds(rng.uniform(2, 10))
    frequency = between(rng, low, high) * (1 + 0.03 * drift(rng, n, 1.5) + 0.008 * drift(rng, n, 12))
    wave = periodic(frequency, slope(25, rng.uniform(*tilt)) * rng.uniform(0.2, 1, 25), rng.random())
    near = np.exp(rng.uniform(0.2, 1.3) * drift(rng, n, between(rng, 0.4, 2)))
    flutter = 1 + 0.15 * drift(rng, n, 40)
    return fade(wave * near * flutter, 0.05, 0.1) + between(rng, 0.001, 0.02) * coloured(rng, n, 1)


def mosquito(rng: Rng) -> np.ndarray:
    """Wings at 380 to 850 beats a second, whining near and far."""
    return _wings(rng, 380, 850, (0.4, 1.4))


def fly(rng: Rng) -> np.ndarray:
    """Wings at 140 to 240 beats a second."""
    return _wings(rng, 140, 240, (0.6, 1.5))


def croak(rng: Rng) -> np.ndarray:
    """A frog: a throat's resonance struck by pulses, or a peeper's rising whistle; alone or a pond full."""
    duration = rng.uniform(2, 10)
    n = seconds(duration)
    out = np.zeros(n)
    for frog in range(int(rng.choice([1, 1, 2, 4]))):
        rate, resonance = between(rng, 15, 130), between(rng, 350, 2800)
        length = between(rng, 0.12, 0.9)
        if chance(rng, 0.15):
            size = seconds(min(length, 0.3))
            call = fade(tone(resonance * curve(size, (0, 0.9), (1, 1.15)), size), 0.03, 0.03)
        else:
            size = seconds(length)
            pulse_rate = rate * curve(size, (0, 0.8), (0.5, 1.1), (1, 0.9))
            pulses = np.exp(-(turns(pulse_rate) % 1) / rng.uniform(0.03, 0.2))
            source = (pulses - pulses.mean()) + 0.2 * hiss(rng, size) * pulses
            call = unit(
                tract(source, [resonance, resonance * rng.uniform(1.6, 2.5)], [resonance / 8, resonance / 4])
            )
            call *= curve(size, (0, 0), (0.2, 0.9), (0.8, 1), (1, 0))
        when = beats(rng, duration, length + between(rng, 0.1, 1.5), 0.15)
        out += place(n, when, [call * rng.uniform(0.7, 1) for _ in when]) * (
            1 if frog == 0 else between(rng, 0.1, 0.8)
        )
    return out


SOUNDS = {
    "Bark": bark,
    "Howl": howl,
    "Meow": meow,
    "Purr": purr,
    "Moo": moo,
    "Bleat": bleat,
    "Crowing, cock-a-doodle-doo": rooster,
    "Quack": quack,
    "Chirp, tweet": birds,
    "Hoot": hoot,
    "Coo": coo,
    "Caw": caw,
    "Cricket": cricket,
    "Mosquito": mosquito,
    "Fly, housefly": fly,
    "Croak": croak,
}

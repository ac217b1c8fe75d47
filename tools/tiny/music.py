"""Makes music: instruments alone, rhythms and small pieces, played from General MIDI sound fonts.

Nothing is a known tune: notes are drawn from scales, chords and rhythms at random, in the range and the
manner of the instrument. The sound fonts are kept apart: the test plays fonts that training never heard.

Needs the library `libfluidsynth`, the package `pyfluidsynth` and the sound fonts named below. A generator in
the same state gives the same sounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import fluidsynth
import numpy as np
from numpy.random import Generator
from scipy.signal import resample_poly
from sounds import LONGEST, SAMPLE_RATE, Sound, Split, seconds, to_peak

Style: TypeAlias = Literal[
    "keys", "plucked", "bass", "lead", "ensemble", "mallet", "bells", "drums", "bagpipe"
]

SYNTH_RATE = 3 * SAMPLE_RATE  # high enough that the fonts' recordings are not folded, and simply reduced
DRUM_CHANNEL = 9
DRUM_BANK = 128
TAIL = 1.5  # seconds at most that notes may ring on after the last

SF2, SF3 = "/usr/share/sounds/sf2", "/usr/share/sounds/sf3"


@dataclass(frozen=True)
class Font:
    """A sound font.

    Attributes:
        path: Where it is.
        share: How often it is drawn, in parts of all.
        drums_only: Whether it holds one drum kit as its only program, instead of General MIDI.
    """

    path: str
    share: float
    drums_only: bool = False


# Fonts that share recordings stay on one side: the two drum kits do, and sf_GMbank.sf2, which is left out,
# has most of its recordings in common with TimGM6mb.sf2.
FONTS: dict[Split, tuple[Font, ...]] = {
    "train": (
        Font(f"{SF2}/FluidR3_GM.sf2", 0.5),
        Font(f"{SF3}/MuseScore_General_Lite.sf3", 0.5),
        Font(f"{SF2}/Black_Pearl_4_LV2.sf2", 0.2, drums_only=True),
        Font(f"{SF2}/Red_Zeppelin_4_LV2.sf2", 0.2, drums_only=True),
    ),
    "test": (Font(f"{SF2}/TimGM6mb.sf2", 1.0),),
}


@dataclass(frozen=True)
class Instrument:
    """An AudioSet class and how General MIDI plays it.

    Attributes:
        label: The class.
        programs: General MIDI programs, counted from 0, that sound like it.
        lowest: Lowest MIDI note played.
        highest: Highest MIDI note played.
        style: How it is played.
        share: How often it is drawn, 1 for a usual one.
    """

    label: str
    programs: tuple[int, ...]
    lowest: int
    highest: int
    style: Style
    share: float = 1.0


INSTRUMENTS = (
    Instrument("Piano", (0, 1), 30, 90, "keys", 2.0),
    Instrument("Electric piano", (4, 5), 36, 88, "keys"),
    Instrument("Harpsichord", (6,), 36, 86, "keys"),
    Instrument("Glockenspiel", (9,), 72, 103, "mallet"),
    Instrument("Vibraphone", (11,), 53, 89, "mallet"),
    Instrument("Marimba, xylophone", (12,), 45, 91, "mallet"),
    Instrument("Marimba, xylophone", (13,), 65, 105, "mallet", 0.6),
    Instrument("Tubular bells", (14,), 60, 77, "bells"),
    Instrument("Hammond organ", (16, 17), 36, 90, "keys"),
    Instrument("Organ", (19,), 36, 88, "keys", 1.2),
    Instrument("Accordion", (21,), 53, 89, "keys"),
    Instrument("Harmonica", (22,), 60, 90, "lead"),
    Instrument("Acoustic guitar", (24, 25), 40, 80, "plucked", 2.0),
    Instrument("Electric guitar", (26, 27), 40, 82, "plucked", 0.8),
    Instrument("Electric guitar", (29, 30), 40, 80, "plucked", 1.2),
    Instrument("Bass guitar", (33, 34, 35, 36, 37), 28, 55, "bass", 1.3),
    Instrument("Double bass", (32,), 28, 55, "bass"),
    Instrument("Double bass", (43,), 28, 55, "lead", 0.4),
    Instrument("Violin, fiddle", (40, 110), 55, 96, "lead", 1.5),
    Instrument("Cello", (42,), 36, 72, "lead"),
    Instrument("String section", (44, 48, 49), 40, 90, "ensemble", 1.2),
    Instrument("Pizzicato", (45,), 40, 84, "plucked"),
    Instrument("Harp", (46,), 30, 90, "plucked"),
    Instrument("Timpani", (47,), 38, 57, "drums"),
    Instrument("Choir", (52, 53), 45, 79, "ensemble"),
    Instrument("Trumpet", (56,), 54, 84, "lead"),
    Instrument("Trumpet", (59,), 55, 80, "lead", 0.3),
    Instrument("Trombone", (57,), 40, 70, "lead"),
    Instrument("French horn", (60,), 40, 75, "lead"),
    Instrument("Brass instrument", (61,), 45, 80, "ensemble", 0.6),
    Instrument("Brass instrument", (58,), 30, 56, "lead", 0.4),
    Instrument("Saxophone", (64, 65, 66), 46, 80, "lead", 1.0),
    Instrument("Saxophone", (67,), 36, 67, "lead", 0.3),
    Instrument("Wind instrument, woodwind instrument", (68, 69), 58, 80, "lead", 0.4),
    Instrument("Wind instrument, woodwind instrument", (70,), 36, 66, "lead", 0.3),
    Instrument("Clarinet", (71,), 50, 88, "lead"),
    Instrument("Flute", (73,), 60, 96, "lead", 1.2),
    Instrument("Flute", (72,), 74, 105, "lead", 0.3),
    Instrument("Synthesizer", (80, 81, 84, 87), 40, 90, "lead", 1.2),
    Instrument("Synthesizer", (88, 89, 90, 94, 95), 40, 84, "ensemble", 0.8),
    Instrument("Synthesizer", (38, 39), 28, 55, "bass", 0.4),
    Instrument("Sitar", (104,), 48, 76, "plucked"),
    Instrument("Banjo", (105,), 50, 80, "plucked"),
    Instrument("Bagpipes", (109,), 60, 81, "bagpipe"),
    Instrument("Steelpan", (114,), 55, 88, "mallet"),
)

# Notes of the drum channel by what they sound like.
PERCUSSION: dict[str, tuple[int, ...]] = {
    "Snare drum": (38, 40),
    "Bass drum": (35, 36),
    "Hi-hat": (42, 44, 46),
    "Cymbal": (49, 51, 52, 55, 57, 59),
    "Drum": (41, 43, 45, 47, 48, 50),
    "Rimshot": (37,),
    "Cowbell": (56,),
    "Tambourine": (54,),
    "Wood block": (76, 77),
    "Maraca": (70,),
}
KIT_NOTES: dict[str, tuple[int, ...]] = {  # the same where a font holds drums alone
    "Snare drum": (38, 40),
    "Bass drum": (36,),
    "Hi-hat": (42, 44, 46),
    "Cymbal": (49, 51, 55, 57, 59),
    "Drum": (41, 43, 45, 47),
}
ACOUSTIC_KITS = (0, 8, 16, 32)
MACHINE_KITS = (25,)

# Sixteen steps of a bar: x strikes, o strikes softly or not at all.
BEATS: tuple[dict[str, str], ...] = (
    {"kick": "x.......x.......", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."},
    {"kick": "x.....x.x.......", "snare": "....x.......x..o", "hat": "x.x.x.x.x.x.x.x."},
    {"kick": "x...x...x...x...", "snare": "....x.......x...", "hat": "..x...x...x...x."},
    {"kick": "x..x..x...x..x..", "snare": "....x..o.o..x..o", "hat": "xxxxxxxxxxxxxxxx"},
    {"kick": "x.........x.....", "snare": "........x.......", "hat": "x...x...x...x..."},
    {"kick": "x..x....x..x....", "snare": "...x..x....x..x.", "hat": "x.x.x.x.x.x.x.x."},
    {"kick": "x.x.....x.x.....", "snare": "....x..x....x...", "hat": "x.xxx.xxx.xxx.xx"},
    {"kick": "x.......o.......", "snare": "......o.......o.", "ride": "x...x.x.x...x.x."},
    {"kick": "x.......x.......", "snare": "....x.......x...", "ride": "x.x.x.x.x.x.x.x."},
    {"kick": "x..o..x.........", "tom": "..x..x..x.x.x.xx"},
)
RHYTHMS = (
    "x...x...x...x...",
    "x.x.x.x.x.x.x.x.",
    "xxxxxxxxxxxxxxxx",
    "x..x..x...x.x...",
    "x...........x...",
    "x.xxx.xxx.xxx.xx",
    "x..x..x..x..x.x.",
    "x.......x.......",
    "x.x.xxx.x.x.xxx.",
)
VOICES_OF_BEAT = {
    "kick": (36,),
    "snare": (38, 40),
    "hat": (42, 42, 44),
    "ride": (51, 59),
    "tom": (41, 45, 47),
}

SCALES = (
    (0, 2, 4, 5, 7, 9, 11),
    (0, 2, 3, 5, 7, 8, 10),
    (0, 2, 4, 7, 9),
    (0, 3, 5, 7, 10),
    (0, 2, 3, 5, 7, 9, 10),
    (0, 1, 4, 5, 7, 8, 10),
    (0, 3, 5, 6, 7, 10),
)
CHORDS = (
    (0, 4, 7),
    (0, 3, 7),
    (0, 4, 7, 11),
    (0, 3, 7, 10),
    (0, 4, 7, 10),
    (0, 5, 7),
    (0, 3, 6),
    (0, 4, 7, 12),
)
PROGRESSIONS = (
    (0, 3, 4, 0),
    (0, 5, 3, 4),
    (0, 4, 5, 3),
    (5, 3, 0, 4),
    (0, 0, 3, 4),
    (1, 4, 0, 0),
    (0, 6, 5, 4),
)
MAJOR = SCALES[0]


@dataclass(frozen=True)
class Note:
    """A note in time.

    Attributes:
        start: When it begins, in seconds.
        duration: How long it is held, in seconds.
        key: MIDI note.
        velocity: How hard it is struck, 1 to 127.
        channel: MIDI channel.
    """

    start: float
    duration: float
    key: int
    velocity: int
    channel: int = 0


@dataclass(frozen=True)
class Clip:
    """What is played for one sound.

    Attributes:
        programs: Program of every channel used; the drum channel's is a drum kit.
        notes: All notes.
        labels: What it is.
    """

    programs: dict[int, int]
    notes: list[Note]
    labels: tuple[str, ...]


def _pick(rng: Generator, items: tuple) -> object:
    """One of the items, drawn evenly."""
    return items[int(rng.integers(len(items)))]


def _velocity(rng: Generator, middle: float) -> int:
    """A velocity near the middle."""
    return int(np.clip(rng.normal(middle, 8), 20, 127))


def _human(rng: Generator, start: float) -> float:
    """A time as a player would hit it."""
    return max(0.0, start + float(rng.normal(0, 0.008)))


# Phrases ----------------------------------------------------------------------------------------------


def _scale_keys(rng: Generator, lowest: int, highest: int) -> list[int]:
    """All keys of a random scale in the range."""
    scale, root = _pick(rng, SCALES), int(rng.integers(12))
    return [key for key in range(lowest, highest + 1) if (key - root) % 12 in scale]


def _melody(rng: Generator, instrument: Instrument, duration: float, kind: str, held: float) -> list[Note]:
    """A line of single notes.

    Args:
        rng: Source of all chance.
        instrument: Gives the range.
        duration: Length of the line in seconds.
        kind: "melody" wanders, "scale" runs up and down, "arpeggio" runs in thirds.
        held: How long a note is held, as a part of the time to the next.

    Returns:
        The notes.
    """
    keys = _scale_keys(rng, instrument.lowest, instrument.highest)
    span = min(len(keys), int(rng.integers(8, 18)))
    first = int(rng.integers(len(keys) - span + 1))
    keys = keys[first : first + span]
    beat = 60 / rng.uniform(60, 170)
    lengths = (
        (0.5,) if kind != "melody" else _pick(rng, ((0.5, 1.0), (0.25, 0.5), (0.5, 1.0, 2.0), (1.0, 2.0)))
    )
    if kind != "melody" and rng.random() < 0.4:
        lengths = (0.25,)
    place, direction, middle = int(rng.integers(span)), 1, rng.uniform(60, 110)
    notes, start = [], 0.0
    while start < duration:
        length = max(0.09, beat * float(_pick(rng, lengths)))
        rest = kind == "melody" and start > 0 and rng.random() < 0.08
        if not rest:
            notes.append(Note(_human(rng, start), length * held, keys[place], _velocity(rng, middle)))
        start += length
        if kind == "melody":
            place = int(np.clip(place + rng.choice((-3, -2, -1, -1, 0, 1, 1, 2, 3)), 0, span - 1))
        else:
            step = direction * (1 if kind == "scale" else 2)
            if not 0 <= place + step < span:
                direction, step = -direction, -step
            place = int(np.clip(place + step, 0, span - 1))
    return notes


def _chord(rng: Generator, lowest: int, highest: int) -> list[int]:
    """The keys of a random chord in the range, spread over one octave or two."""
    shape = [*_pick(rng, CHORDS)]
    if rng.random() < 0.4:
        shape += [step + 12 for step in shape]
    root = int(rng.integers(lowest, max(lowest + 1, min(highest - 12, 67))))
    return [root + step for step in shape if root + step <= highest]


def _chords(rng: Generator, instrument: Instrument, duration: float, strummed: bool) -> list[Note]:
    """Chords one after the other, strummed like a guitar's or struck together."""
    beat = 60 / rng.uniform(60, 150)
    middle, each = rng.uniform(60, 105), int(rng.choice((1, 2, 4)))
    length = beat * float(rng.choice((1, 2, 4) if instrument.style == "ensemble" else (0.5, 1, 1, 2)))
    notes, start, count, keys = [], 0.0, 0, []
    while start < duration:
        if count % each == 0:
            keys = _chord(rng, instrument.lowest, instrument.highest)
        order = keys if rng.random() < 0.7 or not strummed else keys[::-1]  # strokes go down or up
        spread = float(rng.uniform(0.008, 0.03)) if strummed else 0.0
        for place, key in enumerate(order):
            begin = _human(rng, start) + place * spread
            notes.append(Note(begin, length * 0.95, key, _velocity(rng, middle)))
        start += length
        count += 1
    return notes


def _hands(rng: Generator, instrument: Instrument, duration: float) -> list[Note]:
    """A melody above slow low notes, as two hands play it."""
    split = (instrument.lowest + instrument.highest) // 2
    low = Instrument(instrument.label, instrument.programs, instrument.lowest + 4, split - 2, "keys")
    high = Instrument(instrument.label, instrument.programs, split, instrument.highest, "keys")
    left = (
        _chords(rng, low, duration, strummed=False)
        if rng.random() < 0.5
        else (_melody(rng, low, duration, "arpeggio", 1.0))
    )
    return left + _melody(rng, high, duration, "melody", 0.95)


def _single(rng: Generator, instrument: Instrument, duration: float) -> list[Note]:
    """One note, or few, alone."""
    key = int(rng.integers(instrument.lowest, instrument.highest + 1))
    return [Note(0.0, duration, key, _velocity(rng, rng.uniform(60, 115)))]


def _strikes(rng: Generator, keys: tuple[int, ...], duration: float, channel: int) -> list[Note]:
    """A rhythm on one drum, or single strokes of it."""
    step = 60 / rng.uniform(70, 160) / 4
    pattern, middle = str(_pick(rng, RHYTHMS)), rng.uniform(70, 115)
    key = int(_pick(rng, keys))
    notes = []
    for number in range(int(duration / step)):
        if pattern[number % len(pattern)] == "x":
            if len(keys) > 1 and rng.random() < 0.2:
                key = int(_pick(rng, keys))
            accent = 12 if number % 4 == 0 else 0
            notes.append(
                Note(_human(rng, number * step), step, key, _velocity(rng, middle + accent), channel)
            )
    return notes


def _roll(rng: Generator, key: int, duration: float, channel: int) -> list[Note]:
    """A drum roll: strokes too close to count, swelling or fading."""
    step, low, high = rng.uniform(0.035, 0.06), rng.uniform(40, 90), rng.uniform(80, 115)
    count = int(duration / step)
    levels = np.linspace(low, high, count)
    if rng.random() < 0.3:
        levels = levels[::-1]
    return [
        Note(number * step + float(rng.normal(0, 0.003)) + 0.01, step, key, _velocity(rng, level), channel)
        for number, level in enumerate(levels)
    ]


def _phrase(rng: Generator, instrument: Instrument, duration: float) -> tuple[list[Note], tuple[str, ...]]:
    """What the instrument plays alone, with labels for it."""
    style, label = instrument.style, (instrument.label,)
    if style == "drums":  # timpani
        keys = tuple(int(key) for key in rng.integers(instrument.lowest, instrument.highest + 1, 3))
        return (
            _roll(rng, keys[0], duration, 0) if rng.random() < 0.3 else _strikes(rng, keys, duration, 0)
        ), label
    if style == "bagpipe":
        drone = [Note(0.0, duration, key, 90) for key in (46, 58)]
        return drone + _melody(rng, instrument, duration, "melody", 1.0), label

    kinds = {
        "keys": ("melody", "arpeggio", "scale", "chords", "hands", "hands", "single"),
        "plucked": ("melody", "arpeggio", "arpeggio", "scale", "chords", "chords", "single"),
        "bass": ("melody", "melody", "arpeggio", "scale", "single"),
        "lead": ("melody", "melody", "melody", "scale", "arpeggio", "single", "single"),
        "ensemble": ("chords", "chords", "chords", "melody", "single"),
        "mallet": ("melody", "melody", "arpeggio", "scale", "single", "chords"),
        "bells": ("melody", "melody", "single", "single"),
    }[style]
    kind = str(_pick(rng, kinds))
    if kind == "single":
        return _single(rng, instrument, duration), label
    if kind == "hands":
        return _hands(rng, instrument, duration), label
    if kind == "chords":
        guitar = instrument.label in ("Acoustic guitar", "Electric guitar")
        if guitar and instrument.label == "Acoustic guitar":
            label = (*label, "Strum")
        return _chords(
            rng, instrument, duration, strummed=style == "plucked" and instrument.label != "Pizzicato"
        ), label
    held = {"lead": 0.97, "mallet": 1.5, "bells": 3.0, "plucked": 1.3}.get(style, 0.9)
    if style in ("lead", "bass") and rng.random() < 0.2:
        held = 0.5  # staccato
    return _melody(rng, instrument, duration, kind, held), label


# Clips ------------------------------------------------------------------------------------------------


def _solo(rng: Generator, font: Font) -> Clip:
    """One instrument alone."""
    shares = np.array([instrument.share for instrument in INSTRUMENTS])
    instrument = INSTRUMENTS[rng.choice(len(INSTRUMENTS), p=shares / shares.sum())]
    notes, labels = _phrase(rng, instrument, float(rng.uniform(0.8, LONGEST)))
    return Clip({0: int(_pick(rng, instrument.programs))}, notes, labels)


def _drum_part(rng: Generator, duration: float, step: float, channel: int) -> list[Note]:
    """A beat of a drum kit with its fills and crashes."""
    beat = BEATS[int(rng.integers(len(BEATS)))]
    middle, swing = rng.uniform(75, 110), float(rng.choice((0.0, 0.0, 0.0, 0.3)))
    keys = {voice: int(_pick(rng, choices)) for voice, choices in VOICES_OF_BEAT.items()}
    notes = []
    for number in range(int(duration / step)):
        start = (number + (swing if number % 2 else 0.0)) * step
        fill = number % 64 >= 56 and rng.random() < 0.5
        if fill:
            notes.append(
                Note(
                    _human(rng, start),
                    step,
                    int(_pick(rng, (38, 41, 45, 47))),
                    _velocity(rng, middle),
                    channel,
                )
            )
        if number % 64 == 0 and rng.random() < 0.4:
            notes.append(
                Note(_human(rng, start), step, int(_pick(rng, (49, 57))), _velocity(rng, middle), channel)
            )
        for voice, pattern in beat.items():
            mark = pattern[number % 16]
            if mark == "x" or (mark == "o" and rng.random() < 0.5):
                key = int(_pick(rng, VOICES_OF_BEAT["tom"])) if voice == "tom" else keys[voice]
                key = 46 if voice == "hat" and rng.random() < 0.06 else key  # opened now and then
                soft = 30 if mark == "o" else 12 if number % 4 else 0
                notes.append(Note(_human(rng, start), step, key, _velocity(rng, middle - soft), channel))
    return notes


def _percussion(rng: Generator, font: Font) -> Clip:
    """One percussion instrument alone, as a rhythm or as single strokes."""
    channel = 0 if font.drums_only else DRUM_CHANNEL
    keys = KIT_NOTES if font.drums_only else PERCUSSION
    label = str(_pick(rng, tuple(keys)))
    duration = float(rng.uniform(0.8, 8.0))
    kit = 0 if font.drums_only else int(_pick(rng, ACOUSTIC_KITS))
    if label == "Snare drum" and rng.random() < 0.25:
        return Clip({channel: kit}, _roll(rng, 38, duration, channel), ("Drum roll",))
    if rng.random() < 0.2:
        key = int(_pick(rng, keys[label]))
        return Clip({channel: kit}, [Note(0.0, 0.5, key, _velocity(rng, 100), channel)], (label,))
    return Clip({channel: kit}, _strikes(rng, keys[label], duration, channel), (label,))


def _beat(rng: Generator, font: Font) -> Clip:
    """A drum kit or drum machine playing a beat."""
    channel = 0 if font.drums_only else DRUM_CHANNEL
    machine = not font.drums_only and rng.random() < 0.25
    kit = 0 if font.drums_only else int(_pick(rng, MACHINE_KITS if machine else ACOUSTIC_KITS))
    duration, step = float(rng.uniform(2.0, LONGEST)), 60 / rng.uniform(70, 175) / 4
    return Clip(
        {channel: kit}, _drum_part(rng, duration, step, channel), ("Drum machine" if machine else "Drum kit",)
    )


@dataclass(frozen=True)
class Song:
    """What the players of a piece agree on.

    Attributes:
        root: Key of the tonic, 0 to 11.
        beat: Seconds of a beat; four beats make a bar and every bar has one chord.
        bars: How many bars are played.
        progression: Degree of the major scale for the chord of each bar, repeated.
    """

    root: int
    beat: float
    bars: int
    progression: tuple[int, ...]

    def chord(self, bar: int, above: int) -> list[int]:
        """The triad of the bar, its lowest key the first at or above the given one."""
        degree = self.progression[bar % len(self.progression)]
        steps = [MAJOR[(degree + third) % 7] for third in (0, 2, 4)]
        keys = [above + (self.root + step - above) % 12 for step in steps]
        return sorted(keys)

    def scale(self, lowest: int, highest: int) -> list[int]:
        """All keys of the song's scale in the range."""
        return [key for key in range(lowest, highest + 1) if (key - self.root) % 12 in MAJOR]


def _song(rng: Generator) -> Song:
    """A song of 4 to 10 seconds."""
    beat = 60 / rng.uniform(75, 160)
    bars = max(1, int(rng.uniform(4.0, LONGEST) / (4 * beat)))
    return Song(int(rng.integers(12)), beat, bars, PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))])


def _tune(rng: Generator, song: Song, lowest: int, highest: int, channel: int, middle: float) -> list[Note]:
    """A melody over the song: chord notes on the bars, steps of the scale between."""
    keys = song.scale(lowest, highest)
    place, start, notes = len(keys) // 2, 0.0, []
    lengths = _pick(rng, ((0.5, 1.0), (0.5, 0.5, 1.0, 2.0), (1.0, 2.0), (0.25, 0.5, 0.5)))
    while start < song.bars * 4:
        length = float(_pick(rng, lengths))
        place = int(np.clip(place + rng.integers(-3, 4), 0, len(keys) - 1))
        if start % 4 == 0:
            chord = [key % 12 for key in song.chord(int(start // 4), 60)]
            place = min((p for p in range(len(keys)) if keys[p] % 12 in chord), key=lambda p: abs(p - place))
        if rng.random() > 0.1:
            begin, held = _human(rng, start * song.beat), length * song.beat * 0.95
            notes.append(Note(begin, held, keys[place], _velocity(rng, middle), channel))
        start += length
    return notes


def _comping(rng: Generator, song: Song, above: int, channel: int, middle: float, long: bool) -> list[Note]:
    """Chords of the song: held through the bar, or broken, or struck in a rhythm."""
    rhythm = (
        ((0.0, 4.0),)
        if long
        else _pick(
            rng,
            (
                ((0.0, 2.0), (2.0, 2.0)),
                ((0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (3.0, 1.0)),
                ((0.0, 1.5), (1.5, 2.5)),
                tuple((half / 2, 0.5) for half in range(8)),
            ),
        )
    )
    broken = not long and rng.random() < 0.3
    notes = []
    for bar in range(song.bars):
        chord = song.chord(bar, above)
        for number, (at, length) in enumerate(rhythm):
            start = _human(rng, (bar * 4 + at) * song.beat)
            keys = [chord[number % len(chord)]] if broken else chord
            notes.extend(
                Note(start, length * song.beat * 0.95, key, _velocity(rng, middle), channel) for key in keys
            )
    return notes


def _bass_line(rng: Generator, song: Song, channel: int, middle: float) -> list[Note]:
    """Roots and fifths of the chords."""
    step = float(_pick(rng, (0.5, 1.0, 2.0)))
    notes = []
    for bar in range(song.bars):
        degree = song.progression[bar % len(song.progression)]
        root = 28 + (song.root + MAJOR[degree] - 28) % 12
        for at in np.arange(0, 4, step):
            key = root + int(rng.choice((0, 0, 0, 7, 12)) if at else 0)
            start = _human(rng, (bar * 4 + float(at)) * song.beat)
            notes.append(Note(start, step * song.beat * 0.9, key, _velocity(rng, middle), channel))
    return notes


def _named(*labels: str) -> tuple[Instrument, ...]:
    """The instruments of these labels."""
    return tuple(instrument for instrument in INSTRUMENTS if instrument.label in labels)


CHORD_PLAYERS = _named(
    "Piano", "Electric piano", "Hammond organ", "Acoustic guitar", "Electric guitar", "Accordion"
)
TUNE_PLAYERS = _named(
    "Trumpet",
    "Saxophone",
    "Flute",
    "Violin, fiddle",
    "Electric guitar",
    "Clarinet",
    "Harmonica",
    "Piano",
    "Vibraphone",
    "Synthesizer",
    "Trombone",
    "Steelpan",
    "Banjo",
    "Cello",
    "Marimba, xylophone",
)
TUNE_PLAYERS = tuple(player for player in TUNE_PLAYERS if player.style not in ("ensemble", "bass"))


def _tune_by(rng: Generator, song: Song, player: Instrument, channel: int, middle: float) -> list[Note]:
    """A melody over the song in a comfortable part of the player's range."""
    lowest = min(max(player.lowest, 58), player.highest - 16)
    return _tune(rng, song, lowest, lowest + 16, channel, middle)


def _band(rng: Generator) -> Clip:
    """Drums, bass, chords and mostly a melody."""
    song = _song(rng)
    chords = CHORD_PLAYERS[int(rng.integers(len(CHORD_PLAYERS)))]
    tune = TUNE_PLAYERS[int(rng.integers(len(TUNE_PLAYERS)))]
    programs = {
        DRUM_CHANNEL: int(_pick(rng, ACOUSTIC_KITS)),
        0: int(rng.choice((33, 34, 35, 36))),
        1: int(_pick(rng, chords.programs)),
        2: int(_pick(rng, tune.programs)),
    }
    notes = _drum_part(rng, song.bars * 4 * song.beat, song.beat / 4, DRUM_CHANNEL)
    notes += _bass_line(rng, song, 0, 108) + _comping(rng, song, 52, 1, 82, long=False)
    labels = ["Music", "Drum kit", "Bass guitar", chords.label]
    if rng.random() < 0.75:
        notes += _tune_by(rng, song, tune, 2, 105)
        labels.append(tune.label)
    return Clip(programs, notes, tuple(dict.fromkeys(labels)))


def _duo(rng: Generator) -> Clip:
    """A melody and an instrument that accompanies it."""
    song = _song(rng)
    tune = TUNE_PLAYERS[int(rng.integers(len(TUNE_PLAYERS)))]
    players = _named("Piano", "Acoustic guitar", "Harp", "Accordion", "Harpsichord", "Organ")
    chords = players[int(rng.integers(len(players)))]
    notes = _comping(rng, song, 50, 0, 85, long=False) + _tune_by(rng, song, tune, 1, 98)
    programs = {0: int(_pick(rng, chords.programs)), 1: int(_pick(rng, tune.programs))}
    return Clip(programs, notes, tuple(dict.fromkeys(("Music", chords.label, tune.label))))


def _quartet(rng: Generator) -> Clip:
    """Two violins, a viola and a cello."""
    song, long = _song(rng), bool(rng.random() < 0.5)
    notes = _tune(rng, song, 67, 84, 0, 100) + _comping(rng, song, 60, 1, 75, long)
    notes += _comping(rng, song, 52, 2, 70, long) + _tune(rng, song, 38, 52, 3, 98)
    return Clip({0: 40, 1: 40, 2: 41, 3: 42}, notes, ("Music", "String section", "Violin, fiddle", "Cello"))


def _orchestra(rng: Generator) -> Clip:
    """Strings, horns and drums of an orchestra."""
    song = _song(rng)
    notes = _comping(rng, song, 55, 0, 95, long=True) + _bass_line(rng, song, 1, 95)
    notes += _comping(rng, song, 48, 2, 88, long=bool(rng.random() < 0.5))
    programs, labels = {0: 48, 1: 48, 2: 60}, ["Music", "Orchestra", "String section"]
    if rng.random() < 0.6:
        player = _named("Trumpet", "Flute", "Clarinet", "Violin, fiddle")[int(rng.integers(4))]
        programs[3] = player.programs[0]
        notes += _tune_by(rng, song, player, 3, 108)
        labels.append(player.label)
    if rng.random() < 0.5:
        programs[4] = 47
        root = 38 + (song.root - 38) % 12
        notes += [Note(bar * 4 * song.beat, song.beat, root, 115, 4) for bar in range(song.bars)]
        labels.append("Timpani")
    return Clip(programs, notes, tuple(labels))


def _synth_pop(rng: Generator) -> Clip:
    """A drum machine with a bass, chords and a lead of synthesizers."""
    song = _song(rng)
    programs = {
        DRUM_CHANNEL: 25,
        0: int(rng.choice((38, 39))),
        1: int(rng.choice((88, 89, 90, 95))),
        2: int(rng.choice((80, 81, 84, 87))),
    }
    notes = _drum_part(rng, song.bars * 4 * song.beat, song.beat / 4, DRUM_CHANNEL)
    notes += (
        _bass_line(rng, song, 0, 100)
        + _comping(rng, song, 55, 1, 85, long=True)
        + _tune(rng, song, 62, 84, 2, 85)
    )
    return Clip(programs, notes, ("Music", "Synthesizer", "Drum machine"))


PIECES: tuple[Callable[[Generator], Clip], ...] = (
    _band,
    _band,
    _band,
    _duo,
    _duo,
    _quartet,
    _orchestra,
    _synth_pop,
)


def _piece(rng: Generator, font: Font) -> Clip:
    """A piece for several instruments."""
    return PIECES[int(rng.integers(len(PIECES)))](rng)


# What is made, how often, and whether fonts of drums alone can play it.
KINDS: tuple[tuple[Callable[[Generator, Font], Clip], float, bool], ...] = (
    (_solo, 0.56, False),
    (_percussion, 0.12, True),
    (_piece, 0.23, False),
    (_beat, 0.09, True),
)


# Playing ----------------------------------------------------------------------------------------------


class Player:
    """A sound font that is loaded and plays clips one after the other."""

    def __init__(self, font: Font) -> None:
        self._synth = fluidsynth.Synth(gain=0.5, samplerate=float(SYNTH_RATE))
        self._synth.setting("synth.reverb.active", 0)  # rooms come later
        self._synth.setting("synth.chorus.active", 0)
        self._font = self._synth.sfload(font.path)
        if self._font < 0:
            raise RuntimeError(f"cannot load the sound font {font.path}")

    def close(self) -> None:
        """Gives the font's memory back."""
        self._synth.delete()

    def play(self, clip: Clip) -> np.ndarray:
        """Plays the clip; [S] float32 at 16 kHz, its last notes ringing on for a while."""
        for gain in (0.5, 0.25, 0.12, 0.06):  # 16 bits are full at some gain, which the notes do not tell
            rendered = self._render(clip, gain)
            if np.abs(rendered.astype(np.int32)).max(initial=0) < 32_000:
                break
        mono = rendered.reshape(-1, 2).astype(np.float32).mean(axis=1) / 32_768
        return resample_poly(mono, 1, SYNTH_RATE // SAMPLE_RATE).astype(np.float32)

    def _render(self, clip: Clip, gain: float) -> np.ndarray:
        """The clip as the synthesizer gives it: 16-bit samples, left and right by turns."""
        synth = self._synth
        synth.system_reset()
        synth.setting("synth.gain", gain)
        for channel, program in clip.programs.items():
            bank = DRUM_BANK if channel == DRUM_CHANNEL else 0
            if synth.program_select(channel, self._font, bank, program) != 0:
                synth.program_select(channel, self._font, bank, 0)

        events = [(note.start, True, note) for note in clip.notes]
        events += [(note.start + note.duration, False, note) for note in clip.notes]
        events.sort(key=lambda event: event[:2])  # a note ends before the same key begins anew
        chunks, now = [], 0
        for at, begins, note in events:
            place = min(round(at * SYNTH_RATE), round(LONGEST * SYNTH_RATE))
            if place > now:
                chunks.append(synth.get_samples(place - now))
                now = place
            if begins:
                synth.noteon(note.channel, note.key, note.velocity)
            else:
                synth.noteoff(note.channel, note.key)
        chunks.append(synth.get_samples(round(TAIL * SYNTH_RATE)))
        return np.concatenate(chunks)


def _trimmed(waveform: np.ndarray) -> np.ndarray | None:
    """Without silence at its ends, 0.3 to 10 seconds long; None if it is all but silent."""
    largest = float(np.abs(waveform).max(initial=0.0))
    if largest < 1e-3:
        return None
    loud = np.flatnonzero(np.abs(waveform) > 0.01 * largest)
    margin = seconds(0.02)
    waveform = waveform[max(0, loud[0] - margin) : loud[-1] + margin][: seconds(LONGEST)].copy()
    fade = min(len(waveform), margin)
    waveform[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return np.pad(waveform, (0, max(0, seconds(0.3) - len(waveform))))


def make_music(rng: Generator, split: Split, count: int) -> Iterator[Sound]:
    """Makes sounds of music.

    Args:
        rng: Source of all chance.
        split: Which sound fonts play.
        count: How many sounds are made.

    Yields:
        The sounds: instruments alone, percussion, beats and pieces for several instruments.
    """
    fonts = FONTS[split]
    players = [Player(font) for font in fonts]
    try:
        made = 0
        while made < count:
            make, _, drums = KINDS[rng.choice(len(KINDS), p=[share for _, share, _ in KINDS])]
            shares = np.array([font.share if drums or not font.drums_only else 0.0 for font in fonts])
            number = int(rng.choice(len(fonts), p=shares / shares.sum()))
            clip = make(rng, fonts[number])
            waveform = _trimmed(players[number].play(clip)) if clip.notes else None
            if waveform is None:
                continue
            yield Sound(to_peak(waveform), clip.labels)
            made += 1
    finally:
        for player in players:
            player.close()

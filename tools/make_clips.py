"""Make the example clips, and `expected.csv` that says what may be named for each.

    python tools/make_clips.py [FOLDER]

The clips differ in format, sample rate and number of channels, as recordings do. None is from the training
set of the built-in model: the voices and the sound font are those of its test, and no seed is of training.
The waveforms are the same each time; an OGG file's bytes are not, since its stream has a random number.

Needs `fluidsynth` with the font TimGM6mb, `flite` with the voice rms, `festival` with the voice cmu_us_slt.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

TOOLS = Path(__file__).resolve().parent
sys.path.insert(0, str(TOOLS / "tiny"))

from defined import MAKERS  # noqa: E402
from sounds import SAMPLE_RATE  # noqa: E402

FONT = "/usr/share/sounds/sf2/TimGM6mb.sf2"
DRUMS = 9  # the MIDI channel
TICKS = 480  # in a beat

WOMAN_SAYS = "The quick brown fox jumps over the lazy dog, and then it goes home to sleep until the morning."
MAN_SAYS = "Please listen to the whole recording. What comes first is not all there is to hear."


@dataclass(frozen=True)
class Note:
    """A note: its start and length in beats, its MIDI key, how hard it is struck (1 to 127)."""

    start: float
    length: float
    key: int
    velocity: int


@dataclass(frozen=True)
class Clip:
    """A clip to be written.

    Attributes:
        file: Its name; the ending is the format.
        sample_rate: Of the file.
        waveform: [S] or [S, 2] at `sample_rate`.
        labels: What a tagger may name first, the narrowest first, then what is above it.
    """

    file: str
    sample_rate: int
    waveform: np.ndarray
    labels: tuple[str, ...]


# ---------------------------------------------------------------- music


def variable_length(value: int) -> bytes:
    """A number as MIDI files write time: seven bits a byte, the highest bit set on all but the last."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def midi(notes: Iterable[Note], channel: int, program: int, beats_a_minute: float) -> bytes:
    """A MIDI file of one track."""
    events = [(0, bytes([0xC0 | channel, program]))]
    for note in notes:
        first, last = round(note.start * TICKS), round((note.start + note.length) * TICKS)
        events += [
            (first, bytes([0x90 | channel, note.key, note.velocity])),
            (last, bytes([0x80 | channel, note.key, 0])),
        ]
    track = b"\x00\xff\x51\x03" + round(60e6 / beats_a_minute).to_bytes(3, "big")
    now = 0
    for tick, event in sorted(events, key=lambda item: item[0]):
        track += variable_length(tick - now) + event
        now = tick
    track += b"\x00\xff\x2f\x00"
    header = b"MThd" + b"".join(n.to_bytes(size, "big") for n, size in ((6, 4), (0, 2), (1, 2), (TICKS, 2)))
    return header + b"MTrk" + len(track).to_bytes(4, "big") + track


def played(notes: Iterable[Note], channel: int, program: int, beats_a_minute: float, rate: int) -> np.ndarray:
    """The notes as the test's sound font plays them, [S, 2]."""
    with tempfile.TemporaryDirectory() as folder:
        score, sound = Path(folder, "score.mid"), Path(folder, "sound.wav")
        score.write_bytes(midi(notes, channel, program, beats_a_minute))
        command = [
            "fluidsynth",
            "-ni",
            "-q",
            "-g",
            "0.8",
            "-r",
            str(rate),
            "-F",
            str(sound),
            FONT,
            str(score),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return soundfile.read(sound)[0]


def piano_piece() -> list[Note]:
    """Broken chords in the left hand, a tune of chord tones and passing notes in the right."""
    notes = []
    tune = (
        (76, 1.5),
        (74, 0.5),
        (72, 1),
        (71, 1),
        (72, 1.5),
        (69, 0.5),
        (76, 2),
        (77, 1),
        (76, 0.5),
        (74, 0.5),
        (72, 2),
    )
    chords = ((48, 55, 60, 64), (45, 52, 57, 60), (41, 48, 53, 57), (43, 50, 55, 59))
    for bar, chord in enumerate(chords):
        for eighth, voice in enumerate((0, 1, 2, 3, 2, 1, 2, 1)):
            notes.append(Note(4 * bar + eighth / 2, 0.9, chord[voice], 58 + 6 * (eighth == 0)))
    now = 0.0
    for key, length in tune:
        notes.append(Note(now, length, key, 84))
        now += length
    return [*notes, *(Note(16, 3, key, 70) for key in (36, 48, 60, 64, 67, 72))]


def drum_beat() -> list[Note]:
    """Four bars of bass drum, snare drum and hi-hat, a roll over the toms, a crash."""
    bass, snare, closed, opened, crash = 36, 38, 42, 46, 49
    notes = [Note(0, 0.2, crash, 100)]
    for bar in range(4):
        notes += [Note(4 * bar + beat, 0.2, bass, 110) for beat in (0, 1.5, 2)]
        notes += [Note(4 * bar + beat, 0.2, snare, 105) for beat in (1, 3)]
        last = 6 if bar == 3 else 8
        notes += [
            Note(4 * bar + k / 2, 0.2, opened if k == 7 else closed, 75 + 15 * (k % 2 == 0))
            for k in range(last)
        ]
    notes += [Note(15 + k / 4, 0.2, key, 100) for k, key in enumerate((50, 47, 45, 41))]
    return [*notes, Note(16, 0.2, crash, 115), Note(16, 0.2, bass, 115)]


# ---------------------------------------------------------------- voices


def spoken(command: list[str], file: Path) -> np.ndarray:
    """What a synthesizer wrote into a file, [S] at 16 kHz."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    waveform, rate = soundfile.read(file)
    return converted(waveform, rate, SAMPLE_RATE)


def woman(text: str) -> np.ndarray:
    """The text as festival's voice slt speaks it, [S] at 16 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        words, file = Path(folder, "words.txt"), Path(folder, "voice.wav")
        words.write_text(text, encoding="utf-8")
        voice = "(voice_cmu_us_slt_arctic_hts)"
        return spoken(["text2wave", "-eval", voice, "-o", str(file), str(words)], file)


def man(text: str) -> np.ndarray:
    """The text as flite's voice rms speaks it, [S] at 16 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "voice.wav")
        return spoken(["flite", "-voice", "rms", "-t", text, "-o", str(file)], file)


# ---------------------------------------------------------------- waveforms


def converted(waveform: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """The waveform at another sample rate."""
    common = gcd(rate, new_rate)
    return resample_poly(waveform, new_rate // common, rate // common, axis=0)


def defined(name: str, seed: int, length: float) -> np.ndarray:
    """A defined sound, [S] at 16 kHz, at most `length` seconds long; its seed is none of training or test."""
    waveform = MAKERS[name](np.random.default_rng([1_000_003, seed]), "test").waveform
    return waveform[: round(length * SAMPLE_RATE)]


def loud(waveform: np.ndarray, peak: float = 0.6) -> np.ndarray:
    """The waveform at a peak."""
    return waveform * (peak / np.abs(waveform).max())


def ended(waveform: np.ndarray, rate: int, length: float) -> np.ndarray:
    """The first `length` seconds, the last half second fading out."""
    waveform = waveform[: round(length * rate)].copy()
    ramp = np.linspace(1, 0, rate // 2)
    waveform[-len(ramp) :] *= ramp if waveform.ndim == 1 else ramp[:, None]
    return waveform


def in_the_air(waveform: np.ndarray, rng: np.random.Generator, level: float = -72.0) -> np.ndarray:
    """With the faint noise of a microphone, `level` in dB of full scale; and without clicks at the ends."""
    noisy = waveform + 10 ** (level / 20) * rng.standard_normal(waveform.shape)
    ramp = np.minimum(1, np.arange(len(noisy)) / 200)
    shape = ramp * ramp[::-1]
    return noisy * (shape if noisy.ndim == 1 else shape[:, None])


def beside(waveform: np.ndarray, rate: int) -> np.ndarray:
    """Two channels [S, 2] of a source a little to the left: the right hears it later and fainter."""
    late = round(0.0004 * rate)
    return np.stack(
        [waveform, 0.75 * np.concatenate([np.zeros(late), waveform[: len(waveform) - late]])], axis=1
    )


def clips() -> list[Clip]:
    """All clips."""
    rng = np.random.default_rng(1_000_003)

    def source(name: str, seed: int, length: float, rate: int, wide: bool = False) -> np.ndarray:
        waveform = loud(converted(defined(name, seed, length), SAMPLE_RATE, rate))
        return in_the_air(beside(waveform, rate) if wide else waveform, rng)

    piano = loud(ended(played(piano_piece(), 0, 0, 132, 44_100), 44_100, 8.7))
    drums = loud(ended(played(drum_beat(), DRUMS, 0, 126, 44_100), 44_100, 8.2))
    speech = loud(converted(woman(WOMAN_SAYS), SAMPLE_RATE, 22_050))
    instrument = ("Musical instrument", "Music")

    # Whoever hears only the first ten seconds of it misses the siren.
    mixture = np.zeros(20 * 44_100)
    voice = loud(converted(man(MAN_SAYS), SAMPLE_RATE, 44_100))
    music = loud(ended(piano.mean(axis=1), 44_100, 5.3), 0.5)
    alarm = loud(converted(defined("Siren", 9, 9.5), SAMPLE_RATE, 44_100))
    for start, part in ((0.0, voice), (5.0, music), (10.3, alarm)):
        first = round(start * 44_100)
        part = in_the_air(part, rng, -90)[: len(mixture) - first]
        mixture[first : first + len(part)] += part

    return [
        Clip(
            "speech-woman.ogg",
            22_050,
            in_the_air(speech, rng),
            ("Female speech, woman speaking", "Speech"),
        ),
        Clip("piano.ogg", 44_100, piano, ("Piano", "Keyboard (musical)", *instrument)),
        Clip(
            "drums.ogg",
            44_100,
            drums,
            ("Drum kit", "Snare drum", "Bass drum", "Hi-hat", "Drum", "Percussion", *instrument),
        ),
        Clip("siren.flac", 16_000, source("Siren", 2, 4, 16_000), ("Siren", "Alarm")),
        Clip(
            "busy-signal.flac",
            22_050,
            source("Busy signal", 0, 4, 22_050),
            ("Busy signal", "Telephone"),
        ),
        Clip(
            "heartbeat.flac",
            16_000,
            source("Heart sounds, heartbeat", 4, 5, 16_000),
            ("Heart sounds, heartbeat",),
        ),
        Clip(
            "church-bell.ogg",
            48_000,
            source("Church bell", 5, 7, 48_000, wide=True),
            ("Church bell", "Bell"),
        ),
        Clip(
            "telephone-dialing.ogg",
            44_100,
            source("Telephone dialing, DTMF", 9, 5, 44_100),
            ("Telephone dialing, DTMF", "Telephone"),
        ),
        Clip("silence.flac", 48_000, np.zeros((4 * 48_000, 2)), ("Silence",)),
        Clip("whistling.ogg", 48_000, source("Whistling", 8, 6, 48_000), ("Whistling",)),
        Clip(
            "birds.ogg",
            44_100,
            source("Chirp, tweet", 1, 6, 44_100, wide=True),
            ("Chirp, tweet", "Bird vocalization, bird call, bird song", "Bird", "Animal"),
        ),
        Clip(
            "speech-then-music-then-siren.ogg",
            44_100,
            in_the_air(mixture, rng),
            ("Male speech, man speaking", "Speech", "Piano", "Music", "Siren", "Alarm"),
        ),
    ]


def main() -> None:
    """Write the clips and the table."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else TOOLS.parent / "examples" / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "expected.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("file", "labels"))
        for clip in clips():
            soundfile.write(folder / clip.file, clip.waveform, clip.sample_rate)
            table.writerow((clip.file, ";".join(clip.labels)))


if __name__ == "__main__":
    main()

"""Makes speech: words, phrases, sentences, whispers and babble, from the synthesizers of the system.

espeak-ng gives breadth (about 130 languages and accents times some 50 voice variants); flite and festival
give recorded voices. The texts are real words and sentences in English, and numbers and pseudo-words in the
letters of the voice's language, so that the phonetics are wider than English.

Voices are kept apart: languages, variants and speakers of the test are never heard in training.

Needs the commands `espeak-ng`, `flite` and `festival`. Every one of them makes the same samples each time it
is asked the same, so a generator in the same state gives the same sounds.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import soundfile
from numpy.random import Generator
from scipy.signal import resample_poly
from sounds import LONGEST, SAMPLE_RATE, Sound, Split, seconds, to_peak

Speaker: TypeAlias = Literal["male", "female", "child", "whisper", "unclear"]
Shape: TypeAlias = Literal["word", "phrase", "sentence"]

LABELS: dict[Speaker, str] = {
    "male": "Male speech, man speaking",
    "female": "Female speech, woman speaking",
    "child": "Child speech, kid speaking",
    "whisper": "Whispering",
    "unclear": "Speech",
}
BABBLE = "Hubbub, speech noise, speech babble"

SHORTEST = 0.3  # seconds
BLOCK = 400  # sounds planned together, so that festival starts once per voice for all of them
BABBLE_SHARE = 0.04
SHAPES: tuple[Shape, ...] = ("word", "phrase", "sentence")
SHAPE_SHARES = (0.37, 0.26, 0.37)  # of what is not babble

# Voices -----------------------------------------------------------------------------------------------

# Languages of espeak-ng by the letters a pseudo-word for them is made of.
LANGUAGES: dict[str, str] = {
    "latin": (
        "af an az bs ca cs cy da de en-029 en-gb en-gb-scotland en-gb-x-gbclan en-gb-x-gbcwmd en-gb-x-rp "
        "en-us en-us-nyc eo es es-419 et eu fi fr-be fr-ch fr-fr ga gd gn haw hr ht hu ia id io is it jbo "
        "kl ku la lb lfn lt ltg lv mi ms mt nb nci nl om pap pl pt pt-br qu quc qya ro sjn sk sl smj sq sv "
        "sw tk tn tr uz vi vi-vn-x-central vi-vn-x-south"
    ),
    "cyrillic": "ba be bg cv kk ky mk nog ru ru-lv sr tt uk",
    "greek": "el grc",
    "devanagari": "hi kok mr ne",
    "bengali": "as bn bpy",
    "gurmukhi": "pa",
    "gujarati": "gu",
    "oriya": "or",
    "tamil": "ta",
    "telugu": "te",
    "kannada": "kn",
    "malayalam": "ml",
    "arabic": "ar fa sd ug ur",
    "hebrew": "he",
    "hangul": "ko",
    "kana": "ja",
    "georgian": "ka",
    "armenian": "hy hyw",
}
SCRIPT_OF = {language: script for script, names in LANGUAGES.items() for language in names.split()}
TEST_LANGUAGES = frozenset(
    (
        "en-gb-scotland en-us-nyc cs sk fr-be fr-ch fr-fr fi hu is id ms tr az sw bg mk ta ml ka he el grc"
    ).split()
)

# Only variants whose sex a listener would agree on are named male or female; the robots are left out.
VARIANTS: dict[Speaker, tuple[str, ...]] = {
    "male": tuple(
        "m1 m2 m3 m4 m5 m6 m7 m8 adam Alex Andy antonio benjamin boris caleb david Denis Diogo ed edward "
        "edward2 Gene Gene2 gustave Henrique Hugo Jacky john kaukovalta Lee marcelo Marco Mario max Michael "
        "michel miguel "
        "Mike pablo paul pedro rob sandro travis victor".split()
    ),
    "female": tuple(
        "f1 f2 f3 f4 f5 Alicia Andrea Annie anika aunty belinda linda steph steph2 steph3".split()
    ),
    "whisper": ("whisper", "whisperf"),
    "unclear": tuple(
        "croak grandpa klatt klatt2 klatt3 klatt4 iven iven2 norbert Nguyen quincy robert shelby zac".split()
    ),
}
TEST_VARIANTS = frozenset(
    (
        "m3 m7 Alex boris Gene Gene2 Lee Marco paul robert f3 Annie steph steph2 steph3 "
        "whisperf klatt3 klatt4"
    ).split()
)
VARIANT_SHARES: dict[Speaker, float] = {"male": 0.42, "female": 0.42, "whisper": 0.06, "unclear": 0.10}

FLITE: dict[Split, dict[str, Speaker]] = {
    "train": {"kal16": "male", "awb": "male"},
    "test": {"rms": "male", "slt": "female"},  # slt spoke for festival's cmu_us_slt_arctic_hts, too
}
FESTIVAL: dict[Split, dict[str, Speaker]] = {
    "train": {
        "kal_diphone": "male",
        "ked_diphone": "male",
        "czech_ph": "male",
        "czech_dita": "female",
        "czech_krb": "child",
        "suo_fi_lj_diphone": "female",
        "lp_diphone": "female",
        "msu_ru_nsh_clunits": "male",
        "hindi_NSK_diphone": "male",
        "marathi_NSK_diphone": "male",
        "telugu_NSK_diphone": "male",
    },
    "test": {
        "cmu_us_slt_arctic_hts": "female",
        "upc_ca_ona_hts": "female",
        "pc_diphone": "male",
        "hy_fi_mv_diphone": "male",
        "czech_machac": "male",
    },
}
# Some voices of festival crash on letters that are not theirs.
FESTIVAL_SCRIPTS = {
    "msu_ru_nsh_clunits": "cyrillic",
    "hindi_NSK_diphone": "devanagari",
    "marathi_NSK_diphone": "devanagari",
    "telugu_NSK_diphone": "telugu",
}
# These recordings hiss so loudly, before and after what is said, too, that silence is louder there.
HISSING = frozenset(("hindi_NSK_diphone", "marathi_NSK_diphone", "telugu_NSK_diphone"))
ENGINES = ("espeak", "flite", "festival")
ENGINE_SHARES = (0.56, 0.14, 0.30)

# How far a recording may be sped up or slowed down, formants and all, and still be the same kind of speaker.
SHIFTS: dict[Speaker, tuple[float, float]] = {
    "male": (0.85, 1.08),
    "female": (0.94, 1.18),
    "child": (0.94, 1.10),
    "whisper": (0.85, 1.20),
    "unclear": (0.85, 1.20),
}
CHILD_SHIFT = (1.25, 1.45)  # makes a child of a woman
CHILD_SHARE = 0.15

# Texts ------------------------------------------------------------------------------------------------

DIGITS = "zero one two three four five six seven eight nine ten eleven twelve twenty fifty hundred".split()
LETTERS = list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
COMMANDS = (
    "yes no stop go up down left right on off start pause play next back open close help wait quiet louder "
    "cancel forward backward follow learn visual hello goodbye please thanks sorry okay ready now enter"
).split()
NOUNS = (
    "house cat dog bird tree bed happy river mountain window door table chair water fire bread apple orange "
    "garden street city village teacher doctor farmer child mother father sister brother friend morning "
    "evening winter summer music picture letter paper pencil bottle kitchen engine machine train bicycle "
    "airplane bridge island forest animal horse sheep chicken fish mouse rabbit tiger elephant weather "
    "thunder cloud shadow mirror candle hammer ladder basket blanket button ticket market hospital school "
    "library museum computer telephone camera question answer story journey holiday birthday present secret "
    "danger freedom language science history thing"
).split()
ADJECTIVES = (
    "big small red green blue yellow black white old young quick slow warm cold heavy light quiet loud "
    "strange simple broken beautiful empty angry gentle clever lazy wooden golden rough smooth bright dark "
    "distant famous"
).split()
VERBS = (
    "finds sees takes brings makes wants likes follows opens watches breaks carries leaves remembers "
    "forgets loves builds paints sells buys washes hears knows calls pushes pulls catches throws chases "
    "visits"
).split()
PLACES = (
    "in the kitchen,on the street,near the river,behind the old church,at the station,under the bridge,"
    "in the middle of the night,before breakfast,after a long day,on the other side of town,again and again,"
    "without a word,for the first time,every morning,last summer,as soon as possible"
).split(",")
NAMES = (
    "Anna Peter Maria John Sarah Thomas Julia David Emma Robert Alice George Nina Victor Helen Samuel".split()
)
SENTENCES = (
    "The {a} {n} {v} the {n}.",
    "{p}, the {n} {v} a {a} {n} {l}.",
    "I think that {p} {v} the {a} {n}, but nobody else does.",
    "Why is the {n} so {a} {l}?",
    "Did you see the {a} {n} and the {a} {n} {l}?",
    "Please {c} the {n}, and then {c} it again!",
    "There are {d} {n}s and {d} {n}s {l}.",
    "My number is {d} {d} {d}, {d} {d} {d} {d}.",
    "{p} said: the {n} {v} the {n} {l}, because the {n} was {a}.",
    "No, it is not {a}. It is {a}, and it was always {a}.",
    "What would {p} do if the {n} were {a}?",
    "We have to {c}, {p}! The {n} {v} us {l}.",
    "It costs {i} dollars and {d} cents.",
    "In {i}, {p} and {p} lived {l} with a {a} {n}.",
    "Good morning. The time is {d} {d}, and the {n} is {a} today.",
    "{d}, {d}, {d}, {d}, {d}.",
)

# Consonants and vowels of each script; pseudo-words are runs of consonant and vowel. In the Indic scripts the
# vowels are signs on the consonant before them, and the letters have the same places in every script's block.
INDIC_CONSONANTS = "कगचजटडतदनपबमयरलवसह"
INDIC_VOWELS = "ािीुूेो"
INDIC_BLOCKS = {
    "devanagari": 0x0900,
    "bengali": 0x0980,
    "gurmukhi": 0x0A00,
    "gujarati": 0x0A80,
    "oriya": 0x0B00,
    "tamil": 0x0B80,
    "telugu": 0x0C00,
    "kannada": 0x0C80,
    "malayalam": 0x0D00,
}
LETTERS_OF: dict[str, tuple[str, str]] = {
    "latin": ("bcdfghjklmnprstvwz", "aeiou"),
    "cyrillic": ("бвгджзклмнпрстфхцчш", "аеиоуыяю"),
    "greek": ("βγδζθκλμνξπρστφχψ", "αεηιουω"),
    "arabic": ("بتثجحخدرزسشصطعغفقكلمنه", "اوي"),
    "hebrew": ("בגדהזחטכלמנספצקרשת", "אוי"),
    "hangul": (
        "가나다라마바사아자차카타파하거너더러머버서어저처고노도로모보소오조구누두루무부수우주기니디리미비시이지",
        "",
    ),
    "kana": (
        "かきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわがぎぐげござじずぜぞ",
        "んーい",
    ),
    "georgian": ("ბგდვზთკლმნპჟრსტფქღყშჩცძწჭხჯჰ", "აეიოუ"),
    "armenian": ("բգդզթժլխծկհձղճմյնշչպջռսվտրցփք", "աեիոու"),
}
CLUSTERS = ("", "", "", "n", "r", "s", "l", "m", "st", "nd", "k", "sh")  # ends of syllables in Latin letters
TAMIL_CONSONANTS = "கசடதநபமயரலவ"  # its block has holes where others have voiced and aspirated letters


@dataclass(frozen=True)
class Voice:
    """A voice and how it is set for one utterance.

    Attributes:
        engine: Which synthesizer speaks.
        name: The synthesizer's name of the voice.
        script: Which letters it reads.
        speaker: Whom a listener would take it for.
        pitch: espeak's pitch, 0 to 99.
        speed: 1 for the synthesizer's normal speed, more for faster.
    """

    engine: str
    name: str
    script: str
    speaker: Speaker
    pitch: int
    speed: float


@dataclass(frozen=True)
class Utterance:
    """One text to be spoken.

    Attributes:
        voice: Who speaks it.
        shape: How long the text is.
        text: What is spoken.
        shift: By how much playback is sped up, formants and pitch with it.
        speaker: Whom a listener would take the shifted voice for.
    """

    voice: Voice
    shape: Shape
    text: str
    shift: float
    speaker: Speaker


def _choice(rng: Generator, items: list[str] | tuple[str, ...]) -> str:
    """One of the items; numpy's own choice is slow and turns strings into numpy's."""
    return items[int(rng.integers(len(items)))]


def _voice(rng: Generator, split: Split) -> Voice:
    """Draws a voice of the split, set at random."""
    engine = ENGINES[rng.choice(len(ENGINES), p=ENGINE_SHARES)]
    speed = float(rng.uniform(0.75, 1.35))
    if engine == "espeak":
        return _espeak_voice(rng, split, speed)
    voices = (FLITE if engine == "flite" else FESTIVAL)[split]
    name = _choice(rng, list(voices))
    return Voice(engine, name, FESTIVAL_SCRIPTS.get(name, "latin"), voices[name], 50, speed)


def _espeak_voice(rng: Generator, split: Split, speed: float) -> Voice:
    """Draws a language and a variant of espeak-ng, half of the time an English one."""
    test = split == "test"
    speakers = list(VARIANT_SHARES)
    speaker = speakers[rng.choice(len(speakers), p=list(VARIANT_SHARES.values()))]
    languages = [name for name in SCRIPT_OF if (name in TEST_LANGUAGES) == test]
    if rng.random() < 0.5:
        languages = [name for name in languages if name.startswith("en-")]
    variant = _choice(rng, [name for name in VARIANTS[speaker] if (name in TEST_VARIANTS) == test])
    language = _choice(rng, languages)
    pitch = int(rng.integers(25, 60) if speaker != "female" else rng.integers(45, 80))
    return Voice("espeak", f"{language}+{variant}", SCRIPT_OF[language], speaker, pitch, speed)


def _pseudo_word(rng: Generator, script: str) -> str:
    """A word of one to four syllables in the script's letters that means nothing."""
    if script in INDIC_BLOCKS:
        move = INDIC_BLOCKS[script] - INDIC_BLOCKS["devanagari"]
        consonants = TAMIL_CONSONANTS if script == "tamil" else [chr(ord(c) + move) for c in INDIC_CONSONANTS]
        vowels = [chr(ord(v) + move) for v in INDIC_VOWELS]
    else:
        consonants, vowels = (list(letters) for letters in LETTERS_OF[script])
    word = ""
    for _ in range(rng.integers(1, 4) + (script == "hangul")):
        word += _choice(rng, list(consonants))
        word += _choice(rng, vowels) if vowels else ""
        word += _choice(rng, CLUSTERS) if script == "latin" else ""
    return word


def _word(rng: Generator, script: str) -> str:
    """One word to be spoken alone: in English, or a number or pseudo-word in the script's letters."""
    if script != "latin":
        number = script not in FESTIVAL_SCRIPTS.values() and rng.random() < 0.3
        return str(rng.integers(0, 100)) if number else _pseudo_word(rng, script)
    kinds = (COMMANDS, DIGITS, LETTERS, NOUNS, ADJECTIVES, VERBS)
    kind = int(rng.choice(len(kinds) + 1, p=(0.22, 0.14, 0.08, 0.22, 0.08, 0.06, 0.20)))
    return _pseudo_word(rng, script) if kind == len(kinds) else _choice(rng, kinds[kind])


def _sentence(rng: Generator, script: str) -> str:
    """A sentence: English from a template, or pseudo-words and numbers with punctuation."""
    if script == "latin" and rng.random() < 0.8:
        sentence = _choice(rng, SENTENCES)
        parts = {"a": ADJECTIVES, "n": NOUNS, "v": VERBS, "l": PLACES, "p": NAMES, "d": DIGITS, "c": COMMANDS}
        for mark, words in parts.items():
            while f"{{{mark}}}" in sentence:
                sentence = sentence.replace(f"{{{mark}}}", _choice(rng, words), 1)
        return sentence.replace("{i}", str(rng.integers(1, 3000)))
    words = [_pseudo_word(rng, script) for _ in range(rng.integers(4, 11))]
    comma = int(rng.integers(len(words)))
    words[comma] += ","
    return " ".join(words) + _choice(rng, ".?!")


def _text(rng: Generator, script: str, shape: Shape) -> str:
    """A text of the shape in the script's letters."""
    if shape == "word":
        return _word(rng, script)
    if shape == "phrase":
        return " ".join(_word(rng, script) for _ in range(rng.integers(2, 5)))
    return " ".join(_sentence(rng, script) for _ in range(rng.choice((1, 1, 1, 2, 2, 3))))


def _utterance(rng: Generator, split: Split, shape: Shape) -> Utterance:
    """Draws who speaks, what, and how far it is shifted."""
    voice = _voice(rng, split)
    text = _text(rng, voice.script, shape)
    speaker = voice.speaker
    shift = float(rng.uniform(*SHIFTS[speaker])) if rng.random() < 0.75 else 1.0
    if speaker == "female" and rng.random() < CHILD_SHARE:
        speaker, shift = "child", float(rng.uniform(*CHILD_SHIFT))
    return Utterance(voice, shape, text, shift, speaker)


# Synthesis --------------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[np.ndarray, int] | None:
    """Reads what a synthesizer wrote, None where it wrote nothing."""
    if not path.exists() or path.stat().st_size <= 44:  # a header alone
        return None
    waveform, rate = soundfile.read(path, dtype="float32")
    return waveform, rate


def _run(arguments: list[str], text: str | None = None) -> None:
    """Runs a synthesizer; what it could not speak shows in the missing file, not in its exit status."""
    subprocess.run(
        arguments,
        input=text,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )


def _speak_alone(utterance: Utterance, path: Path) -> None:
    """Speaks one utterance into a file by a synthesizer that starts fast: espeak-ng or flite."""
    voice = utterance.voice
    if voice.engine == "espeak":
        speed = str(round(170 * voice.speed))
        _run(
            [
                "espeak-ng",
                "-v",
                voice.name,
                "-p",
                str(voice.pitch),
                "-s",
                speed,
                "-w",
                str(path),
                utterance.text,
            ]
        )
    else:
        stretch = f"duration_stretch={1 / voice.speed:.3f}"
        _run(["flite", "-voice", voice.name, "--setf", stretch, "-t", utterance.text, "-o", str(path)])


def _speak_together(utterances: list[Utterance], paths: list[Path]) -> None:
    """Speaks utterances of one festival voice into files with one start of festival."""
    script = [f"(voice_{utterances[0].voice.name})"]
    for utterance, path in zip(utterances, paths, strict=True):
        text = utterance.text.replace('"', "")
        script.append(f"(Parameter.set 'Duration_Stretch {1 / utterance.voice.speed:.3f})")
        script.append(f'(utt.save.wave (utt.synth (Utterance Text "{text}")) "{path}" \'riff)')
    script_path = paths[0].with_suffix(".scm")
    script_path.write_text("\n".join(script), encoding="utf-8")
    _run(["festival", "-b", str(script_path)])


def _shifted(waveform: np.ndarray, rate: int, shift: float) -> np.ndarray:
    """The recording at 16 kHz, played back `shift` times as fast."""
    # A fraction with small terms makes a short filter; its error is far below what one hears.
    ratio = Fraction(SAMPLE_RATE / (rate * shift)).limit_denominator(160)
    return resample_poly(waveform, ratio.numerator, ratio.denominator).astype(np.float32)


def _trimmed(waveform: np.ndarray, silence: float) -> np.ndarray | None:
    """Without ends below `silence` times the peak, 0.3 to 10 seconds long; None if it is all but silent."""
    largest = float(np.abs(waveform).max(initial=0.0))
    loud = np.flatnonzero(np.abs(waveform) > silence * largest)
    if largest < 1e-3 or loud[-1] - loud[0] < seconds(0.08):
        return None
    margin = seconds(0.02)
    waveform = waveform[max(0, loud[0] - margin) : loud[-1] + margin]
    if len(waveform) > seconds(LONGEST):
        waveform = waveform[: seconds(LONGEST)].copy()
        waveform[-margin:] *= np.linspace(1, 0, margin, dtype=np.float32)  # no click where a word is cut
    missing = max(0, seconds(SHORTEST) - len(waveform))
    return np.pad(waveform, (missing // 2, missing - missing // 2))


def _spoken(utterances: list[Utterance]) -> list[np.ndarray | None]:
    """Speaks the utterances, [S] each; None for what a synthesizer could not speak."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}.wav") for number in range(len(utterances))]
        batches: dict[str, list[int]] = {}
        for number, utterance in enumerate(utterances):
            if utterance.voice.engine == "festival":
                batches.setdefault(utterance.voice.name, []).append(number)
            else:
                _speak_alone(utterance, paths[number])
        for numbers in batches.values():
            _speak_together([utterances[number] for number in numbers], [paths[number] for number in numbers])

        waveforms = []
        for utterance, path in zip(utterances, paths, strict=True):
            recording = _read(path)
            silence = 0.12 if utterance.voice.name in HISSING else 0.01
            waveforms.append(
                None if recording is None else _trimmed(_shifted(*recording, utterance.shift), silence)
            )
    return waveforms


def _babble(rng: Generator, voices: list[np.ndarray]) -> Sound:
    """Lays 6 to 20 of the voices over each other, each repeated from a random place on."""
    total = np.zeros(seconds(float(rng.uniform(2.0, LONGEST))), dtype=np.float32)
    chosen = rng.permutation(len(voices))[: int(rng.integers(6, 21))]
    for number in chosen:
        voice = voices[number]
        voice = voice / np.sqrt(np.mean(voice**2)) * 10 ** rng.uniform(-0.3, 0.3)
        pause = np.zeros(seconds(float(rng.uniform(0.0, 0.5))), dtype=np.float32)
        total += np.resize(np.roll(np.concatenate([voice, pause]), int(rng.integers(len(voice)))), len(total))
    return Sound(to_peak(total), (BABBLE,))


def make_speech(rng: Generator, split: Split, count: int) -> Iterator[Sound]:
    """Makes sounds of speech.

    Args:
        rng: Source of all chance.
        split: Whose voices are used.
        count: How many sounds are made.

    Yields:
        The sounds: a word alone, a phrase of two to four words, a text of some sentences, or babble.
    """
    made = 0
    while made < count:
        size = min(BLOCK, count - made)
        babbles = int(rng.binomial(size, BABBLE_SHARE))
        shapes = [SHAPES[number] for number in rng.choice(len(SHAPES), size - babbles, p=SHAPE_SHARES)]
        extras: list[Shape] = (
            ["sentence"] * 24 if babbles else []
        )  # so that babble has voices in a small block
        utterances = [_utterance(rng, split, shape) for shape in [*shapes, *extras]]
        waveforms = _spoken(utterances)

        pairs = [(u, w) for u, w in zip(utterances, waveforms, strict=True) if w is not None]
        block = [Sound(to_peak(w), (LABELS[u.speaker],)) for u, w in pairs][: size - babbles]
        crowd = [w for u, w in pairs if u.shape == "sentence" and u.speaker != "whisper"]
        if len(crowd) >= 6:
            block += [_babble(rng, crowd) for _ in range(babbles)]
        if not block:
            raise RuntimeError(
                "no synthesizer spoke: are espeak-ng, flite and festival with their voices installed?"
            )
        for number in rng.permutation(len(block)):
            yield block[number]
        made += len(block)  # what was not spoken is made up for by the next block

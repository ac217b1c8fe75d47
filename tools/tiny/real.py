"""How the model does on real recordings: free ones that Debian packages, unpacked into a folder.

None of them is trained on. README.md says how to fetch them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import soundfile

from ast_cli import Tagger
from ast_cli.results import FileResult
from ast_cli.scoring.labels import audioset_classes, tree_paths

SHORTEST_SPEECH = 0.5  # seconds
# Prompts of telephone systems that are no speech, and spoken words for young children that are noises.
NO_SPEECH = ("silence", "beep", "tones", "monkeys", "ascending", "descending", "ringing")


@dataclass(frozen=True)
class RealSet:
    """Recordings of one kind.

    Attributes:
        name: What they are.
        wanted: What should be named first.
        count: Number of recordings; one that cannot be read counts as wrong.
        right: Of how many it is.
        confused: What is named first instead, the most frequent ones.
    """

    name: str
    wanted: str
    count: int
    right: int
    confused: tuple[str, ...]


def under(name: str) -> set[str]:
    """A class and all below it."""
    return {name} | {
        node.name for node in audioset_classes() if any(name in path for path in tree_paths(node))
    }


def check_real(tagger: Tagger, folder: Path) -> list[RealSet]:
    """Tag every set whose recordings are there."""
    voices = folder / "usr/share/asterisk/sounds"
    sets: list[tuple[str, str, Iterable[Path]]] = [
        (f"telephone prompts, {voice.name}", "Speech", _speech(voice.rglob("*.wav")))
        for voice in sorted(voices.glob("??_*"))
    ]
    sets += [
        ("words in many languages (ktuberling)", "Speech", _speech(_all(folder / "usr/share/ktuberling"))),
        ("letters and syllables (klettres)", "Speech", _speech(_all(folder / "usr/share/klettres"))),
        (
            "orchestral game music (Wesnoth)",
            "Music",
            _all(folder / "usr/share/games/wesnoth/1.16/data/core/music"),
        ),
        ("music on hold (OpSound)", "Music", _all(folder / "usr/share/asterisk/moh")),
        ("silence (telephone prompts)", "Silence", [f for f in _all(voices) if f.parent.name == "silence"]),
    ]
    results = []
    for name, wanted, files in sets:
        if paths := sorted(files):
            results.append(_check(tagger, name, wanted, paths))
    return results


def _check(tagger: Tagger, name: str, wanted: str, paths: list[Path]) -> RealSet:
    allowed = under(wanted)
    first = [
        result.tags[0].label if isinstance(result, FileResult) else "unreadable"
        for result in tagger.tag_many(paths, top_k=1, batch_size=16)
    ]
    wrong = [label for label in first if label not in allowed]
    often = sorted(set(wrong), key=wrong.count, reverse=True)[:4]
    return RealSet(
        name, wanted, len(first), len(first) - len(wrong), tuple(f"{w} {wrong.count(w)}" for w in often)
    )


def _speech(files: Iterable[Path]) -> list[Path]:
    """The files that hold speech, and enough of it."""
    spoken = [file for file in files if not any(word in str(file) for word in NO_SPEECH)]
    return [file for file in spoken if _seconds(file) >= SHORTEST_SPEECH]


def _seconds(file: Path) -> float:
    try:
        return float(soundfile.info(file).duration)
    except soundfile.LibsndfileError:
        return 0.0


def _all(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.suffix in (".wav", ".ogg", ".opus", ".mp3")]

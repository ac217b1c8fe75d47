"""Which names count as recordings where nobody has named each: in folders, at addresses, in shards."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from ast_cli.errors import InputError
from ast_cli.results import FileFailure

# What libsndfile may read, and what needs PyAV. A suffix decides only whether the walk takes a file.
_SOUNDFILE = """
    aif aifc aiff au avr bwf caf flac htk mp1 mp2 mp3 mpc2k
    nist oga ogg opus paf rf64 snd sph svx voc w64 wav wave wve xi
"""
_AV = """
    3gp aac ac3 amr ape asf avi dts eac3 flv m4a m4b
    m4v mka mkv mov mp4 mpg mpeg mts ra tak tta webm wma wmv wv
"""
SOUNDFILE_SUFFIXES = frozenset(f".{name}" for name in _SOUNDFILE.split())
AV_SUFFIXES = frozenset(f".{name}" for name in _AV.split())
AUDIO_SUFFIXES = SOUNDFILE_SUFFIXES | AV_SUFFIXES

TAR = ".tar"


def counts(name: str) -> bool:
    """Whether a walk takes a file that is called so: a recording by its suffix, or a tar of recordings.

    Parquet it leaves alone: results are Parquet, too.
    """
    suffix = os.path.splitext(name)[1].lower()
    return suffix in AUDIO_SUFFIXES or suffix == TAR


def is_audio(name: str) -> bool:
    """Whether a name has the suffix of a recording."""
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES


def found_or_failure(found: Iterable[str | FileFailure], name: str, what: str) -> Iterator[str | FileFailure]:
    """What was found under a name; the failure of this folder, address or shard if that is nothing."""
    empty = True
    for one in found:
        empty = False
        yield one
    if empty:
        error = InputError(
            "no-audio",
            f"the {what} holds no file with an audio suffix",
            "Suffixes such as .wav, .flac, .mp3, .m4a count; name files with others one by one",
        )
        yield FileFailure.of(name, error)

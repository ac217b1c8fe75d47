"""Which names count as recordings where nobody has named each: in folders, at addresses, in shards."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from ast_cli.errors import InputError
from ast_cli.results import FileFailure

# What libsndfile may read, and what needs PyAV. A suffix decides only whether the walk takes a file.
_SOUNDFILE = """
    aif aifc aiff au avr bwf caf flac htk mp1 mp2 mp3 mpc2k mpga
    nist oga ogg opus paf rf64 snd sph spx svx voc w64 wav wave wve xi
"""
_AV = """
    3g2 3ga 3gp aac ac3 adts amr ape asf avi awb dff divx dsf dts ec3 eac3 f4a f4v flv gsm m2t m2ts m2v m4a
    m4b m4r m4v mka mkv mov mp4 mp4a mpa mpc mpe mpg mpeg mpp mts mxf nut ogm ogv ogx qt ra rm rmvb shn tak
    thd tta vob weba webm wma wmv wtv wv xwma
"""
SOUNDFILE_SUFFIXES = frozenset(f".{name}" for name in _SOUNDFILE.split())
AV_SUFFIXES = frozenset(f".{name}" for name in _AV.split())
AUDIO_SUFFIXES = SOUNDFILE_SUFFIXES | AV_SUFFIXES

TAR = ".tar"


def counts(name: str) -> bool:
    """Whether a walk takes a file that is called so: a recording by its suffix, or a tar of recordings.

    Parquet it leaves alone: results are Parquet, too.
    """
    suffix = suffix_of(name)
    return suffix in AUDIO_SUFFIXES or suffix == TAR


def suffix_of(name: str) -> str:
    """Its suffix in small letters, with the dot; empty if it has none."""
    return os.path.splitext(name)[1].lower()


def is_audio(name: str) -> bool:
    """Whether a name has the suffix of a recording."""
    return suffix_of(name) in AUDIO_SUFFIXES


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

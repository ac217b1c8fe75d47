"""A recording -> mono float32 blocks at its own rate, streamed, so that length costs no memory.

libsndfile reads what it can; PyAV (extra `av`) reads the rest. Whatever is wrong with a file becomes an
`InputError` with one of its stable words.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import IO

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from ast_cli.audio import av_reader, containers
from ast_cli.audio.containers import read_at
from ast_cli.audio.local import making_copy, new_copy
from ast_cli.audio.soundfile_reader import ForwardFile, fill_to_error, opened
from ast_cli.audio.sources import open_file
from ast_cli.audio.suffixes import AV_SUFFIXES
from ast_cli.errors import InputError
from ast_cli.extras import install
from ast_cli.results import Stamp

Samples = NDArray[np.float32 | np.float64]  # [samples, channels]

BLOCK_SECONDS = 10
# Below, next to nothing is left of what the lowest mel filter passes, from 20 Hz on; above, nobody records.
# Such a rate is damage to a header, which would make days of a few kilobytes, or one block of a recording.
LOWEST_RATE, HIGHEST_RATE = 100, 10_000_000
BLOCK_VALUES = 1 << 22  # at most 16 MiB of float32 in a block, however many channels
UNKNOWN_FRAMES = (1 << 63) - 1  # libsndfile's number where a header names none, as in a streamed FLAC
LARGEST_EMPTY = 4096  # bytes of a file that is a header and nothing else
MPEG_DELAY = 3 * 1152  # samples that an encoder may add and a decoder leave out
SAMPLE_DUMP = (
    b"\xf0\x7e"  # libsndfile prints what it finds wrong with one on standard output, among the results
)
LOUDEST = 32.0  # full scale is 1; beyond +30 dB somebody wrote integers as float
EVERY, TAKEN = 4096, 64  # of so many samples, so many tell how loud channels are
CANCELLED = 0.02  # of the power that a mix has of channels that have nothing to do with each other


@dataclass
class Recording:
    """An open recording.

    Attributes:
        sample_rate: In Hz.
        channels: Their number.
        blocks: [samples, channels] float32 in order, to be read once; integer PCM is scaled to [-1, 1).
            float64 if that was asked for.
        warnings: What turned out wrong without ending the recording; complete once `blocks` is read.
        stamp: Of the file when it was opened, or of the shard it lies in; None for what is no file here.
        encoding: How the samples are stored, in libsndfile's words, such as `PCM_16`; empty where it does not
            read them.
    """

    sample_rate: int
    channels: int
    blocks: Iterator[Samples]
    warnings: list[str] = field(default_factory=list)
    stamp: Stamp | None = None
    encoding: str = ""

    def _mean(self, samples: Tensor) -> Tensor:
        """[S, channels] -> [S]; as a product, which is faster than `mean`, and for two channels as a sum."""
        if self.channels == 1:
            return samples[:, 0]
        if self.channels == 2:
            return (samples[:, 0] / 2).add_(samples[:, 1], alpha=0.5)
        return samples @ torch.full((self.channels,), 1 / self.channels)

    def mono(self, channel: int | None = None) -> Iterator[Tensor]:
        """Mono blocks [samples]: the mean of all channels, or channel number `channel`, counted from 1.

        Raises:
            InputError: There is no such channel, or a sample is not a finite number.
        """
        if channel is not None and not 1 <= channel <= self.channels:
            raise InputError(
                "no-such-channel",
                f"there is no channel {channel}: the recording has {self.channels}",
                "Leave --channel out for the mean of all",
            )
        seconds = peak = mixed = apart = 0.0
        for block in self.blocks:
            samples = torch.from_numpy(block)
            mono = self._mean(samples) if channel is None else samples[:, channel - 1].contiguous()
            # A sum is finite unless a sample is not, or many are huge; it takes a tenth of the time.
            if not mono.sum().isfinite() and not mono.isfinite().all():
                first = int(torch.nonzero(~torch.isfinite(mono))[0])
                raise InputError(
                    "non-finite",
                    f"a sample at {seconds + first / self.sample_rate:.3f} s is not a finite number",
                    "Whatever wrote the file divided by zero or overflowed; export it again",
                )
            some = _some_of(block)
            peak = max(peak, float(np.abs(some).max(initial=0.0)))
            if channel is None and self.channels > 1:
                with np.errstate(over="ignore", invalid="ignore"):  # then nothing is said
                    products = some.T @ some
                    mixed, apart = mixed + float(products.sum()), apart + float(products.trace())
            seconds += len(block) / self.sample_rate
            yield mono
        if peak > LOUDEST:
            self.warnings.append(
                f"samples reach {peak:,.0f} where full scale is 1, so that labels mean little: "
                "divide by what integers it was made of, 32,768 for 16 bits"
            )
        if mixed < CANCELLED * apart:
            self.warnings.append(
                "the channels cancel each other in their mean, as of one in antiphase: "
                "--channel 1 takes the first alone"
            )


def _some_of(samples: Samples) -> Samples:
    """A few of many samples, from everywhere, cheaply: some runs of neighbours."""
    runs = len(samples) // EVERY
    return (
        samples[: runs * EVERY].reshape(runs, EVERY, -1)[:, :TAKEN].reshape(runs * TAKEN, -1)
        if runs
        else samples
    )


@contextmanager
def open_recording(path: str, *, exact: bool = False) -> Iterator[Recording]:
    """Open a recording; `-` is standard input.

    Args:
        path: A file, an address, or a member of a shard.
        exact: Whether blocks are float64, which holds what float32 rounds: PCM of 32 bits, and DOUBLE.

    Raises:
        InputError: It does not exist, cannot be read, is empty, or is no audio that can be decoded here.
    """
    with ExitStack() as stack:
        file, stamp = open_file(path)
        stack.enter_context(file)
        status = os.fstat(file.fileno())
        if status.st_size == 0:
            raise InputError("empty", "the file is empty (0 bytes)")
        recording = _open(path, file, stack, np.float64 if exact else np.float32)
        if recording.channels < 1 or not LOWEST_RATE <= recording.sample_rate <= HIGHEST_RATE:
            raise InputError(
                "unreadable", f"the header says {recording.channels} channels at {recording.sample_rate} Hz"
            )
        recording.stamp = stamp
        if status.st_nlink:  # a copy of what lies elsewhere has no name
            recording.blocks = _watched(recording, recording.blocks, file)
        yield recording


def _watched(recording: Recording, blocks: Iterator[Samples], file: IO[bytes]) -> Iterator[Samples]:
    """The blocks of a recording; warns at their end if somebody wrote to the file meanwhile."""
    yield from blocks
    if Stamp.of(os.fstat(file.fileno())) != recording.stamp:
        recording.warnings.append("changed while it was read: tag it again once it is complete")


class _UnrecognisedError(Exception):
    """libsndfile does not know the format, or reads it badly; somebody else may do better."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def _open(path: str, file: IO[bytes], stack: ExitStack, dtype: type[np.float32 | np.float64]) -> Recording:
    head = read_at(file, 0, 12)
    if head.startswith(SAMPLE_DUMP):
        raise InputError("unsupported-format", "a MIDI sample dump", "Convert it to WAV or FLAC first")
    ogg = containers.ogg_fault(file) if head[:4] == b"OggS" else ""
    if ogg in ("damaged", "chained") and find_spec("av"):
        with suppress(InputError):  # what FFmpeg does not read either, libsndfile reads in part
            return _open_av(path, file, stack, "", from_zero=ogg == "damaged")
    empty = os.fstat(file.fileno()).st_size <= LARGEST_EMPTY
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        parts = containers.wav_data(file)
        empty = not sum(size for _, size in parts)
        if len(parts) > 1 and not empty:
            whole, file = file, stack.enter_context(new_copy())
            with making_copy():
                containers.join_wav(whole, parts, file)
    try:
        recording = _open_soundfile(file, stack, dtype, empty=empty)
    except _UnrecognisedError as unrecognised:
        return _open_av(path, file, stack, unrecognised.cause)
    if ogg == "damaged":
        recording.warnings.append(
            f"damaged: what is lost is left out, and times after it are too early; {install('av')} keeps them"
        )
    return recording


def _block_length(sample_rate: int, channels: int) -> int:
    return max(1, min(BLOCK_SECONDS * sample_rate, BLOCK_VALUES // channels))


def _open_soundfile(
    file: IO[bytes], stack: ExitStack, dtype: type[np.float32 | np.float64], *, empty: bool
) -> Recording:
    """By libsndfile; `empty` says whether a file of no samples may be just that."""
    try:
        sound = stack.enter_context(opened(file))
    except soundfile.LibsndfileError as error:
        raise _UnrecognisedError(error.error_string.rstrip(".")) from error
    if sound.frames == 0 and not empty:
        raise _UnrecognisedError("its header promises no audio, as after a crash of the recorder")
    size = os.fstat(file.fileno()).st_size
    is_mpeg = sound.subtype.startswith("MPEG")
    promise = containers.mp3_promise(file) if sound.format == "MP3" else None
    if is_mpeg and promise is None and find_spec("av"):  # in a WAV, too
        raise _UnrecognisedError("its length can only be guessed, and libsndfile would stop there")
    rate = sound.samplerate
    warnings = [*containers.length_warnings(sound.extra_info)]

    def blocks() -> Iterator[Samples]:
        length, done = _block_length(rate, sound.channels), 0
        filled = length
        while filled == length:
            block: Samples = np.empty((length, sound.channels), dtype)
            try:
                filled = sound.fill(block)
            except soundfile.LibsndfileError as error:
                if (yield from _rest_by_av(file, sound, done, dtype, warnings)):
                    return
                filled = fill_to_error(file, done, block)
                if done + filled == 0:
                    raise InputError("unreadable", f"decoding fails: {error.error_string}") from error
                seconds = (done + filled) / rate
                warnings.append(f"cut off: decoding fails after {seconds:.3f} s ({error.error_string})")
                yield block[:filled]
                return
            done += filled
            if filled:
                yield block[:filled]
        place = file.seek(0, os.SEEK_CUR)
        goes_on = place < size and (
            containers.mpeg_follows(file, place)
            if sound.format == "MP3"
            else sound.format == "OGG" and b"OggS" in read_at(file, place, 1 << 16)
        )
        if goes_on and (yield from _rest_by_av(file, sound, done, dtype, warnings)):
            return
        if goes_on:
            warnings.append(
                f"heard in part: libsndfile ends after {done / rate:.3f} s, with {size - place:,} bytes to "
                "come; convert it to WAV or FLAC to hear all"
            )
        most = sound.frames - (
            MPEG_DELAY if sound.subtype.startswith("MPEG") and sound.format != "MP3" else 0
        )
        if done < most < UNKNOWN_FRAMES:
            seconds, promised = done / rate, sound.frames / rate
            if 0 < (promise or 0) <= size:
                lost = promised - seconds
                warnings.append(
                    f"damaged: {lost:.3f} s of it are lost, and times after them as much too early"
                )
                return
            warnings.append(f"cut off: it ends after {seconds:.3f} s, its header promises {promised:.3f} s")
        elif sound.format in ("OGG", "AIFF", "CAF") and not warnings:
            warnings.extend(containers.length_fault(file))

    return Recording(rate, sound.channels, blocks(), warnings, encoding=sound.subtype)


def _rest_by_av(
    file: IO[bytes], sound: ForwardFile, done: int, dtype: type[np.float32 | np.float64], warnings: list[str]
) -> Generator[Samples, None, bool]:
    """What comes after sample `done`, where libsndfile stops; returns whether FFmpeg found anything."""
    found = False
    if find_spec("av"):
        with ExitStack() as stack, suppress(*av_reader.errors()):
            rest = av_reader.AvFile(file, stack)
            if (rest.sample_rate, rest.channels) == (sound.samplerate, sound.channels):
                for block in rest.blocks(_block_length(rest.sample_rate, rest.channels), done):
                    found = True
                    yield block.astype(dtype, copy=False)
                warnings.extend(rest.warnings)
    return found


def _open_av(
    path: str, file: IO[bytes], stack: ExitStack, cause: str, *, from_zero: bool = False
) -> Recording:
    other = containers.what_else(file, path)
    try:
        import av  # noqa: F401
    except ImportError as error:
        known = os.path.splitext(path)[1].lower() in AV_SUFFIXES
        what, remedy = "reading this format needs PyAV", install("av")
        if not known:
            unread = f"not audio that libsndfile reads ({cause})"
            what, remedy = other or (unread, f"If other programs play it: {remedy}")
        raise InputError("unsupported-format", what, remedy) from error
    try:
        found = av_reader.AvFile(file, stack, from_zero=from_zero)
    except av_reader.errors() as error:
        what, remedy = other or (
            f"neither libsndfile nor FFmpeg can read it ({cause}; {av_reader.reason(error)})",
            "If other programs play it, convert it to WAV or FLAC first",
        )
        raise InputError("unsupported-format", what, remedy) from error
    if not found.has_sound and other:
        raise InputError("unsupported-format", *other)
    if not found.has_sound:
        raise InputError("no-audio", "it holds no sound, only other streams")
    if not found.sample_rate or not found.channels:
        raise InputError("unreadable", f"its header is damaged ({cause})")

    def blocks() -> Iterator[Samples]:
        try:
            yield from found.blocks(_block_length(found.sample_rate, found.channels))
        except av_reader.errors() as error:
            raise InputError("unreadable", f"decoding fails: {av_reader.reason(error)}") from error
        if not any(one.startswith("cut off") for one in found.warnings):
            found.warnings.extend(containers.length_fault(file))

    return Recording(found.sample_rate, found.channels, blocks(), found.warnings)

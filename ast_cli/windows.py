"""A recording -> the windows that the network takes: decode, resample, fbank, cut.

Ends each recording with what is known of it, or with how it failed. Runs on threads; knows no network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

# Imported here, before any thread is: two that import it first at the same time would find it half made.
import torchaudio.compliance.kaldi
import torchaudio.transforms  # noqa: F401

from ast_cli.audio.decode import Recording, open_recording
from ast_cli.audio.resample import StreamResampler
from ast_cli.errors import InputError, UsageError
from ast_cli.features import (
    FRAME_SHIFT_SECONDS,
    FRAMES_PER_SECOND,
    ASTFeatureExtractor,
    Window,
    WindowStream,
)
from ast_cli.results import Facts, FileFailure
from ast_cli.settings import TagSettings


def file_windows(
    found: str | FileFailure, extractor: ASTFeatureExtractor, settings: TagSettings
) -> Iterator[Window | Facts | FileFailure]:
    """The windows of what `discover` found, in order of time; last of all its facts or its failure."""
    if isinstance(found, FileFailure):
        yield found
        return
    try:
        with open_recording(found) as recording:
            yield from recording_windows(recording, extractor, settings)
    except InputError as error:
        yield FileFailure.of(found, error)
    except Exception as error:  # a fault of ours or of a decoder must not cost the other recordings
        message = f"{type(error).__name__}: {error}. This is a fault of the tool: please report it"
        yield FileFailure(found, "internal-error", message)


def recording_windows(
    recording: Recording, extractor: ASTFeatureExtractor, settings: TagSettings
) -> Iterator[Window | Facts]:
    """The windows of an open recording, in order of time; last of all its facts.

    Raises:
        InputError: It cannot be read to its end, or is shorter than one frame.
        UsageError: The settings ask for a window or hop that cannot be.
    """
    resampler = StreamResampler(recording.sample_rate, extractor.sampling_rate)
    stream = WindowStream(extractor, *window_and_hop(extractor, settings))
    samples = 0
    for mono in recording.mono(settings.channel):
        samples += len(mono)
        yield from stream.push(resampler.push(mono))
    yield from stream.push(resampler.finish())
    yield from stream.finish()
    if samples == 0:
        raise InputError("empty", "it holds no audio, only a header")
    if stream.total_frames == 0:
        raise InputError(
            "too-short", f"{samples} samples at {recording.sample_rate} Hz do not fill one frame of 25 ms"
        )
    yield Facts(
        duration=samples / recording.sample_rate,
        frames=stream.total_frames,
        sample_rate=recording.sample_rate,
        channels=recording.channels,
        warnings=tuple(recording.warnings),
    )


def window_and_hop(extractor: ASTFeatureExtractor, settings: TagSettings) -> tuple[int, int]:
    """Length of a window and distance to the next, in frames.

    Raises:
        UsageError: Such windows cannot be cut, or would skip audio.
    """
    for name, seconds in (("window", settings.window), ("hop", settings.hop)):
        if seconds is not None and not FRAME_SHIFT_SECONDS <= seconds < math.inf:
            raise UsageError(f"{name} must be at least {FRAME_SHIFT_SECONDS} s and finite, not {seconds}")
    length = extractor.max_length
    if settings.window is not None:
        asked = round(settings.window * FRAMES_PER_SECOND)
        if asked > length:
            raise UsageError(
                f"a window of {settings.window:g} s is longer than the "
                f"{length / FRAMES_PER_SECOND:g} s of the model",
                "Leave --window out; a longer recording is heard in several windows",
            )
        length = asked
    hop = length if settings.hop is None else round(settings.hop * FRAMES_PER_SECOND)
    if hop > length:
        raise UsageError(
            f"a hop of {settings.hop:g} s is longer than the window, and would skip audio",
            f"Use at most {length / FRAMES_PER_SECOND:g}",
        )
    return length, hop

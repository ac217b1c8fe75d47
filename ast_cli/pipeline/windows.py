"""A recording -> the windows that the network takes: decode, resample, fbank, cut.

Ends each recording with what is known of it, or with how it failed. Runs on threads; knows no network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeVar

from torch import Tensor

from ast_cli.audio.decode import Recording, open_recording
from ast_cli.audio.resample import StreamResampler
from ast_cli.errors import AstCliError, InputError, UsageError
from ast_cli.features.extractor import FRAME_SHIFT_SECONDS, FRAMES_PER_SECOND, ASTFeatureExtractor
from ast_cli.features.masking import NoiseMasking
from ast_cli.features.window_stream import Window, WindowStream
from ast_cli.results import Facts, FileFailure
from ast_cli.settings import Short, TagSettings

KnownT = TypeVar("KnownT")


def file_windows(
    found: str | KnownT | FileFailure,
    extractor: ASTFeatureExtractor,
    settings: TagSettings,
    cropped: Callable[[int], int] | None = None,
    masking: NoiseMasking | None = None,
    *,
    waveforms: bool = False,
) -> Iterator[Window | Facts | KnownT | FileFailure]:
    """The windows of what was found, in order of time; last of all its facts or its failure.

    An outcome that is known already is handed on. For the other arguments see `recording_windows`.
    """
    if not isinstance(found, str):
        yield found
        return
    try:
        with open_recording(found) as recording:
            yield from recording_windows(
                recording, extractor, settings, cropped, masking, waveforms=waveforms
            )
    except InputError as error:
        yield FileFailure.of(found, error)
    except AstCliError:  # a package is missing, and so all that need it would fail
        raise
    except Exception as error:  # a fault of ours or of a decoder must not cost the other recordings
        message = f"{type(error).__name__}: {error}. This is a fault of the tool: please report it"
        yield FileFailure(found, "internal-error", message)


def recording_windows(
    recording: Recording,
    extractor: ASTFeatureExtractor,
    settings: TagSettings,
    cropped: Callable[[int], int] | None = None,
    masking: NoiseMasking | None = None,
    *,
    waveforms: bool = False,
) -> Iterator[Window | Facts]:
    """The windows of an open recording, in order of time; last of all its facts.

    Args:
        recording: Read to its end.
        extractor: Makes the frames.
        settings: How long windows are, and what becomes of short ones.
        cropped: Says how many frames the network needs at least for so many; wanted for `short="crop"`.
        masking: Hides what is quiet in a window, if given.
        waveforms: Whether windows hold waveforms rather than frames; not with `short="repeat"`, which repeats
            frames, nor with `masking`.

    Raises:
        InputError: It cannot be read to its end, or is shorter than one frame.
        UsageError: The settings ask for a window or hop that cannot be.
    """
    resampler = StreamResampler(recording.sample_rate, extractor.sampling_rate)
    fit = fitting(extractor, settings.short, cropped, waveforms=waveforms)
    if masking is not None:
        assert not waveforms
        fit = _masked(masking, fit)
    stream = WindowStream(extractor, *window_and_hop(extractor, settings), fit=fit, waveforms=waveforms)
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
        stamp=recording.stamp,
    )


def _masked(masking: NoiseMasking, fit: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda frames: fit(masking(frames))  # before padding, which is no sound


def fitting(
    extractor: ASTFeatureExtractor,
    short: Short,
    cropped: Callable[[int], int] | None,
    *,
    waveforms: bool = False,
) -> Callable[[Tensor], Tensor]:
    """What makes the network's input [T, M] of the frames [F, M] of a window, F at most T.

    For waveforms, [S] of the samples of F frames.
    """
    if short == "repeat":
        assert not waveforms
        return extractor.repeat
    pad = extractor.pad_waveform if waveforms else extractor.pad
    if short == "crop":
        assert cropped is not None
        frames_of = extractor.num_frames if waveforms else int
        return lambda content: pad(content, cropped(frames_of(len(content))))
    return pad


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

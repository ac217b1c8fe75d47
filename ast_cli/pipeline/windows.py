"""A recording -> the windows that the network takes: decode, resample, fbank, cut.

Ends each recording with what is known of it, or with how it failed. Runs on threads; knows no network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from ast_cli.audio.decode import Recording, open_recording
from ast_cli.audio.resample import StreamResampler
from ast_cli.errors import AstCliError, InputError, UsageError
from ast_cli.features.extractor import FRAME_SHIFT_SECONDS, FRAMES_PER_SECOND, ASTFeatureExtractor
from ast_cli.features.masking import NoiseMasking
from ast_cli.features.window_stream import Window, WindowStream
from ast_cli.pipeline.counters import Spent, StageClock
from ast_cli.results import Facts, FileFailure
from ast_cli.settings import Short, TagSettings


@dataclass(frozen=True)
class Windowing:
    """How a recording becomes windows; can be pickled.

    Attributes:
        extractor: Makes the frames.
        settings: How long windows are, and what is done with short ones.
        cropped: Says how many frames the network needs at least for so many; wanted for `short="crop"`.
        masking: Hides what is quiet in a window, if given.
        waveforms: Whether windows hold waveforms rather than frames; not with `short="repeat"`, which repeats
            frames, nor with `masking`.
    """

    extractor: ASTFeatureExtractor
    settings: TagSettings
    cropped: Callable[[int], int] | None = None
    masking: NoiseMasking | None = None
    waveforms: bool = False

    def of_file(self, path: str, clock: StageClock | None = None) -> Iterator[Window | Facts | FileFailure]:
        """The windows of a file, in order of time; last of all its facts or its failure."""
        try:
            with open_recording(path) as recording:
                yield from self.of_recording(recording, clock)
        except InputError as error:
            yield FileFailure.of(path, error)
        except AstCliError:  # a package is missing, and so all that need it would fail
            raise
        except Exception as error:  # a fault of ours or of a decoder must not cost the other recordings
            message = f"{type(error).__name__}: {error}. This is a fault of the tool: please report it"
            yield FileFailure(path, "internal-error", message)

    def of_file_timed(self, path: str) -> Iterator[Window | Facts | FileFailure | Spent]:
        """The same, and last of all what it took."""
        clock = StageClock.of_thread()
        clock.lap("hand over")
        yield from self.of_file(path, clock)
        yield clock.take()

    def of_recording(self, recording: Recording, clock: StageClock | None = None) -> Iterator[Window | Facts]:
        """The windows of an open recording, read to its end, in order of time; last of all its facts.

        Args:
            recording: Just opened.
            clock: Told of each stage.

        Raises:
            InputError: It cannot be read to its end, or is shorter than one frame.
            UsageError: The settings ask for a window or hop that cannot be.
        """
        clock = clock or StageClock()
        resampler = StreamResampler(recording.sample_rate, self.extractor.sampling_rate)
        fit = fitting(self.extractor, self.settings.short, self.cropped, waveforms=self.waveforms)
        if self.masking is not None:
            assert not self.waveforms
            fit = _masked(self.masking, fit)
        length, hop = window_and_hop(self.extractor, self.settings)
        stream = WindowStream(self.extractor, length, hop, fit=fit, waveforms=self.waveforms)
        recording.blocks = clock.timed(recording.blocks, "read")
        samples = 0
        for mono in recording.mono(self.settings.channel):
            clock.lap("mix")
            samples += len(mono)
            resampled = resampler.push(mono)
            clock.lap("resample")
            windows = stream.push(resampled)
            clock.lap("cut")
            yield from windows
            clock.lap("hand over")
        clock.lap("read")
        resampled = resampler.finish()
        clock.lap("resample")
        windows = [*stream.push(resampled), *stream.finish()]
        clock.lap("cut")
        yield from windows
        clock.lap("hand over")
        if samples == 0:
            raise InputError("empty", "it holds no audio, only a header")
        if stream.total_frames == 0:
            raise InputError(
                "too-short",
                f"{samples} samples at {recording.sample_rate} Hz do not fill one frame of 25 ms",
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

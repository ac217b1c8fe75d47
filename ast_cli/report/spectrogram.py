"""A recording -> a small picture of its log-mel spectrogram, as a data URI; a day takes little memory, too.

The frames are those the network receives, averaged over time until they fit the picture.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ast_cli.audio.decode import open_recording
from ast_cli.audio.resample import StreamResampler
from ast_cli.features.extractor import FRAMES_PER_SECOND, ASTFeatureExtractor
from ast_cli.features.window_stream import WindowStream

MOST_COLUMNS = 1200  # even, so that they can be halved
FRAMES_AT_ONCE = 1000
QUIETEST, LOUDEST = 5, 99.9  # percentiles that the colors span
QUALITY = 60  # of WebP
COLOURS = "magma"  # as bright in gray as in color, so that no eye misses anything


@dataclass(frozen=True, slots=True)
class Spectrogram:
    """The picture of a recording.

    Attributes:
        uri: The picture itself, `data:image/…`; time runs to the right, frequency up.
        seconds: Where its right edge is.
        duration: Of the recording.
    """

    uri: str
    seconds: float
    duration: float


def spectrogram(path: str) -> Spectrogram | None:
    """Draw a recording; None if it is too short for a frame, InputError if it cannot be read."""
    extractor = ASTFeatureExtractor()
    columns = _Columns(extractor.num_mel_bins)
    with open_recording(path) as recording:
        resampler = StreamResampler(recording.sample_rate, extractor.sampling_rate)
        stream = WindowStream(extractor, FRAMES_AT_ONCE, FRAMES_AT_ONCE, fit=lambda frames: frames)
        samples = 0
        for mono in recording.mono():
            samples += len(mono)
            for window in stream.push(resampler.push(mono)):
                columns.push(window.content[-window.new :].numpy())
        for window in (*stream.push(resampler.finish()), *stream.finish()):
            columns.push(window.content[-window.new :].numpy())
    duration = samples / recording.sample_rate
    if not stream.total_frames:
        return None
    frames = columns.finish()
    seconds = len(frames) * columns.frames_each / FRAMES_PER_SECOND
    return Spectrogram(_picture(frames), seconds, duration)


class _Columns:
    """Means of as many frames each as it takes to have at most `MOST_COLUMNS`."""

    def __init__(self, bins: int) -> None:
        self.frames_each = 1
        self._columns = np.zeros((0, bins), np.float32)
        self._rest = self._columns  # frames that fill no column yet

    def push(self, frames: NDArray[np.float32]) -> None:
        frames = np.concatenate([self._rest, frames])
        whole = len(frames) - len(frames) % self.frames_each
        self._rest = frames[whole:]
        means = frames[:whole].reshape(-1, self.frames_each, frames.shape[1]).mean(axis=1)
        self._columns = np.concatenate([self._columns, means])
        while len(self._columns) > MOST_COLUMNS:
            even = len(self._columns) // 2 * 2
            odd = np.repeat(self._columns[even:], self.frames_each, axis=0)
            self._rest = np.concatenate([odd, self._rest])
            self._columns = self._columns[:even].reshape(-1, 2, frames.shape[1]).mean(axis=1)
            self.frames_each *= 2

    def finish(self) -> NDArray[np.float32]:
        """The columns [T, M]; the last one may be of fewer frames."""
        if not len(self._rest):
            return self._columns
        return np.concatenate([self._columns, self._rest.mean(axis=0, keepdims=True)])


def _picture(frames: NDArray[np.float32]) -> str:
    from matplotlib import colormaps
    from PIL import Image, features

    low, high = np.percentile(frames, (QUIETEST, LOUDEST))
    levels = np.clip((frames - low) / max(high - low, 1e-6), 0, 1)
    colours = np.asarray(colormaps[COLOURS](levels.T[::-1], bytes=True))[..., :3]
    kind = "webp" if features.check("webp") else "png"
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(colours)).save(stream, kind, quality=QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"

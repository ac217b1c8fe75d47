"""Waveforms -> log-mel frames: the features that the network was trained on, on any device.

The recipe is Kaldi's fbank as the original AST calls it, written once: tagging, training and evaluation all
come here. Knows nothing of files, channels or resampling.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional as F

from ast_cli.errors import InputError, UsageError
from ast_cli.features.mel_filters import mel_filters
from ast_cli.networks.config import FeatureConfig
from ast_cli.results import FRAME_SECONDS as FRAME_SECONDS  # frames belong to this recipe, too
from ast_cli.results import FRAME_SHIFT_SECONDS as FRAME_SHIFT_SECONDS
from ast_cli.results import FRAMES_PER_SECOND as FRAMES_PER_SECOND
from ast_cli.settings import require_choice

PREEMPHASIS = 0.97
ENERGY_FLOOR = torch.finfo(torch.float32).eps  # 1.1920929e-07, before the logarithm


class Features(dict[str, Any]):
    """What the feature extractor returns: a mapping with the one entry `input_values`, [B, T, M]."""

    @property
    def input_values(self) -> Any:
        """The normalized features; a tensor, an array or a list of arrays, by `return_tensors`."""
        return self["input_values"]


@dataclass(frozen=True)
class ASTFeatureExtractor(FeatureConfig):
    """Turns mono waveforms in [-1, 1] into the network's input.

    Takes the arguments, has the defaults and returns the fields of the `transformers` class of this name;
    `FeatureConfig` lists them.
    """

    @property
    def frame_length(self) -> int:
        """Samples in a frame: 400 at 16 kHz."""
        return int(self.sampling_rate * FRAME_SECONDS)

    @property
    def frame_shift(self) -> int:
        """Samples from one frame to the next: 160 at 16 kHz."""
        return int(self.sampling_rate * FRAME_SHIFT_SECONDS)

    def num_frames(self, samples: int) -> int:
        """Number of whole frames in a waveform; a last, incomplete one is not counted."""
        return max(0, 1 + (samples - self.frame_length) // self.frame_shift)

    def num_samples(self, frames: int) -> int:
        """Samples of a waveform of so many frames, at least one."""
        return self.frame_length + (frames - 1) * self.frame_shift

    def __call__(
        self,
        raw_speech: ArrayLike | Tensor | Sequence[ArrayLike],
        sampling_rate: int | None = None,
        return_tensors: Literal["pt", "np"] | None = None,
    ) -> Features:
        """Extract, pad or cut to `max_length` frames, then normalize.

        Args:
            raw_speech: One mono waveform [S], or several: [B, S], or a list of waveforms of any lengths.
            sampling_rate: Of the waveforms, in Hz; when given, a wrong one is an error.
            return_tensors: `pt` or `np` for one tensor or array; None for a list of arrays.

        Returns:
            `{"input_values": [B, T, M]}`, float32.

        Raises:
            UsageError: Another sampling rate than the network's, or more than one channel.
            InputError: A waveform is shorter than one frame.
        """
        if sampling_rate is None:
            warnings.warn(
                f"say sampling_rate: {self.sampling_rate} Hz is assumed, and other rates give wrong labels",
                stacklevel=2,
            )
        elif sampling_rate != self.sampling_rate:
            raise UsageError(
                f"the waveform has {sampling_rate} Hz, the model wants {self.sampling_rate} Hz",
                "Resample it first (`ast_cli.audio.sinc_filter.resample`)",
            )
        require_choice("return_tensors", str(return_tensors), ("None", "pt", "np"))
        # What lies beyond the window is cut away before it costs anything.
        longest = self.num_samples(self.max_length)
        windows = [self.pad(self.fbank(waveform[:longest])) for waveform in _waveforms(raw_speech)]
        batch = torch.stack(windows)
        if self.do_normalize:
            batch = self.normalize(batch)
        if return_tensors == "pt":
            return Features(input_values=batch)
        array = batch.numpy()
        return Features(input_values=array if return_tensors == "np" else list(array))

    def fbank(self, waveforms: Tensor) -> Tensor:
        """Log-mel energies, neither padded nor normalized; on the device of `waveforms`.

        Equal to `torchaudio.compliance.kaldi.fbank(…, window_type="hanning")` on each waveform.

        Args:
            waveforms: [S] or [B, S], float32 in [-1, 1] at `sampling_rate`.

        Returns:
            [T, M] or [B, T, M] with T = `num_frames(S)`.

        Raises:
            InputError: Shorter than one frame.
        """
        samples = waveforms.shape[-1]
        if samples < self.frame_length:
            raise InputError(
                "too-short",
                f"{samples} samples at {self.sampling_rate} Hz do not fill one frame of {self.frame_length}",
                "A recording must last at least 25 ms",
            )
        taper, filters = _tables(self.frame_length, self.sampling_rate, self.num_mel_bins, waveforms.device)
        # The order of operations is the reference's, so that even its rounding is kept.
        frames = waveforms.unfold(-1, self.frame_length, self.frame_shift)  # [B, T, 400]
        frames = frames - frames.mean(dim=-1, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        frames = (frames - PREEMPHASIS * before) * taper
        power = torch.fft.rfft(frames, n=_fft_length(self.frame_length)).abs().pow(2.0)  # [B, T, 257]
        energies: Tensor = power @ filters  # [B, T, M]
        return energies.clamp_min(ENERGY_FLOOR).log()

    def white_noise(self) -> Tensor:
        """The mean energies [M] of white noise of power one, not their logarithms.

        A frame is linear in its samples, and those of white noise have nothing to do with each other: so its
        mean energies are the sum of those that each sample has alone.
        """
        alone = self.fbank(torch.eye(self.frame_length))[:, 0].exp()
        # A filter without a weight has the floor, give or take its rounding, and no noise.
        return torch.where(alone > 1.01 * ENERGY_FLOOR, alone, 0.0).sum(dim=0)

    def power_weights(self) -> Tensor:
        """How much each energy [M] of a frame adds to the power of the waveform, above 20 Hz.

        One over what the pre-emphasis and the taper make of a power of one in its band; measured with white
        noise.
        """
        _, filters = _tables(self.frame_length, self.sampling_rate, self.num_mel_bins, torch.device("cpu"))
        widths, white = filters.sum(dim=0), self.white_noise()
        return torch.where(white > 0, widths / widths.sum() / white, 0.0)

    def pad(self, frames: Tensor, length: int | None = None) -> Tensor:
        """Pad with zeros or cut frames [F, M] to a window [T, M]; before normalizing, as in training.

        T is `length`, or `max_length` if that is None.
        """
        length = length or self.max_length
        missing = length - frames.shape[0]
        return F.pad(frames[:length], (0, 0, 0, max(0, missing)), value=0.0)

    def pad_waveform(self, samples: Tensor, length: int | None = None) -> Tensor:
        """Pad with zeros or cut a waveform [S] to the samples of T frames, of which it may fill fewer."""
        most = self.num_samples(length or self.max_length)
        return F.pad(samples[:most], (0, max(0, most - len(samples))))

    def padded_fbank(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """What `pad` makes of the frames of each waveform [B, S], from waveforms that `pad_waveform` made.

        Each fills `lengths` [B] frames. Gives [B, T, M], unnormalized, on the device of the waveforms.
        """
        frames = self.fbank(waveforms)
        filled = torch.arange(frames.shape[1], device=frames.device) < lengths[:, None]  # [B, T]
        return torch.where(filled[..., None], frames, 0.0)

    def repeat(self, frames: Tensor) -> Tensor:
        """Repeat frames [F, M] until they fill a window [T, M]."""
        times = -(-self.max_length // frames.shape[0])
        return frames.repeat(times, 1)[: self.max_length]

    def normalize(self, windows: Tensor) -> Tensor:
        """(x − mean) / (2·std), whatever `do_normalize` says."""
        return (windows - self.mean) / (self.std * 2)


def _fft_length(frame_length: int) -> int:
    return 1 << (frame_length - 1).bit_length()


@lru_cache(maxsize=8)
def _tables(
    frame_length: int, sampling_rate: int, num_mel_bins: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The taper [400] and the mel filters [257, M]."""
    # Made outside inference mode, so that training may use them after tagging did.
    with torch.inference_mode(False):
        filters = mel_filters(num_mel_bins, _fft_length(frame_length), sampling_rate)
        return torch.hann_window(frame_length, periodic=False).to(device), filters.to(device)


def _waveforms(raw: ArrayLike | Tensor | Sequence[ArrayLike]) -> Iterator[Tensor]:
    """One waveform, a batch or a list of them -> float32 tensors [S]."""
    several = isinstance(raw, list | tuple) and len(raw) > 0 and np.ndim(raw[0]) > 0
    items: Sequence[Any] = raw if several else [raw]  # type: ignore[assignment]
    for item in items:
        array = item.detach().cpu() if isinstance(item, Tensor) else np.asarray(item, dtype=np.float32)
        waveform = torch.as_tensor(array, dtype=torch.float32)
        if waveform.ndim not in ((1,) if several else (1, 2)):
            raise UsageError("a waveform must have one channel", "Take the mean over its channels first")
        if waveform.numel() == 0:
            raise UsageError("a waveform is empty")
        yield from waveform.reshape(-1, waveform.shape[-1])

"""Write tests/golden/torchaudio/values.npz: what torchaudio gives, for tests where it cannot be imported.

    python tools/torchaudio_golden.py

Of each table some weights, at places drawn by chance; of resampled noise and of frames everything.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from torch.nn import functional as F
from torchaudio.compliance.kaldi import fbank, get_mel_banks
from torchaudio.functional import resample
from torchaudio.functional.functional import _get_sinc_resample_kernel

FILE = Path(__file__).parents[1] / "tests" / "golden" / "torchaudio" / "values.npz"
NEW = 16_000
RATES = [7350, 8000, 11_025, 12_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000]
MEL = [(8000, 256, 64), (16_000, 512, 16), (16_000, 512, 128), (16_000, 512, 256), (48_000, 2048, 40)]
PLACES = 24


def noise(samples: int) -> NDArray[np.float32]:
    """As the tests make it too."""
    return np.random.default_rng(0).standard_normal(samples, dtype=np.float32)


def some(table: torch.Tensor) -> NDArray[np.float32]:
    """Weights of a table that are not all zero."""
    flat = table.numpy().ravel()
    places = np.random.default_rng(0).choice(np.flatnonzero(flat), PLACES)
    return np.stack([places.astype(np.float32), flat[places]])


def main() -> None:
    """Compute and write everything."""
    found = {"noise": noise(400)}
    for rate in RATES:
        for orig, new in ((rate, NEW), (NEW, rate)):
            common = math.gcd(orig, new)
            table, _ = _get_sinc_resample_kernel(orig, new, common, dtype=torch.float32)
            found[f"filter {orig} {new}"] = some(table[:, 0])
        found[f"resampled {rate} {NEW}"] = resample(torch.from_numpy(found["noise"]), rate, NEW)[:50].numpy()
    for rate, length, bins in MEL:
        filters, _ = get_mel_banks(bins, length, float(rate), 20.0, 0.0, 100.0, -500.0, 1.0)
        found[f"mel {rate} {length} {bins}"] = some(F.pad(filters, (0, 1)).T)
    waveform = torch.from_numpy(0.1 * noise(720))
    found["frames"] = fbank(waveform[None], window_type="hanning", num_mel_bins=128).numpy()
    np.savez_compressed(FILE, **found)
    print(f"{FILE}: {FILE.stat().st_size:,} bytes, torchaudio {torchaudio.__version__}")


if __name__ == "__main__":
    main()

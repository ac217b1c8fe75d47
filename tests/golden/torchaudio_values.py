"""What torchaudio gave: see tools/torchaudio_golden.py, which wrote the file."""

from __future__ import annotations

import numpy as np

from tests.golden.compare import FOLDER

with np.load(FOLDER / "torchaudio" / "values.npz") as _file:
    TORCHAUDIO = dict(_file)

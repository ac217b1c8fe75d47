"""Results and recordings, made by hand, that pages are made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 16000
Entry = dict[str, Any]


def tag(index: int, label: str, score: float, rank: int = 1) -> Entry:
    return {"rank": rank, "index": index, "mid": f"/m/{index}", "label": label, "score": score}


def event(start: float, end: float, index: int, label: str, score: float = 0.9) -> Entry:
    times = {"start": start, "end": end}
    return times | {"index": index, "mid": f"/m/{index}", "label": label, "score": score, "mean_score": score}


def window(start: float, end: float, *tags: Entry) -> Entry:
    return {"start": start, "end": end, "tags": [*tags]}


def result(file: str, seconds: float, tags: Sequence[Entry], **more: Any) -> Entry:
    facts = {"duration": seconds, "seconds_heard": seconds, "sample_rate": RATE, "channels": 1}
    return {"file": file} | facts | {"tags": [*tags], "scores": "sigmoid"} | more


def save(path: Path, *entries: Entry) -> Path:
    path.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries), encoding="utf-8")
    return path


def save_sound(path: Path, seconds: float) -> Path:
    """A tone that rises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * RATE)) / RATE
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * (300 + 200 * time) * time), RATE)
    return path

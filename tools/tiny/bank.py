"""A bank of sounds as log-mel frames: rendered once, then mixed in any number of ways without the waveforms.

    frames.f16   all frames of all sounds one after the other, [frames, 128] float16
    bank.json    for each sound where it lies, what it is, and which part of the recipe made it

Rooms are made here, from the seed and the number of the sound alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from classes import LEFT_OUT, NOT_FOLLOWED
from scipy.signal import fftconvolve, lfilter
from sounds import Sound, Split, seconds, to_peak

from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.scoring.labels import audioset_classes, audioset_nodes

MEL_BINS = 128
REVERBERANT = 0.5  # part of the sounds that stand in a room
JOB = 100  # sounds in one job of a worker


@dataclass(frozen=True)
class Job:
    """Some sounds to be made in one go, on any process.

    Attributes:
        kind: `speech`, `music`, `unlabelled` or the name of a class.
        split: What it is for.
        seed: Of all its chance.
        count: Number of sounds.
    """

    kind: str
    split: Split
    seed: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class Entry:
    """One sound of the bank: its frames from `start` on, its narrowest labels, and its kind."""

    start: int
    length: int
    labels: tuple[str, ...]
    kind: str


def with_parents(labels: Sequence[str]) -> set[str]:
    """The labels and what is above them, among the classes that the model is to know."""
    nodes = audioset_nodes()
    by_name = {node.name: node for node in audioset_classes()}
    found: set[str] = set()
    waiting = [by_name[label] for label in labels]
    while waiting:
        node = waiting.pop()
        if node.index is not None:
            found.add(node.name)
        above = [nodes[parent] for parent in node.parents]
        waiting.extend(parent for parent in above if (node.name, parent.name) not in NOT_FOLLOWED)
    return found - LEFT_OUT


def in_a_room(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The sound in a made-up room: the direct sound, then noise that dies away, darker as it goes."""
    reverberation_time = rng.uniform(0.12, 1.3)
    response = rng.standard_normal(seconds(reverberation_time))
    response *= 10 ** (-3 * np.arange(len(response)) / len(response))
    # Walls swallow treble first: what comes late is darker than what comes early.
    dark = lfilter([0.3], [1, -0.7], response)
    lateness = np.linspace(0, 1, len(response))
    response = (1 - lateness) * response + lateness * dark
    response *= 10 ** (rng.uniform(-16, 2) / 20) / max(1e-9, np.sqrt((response**2).sum()))
    response = np.concatenate([[1.0], np.zeros(seconds(rng.uniform(0.002, 0.03))), response])
    return fftconvolve(waveform, response)[: len(waveform) + seconds(0.3)].astype(np.float32)


def make_sounds(job: Job) -> Iterator[Sound]:
    """The dry sounds of a job."""
    rng = np.random.default_rng(job.seed)
    if job.kind == "speech":
        from speech import make_speech

        yield from make_speech(rng, job.split, job.count)
    elif job.kind == "music":
        from music import make_music

        yield from make_music(rng, job.split, job.count)
    else:
        from defined import MAKERS, unlabelled

        maker = unlabelled if job.kind == "unlabelled" else MAKERS[job.kind]
        for _ in range(job.count):
            yield maker(rng, job.split)


def place_sounds(job: Job) -> list[Sound]:
    """The sounds of a job, some of them in rooms."""
    rng = np.random.default_rng((*job.seed, 1))
    placed = []
    for sound in make_sounds(job):
        waveform = sound.waveform
        if "Silence" not in sound.labels:  # which has neither echo nor a level to be raised to
            if rng.random() < REVERBERANT:
                waveform = in_a_room(waveform, rng)
            waveform = to_peak(waveform)
        placed.append(Sound(waveform.astype(np.float32), sound.labels))
    return placed


def render(job: Job) -> list[tuple[np.ndarray, tuple[str, ...], str]]:
    """Frames [T, 128] float16, labels and kind of each sound of a job."""
    torch.set_num_threads(1)  # the jobs themselves run side by side
    extractor = ASTFeatureExtractor()
    return [
        (extractor.fbank(torch.from_numpy(sound.waveform)).numpy().astype(np.float16), sound.labels, job.kind)
        for sound in place_sounds(job)
    ]


def jobs_for(counts: dict[str, int], split: Split, seed: int) -> list[Job]:
    """The jobs that make `counts` sounds of each kind."""
    jobs = []
    for number, (kind, count) in enumerate(sorted(counts.items())):
        for part, start in enumerate(range(0, count, JOB)):
            key = (seed, 0 if split == "train" else 1, number, part)
            jobs.append(Job(kind, split, key, min(JOB, count - start)))
    return jobs


def build(folder: Path, jobs: Sequence[Job], processes: int) -> None:
    """Render all jobs into a bank; the order of the jobs, and so the bank, is the same on any machine."""
    folder.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, object]] = []
    start = 0
    with ProcessPoolExecutor(processes) as pool, (folder / "frames.f16").open("wb") as file:
        futures = {pool.submit(render, job): number for number, job in enumerate(jobs)}
        waiting, next_job = {}, 0
        for future in as_completed(futures):
            waiting[futures.pop(future)] = future.result()
            while next_job in waiting:
                for frames, labels, kind in waiting.pop(next_job):
                    file.write(frames.tobytes())
                    entries.append({"start": start, "length": len(frames), "labels": labels, "kind": kind})
                    start += len(frames)
                next_job += 1
                print(f"\r{next_job} of {len(jobs)} jobs, {len(entries)} sounds", end="", flush=True)
    print()
    (folder / "bank.json").write_text(json.dumps(entries), encoding="utf-8")


class Bank:
    """A rendered bank, read where it lies on the disk."""

    def __init__(self, folder: Path) -> None:
        self.frames = np.memmap(folder / "frames.f16", np.float16, "r").reshape(-1, MEL_BINS)
        self.entries = [
            Entry(row["start"], row["length"], tuple(row["labels"]), row["kind"])
            for row in json.loads((folder / "bank.json").read_text(encoding="utf-8"))
        ]

    def of(self, entry: Entry) -> np.ndarray:
        """The frames of a sound, [T, 128] float32."""
        return self.frames[entry.start : entry.start + entry.length].astype(np.float32)

"""What of this installation works, found by trying it rather than by asking for versions alone."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ast_cli import __version__
from ast_cli.checkpoints.locate import cached_models, converted_folder
from ast_cli.checkpoints.published import PUBLISHED_MODELS
from ast_cli.cluster.connection import Actors, cluster, installed, nodes, room_for
from ast_cli.errors import AstCliError
from ast_cli.extras import install
from ast_cli.text import counted, first_line

REINSTALL = "Install the matching pair: pip install 'torch>=2.11,<2.12' 'torchaudio>=2.11,<2.12'"
WEIGHTS_BYTES = 350_000_000  # of a full-size checkpoint


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried.

    Attributes:
        what: Its name.
        found: Version, or how it failed.
        works: Whether it does.
        needed: Whether nothing can run without it.
        remedy: What to do if it does not work.
    """

    what: str
    found: str
    works: bool = True
    needed: bool = True
    remedy: str = ""


def examine() -> Iterator[Finding]:
    """Try everything, in the order in which things depend on each other."""
    yield Finding("ast-tag", f"{__version__}, Python {platform.python_version()} at {sys.prefix}")
    yield _try("torch", _torch, REINSTALL)
    yield _try("torchaudio", _torchaudio, REINSTALL)
    yield _try("device", _device, "Use --device cpu, or check the driver (`nvidia-smi`)")
    yield _try("soundfile", _soundfile, "pip install --force-reinstall soundfile")
    yield _try("PyAV", _av, f"For m4a, mp4, webm and wma: {install('av')}", needed=False)
    yield _try("OpenVINO", _openvino, f"Only for `--engine openvino`: {install('openvino')}", needed=False)
    yield _try("pyarrow", _pyarrow, f"Only for `--format parquet`: {install('parquet')}", needed=False)
    yield _try(
        "transformers",
        _transformers,
        f"Only for `verify --against transformers`: {install('verify')}",
        needed=False,
    )
    yield _try("cache", _cache, "pip install --force-reinstall huggingface_hub")


def examine_cluster(address: str) -> Iterator[Finding]:
    """Ask every machine of a Ray cluster for what is installed there; it must be what is here.

    Args:
        address: See `cluster.connection.cluster`.

    Raises:
        EngineError: Ray is not installed, or there is no such cluster.
    """
    with cluster(address):
        here = installed()
        actors = room_for("auto")
        yield Finding("Ray", f"{here['ray']}: room for {_actors(actors)}")
        for node in nodes():
            has = f"{node.name}: {node.cores} cores, {node.gpus} GPUs"
            other = [f"{name} {one}" for name, one in node.versions.items() if one != here[name]]
            if node.problem:
                yield Finding("node", f"{has}; {node.problem}", False, True, "Install the same there as here")
            elif other:
                there = f"{has}; {', '.join(other)} instead of {', '.join(here[o.split()[0]] for o in other)}"
                yield Finding("node", there, False, True, "Install the same there as here")
            else:
                yield Finding("node", has)


def _actors(actors: Actors) -> str:
    each = "a GPU and " if actors.gpus else ""
    return f"{counted(actors.count, 'actor')} with {each}{counted(actors.cores, 'core')}"


def _try(what: str, how: Callable[[], str | Finding], remedy: str, *, needed: bool = True) -> Finding:
    try:
        found = how()
        return found if isinstance(found, Finding) else Finding(what, found, needed=needed)
    except (ImportError, OSError, RuntimeError, AttributeError, AstCliError) as error:
        reason = first_line(error)
        return Finding(what, reason, works=False, needed=needed, remedy=remedy)


def _torch() -> str:
    import torch

    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU"
    return f"{torch.__version__}, {built}, {torch.get_num_threads()} threads"


def _torchaudio() -> str:
    import torch
    import torchaudio

    from ast_cli.audio.resample import StreamResampler
    from ast_cli.features.extractor import ASTFeatureExtractor

    ASTFeatureExtractor().fbank(torch.zeros(400))
    StreamResampler(44100, 16000).push(torch.zeros(4410))
    return str(torchaudio.__version__)


def _device() -> str:
    import torch

    from ast_cli.engines.devices import resolve_device

    device = resolve_device("auto")
    ones = torch.ones(64, 64, device=device)
    if (ones @ ones).sum().item() != 64**3:
        raise RuntimeError(f"{device} computes wrong sums")
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return f"{device}: {torch.cuda.get_device_name(device)}, {free >> 20} of {total >> 20} MiB free"
    return f"{device}: {platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _soundfile() -> str:
    import soundfile

    formats = ", ".join(sorted(soundfile.available_formats()))
    return f"{soundfile.__version__}, {soundfile.__libsndfile_version__}: {formats}"


def _av() -> str:
    import av

    codecs = [name for name in ("aac", "opus", "wmav2", "alac", "ac3") if name in av.codecs_available]
    return f"{av.__version__}: {', '.join(codecs)} and {len(av.codecs_available) - len(codecs)} more codecs"


def _openvino() -> str:
    import openvino

    can = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    formats = [name for name in can if name in ("FP32", "BF16", "FP16", "INT8")]
    return f"{openvino.__version__.partition('-')[0]}: {', '.join(formats)}"


def _pyarrow() -> str:
    import pyarrow

    return str(pyarrow.__version__)


def _transformers() -> str:
    from importlib.metadata import version

    return version("transformers")


def _cache() -> Finding:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    cached = len(list(cached_models()))
    free = shutil.disk_usage(there).free
    holds = f"{cached} of {len(PUBLISHED_MODELS)} published models"
    graphs = [file.stat().st_size for file in converted_folder().glob("*/graph.bin")]
    if graphs:
        size = sum(graphs) // 1_000_000
        holds += f"; {len(graphs)} converted for OpenVINO, {size:,} MB, in {converted_folder()}"
    found = f"{folder}, {free // 1_000_000:,} MB free, {holds}; Hub at {constants.ENDPOINT}"
    if not os.access(there, os.W_OK):
        return Finding(
            "cache", f"{found}; not writable", False, not cached, "Set HF_HOME to a folder of your own"
        )
    if free < WEIGHTS_BYTES and not cached:
        return Finding("cache", found, False, True, "Free some space, or set HF_HOME to a larger disk")
    return Finding("cache", found)

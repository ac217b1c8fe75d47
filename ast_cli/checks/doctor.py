"""What of this installation works, found by trying it rather than by asking for versions alone."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ast_cli import __version__
from ast_cli.checkpoints.locate import cached_models, converted_folder
from ast_cli.checkpoints.published import PUBLISHED_MODELS
from ast_cli.cluster.connection import Actors, cluster, installed, nodes, room_for
from ast_cli.errors import AstCliError, EngineError
from ast_cli.extras import install
from ast_cli.reference import load_torchaudio
from ast_cli.text import counted, first_line

DISTRIBUTION = "ast-cli"  # whose metadata say which versions are needed
FEATURE_TOLERANCE = 1e-4  # of rounding; another filter or taper moves features by 1e-2 and more
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
    yield _try("torch", _torch, _install("torch"), package="torch")
    yield _torchaudio()
    yield _try("device", _device, "Use --device cpu, or check the driver (`nvidia-smi`)")
    yield _try("soundfile", _soundfile, "pip install --force-reinstall soundfile", package="soundfile")
    for what, how, package, extra, purpose in (
        ("PyAV", _av, "av", "av", "For m4a, mp4, webm and wma"),
        ("OpenVINO", _openvino, "openvino", "openvino", "Only for `--engine openvino`"),
        ("pyarrow", _pyarrow, "pyarrow", "parquet", "Only for `--format parquet`"),
        ("transformers", _transformers, "transformers", "verify", "Only for `verify --against transformers`"),
    ):
        remedy = f"{purpose}: {install(extra)}"
        yield _try(what, how, remedy, package=package, needed=False)
    yield _try("cache", _cache, "pip install --force-reinstall huggingface_hub", package="huggingface_hub")


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


def _try(
    what: str, how: Callable[[], str | Finding], remedy: str, *, package: str = "", needed: bool = True
) -> Finding:
    try:
        found = how()
        if isinstance(found, Finding):
            return found
        if package and _too_old_or_new(package):
            found += f"; ast-tag needs {_requirement(package)}"
            return Finding(what, found, works=False, needed=needed, remedy=_install(package))
        return Finding(what, found, needed=needed)
    except (ImportError, OSError, RuntimeError, AttributeError, AstCliError) as error:
        reason = first_line(error)
        return Finding(what, reason, works=False, needed=needed, remedy=remedy)


def _requirement(package: str) -> Any:
    """A package with the bounds of its version, as our own metadata have it, or without if they do not."""
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    try:
        ours = [Requirement(line) for line in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:  # run from a folder of source text
        ours = []
    named = next((one for one in ours if one.name == package), Requirement(package))
    named.marker = None  # which extra it belongs to
    return named


def _too_old_or_new(package: str) -> bool:
    from importlib.metadata import version

    try:
        return not _requirement(package).specifier.contains(version(package), prereleases=True)
    except ImportError:  # it works, but nobody knows its version
        return False


def _install(package: str) -> str:
    return f"pip install '{_requirement(package)}'"


def _torch() -> str:
    import torch

    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU"
    return f"{torch.__version__}, {built}, {torch.get_num_threads()} threads"


def _torchaudio() -> Finding:
    """Our features and resampling against its own; nothing else needs it."""
    try:
        torchaudio = load_torchaudio()
    except EngineError as error:
        found = error.cause.removeprefix("torchaudio ")
        return Finding("torchaudio", found, works=False, needed=False, remedy=error.remedy)
    import torch

    from ast_cli.audio.sinc_filter import resample
    from ast_cli.features.extractor import ASTFeatureExtractor

    extractor = ASTFeatureExtractor()
    noise = torch.rand(44_100, generator=torch.Generator().manual_seed(0)) - 0.5
    rate, bins = extractor.sampling_rate, extractor.num_mel_bins
    ours, theirs = resample(noise, 44_100, rate), torchaudio.functional.resample(noise, 44_100, rate)
    apart = [(ours - theirs).abs().max()]
    reference = torchaudio.compliance.kaldi.fbank(
        theirs[None], sample_frequency=rate, window_type="hanning", num_mel_bins=bins
    )
    apart.append((extractor.fbank(ours) - reference).abs().max())
    most = float(max(apart))
    found = f"{torchaudio.__version__}: resampling and features are at most {most:.0e} from its"
    works = most <= FEATURE_TOLERANCE
    return Finding("torchaudio", found, works, remedy="Please report it: one of them computes something else")


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

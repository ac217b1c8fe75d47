"""Where a checkpoint's files are: a folder, a file, the Hub or its cache; and which ones are published.

Turns what `--model` takes into paths on this machine. Knows nothing of what the files hold.
"""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ast_cli.errors import CheckpointError
from ast_cli.labels import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG_FILE = "config.json"
FEATURE_FILE = "preprocessor_config.json"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")  # in order of preference
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")

DEFAULT_MODEL = "MIT/ast-finetuned-audioset-10-10-0.4593"

# The HTTP client under huggingface_hub has changed twice, and its connection errors share no base class.
HTTP_CLIENTS = ("httpx2", "httpx", "requests")


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A published checkpoint and its authors' figures (arXiv 2104.01778 and its repository).

    Attributes:
        id: On the Hub.
        stride: Of the patches, in frequency and time.
        frames: Length of a window, T.
        patches: Number of patches in a window.
        labels: Number of classes.
        metric: `mAP` on AudioSet's evaluation set, or `accuracy` on Speech Commands' test set.
        published: The figure the authors publish.
        sample_logits: The first three logits published for `verify`'s sample clip; empty where none are.
    """

    id: str
    stride: int
    frames: int
    patches: int
    labels: int
    metric: str
    published: float
    sample_logits: tuple[float, ...] = ()


KNOWN_MODELS = (
    KnownModel(DEFAULT_MODEL, 10, 1024, 1212, 527, "mAP", 0.459, (-0.8760, -7.0042, -8.6602)),
    KnownModel(
        "MIT/ast-finetuned-audioset-10-10-0.450",
        10,
        1024,
        1212,
        527,
        "mAP",
        0.449,
        (-1.1986, -7.0903, -8.2718),
    ),
    KnownModel(
        "MIT/ast-finetuned-audioset-10-10-0.448",
        10,
        1024,
        1212,
        527,
        "mAP",
        0.448,
        (-2.6128, -8.0080, -9.4344),
    ),
    KnownModel(
        "MIT/ast-finetuned-audioset-10-10-0.448-v2",
        10,
        1024,
        1212,
        527,
        "mAP",
        0.447,
        (-1.5080, -7.4534, -8.8917),
    ),
    KnownModel(
        "MIT/ast-finetuned-audioset-12-12-0.447",
        12,
        1024,
        850,
        527,
        "mAP",
        0.447,
        (-0.5050, -6.5833, -8.0843),
    ),
    KnownModel(
        "MIT/ast-finetuned-audioset-14-14-0.443",
        14,
        1024,
        657,
        527,
        "mAP",
        0.443,
        (-0.3826, -7.0336, -8.2413),
    ),
    KnownModel(
        "MIT/ast-finetuned-audioset-16-16-0.442",
        16,
        1024,
        512,
        527,
        "mAP",
        0.442,
        (-1.2113, -6.9101, -8.3470),
    ),
    KnownModel("MIT/ast-finetuned-speech-commands-v2", 10, 128, 144, 35, "accuracy", 0.981),
)


@dataclass(frozen=True)
class CheckpointFiles:
    """A checkpoint on this machine.

    Attributes:
        id: As the user named it.
        revision: The Hub's commit; empty for local files.
        weights: The weights file.
        config: `config.json`, or None where there is none beside the weights.
        features: `preprocessor_config.json`, or None likewise.
    """

    id: str
    revision: str
    weights: Path
    config: Path | None
    features: Path | None

    @cached_property
    def sha256(self) -> str:
        """Of the weights file, in hex; read when first asked for."""
        digest = hashlib.sha256()
        with self.weights.open("rb") as data:
            while block := data.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()


def find_checkpoint(source: str, revision: str | None = None, *, offline: bool = False) -> CheckpointFiles:
    """Find the files of a checkpoint, fetching them from the Hub if they are not here yet.

    What the cache holds is used as it is, without asking the Hub: a run needs no network after the first,
    and a model never changes under its user. `pull_checkpoint` asks for news.

    Args:
        source: A folder, a weights file, or a Hub id such as `MIT/ast-finetuned-audioset-10-10-0.4593`.
        revision: Hub branch, tag or commit; the default branch if None.
        offline: Never touch the network.

    Raises:
        CheckpointError: It does not exist, is incomplete, or cannot be fetched.
    """
    try:
        path = Path(source).expanduser()
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError) as error:  # a name too long for any file; the home of somebody unknown
        raise _no_such_model(source) from error
    if is_folder:
        return _in_folder(source, path)
    if is_file:
        return _beside(source, path)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source) or path.suffix in WEIGHT_SUFFIXES:
        raise _no_such_model(source)
    return _in_cache(source, revision) or pull_checkpoint(source, revision, offline=offline)


def pull_checkpoint(source: str, revision: str | None = None, *, offline: bool = False) -> CheckpointFiles:
    """Fetch a checkpoint from the Hub, or only what has changed since the last time.

    Where nobody answers, what the cache holds of it serves if it is all there.

    Args:
        source: A Hub id.
        revision: Hub branch, tag or commit; the default branch if None.
        offline: Fail instead of touching the network.

    Raises:
        CheckpointError: It does not exist, is incomplete, or cannot be fetched.
    """
    # The first file fixes the commit; the rest come from that commit, so that no push in between can mix two.
    config = download(source, CONFIG_FILE, revision, offline=offline)
    if config is None:
        raise CheckpointError(f"{source} has no {CONFIG_FILE}", "It is not an AST checkpoint")
    commit = config.parent.name
    features = download(source, FEATURE_FILE, commit, offline=offline)
    for name in WEIGHT_FILES:
        weights = download(source, name, commit, offline=offline)
        if weights is not None:
            return CheckpointFiles(source, commit, weights, config, features)
    raise CheckpointError(
        f"{source} has none of {', '.join(WEIGHT_FILES)}", "Choose a repository that holds AST weights"
    )


def download(
    repo: str, name: str, revision: str | None = None, *, repo_type: str = "model", offline: bool = False
) -> Path | None:
    """Fetch one file of a Hub repository into the cache; None if the repository has no such file.

    Asks whether there is a newer one; what the cache holds serves where nobody answers.

    Raises:
        CheckpointError: The repository does not exist or cannot be reached; says which and what to do.
    """
    from huggingface_hub import (
        errors,
        get_hf_file_metadata,
        hf_hub_download,
        hf_hub_url,
        try_to_load_from_cache,
    )

    answered = False
    try:
        cached = try_to_load_from_cache(repo, name, revision=revision, repo_type=repo_type)
        if offline:
            # Not left to hf_hub_download(local_files_only=True): that may fetch a list for its user agent.
            if cached is None:
                raise _unreachable(repo, name, repo_type, offline=True)
            return Path(cached) if isinstance(cached, str) else None
        with _quietly(bar=name in WEIGHT_FILES):
            if not isinstance(cached, str):
                # Without a file to fall back on, hf_hub_download asks a Hub that does not answer, or fails,
                # for half a minute or more. This asks once. It says too what is not there, but only
                # hf_hub_download notes that in the cache.
                with suppress(errors.EntryNotFoundError):
                    get_hf_file_metadata(hf_hub_url(repo, name, revision=revision, repo_type=repo_type))
            answered = True
            return Path(hf_hub_download(repo, name, revision=revision, repo_type=repo_type))
    except errors.LocalEntryNotFoundError as error:
        raise _unreachable(repo, name, repo_type) from error
    except errors.EntryNotFoundError:
        return None
    except Exception as error:
        explained = _explain(error, repo, name, revision, repo_type, answered)
        if explained is None:
            raise
        raise explained from error


def cached_models() -> Iterator[KnownModel]:
    """Those of `KNOWN_MODELS` whose default branch is in the cache, complete."""
    return (known for known in KNOWN_MODELS if _in_cache(known.id, None))


def _in_folder(source: str, folder: Path) -> CheckpointFiles:
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return _beside(source, folder / name)
    raise CheckpointError(
        f"{source} holds no {' or '.join(WEIGHT_FILES)}",
        "Name the weights file itself if it is called otherwise",
    )


def _beside(source: str, weights: Path) -> CheckpointFiles:
    if weights.suffix not in WEIGHT_SUFFIXES:
        raise CheckpointError(
            f"{source} is not a weights file", f"Weights end in {', '.join(WEIGHT_SUFFIXES)}"
        )
    config, features = weights.with_name(CONFIG_FILE), weights.with_name(FEATURE_FILE)
    return CheckpointFiles(
        source,
        "",
        weights,
        config if config.is_file() else None,
        features if features.is_file() else None,
    )


def _in_cache(repo: str, revision: str | None) -> CheckpointFiles | None:
    from huggingface_hub import errors, try_to_load_from_cache

    try:
        config = try_to_load_from_cache(repo, CONFIG_FILE, revision=revision)
    except errors.HFValidationError:  # never was nor will be an id; `download` says so
        return None
    if not isinstance(config, str):
        return None
    commit = Path(config).parent.name
    features = try_to_load_from_cache(repo, FEATURE_FILE, revision=commit)
    if features is None:  # nobody has asked for it yet: other programs fetch a model without it
        return None
    for name in WEIGHT_FILES:
        weights = try_to_load_from_cache(repo, name, revision=commit)
        if isinstance(weights, str):
            return CheckpointFiles(
                repo,
                commit,
                Path(weights),
                Path(config),
                Path(features) if isinstance(features, str) else None,
            )
    return None


# Whether huggingface_hub's warnings in this thread are to be left out.
_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


def _may_speak(record: logging.LogRecord) -> bool:
    return not (_quiet.get() and record.levelno == logging.WARNING)


@contextmanager
def _quietly(*, bar: bool) -> Iterator[None]:
    """Keep huggingface_hub from writing to stderr, but for its progress bar if that is wanted.

    Its warnings tell of each retry and of missing tokens; what fails in the end, our errors say. They are
    left out in this thread and on its own handler only, so an application that logs still gets them.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    group = "huggingface_hub"
    for handler in logging.getLogger(group).handlers:
        handler.addFilter(_may_speak)  # the second time does nothing
    token = _quiet.set(True)
    # Where the environment asks for bars or for none, that stands.
    hide = (
        not bar and constants.HF_HUB_DISABLE_PROGRESS_BARS is None and not are_progress_bars_disabled(group)
    )
    if hide:
        disable_progress_bars(group)
    try:
        yield
    finally:
        if hide:
            enable_progress_bars(group)
        _quiet.reset(token)


def _explain(
    error: Exception, repo: str, name: str, revision: str | None, repo_type: str, answered: bool
) -> CheckpointError | None:
    """Cause and remedy of what huggingface_hub raised; None for what is no fault of Hub, network or disk."""
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{'datasets/' if repo_type == 'dataset' else ''}{repo}"
    if isinstance(error, errors.GatedRepoError):
        return CheckpointError(
            f"{repo} asks for its terms to be accepted first",
            f"Accept them at {page}, then `hf auth login` or set HF_TOKEN",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        names = [known.id for known in KNOWN_MODELS]
        return CheckpointError(
            f"the Hub has no repository {repo}, or it is private",
            ("" if repo in names or repo_type != "model" else did_you_mean(repo, names))
            or "Check the name (see `ast-tag models`); for a private one `hf auth login` or set HF_TOKEN",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return CheckpointError(
            f"{repo} has no revision {revision or constants.DEFAULT_REVISION}",
            f"See its branches and commits at {page}/commits/main",
        )
    if isinstance(error, errors.OfflineModeIsEnabled):
        return _unreachable(repo, name, repo_type, offline=True)
    if isinstance(error, errors.HFValidationError):
        return _no_such_model(repo)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return CheckpointError(
            f"the Hub refuses access to {repo} (HTTP {status})",
            "`hf auth login` with an account that may read it, or set HF_TOKEN",
        )
    if status is not None:
        return CheckpointError(f"the Hub failed on {repo} (HTTP {status})", "Try again later")
    if isinstance(error, (RuntimeError, ConnectionError)):
        # hf_xet, the client of the Hub's storage, has few errors of its own; HTTP clients raise only theirs.
        return CheckpointError(
            f"the download of {name} of {repo} failed in the Hub's storage",
            "Run it again; with HF_HUB_DISABLE_XET=1 it takes the plain way, which more firewalls let pass",
        )
    if isinstance(error, OSError) and error.strerror:
        return CheckpointError(
            f"cannot store {name} of {repo}: {error.strerror}",
            "Check the rights and the free space in the cache (`ast-tag doctor` shows where it is)",
        )
    if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in HTTP_CLIENTS:
        if not answered:
            return _unreachable(repo, name, repo_type)
        return CheckpointError(
            f"the download of {name} of {repo} broke off",
            "Run it again; if it keeps failing, check the network and proxy settings",
        )
    return None


def _no_such_model(source: str) -> CheckpointError:
    names = [known.id for known in KNOWN_MODELS]
    # A name without its owner is the likeliest slip: `ast-finetuned-audioset-10-10-0.4593`.
    owned = did_you_mean(f"MIT/{source}" if "/" not in source else source, names)
    return CheckpointError(
        f"no such model: {source}",
        owned or "--model takes a Hub id, a folder or a weights file; `ast-tag models` lists those known",
    )


def _unreachable(repo: str, name: str, repo_type: str, *, offline: bool = False) -> CheckpointError:
    if not offline:
        return CheckpointError(
            f"{name} of {repo} is not in the cache and the Hub cannot be reached",
            "Check the network and proxy settings"
            + (", or name a folder that holds the model" if repo_type == "model" else ""),
        )
    return CheckpointError(
        f"{name} of {repo} is not in the cache and the network is off (--offline or HF_HUB_OFFLINE)",
        f"Run `ast-tag models pull {repo}` once with a network, or name a folder that holds the model"
        if repo_type == "model"
        else "Run it once with a network",
    )

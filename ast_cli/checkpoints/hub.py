"""One file of a Hub repository -> a path in the cache; what goes wrong on the way becomes one line.

The real client, huggingface_hub, does the work. Knows nothing of what the files hold.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from ast_cli.checkpoints.published import BUILT_IN_IDS, PUBLISHED_IDS
from ast_cli.errors import CheckpointError
from ast_cli.text import did_you_mean

HTTP_CLIENTS = ("httpx2", "httpx", "requests")
# Files worth a progress bar.
LARGE = (".safetensors", ".bin", ".pth")
TRY_TINY = "; to try the tool without, `--model tiny` is built in"


def fetch(
    repo: str,
    name: str,
    revision: str | None = None,
    *,
    repo_type: str = "model",
    offline: bool = False,
    refresh: bool = False,
) -> Path | None:
    """The path of one file of a Hub repository, fetched into the cache if it is not there.

    What the cache holds is used as it is, without asking the Hub.

    Args:
        repo: Its id.
        name: The file's path in the repository.
        revision: Hub branch, tag or commit; the default branch if None.
        repo_type: `model` or `dataset`.
        offline: Never touch the network.
        refresh: Ask whether there is a newer one; what the cache holds serves where nobody answers.

    Returns:
        None if the repository has no such file.

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
        if cached is not None and (offline or not refresh):
            return Path(cached) if isinstance(cached, str) else None  # or a note that there is no such file
        if offline:
            # Not left to hf_hub_download(local_files_only=True): that may fetch a list for its user agent.
            raise _unreachable(repo, name, repo_type, offline=True)
        with _quietly(bar=name.endswith(LARGE)):
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


def no_such_model(source: str) -> CheckpointError:
    """The error for a name that is neither here nor can be an id on the Hub."""
    # A name without its owner is the likeliest slip: `ast-finetuned-audioset-10-10-0.4593`.
    owned = did_you_mean(f"MIT/{source}" if "/" not in source else source, PUBLISHED_IDS)
    owned = owned or did_you_mean(source, BUILT_IN_IDS)
    return CheckpointError(
        f"no such model: {source}",
        owned
        or "--model takes a Hub id, a folder, a weights file or tiny; `ast-tag models` lists those known",
    )


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
        return CheckpointError(
            f"the Hub has no repository {repo}, or it is private",
            ("" if repo in PUBLISHED_IDS or repo_type != "model" else did_you_mean(repo, PUBLISHED_IDS))
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
        return no_such_model(repo)
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


def _unreachable(repo: str, name: str, repo_type: str, *, offline: bool = False) -> CheckpointError:
    if not offline:
        return CheckpointError(
            f"{name} of {repo} is not in the cache and the Hub cannot be reached",
            "Check the network and proxy settings"
            + (f", or name a folder that holds the model{TRY_TINY}" if repo_type == "model" else ""),
        )
    return CheckpointError(
        f"{name} of {repo} is not in the cache and the network is off (--offline or HF_HUB_OFFLINE)",
        f"Run `ast-tag models pull {repo}` once with a network, or name a folder that holds the model"
        + TRY_TINY
        if repo_type == "model"
        else "Run it once with a network",
    )

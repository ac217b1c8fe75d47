"""What `--model` takes -> the files of a checkpoint: built in, a folder, a weights file, or on the Hub.

Knows which files make a checkpoint, and nothing of what they hold.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from ast_cli.checkpoints.hub import fetch, no_such_model
from ast_cli.checkpoints.published import BUILT_IN_IDS, PUBLISHED_MODELS, PublishedModel
from ast_cli.errors import CheckpointError

CONFIG_FILE = "config.json"
FEATURE_FILE = "preprocessor_config.json"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")  # in order of preference
BUILT_IN = Path(__file__).parents[1] / "data"  # a folder for each built-in model
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")


@dataclass(frozen=True)
class CheckpointFiles:
    """A checkpoint on this machine.

    Attributes:
        id: As the user named it.
        revision: The Hub's commit; empty for local files.
        config: `config.json`, or None where there is none.
        features: `preprocessor_config.json`, or None where there is none.
        find_weights: Finds the weights file, by fetching it if need be.
    """

    id: str
    revision: str
    config: Path | None
    features: Path | None
    find_weights: Callable[[], Path]

    @cached_property
    def weights(self) -> Path:
        """The weights file, looked for when first asked for, as not all need it; or CheckpointError."""
        return self.find_weights()

    @cached_property
    def sha256(self) -> str:
        """Of the weights file, in hex; read when first asked for."""
        digest = hashlib.sha256()
        with self.weights.open("rb") as data:
            while block := data.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()


def find_checkpoint(source: str, revision: str | None = None, *, offline: bool = False) -> CheckpointFiles:
    """Find the files of a checkpoint, fetching from the Hub what is not here yet.

    What the cache holds is used as it is, without asking the Hub: a run needs no network after the first, and
    a model never changes under its user. `pull_checkpoint` asks for news.

    Args:
        source: The built-in `tiny` (a folder of that name is `./tiny`), a folder, a weights file, or a Hub id
            such as `MIT/ast-finetuned-audioset-10-10-0.4593`.
        revision: Hub branch, tag or commit; the default branch if None.
        offline: Never touch the network.

    Raises:
        CheckpointError: It does not exist, is incomplete, or cannot be fetched.
    """
    if source in BUILT_IN_IDS:
        if revision is not None:
            raise CheckpointError(f"{source} is built in, and has no revisions", "Leave --revision out")
        return _local(source, BUILT_IN / source, partial(_weights_in, source, BUILT_IN / source))
    try:
        path = Path(source).expanduser()
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError) as error:  # a name too long for any file; the home of somebody unknown
        raise no_such_model(source) from error
    if revision is not None and (is_folder or is_file):
        raise CheckpointError(
            f"{source} is here, and has no revisions", "Leave --revision out, or name a Hub id"
        )
    if is_folder:
        return _local(source, path, partial(_weights_in, source, path))
    if is_file:
        if path.suffix not in WEIGHT_SUFFIXES:
            raise CheckpointError(
                f"{source} is not a weights file", f"Weights end in {', '.join(WEIGHT_SUFFIXES)}"
            )
        return _local(source, path.parent, lambda: path)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source) or path.suffix in WEIGHT_SUFFIXES:
        raise no_such_model(source)
    return _on_hub(source, revision, offline=offline)


def pull_checkpoint(source: str, revision: str | None = None) -> CheckpointFiles:
    """Fetch a checkpoint from the Hub, by its id, or only what has changed since the last time.

    Where nobody answers, what the cache holds of it serves if it is all there. What is built in is here.

    Raises:
        CheckpointError: It does not exist, is incomplete, or cannot be fetched.
    """
    if source in BUILT_IN_IDS:
        return find_checkpoint(source, revision)
    files = _on_hub(source, revision, refresh=True)
    _ = files.weights
    return files


def converted_folder() -> Path:
    """Where networks that were converted for OpenVINO are kept: beside the Hub's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "ast-tag" / "openvino"


def cached_models() -> Iterator[PublishedModel]:
    """The published checkpoints whose default branch is in the cache, complete."""
    for model in PUBLISHED_MODELS:
        try:
            _ = _on_hub(model.id, None, offline=True).weights
        except CheckpointError:
            continue
        yield model


def _on_hub(
    repo: str, revision: str | None, *, offline: bool = False, refresh: bool = False
) -> CheckpointFiles:
    config = fetch(repo, CONFIG_FILE, revision, offline=offline, refresh=refresh)
    if config is None:
        raise CheckpointError(f"{repo} has no {CONFIG_FILE}", "It is not an AST checkpoint")
    # The first file fixes the commit; the rest come from that commit, so that no push in between can mix two.
    commit = config.parent.name
    features = fetch(repo, FEATURE_FILE, commit, offline=offline)

    def weights() -> Path:
        for name in WEIGHT_FILES:
            if path := fetch(repo, name, commit, offline=offline):
                return path
        raise CheckpointError(
            f"{repo} has none of {', '.join(WEIGHT_FILES)}", "Choose a repository that holds AST weights"
        )

    return CheckpointFiles(repo, commit, config, features, weights)


def _local(source: str, folder: Path, find_weights: Callable[[], Path]) -> CheckpointFiles:
    config, features = folder / CONFIG_FILE, folder / FEATURE_FILE
    return CheckpointFiles(
        source,
        "",
        config if config.is_file() else None,
        features if features.is_file() else None,
        find_weights,
    )


def _weights_in(source: str, folder: Path) -> Path:
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(
        f"{source} holds no {' or '.join(WEIGHT_FILES)}",
        "Name the weights file itself if it is called otherwise",
    )

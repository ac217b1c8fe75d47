"""What `--model` takes -> the files of a checkpoint: built in, a folder, a weights file, or on the Hub.

Knows which files make a checkpoint, and nothing of what they hold.
"""

from __future__ import annotations

import hashlib
import json
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
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt")
INDEX = ".index.json"  # behind the name of weights that are in several files: which tensor is in which
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
MERGE_ADAPTER = (
    "Merge it into the model it was trained on, with peft: "
    "`PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(folder)`"
)


@dataclass(frozen=True)
class CheckpointFiles:
    """A checkpoint on this machine.

    Attributes:
        id: As the user named it.
        revision: The Hub's commit; empty for local files.
        config: `config.json`, or None where there is none.
        features: `preprocessor_config.json`, or None where there is none.
        find_weights: Finds the weights file, or the index of several, by fetching what is not here.
    """

    id: str
    revision: str
    config: Path | None
    features: Path | None
    find_weights: Callable[[], Path]

    @cached_property
    def weights(self) -> Path:
        """The weights file or index, looked for when asked for, as not all need it; or CheckpointError."""
        return self.find_weights()

    @property
    def weight_files(self) -> list[Path]:
        """All files of the weights; CheckpointError if one is not there."""
        if not self.weights.name.endswith(INDEX):
            return [self.weights]
        files = [self.weights.parent / name for name in _shard_names(self.weights)]
        for file in files:
            if not file.is_file():
                raise CheckpointError(f"{self.weights} names {file.name}, which is not there", "Fetch it too")
        return files

    @cached_property
    def sha256(self) -> str:
        """Of the weights, in hex; read when first asked for."""
        digest = hashlib.sha256()
        for file in self.weight_files:
            with file.open("rb") as data:
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
        folder = _of_trainer(path)
        return _local(source, folder, partial(_weights_in, source, folder))
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
        for name in (*WEIGHT_FILES, WEIGHT_FILES[0] + INDEX):
            if path := fetch(repo, name, commit, offline=offline):
                for shard in _shard_names(path) if name.endswith(INDEX) else ():
                    fetch(repo, shard, commit, offline=offline)
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
    for name in (*WEIGHT_FILES, *(name + INDEX for name in WEIGHT_FILES)):
        if (folder / name).is_file():
            return folder / name
    if any((folder / name).is_file() for name in ADAPTER_FILES):
        raise CheckpointError(f"{source} holds an adapter, such as LoRA's, and no whole model", MERGE_ADAPTER)
    if checkpoints := _checkpoints_in(folder):
        raise CheckpointError(
            f"{source} holds no weights of its own, but {len(checkpoints)} checkpoints of a training",
            f"Name one of them, such as {checkpoints[-1]}",
        )
    raise CheckpointError(
        f"{source} holds no {' or '.join(WEIGHT_FILES)}",
        "Name the weights file itself if it is called otherwise",
    )


def _of_trainer(folder: Path) -> Path:
    """The one checkpoint in a folder that the `Trainer` of transformers left without a model of its own."""
    own = [CONFIG_FILE, *WEIGHT_FILES, *ADAPTER_FILES]
    checkpoints = _checkpoints_in(folder)
    is_alone = len(checkpoints) == 1 and not any((folder / name).exists() for name in own)
    return checkpoints[0] if is_alone else folder


def _checkpoints_in(folder: Path) -> list[Path]:
    """Folders such as `checkpoint-500`, by their number."""
    found = [path for path in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def _shard_names(index: Path) -> list[str]:
    """The files that an index spreads the weights over; they are beside it."""
    try:
        names = {*json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
        if not names or any(Path(name).name != name for name in names):
            raise ValueError("it names no files beside it")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index} is no index of weights: {error}", "Fetch it again") from error
    return sorted(names)

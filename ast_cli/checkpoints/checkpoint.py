"""Weights files: find -> read -> rename -> check, and write.

Knows files, names and tensors. Knows nothing of the network they belong to: `ast_cli.networks.ast` says which
names and shapes it expects and gets exactly those, or an error that names what is missing or unknown.
"""

from __future__ import annotations

import json
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ast_cli.checkpoints.layouts import HUB_PREFIX, ORIGINAL_NORMALISATION, infer_config, their_names
from ast_cli.checkpoints.locate import (
    CONFIG_FILE,
    FEATURE_FILE,
    MERGE_ADAPTER,
    WEIGHT_FILES,
    CheckpointFiles,
    find_checkpoint,
)
from ast_cli.errors import CheckpointError
from ast_cli.files import replacing
from ast_cli.text import first_line

# What torch.compile, DataParallel and Lightning put around the names of a network's tensors.
WRAPPERS = r"^(?:(?:_orig_mod|module|model)\.)+|_orig_mod\."
NESTS = ("state_dict", "model_state_dict", "model")  # where a state of training has the network's tensors
HARMLESS = ("position_ids", "pos_weight", "n_averaged")  # counters, and weights of the loss
# What the unpickler may stumble over in a file that is no pickle, beside its own error.
UNPICKLING_ACCIDENTS = (
    *(AttributeError, EOFError, IndexError, KeyError, RuntimeError, TypeError, ValueError),
    *(struct.error, AssertionError, ImportError, MemoryError, OverflowError),
)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's files and, read when first asked for, what they hold."""

    files: CheckpointFiles

    @classmethod
    def open(
        cls, source: str | Path | Checkpoint, revision: str | None = None, *, offline: bool = False
    ) -> Checkpoint:
        """Find a checkpoint; see `locate.find_checkpoint` for what `source` may be and what may go wrong."""
        if isinstance(source, Checkpoint):
            return source
        return cls(find_checkpoint(str(source), revision, offline=offline))

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor under the name it has in the file, in float32 on the CPU."""
        tensors: dict[str, Tensor] = {}
        for file in self.files.weight_files:
            tensors |= _read_tensors(file)
        return {name: one.float() for name, one in _bare(tensors, WRAPPERS, self._where).items()}

    @property
    def _where(self) -> str:
        """The weights file as errors call it; where it lies in the cache is of no concern to anybody."""
        return self.files.weights.name if self.files.revision else str(self.files.weights)

    @cached_property
    def is_original(self) -> bool:
        """Whether the weights have the original code's names."""
        return "v.cls_token" in self.tensors

    @cached_property
    def config(self) -> dict[str, Any]:
        """The contents of `config.json`, or what an original `.pth` shows of them, or CheckpointError."""
        if self.files.config is not None:
            return read_json(self.files.config)
        if self.files.weights.suffix != ".safetensors" and self.is_original:
            return infer_config(self.files.id, self.tensors)
        raise CheckpointError(
            f"there is no {CONFIG_FILE} beside {self.files.weights}",
            "Put the model's own beside it: it says how long windows are and what the classes are called",
        )

    @cached_property
    def features(self) -> dict[str, Any]:
        """The contents of `preprocessor_config.json`, or an original `.pth`'s own, or CheckpointError."""
        if self.files.features is not None:
            return read_json(self.files.features)
        frames = self.config.get("max_length")
        if self.is_original and frames in ORIGINAL_NORMALISATION:
            mean, std = ORIGINAL_NORMALISATION[frames]
            return {"max_length": frames, "mean": mean, "std": std}
        raise CheckpointError(
            f"{self.files.id} has no {FEATURE_FILE}",
            "Put the model's own beside the weights: its mean and std are what the network was trained with",
        )

    def state_dict(self, expected: Mapping[str, torch.Size]) -> dict[str, Tensor]:
        """The tensors under our names, exactly those of `expected`; read anew for each call.

        A classifier nobody expects is left out, so that a backbone can be taken from any checkpoint.

        Args:
            expected: Our names (without prefix) and shapes.

        Raises:
            CheckpointError: A tensor is missing, unknown (named as the file names it) or of another shape.
        """
        found = _bare(self.tensors, rf"^{re.escape(HUB_PREFIX)}", self._where)
        original = self.is_original
        # Two networks must not share their tensors, nor this object keep a second copy of them.
        vars(self).pop("tensors", None)
        # The original's image head came with the weights it started from and is never used.
        unused = {name for name in found if name.startswith(("v.head.", "v.head_dist."))}
        unused.update(name for name in found if name.rpartition(".")[2] in HARMLESS)
        state: dict[str, Tensor] = {}
        missing: list[str] = []
        misshapen: list[tuple[str, torch.Size, torch.Size]] = []
        for ours, theirs in their_names(expected, original=original):
            unused.update(theirs)
            parts = {name: found[name] for name in theirs if name in found}
            missing += [name for name in theirs if name not in found]
            first, *rest = expected[ours]
            shape = torch.Size([first // len(theirs), *rest])
            misshapen += [(name, part.shape, shape) for name, part in parts.items() if part.shape != shape]
            if not missing and not misshapen:
                state[ours] = torch.cat([*parts.values()]) if len(parts) > 1 else parts[theirs[0]]
        if not any(name.startswith("classifier.") for name in expected):
            unused.update(name for name in found if name.startswith(("classifier.", "mlp_head.")))
        if any(".lora_" in name for name in found):
            raise CheckpointError(f"{self._where} is an adapter, LoRA's, and no whole model", MERGE_ADAPTER)
        broken = [name for name, tensor in found.items() if not _is_finite(tensor)]
        if broken:
            raise CheckpointError(
                f"{self._where} holds numbers that are not finite: {_some(broken)}",
                "Fetch it again, or train it with a lower learning rate",
            )
        self._refuse_misfits(missing, sorted(found.keys() - unused), misshapen)
        return state

    def _refuse_misfits(
        self, missing: list[str], unknown: list[str], misshapen: list[tuple[str, torch.Size, torch.Size]]
    ) -> None:
        where = self._where
        if missing and all(name.startswith(("classifier.", "mlp_head.")) for name in missing):
            raise CheckpointError(
                f"{where} has no classifier: {_some(missing)}",
                "It gives embeddings (`ASTModel.from_pretrained`) but no labels; name a fine-tuned model",
            )
        if missing:
            raise CheckpointError(
                f"{where} lacks {_some(missing)}",
                f"It is not the AST that {CONFIG_FILE} describes, or the file is damaged",
            )
        if unknown:
            raise CheckpointError(
                f"{where} holds what an AST does not know: {_some(unknown)}",
                f"It is another network, or {CONFIG_FILE} describes a smaller one",
            )
        for name, found, shape in misshapen:
            if found != shape:
                raise CheckpointError(
                    f"{where}: {name} is {_shape(found)}, but {CONFIG_FILE} asks for {_shape(shape)}",
                    f"The weights and {CONFIG_FILE} belong to different models",
                )


def save_checkpoint(folder: str | Path, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write `model.safetensors` and `config.json` in the Hub's layout; the folder is made if it is not there.

    `state` holds tensors under our names; with a classifier, the backbone gets the Hub's prefix.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    prefix = HUB_PREFIX if any(name.startswith("classifier.") for name in state) else ""
    tensors: dict[str, Tensor] = {}
    for ours, theirs in their_names(state, original=False):
        owner = "" if ours.startswith("classifier.") else prefix
        for name, part in zip(theirs, state[ours].chunk(len(theirs)), strict=True):
            tensors[owner + name] = part.detach().cpu().contiguous()
    with replacing_weights(folder / WEIGHT_FILES[0]) as file:
        # `transformers` refuses a file that does not say which framework's layout its tensors have.
        save_file(tensors, file, metadata={"format": "pt"})
    write_json(folder / CONFIG_FILE, config)


def replacing_weights(path: Path) -> AbstractContextManager[Path]:
    """A name to write weights to; see `files.replacing`."""
    from safetensors import SafetensorError

    # torch reports a full disk as RuntimeError.
    return replacing(path, OSError, RuntimeError, SafetensorError)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises CheckpointError if the file is not one."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"cannot read {path}: {error}", "Fetch the file again") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path} does not hold a JSON object", "Fetch the file again")
    return document


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON object as the Hub's files are: two spaces, sorted, a newline at the end."""
    with replacing_weights(path) as part:
        part.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def adapt_position_embeddings(embeddings: Tensor, frequency_patches: int, time_patches: int) -> Tensor:
    """Fit position embeddings to another number of patches in time, as the original code does.

    From [1, 2 + frequency_patches * (patches in time so far), D] to [1, 2 + frequency_patches * time_patches,
    D]. The first two belong to the cls and the distillation token and stay as they are. Shorter: the middle
    of the time axis is kept. Longer: it is stretched bilinearly.
    """
    tokens, patches = embeddings[:, :2], embeddings[:, 2:]
    width = embeddings.shape[-1]
    grid = patches.transpose(1, 2).reshape(1, width, frequency_patches, -1)
    before = grid.shape[-1]
    if time_patches <= before:
        start = before // 2 - time_patches // 2
        grid = grid[..., start : start + time_patches]
    else:
        grid = F.interpolate(grid, size=(frequency_patches, time_patches), mode="bilinear")
    return torch.cat([tokens, grid.reshape(1, width, -1).transpose(1, 2)], dim=1)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    damaged = "Fetch it again; a download may have been cut off"
    try:
        tensors: Any
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about old pickles; whether they hold tensors is what counts
                tensors = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors, or is no weights file",
            "It was not opened further, since it could run code; ask its author for a .safetensors file, "
            "or for its state_dict alone",
        ) from error
    except (SafetensorError, OSError, *UNPICKLING_ACCIDENTS) as error:
        raise CheckpointError(f"cannot read {path}: {first_line(error)}", damaged) from error
    if isinstance(tensors, dict):
        tensors = next((tensors[name] for name in NESTS if isinstance(tensors.get(name), dict)), tensors)
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in tensors.items()
    ):
        raise CheckpointError(
            f"{path} is not a plain table of tensors", "Save the model's state_dict() alone and name that"
        )
    return tensors


def _bare(tensors: Mapping[str, Tensor], wrappers: str, where: str) -> dict[str, Tensor]:
    """Tensors by their names without what matches `wrappers`; CheckpointError if two are called alike."""
    bare: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        own = re.sub(wrappers, "", name)
        if bare.setdefault(own, tensor) is not tensor:
            *_, wrapped = sorted((one for one in tensors if re.sub(wrappers, "", one) == own), key=len)
            raise CheckpointError(f"{where} holds twice, with and without {wrapped.removesuffix(own)}: {own}")
    return bare


def _is_finite(tensor: Tensor) -> bool:
    """Whether every number is; a sum is one unless they are, or are so large that a closer look is needed."""
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def _some(names: list[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _shape(shape: torch.Size) -> str:
    return "×".join(map(str, shape))

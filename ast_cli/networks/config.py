"""The numbers of a network and of its features, read and written as the Hub's two JSON files.

`ASTConfig` and `FeatureConfig` keep the names and defaults of the `transformers` classes `ASTConfig` and
`ASTFeatureExtractor`, so that either side reads what the other wrote.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from ast_cli.checkpoints.checkpoint import Checkpoint, write_json
from ast_cli.checkpoints.layouts import AUDIOSET_NORMALISATION
from ast_cli.checkpoints.locate import CONFIG_FILE, FEATURE_FILE
from ast_cli.errors import ConfigError
from ast_cli.scoring.labels import LabelSet, speech_commands_names

MODEL_TYPE = "audio-spectrogram-transformer"
ACTIVATIONS = ("gelu", "relu", "selu", "gelu_new")
LOWEST_SAMPLING_RATE = 1000  # in Hz; below it a frame holds too few samples
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")


class HubConfig:
    """Reading and writing of the frozen records below, each of which is one of the Hub's JSON files.

    Attributes:
        FILE: Name of the file.
        PART: The attribute of a `Checkpoint` that holds its contents.
    """

    FILE: ClassVar[str]
    PART: ClassVar[str]

    @classmethod
    def from_dict(cls: type[ConfigT], document: Mapping[str, Any]) -> ConfigT:
        """Make a config of the contents of its file; unknown entries are left out.

        Raises:
            ConfigError: A value cannot be.
        """
        known = {item.name for item in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return cls(**{key: value for key, value in document.items() if key in known})

    def to_dict(self) -> dict[str, Any]:
        """The contents of its file."""
        return dataclasses.asdict(self)  # type: ignore[call-overload,no-any-return]

    @classmethod
    def from_pretrained(
        cls: type[ConfigT],
        source: str | Path | Checkpoint,
        revision: str | None = None,
        *,
        offline: bool = False,
    ) -> ConfigT:
        """Read a checkpoint's; `source` is what `--model` takes.

        Raises:
            CheckpointError: No such checkpoint, or the file is missing.
            ConfigError: It holds a value that cannot be.
        """
        return cls.from_dict(getattr(Checkpoint.open(source, revision, offline=offline), cls.PART))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write its file into `folder`, which is made if it is not there."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        write_json(Path(folder) / self.FILE, self.to_dict())


ConfigT = TypeVar("ConfigT", bound=HubConfig)


@dataclass(frozen=True)
class ASTConfig(HubConfig):
    """The shape of an AST and the names of its classes.

    Attributes:
        hidden_size: Width of the tokens, D.
        num_hidden_layers: Number of transformer blocks.
        num_attention_heads: H; must divide `hidden_size`.
        intermediate_size: Width inside the MLPs.
        hidden_act: `gelu` (exact), `relu`, `selu` or `gelu_new` (tanh approximation).
        hidden_dropout_prob: Dropout on embeddings and block outputs, in training.
        attention_probs_dropout_prob: Dropout on attention probabilities, in training.
        initializer_range: Standard deviation of fresh weights.
        layer_norm_eps: Of every LayerNorm.
        patch_size: Side of a patch, in mel bins and frames.
        qkv_bias: Whether query, key and value have biases.
        frequency_stride: Mel bins from one patch to the next.
        time_stride: Frames from one patch to the next.
        max_length: Frames in a window, T.
        num_mel_bins: Mel bins in a frame, M.
        num_labels: C; taken from `id2label` where that is given, else 2.
        id2label: Class names by index; `LABEL_0` … where not given.
        label2id: The reverse.
        problem_type: `regression`, `single_label_classification` or `multi_label_classification`; decides the
            loss, and sigmoid or softmax. The published configs name none: see `multi_label`.
        output_attentions: Whether outputs hold attentions unless a call says otherwise.
        output_hidden_states: Whether outputs hold hidden states unless a call says otherwise.
        return_dict: Whether outputs are records rather than tuples unless a call says otherwise.
    """

    FILE, PART = CONFIG_FILE, "config"

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    patch_size: int = 16
    qkv_bias: bool = True
    frequency_stride: int = 10
    time_stride: int = 10
    max_length: int = 1024
    num_mel_bins: int = 128
    num_labels: int = 0
    id2label: Mapping[int, str] = field(default_factory=dict)
    label2id: Mapping[str, int] = field(default_factory=dict)
    problem_type: str | None = None
    output_attentions: bool = False
    output_hidden_states: bool = False
    return_dict: bool = True

    def __post_init__(self) -> None:
        _require(self, _is_count(self.num_labels), "num_labels", "a whole number")
        try:
            given: Mapping[Any, Any] = self.id2label  # as JSON has it, where a name may be null
            id2label = {
                int(index): f"LABEL_{index}" if name is None else str(name) for index, name in given.items()
            }
        except (AttributeError, TypeError, ValueError) as error:
            raise ConfigError(f"id2label is not a table from index to name: {error}") from error
        count = len(self.id2label) or self.num_labels or 2
        if not id2label:
            id2label = {index: f"LABEL_{index}" for index in range(count)}
        if sorted(id2label) != list(range(count)):
            raise ConfigError(f"id2label must name each index from 0 to {count - 1} once")
        if self.num_labels not in (0, count):
            raise ConfigError(f"num_labels is {self.num_labels}, but id2label names {count}")
        # A frozen record fills in what follows from its other fields only this way.
        object.__setattr__(self, "id2label", dict(sorted(id2label.items())))
        object.__setattr__(self, "label2id", {name: index for index, name in id2label.items()})
        object.__setattr__(self, "num_labels", count)
        self._check()

    def _check(self) -> None:
        for name in (
            *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "patch_size"),
            *("frequency_stride", "time_stride", "max_length", "num_mel_bins"),
        ):
            _require_count(self, name)
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            _require(self, _is_number(getattr(self, name)) and 0 <= getattr(self, name) <= 1, name, "0 to 1")
        for name in ("initializer_range", "layer_norm_eps"):
            _require(self, _is_number(getattr(self, name)) and getattr(self, name) >= 0, name, "0 or more")
        for name in ("qkv_bias", "output_attentions", "output_hidden_states", "return_dict"):
            _require(self, isinstance(getattr(self, name), bool), name, "true or false")
        _require(self, self.hidden_act in ACTIVATIONS, "hidden_act", f"one of {', '.join(ACTIVATIONS)}")
        is_known = self.problem_type in (None, *PROBLEM_TYPES)
        _require(self, is_known, "problem_type", f"one of {', '.join(PROBLEM_TYPES)}")
        if self.hidden_size % self.num_attention_heads:
            heads, width = self.num_attention_heads, self.hidden_size
            raise ConfigError(f"{heads} attention heads do not divide a hidden_size of {width}")
        if min(self.max_length, self.num_mel_bins) < self.patch_size:
            raise ConfigError(f"a window of {self.max_length} × {self.num_mel_bins} holds no patch")

    @property
    def frequency_patches(self) -> int:
        """Patches along the mel bins."""
        return (self.num_mel_bins - self.patch_size) // self.frequency_stride + 1

    @property
    def time_patches(self) -> int:
        """Patches along the frames."""
        return (self.max_length - self.patch_size) // self.time_stride + 1

    def cropped_length(self, frames: int) -> int:
        """The shortest window, at most `max_length`, whose patches cover so many frames."""
        more = max(0, frames - self.patch_size)
        steps = -(-more // self.time_stride)
        return min(self.max_length, self.patch_size + steps * self.time_stride)

    @property
    def labels(self) -> LabelSet:
        """The classes in the order of the logits."""
        return LabelSet.from_names(self.id2label.values())

    @property
    def scores(self) -> Literal["sigmoid", "softmax"]:
        """How logits become scores: what `problem_type` says, else what the classes were trained as.

        AudioSet's classes are multi-label. Any others without a `problem_type` are taken as single-label, as
        Speech Commands' are.
        """
        if self.problem_type is not None:
            return "softmax" if self.problem_type == "single_label_classification" else "sigmoid"
        return "sigmoid" if self.labels.are_audioset else "softmax"

    @property
    def scores_are_guessed(self) -> bool:
        """Whether nothing says if the classes exclude each other, so that `scores` follows from a habit."""
        known = self.labels.are_audioset or tuple(self.id2label.values()) == speech_commands_names()
        return self.problem_type is None and not known

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ASTConfig:
        """Make a config of the contents of `config.json`; entries of no concern to AST are left out.

        Raises:
            ConfigError: A value cannot be, or the document describes another kind of model.
        """
        kind = document.get("model_type", MODEL_TYPE)
        if kind != MODEL_TYPE:
            raise ConfigError(f"{CONFIG_FILE} describes a {kind!r} model, not an {MODEL_TYPE!r}")
        return super().from_dict(document)

    def to_dict(self) -> dict[str, Any]:
        """The contents of `config.json`."""
        document = super().to_dict() | {"model_type": MODEL_TYPE}
        del document["num_labels"]  # follows from id2label; `transformers` warns where both are given
        document["id2label"] = {str(index): name for index, name in self.id2label.items()}
        return {key: value for key, value in document.items() if value is not None}


@dataclass(frozen=True)
class FeatureConfig(HubConfig):
    """The numbers of the log-mel features.

    Attributes:
        feature_size: Always 1: one value a mel bin and frame.
        sampling_rate: Of the waveforms, in Hz.
        num_mel_bins: M.
        max_length: Frames in a window, T; shorter recordings are padded, longer ones cut.
        padding_value: Kept for `transformers`; features are padded with 0 there too, whatever it says.
        do_normalize: Whether (x − mean) / (2·std) is applied, after padding.
        mean: Of the unnormalized features of the training set.
        std: Of the unnormalized features of the training set.
        return_attention_mask: Kept for `transformers`; no mask is made there either.
    """

    FILE, PART = FEATURE_FILE, "features"

    feature_size: int = 1
    sampling_rate: int = 16000
    num_mel_bins: int = 128
    max_length: int = 1024
    padding_value: float = 0.0
    do_normalize: bool = True
    mean: float = AUDIOSET_NORMALISATION[0]
    std: float = AUDIOSET_NORMALISATION[1]
    return_attention_mask: bool = False

    def __post_init__(self) -> None:
        for name in ("sampling_rate", "num_mel_bins", "max_length"):
            _require_count(self, name)
        for name in ("padding_value", "mean", "std"):
            _require(self, _is_number(getattr(self, name)), name, "a number")
        for name in ("do_normalize", "return_attention_mask"):
            _require(self, isinstance(getattr(self, name), bool), name, "true or false")
        _require(self, self.feature_size == 1, "feature_size", "1")
        _require(self, self.std > 0, "std", "above 0")
        is_enough = self.sampling_rate >= LOWEST_SAMPLING_RATE
        _require(self, is_enough, "sampling_rate", f"{LOWEST_SAMPLING_RATE} or more")

    def to_dict(self) -> dict[str, Any]:
        """The contents of `preprocessor_config.json`."""
        return super().to_dict() | {
            "feature_extractor_type": "ASTFeatureExtractor",
            "padding_side": "right",
        }


def _require(config: object, holds: bool, name: str, wanted: str) -> None:
    if not holds:
        raise ConfigError(f"{name} must be {wanted}, not {getattr(config, name)!r}")


def _require_count(config: object, name: str) -> None:
    value = getattr(config, name)
    _require(config, _is_count(value) and value > 0, name, "a whole number above 0")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def require_fit(config: ASTConfig, features: FeatureConfig) -> None:
    """Raise ConfigError unless a network takes the windows that are made for it."""
    made, wanted = (features.max_length, features.num_mel_bins), (config.max_length, config.num_mel_bins)
    if made != wanted:
        raise ConfigError(
            f"{FEATURE_FILE} makes windows of {made[0]} × {made[1]}, but {CONFIG_FILE} wants "
            f"{wanted[0]} × {wanted[1]}",
            "The two files belong to different models",
        )

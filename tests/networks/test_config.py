"""`ASTConfig` and `FeatureConfig`: values that cannot be, what follows from others, and both JSON files."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from ast_cli.checkpoints.published import PUBLISHED_MODELS, PublishedModel
from ast_cli.errors import ConfigError, ExitCode
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.networks.config import ASTConfig, FeatureConfig
from ast_cli.scoring.labels import audioset_classes, speech_commands_names
from tests.random_checkpoint import random_config, save_random_checkpoint

AUDIOSET = dict(enumerate(node.name for node in audioset_classes()))
SPEECH_COMMANDS = dict(enumerate(speech_commands_names()))

COUNTS = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "patch_size"),
    *("frequency_stride", "time_stride", "max_length", "num_mel_bins"),
)


# Values that cannot be


@pytest.mark.parametrize("value", [0, -1, 1.5, "64", None, [16, 16]], ids=repr)
@pytest.mark.parametrize("name", COUNTS)
def test_a_count_is_a_whole_number_above_zero(name: str, value: object) -> None:
    message = re.escape(f"{name} must be a whole number above 0, not {value!r}")
    with pytest.raises(ConfigError, match=message) as caught:
        ASTConfig(**{name: value})
    assert caught.value.exit_code == ExitCode.CANNOT_RUN


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match="5 attention heads do not divide a hidden_size of 768"):
        ASTConfig(num_attention_heads=5)


@pytest.mark.parametrize(("frames", "mel_bins"), [(15, 128), (128, 15)])
def test_a_window_must_hold_a_patch(frames: int, mel_bins: int) -> None:
    with pytest.raises(ConfigError, match=f"a window of {frames} × {mel_bins} holds no patch"):
        ASTConfig(max_length=frames, num_mel_bins=mel_bins)


def test_an_unknown_activation_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(
        ConfigError, match="hidden_act must be one of gelu, relu, selu, gelu_new, not 'swish'"
    ):
        ASTConfig(hidden_act="swish")


def test_an_unknown_problem_type_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"problem_type must be one of regression, .*, not 'ranking'"):
        ASTConfig(problem_type="ranking")


@pytest.mark.parametrize("id2label", [{"first": "a"}, ["a", "b"], None, 3], ids=repr)
def test_classes_must_be_a_table_from_index_to_name(id2label: object) -> None:
    with pytest.raises(ConfigError, match="id2label is not a table from index to name"):
        ASTConfig(id2label=id2label)


@pytest.mark.parametrize("id2label", [{1: "a", 2: "b"}, {0: "a", 2: "b"}, {-1: "a", 0: "b"}], ids=str)
def test_class_indices_must_start_at_zero_and_have_no_gap(id2label: dict[int, str]) -> None:
    with pytest.raises(ConfigError, match="id2label must name each index from 0 to 1 once"):
        ASTConfig(id2label=id2label)


def test_the_number_of_classes_must_be_that_of_their_names() -> None:
    with pytest.raises(ConfigError, match="num_labels is 3, but id2label names 2"):
        ASTConfig(id2label={0: "a", 1: "b"}, num_labels=3)


@pytest.mark.parametrize("value", [0, -1, 16000.0, "16000", None], ids=repr)
@pytest.mark.parametrize("name", ["sampling_rate", "num_mel_bins", "max_length"])
def test_a_count_of_the_features_is_a_whole_number_above_zero(name: str, value: object) -> None:
    message = re.escape(f"{name} must be a whole number above 0, not {value!r}")
    with pytest.raises(ConfigError, match=message):
        FeatureConfig(**{name: value})


@pytest.mark.parametrize("name", ["mean", "std", "padding_value"])
def test_the_features_normalise_by_numbers(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be a number, not '4.5'"):
        FeatureConfig(**{name: "4.5"})


@pytest.mark.parametrize("std", [0, -4.5])
def test_a_standard_deviation_is_above_zero(std: float) -> None:
    with pytest.raises(ConfigError, match=f"std must be above 0, not {std}"):
        FeatureConfig(std=std)


# Classes


def test_indices_may_be_numbers_or_their_texts_in_any_order() -> None:
    config = ASTConfig(id2label={"1": "b", "0": "a"})
    assert config == ASTConfig(id2label={0: "a", 1: "b"})
    assert list(config.id2label.items()) == [(0, "a"), (1, "b")]
    assert config.label2id == {"a": 0, "b": 1}


def test_ten_classes_and_more_are_in_the_order_of_numbers_not_of_texts() -> None:
    config = ASTConfig(id2label={str(index): f"class {index}" for index in sorted(range(12), key=str)})
    assert config.labels.names == tuple(f"class {index}" for index in range(12))


def test_the_number_of_classes_follows_from_their_names() -> None:
    assert ASTConfig(id2label={0: "a", 1: "b", 2: "c"}).num_labels == 3
    assert ASTConfig(id2label={0: "a", 1: "b", 2: "c"}, num_labels=3).num_labels == 3


def test_classes_without_names_are_numbered() -> None:
    assert ASTConfig().id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert ASTConfig(num_labels=3).label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}


def test_a_wrong_label2id_is_set_right() -> None:
    assert ASTConfig(id2label={0: "a", 1: "b"}, label2id={"a": 1, "b": 0}).label2id == {"a": 0, "b": 1}


def test_the_classes_of_audioset_have_their_mids() -> None:
    labels = ASTConfig(id2label=AUDIOSET).labels
    assert len(labels) == 527
    assert labels.are_audioset
    assert (labels.names[137], labels.mids[137]) == ("Music", "/m/04rlf")


@pytest.mark.parametrize(
    ("id2label", "problem_type", "scores"),
    [
        (AUDIOSET, None, "sigmoid"),
        ({0: "Dog", 1: "Cat"}, None, "sigmoid"),  # some of AudioSet's classes, under its names
        (SPEECH_COMMANDS, None, "softmax"),
        ({0: "crackle", 1: "wheeze"}, None, "softmax"),
        (AUDIOSET, "single_label_classification", "softmax"),
        (SPEECH_COMMANDS, "multi_label_classification", "sigmoid"),
        ({0: "crackle", 1: "wheeze"}, "multi_label_classification", "sigmoid"),
    ],
    ids=lambda value: f"{len(value)} classes" if isinstance(value, dict) else str(value),
)
def test_scores_follow_the_problem_type_and_else_the_classes(
    id2label: dict[int, str], problem_type: str | None, scores: str
) -> None:
    assert ASTConfig(id2label=id2label, problem_type=problem_type).scores == scores


# Patches


@pytest.mark.parametrize("known", PUBLISHED_MODELS, ids=lambda known: known.id)
def test_the_published_models_have_their_published_patches(known: PublishedModel) -> None:
    config = ASTConfig(frequency_stride=known.stride, time_stride=known.stride, max_length=known.frames)
    assert config.frequency_patches * config.time_patches == known.patches


def test_patches_by_hand() -> None:
    config = ASTConfig(num_mel_bins=40, max_length=65, patch_size=16, frequency_stride=8, time_stride=10)
    assert config.frequency_patches == 4  # from bins 0, 8, 16 and 24
    assert config.time_patches == 5  # from frames 0, 10, 20, 30 and 40; 50 + 16 is one frame too many


# Files


def test_a_config_is_not_changed_by_writing_and_reading() -> None:
    config = random_config(
        labels=3,
        stride=12,
        hidden_act="relu",
        qkv_bias=False,
        hidden_dropout_prob=0.1,
        problem_type="multi_label_classification",
        output_hidden_states=True,
    )
    assert ASTConfig.from_dict(config.to_dict()) == config
    assert ASTConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert ASTConfig.from_dict(ASTConfig().to_dict()) == ASTConfig()


def test_features_are_not_changed_by_writing_and_reading() -> None:
    features = FeatureConfig(
        sampling_rate=8000, num_mel_bins=64, max_length=128, padding_value=-1.0, do_normalize=False, std=5.5
    )
    assert FeatureConfig.from_dict(json.loads(json.dumps(features.to_dict()))) == features


def test_the_written_config_says_whose_it_is_and_leaves_out_what_follows() -> None:
    document = ASTConfig(id2label={0: "a", 1: "b"}).to_dict()
    assert document["model_type"] == "audio-spectrogram-transformer"
    assert document["id2label"] == {"0": "a", "1": "b"}
    assert document.keys().isdisjoint({"num_labels", "problem_type"})


def test_entries_of_no_concern_are_left_out() -> None:
    document = {
        "hidden_size": 64,
        "num_attention_heads": 2,
        "transformers_version": "4.25.1",
        "dtype": "float32",
    }
    assert ASTConfig.from_dict(document) == ASTConfig(hidden_size=64, num_attention_heads=2)
    assert FeatureConfig.from_dict({"max_length": 128, "padding_side": "right"}) == FeatureConfig(
        max_length=128
    )


def test_a_config_of_another_model_is_an_error() -> None:
    with pytest.raises(ConfigError, match="'whisper' model, not an 'audio-spectrogram-transformer'"):
        ASTConfig.from_dict({"model_type": "whisper", "hidden_size": 64})


def test_a_wrong_value_in_a_document_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match="max_length must be a whole number above 0, not None"):
        ASTConfig.from_dict({"max_length": None})
    with pytest.raises(ConfigError, match="mean must be a number, not 'low'"):
        FeatureConfig.from_dict({"mean": "low"})


def test_saved_configs_are_read_again_beside_the_weights(tmp_path: Path) -> None:
    save_random_checkpoint(tmp_path)
    config = random_config(labels=2, hidden_act="relu")
    features = ASTFeatureExtractor(max_length=64, mean=-6.5)
    config.save_pretrained(tmp_path)
    features.save_pretrained(tmp_path)
    assert ASTConfig.from_pretrained(tmp_path) == config
    assert ASTFeatureExtractor.from_pretrained(tmp_path) == features
    assert FeatureConfig.from_pretrained(tmp_path) == FeatureConfig(max_length=64, mean=-6.5)


def test_saving_makes_the_folder(tmp_path: Path) -> None:
    ASTConfig().save_pretrained(tmp_path / "new" / "folder")
    FeatureConfig().save_pretrained(tmp_path / "new" / "folder")
    names = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert names == ["config.json", "preprocessor_config.json"]


@pytest.mark.parametrize("config", [ASTConfig(), FeatureConfig()], ids=lambda config: type(config).__name__)
def test_configs_cannot_be_changed(config: ASTConfig | FeatureConfig) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.max_length = 128  # type: ignore[misc]
    assert dataclasses.replace(config, max_length=128).max_length == 128


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_labels", "3"),
        ("num_labels", 2.5),
        ("num_labels", -1),
        ("hidden_dropout_prob", 2.0),
        ("hidden_dropout_prob", "a"),
        ("layer_norm_eps", "1e-12"),
        ("layer_norm_eps", -1.0),
        ("initializer_range", None),
        ("qkv_bias", "yes"),
    ],
)
def test_a_number_or_switch_of_the_network_is_one(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be .*, not {re.escape(repr(value))}"):
        ASTConfig(**{name: value})


def test_an_index_named_twice_is_an_error() -> None:
    with pytest.raises(ConfigError, match="each index from 0 to 1 once"):
        ASTConfig(id2label={0: "a", "0": "b"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("std", float("nan")),
        ("mean", float("inf")),
        ("feature_size", 2),
        ("do_normalize", "no"),
        ("sampling_rate", 50),
    ],
)
def test_a_number_or_switch_of_the_features_is_one(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be .*, not {re.escape(repr(value))}"):
        FeatureConfig(**{name: value})


def test_a_folder_with_nothing_but_the_json_files_is_read(tmp_path: Path) -> None:
    config, features = random_config(), ASTFeatureExtractor(max_length=128)
    config.save_pretrained(tmp_path)
    features.save_pretrained(tmp_path)
    assert ASTConfig.from_pretrained(tmp_path) == config
    assert ASTFeatureExtractor.from_pretrained(tmp_path) == features

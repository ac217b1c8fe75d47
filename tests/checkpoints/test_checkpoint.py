"""Weights files: the original layout against its forward pass written out here, and files that are wrong."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from ast_cli.checkpoints.checkpoint import Checkpoint, adapt_position_embeddings
from ast_cli.errors import AstCliError, CheckpointError, ConfigError
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.networks.ast import ASTForAudioClassification, ASTModel
from ast_cli.networks.config import ASTConfig
from ast_cli.scoring.labels import audioset_classes, speech_commands_names
from tests.random_checkpoint import random_config, random_model, save_random_checkpoint

Tensors = dict[str, Tensor]

WIDTH, LAYERS, HEADS = 128, 2, 2  # heads are 64 wide in every size of the original
PATCHES = {(10, 1024): 1212, (12, 1024): 850, (14, 1024): 657, (16, 1024): 512, (10, 128): 144}

# The original's last LayerNorm has an epsilon of 1e-5, ours the 1e-6 of the others: logits move by 4e-5.
HEAD_EPSILON_TOLERANCE = 1e-4
TOLERANCE = 1e-5  # float32 rounding


def original_weights(patches: int = 144, labels: int = 35) -> Tensors:
    """Random tensors under the original's names, of a size at which logits differ from class to class."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return 0.05 * torch.randn(shape, generator=generator)

    def linear(name: str, outputs: int, inputs: int) -> Tensors:
        return {f"{name}.weight": noise(outputs, inputs), f"{name}.bias": noise(outputs)}

    def norm(name: str) -> Tensors:
        return {f"{name}.weight": 1 + noise(WIDTH), f"{name}.bias": noise(WIDTH)}

    weights = {
        "v.cls_token": noise(1, 1, WIDTH),
        "v.dist_token": noise(1, 1, WIDTH),
        "v.pos_embed": noise(1, patches + 2, WIDTH),
        "v.patch_embed.proj.weight": noise(WIDTH, 1, 16, 16),
        "v.patch_embed.proj.bias": noise(WIDTH),
    }
    for number in range(LAYERS):
        block = f"v.blocks.{number}"
        weights |= norm(f"{block}.norm1") | norm(f"{block}.norm2")
        weights |= linear(f"{block}.attn.qkv", 3 * WIDTH, WIDTH) | linear(f"{block}.attn.proj", WIDTH, WIDTH)
        weights |= linear(f"{block}.mlp.fc1", 4 * WIDTH, WIDTH) | linear(f"{block}.mlp.fc2", WIDTH, 4 * WIDTH)
    head = linear("mlp_head.1", labels, WIDTH)
    head["mlp_head.1.weight"] *= 4
    return weights | norm("v.norm") | norm("mlp_head.0") | head


def original_forward(
    weights: Tensors, input_values: Tensor, stride: int, head_epsilon: float = 1e-5
) -> Tensor:
    """The original AST's forward pass: [B, T, M] -> [B, C]."""

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(name: str, x: Tensor, epsilon: float = 1e-6) -> Tensor:
        return F.layer_norm(x, (WIDTH,), weights[f"{name}.weight"], weights[f"{name}.bias"], epsilon)

    def attention(name: str, x: Tensor) -> Tensor:
        batch, count, _ = x.shape
        qkv = linear(f"{name}.qkv", x).reshape(batch, count, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        shares = (query @ key.transpose(-2, -1) * (WIDTH // HEADS) ** -0.5).softmax(dim=-1)
        return linear(f"{name}.proj", (shares @ value).transpose(1, 2).reshape(batch, count, WIDTH))

    x = input_values.unsqueeze(1).transpose(2, 3)
    x = F.conv2d(x, weights["v.patch_embed.proj.weight"], weights["v.patch_embed.proj.bias"], stride=stride)
    x = x.flatten(2).transpose(1, 2)
    specials = [weights[name].expand(len(x), -1, -1) for name in ("v.cls_token", "v.dist_token")]
    x = torch.cat([*specials, x], dim=1) + weights["v.pos_embed"]
    for number in range(LAYERS):
        block = f"v.blocks.{number}"
        x = x + attention(f"{block}.attn", norm(f"{block}.norm1", x))
        hidden = F.gelu(linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", x)))
        x = x + linear(f"{block}.mlp.fc2", hidden)
    x = norm("v.norm", x)
    x = (x[:, 0] + x[:, 1]) / 2
    return linear("mlp_head.1", norm("mlp_head.0", x, head_epsilon))


def windows(frames: int) -> Tensor:
    return torch.randn(2, frames, 128, generator=torch.Generator().manual_seed(1))


def save_original(path: Path, weights: Tensors, prefix: str = "module.") -> Path:
    torch.save({prefix + name: tensor for name, tensor in weights.items()}, path)
    return path


# The original's layout


@pytest.mark.parametrize("prefix", ["module.", ""])
@pytest.mark.parametrize(("stride", "frames"), PATCHES)
def test_an_original_pth_gives_the_original_logits(
    tmp_path: Path, stride: int, frames: int, prefix: str
) -> None:
    weights = original_weights(PATCHES[stride, frames])
    model = ASTForAudioClassification.from_pretrained(save_original(tmp_path / "ast.pth", weights, prefix))
    assert (model.config.frequency_stride, model.config.time_stride) == (stride, stride)
    assert model.config.max_length == frames
    with torch.inference_mode():
        found = model(windows(frames)).logits
    expected = original_forward(weights, windows(frames), stride)
    assert expected.std() > 0.5
    torch.testing.assert_close(found, expected, rtol=0, atol=HEAD_EPSILON_TOLERANCE)
    with_our_epsilon = original_forward(weights, windows(frames), stride, head_epsilon=1e-6)
    torch.testing.assert_close(found, with_our_epsilon, rtol=0, atol=TOLERANCE)


def test_an_original_pth_gives_its_backbone_alone(tmp_path: Path) -> None:
    path = save_original(tmp_path / "ast.pth", original_weights())
    backbone, classifier = ASTModel.from_pretrained(path), ASTForAudioClassification.from_pretrained(path)
    with torch.inference_mode():
        pooled = backbone(windows(128)).pooler_output
        torch.testing.assert_close(classifier.classifier(pooled), classifier(windows(128)).logits)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_an_original_may_have_any_suffix_of_torch(tmp_path: Path, suffix: str) -> None:
    path = save_original(tmp_path / f"ast{suffix}", original_weights())
    assert ASTConfig.from_pretrained(path).num_labels == 35


def test_the_shape_of_an_original_follows_from_its_tensors(tmp_path: Path) -> None:
    config = ASTConfig.from_pretrained(save_original(tmp_path / "ast.pth", original_weights()))
    assert (config.hidden_size, config.num_attention_heads, config.num_hidden_layers) == (128, 2, 2)
    assert (config.intermediate_size, config.patch_size, config.qkv_bias) == (512, 16, True)
    assert config.layer_norm_eps == 1e-6


def test_the_unused_image_head_of_an_original_is_left_out(tmp_path: Path) -> None:
    weights = original_weights()
    image_head = {
        f"v.{head}.{kind}": torch.zeros(size)
        for head in ("head", "head_dist")
        for kind, size in (("weight", (1000, WIDTH)), ("bias", (1000,)))
    }
    path = save_original(tmp_path / "ast.pth", weights | image_head)
    with torch.inference_mode():
        found = ASTForAudioClassification.from_pretrained(path)(windows(128)).logits
    expected = original_forward(weights, windows(128), stride=10, head_epsilon=1e-6)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (527, [node.name for node in audioset_classes()]),
        (35, list(speech_commands_names())),
        (3, ["LABEL_0", "LABEL_1", "LABEL_2"]),
    ],
    ids=["AudioSet", "Speech Commands", "neither"],
)
def test_the_classes_of_an_original_follow_from_their_number(
    tmp_path: Path, labels: int, names: list[str]
) -> None:
    config = ASTConfig.from_pretrained(save_original(tmp_path / "ast.pth", original_weights(labels=labels)))
    assert list(config.id2label.values()) == names


@pytest.mark.parametrize(
    ("patches", "frames", "mean", "std"),
    [(1212, 1024, -4.2677393, 4.5689974), (600, 512, -6.6268077, 5.358466), (144, 128, -6.845978, 5.5654526)],
)
def test_an_original_brings_the_features_of_its_length(
    tmp_path: Path, patches: int, frames: int, mean: float, std: float
) -> None:
    path = save_original(tmp_path / "ast.pth", original_weights(patches))
    extractor = ASTFeatureExtractor.from_pretrained(path)
    assert extractor == ASTFeatureExtractor(max_length=frames, mean=mean, std=std)


def test_an_original_of_no_published_length_asks_for_a_config(tmp_path: Path) -> None:
    patches = 12 * 29  # stride 10, 300 frames
    path = save_original(tmp_path / "ast.pth", original_weights(patches))
    with pytest.raises(CheckpointError, match=f"{patches} patches, which fits no published.*config.json"):
        ASTConfig.from_pretrained(path)
    known = ASTConfig.from_pretrained(save_original(tmp_path / "known.pth", original_weights()))
    config = known.to_dict() | {"max_length": 300}
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = original_weights(patches)
    with torch.inference_mode():
        found = ASTForAudioClassification.from_pretrained(path)(windows(300)).logits
    expected = original_forward(weights, windows(300), stride=10, head_epsilon=1e-6)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    "name", ["v.blocks.1.mlp.fc2.bias", "v.norm.weight", "v.pos_embed", "mlp_head.1.weight"]
)
def test_a_missing_key_of_an_original_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    weights = original_weights()
    del weights[name]
    with pytest.raises(CheckpointError, match=rf"ast\.pth lacks .*{re.escape(name)}"):
        ASTForAudioClassification.from_pretrained(save_original(tmp_path / "ast.pth", weights))


# Strictness: a checkpoint in the Hub's layout, changed in one place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_random_checkpoint(tmp_path / "checkpoint")


def edit(folder: Path, change: Callable[[Tensors], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def refusal(source: Path, kind: type = ASTForAudioClassification) -> AstCliError:
    with pytest.raises(AstCliError) as caught:
        kind.from_pretrained(source)
    return caught.value


BACKBONE = "audio_spectrogram_transformer."


@pytest.mark.parametrize(
    "name",
    [
        "embeddings.cls_token",
        "embeddings.patch_embeddings.projection.bias",
        "encoder.layer.0.attention.attention.key.weight",
        "encoder.layer.1.intermediate.dense.bias",
        "layernorm.weight",
    ],
)
@pytest.mark.parametrize("kind", [ASTForAudioClassification, ASTModel])
def test_a_missing_key_is_an_error_that_names_it(folder: Path, name: str, kind: type) -> None:
    edit(folder, lambda tensors: tensors.pop(BACKBONE + name))
    error = refusal(folder, kind)
    assert isinstance(error, CheckpointError)
    assert f"{folder / 'model.safetensors'} lacks {name}" in str(error)


def test_many_missing_keys_are_counted(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    assert re.search(
        r"lacks encoder\.layer\.2\.layernorm_before\.weight, .* and 13 more", str(refusal(folder))
    )


@pytest.mark.parametrize(
    "name", ["pooler.dense.weight", "encoder.layer.2.output.dense.bias", "mlp_head.1.bias"]
)
def test_an_unknown_key_is_an_error_that_names_it(folder: Path, name: str) -> None:
    edit(folder, lambda tensors: tensors.update({BACKBONE + name: torch.zeros(3)}))
    error = refusal(folder)
    assert isinstance(error, CheckpointError)
    assert "does not know" in str(error)
    assert name in str(error)


def test_a_layer_more_than_the_config_says_is_an_error(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    assert "does not know: encoder.layer.1." in str(refusal(folder))


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("embeddings.position_embeddings", (1, 100, 64), "1×146×64"),
        ("layernorm.bias", (63,), "64"),
        ("encoder.layer.1.attention.output.dense.weight", (64, 32), "64×64"),
        ("encoder.layer.0.intermediate.dense.weight", (256, 64), "128×64"),
    ],
)
def test_a_wrong_shape_is_an_error_that_says_both(
    folder: Path, name: str, wrong: tuple[int, ...], right: str
) -> None:
    edit(folder, lambda tensors: tensors.update({BACKBONE + name: torch.zeros(wrong)}))
    error = refusal(folder)
    assert isinstance(error, CheckpointError)
    assert f"is {'×'.join(map(str, wrong))}, but config.json asks for {right}" in str(error)
    assert str(folder / "model.safetensors") in str(error)


def test_another_number_of_classes_than_the_config_names_is_an_error(folder: Path) -> None:
    edit(folder, lambda t: t.update({"classifier.dense.weight": torch.zeros(35, 64)}))
    assert "classifier.dense.weight is 35×64, but config.json asks for 527×64" in str(refusal(folder))


def test_a_checkpoint_without_classifier_gives_a_backbone_but_no_labels(tmp_path: Path) -> None:
    random_model().audio_spectrogram_transformer.save_pretrained(tmp_path)
    assert ASTModel.from_pretrained(tmp_path).config == random_config()
    error = refusal(tmp_path)
    assert isinstance(error, CheckpointError)
    assert "has no classifier: classifier.layernorm.weight" in str(error)
    assert "ASTModel.from_pretrained" in str(error)


def test_half_precision_weights_load_as_float32(folder: Path) -> None:
    full = load_file(folder / "model.safetensors")
    edit(folder, lambda tensors: tensors.update({n: t.half() for n, t in tensors.items()}))
    model = ASTForAudioClassification.from_pretrained(folder)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert torch.equal(model.classifier.dense.weight, full["classifier.dense.weight"].half().float())


# Files that are not what they should be


def test_a_config_of_another_model_is_an_error_that_names_both(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "wav2vec2"}))
    error = refusal(folder)
    assert isinstance(error, ConfigError)
    assert re.search("config.json describes a 'wav2vec2' model.*audio-spectrogram-transformer", str(error))


@pytest.mark.parametrize("text", ['{"hidden_size": 64,', "", "<html>", "[]", '"text"'])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_broken_json_is_an_error_that_names_the_file(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    error = refusal(folder, ASTConfig if name == "config.json" else ASTFeatureExtractor)
    assert isinstance(error, CheckpointError)
    assert str(folder / name) in str(error)
    assert "Fetch the file again" in str(error)


def test_json_that_is_not_utf8_is_an_error_that_names_the_file(folder: Path) -> None:
    (folder / "config.json").write_bytes(b'{"a": "\xff"}')
    assert f"cannot read {folder / 'config.json'}" in str(refusal(folder))


@pytest.mark.parametrize("kept", [0, 4, 1000, -1])
def test_a_truncated_safetensors_is_an_error_that_names_the_file(folder: Path, kept: int) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    error = refusal(folder)
    assert isinstance(error, CheckpointError)
    assert f"cannot read {weights}" in str(error)
    assert "Fetch it again" in str(error)


@pytest.mark.parametrize("kept", [0, 1000, -1])
def test_a_truncated_pth_is_an_error_that_names_the_file(tmp_path: Path, kept: int) -> None:
    path = save_original(tmp_path / "ast.pth", original_weights())
    path.write_bytes(path.read_bytes()[:kept])
    error = refusal(path)
    assert isinstance(error, CheckpointError)
    assert str(path) in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "version https://git-lfs.github.com/spec/v1\nsize 346404948\n",
        "<!DOCTYPE html>\n",
        "Not Found\n",
        "\n",
    ],
)
def test_a_text_called_bin_is_an_error_that_names_the_file(folder: Path, text: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_text(text)
    error = refusal(folder)
    assert isinstance(error, CheckpointError)
    assert str(folder / "pytorch_model.bin") in str(error)


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.path), "w")


def save_bare_pickle(value: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(value, protocol=2))


@pytest.mark.parametrize("save", [torch.save, save_bare_pickle])
@pytest.mark.parametrize("suffix", [".bin", ".pth", ".pt"])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(
    tmp_path: Path, suffix: str, save: Callable[[object, Path], object]
) -> None:
    ran, path = tmp_path / "ran", tmp_path / f"weights{suffix}"
    pickle.loads(pickle.dumps(Payload(ran))).close()
    assert ran.exists(), "the payload itself must work, or its silence would prove nothing"
    ran.unlink()
    save(original_weights() | {"v.cls_token": Payload(ran)}, path)
    error = refusal(path)
    assert not ran.exists()
    assert isinstance(error, CheckpointError)
    assert re.search(f"{re.escape(str(path))} holds more than tensors.*could run code", str(error))


@pytest.mark.parametrize(
    "content",
    [{"epoch": 3, "optimizer": {"v.cls_token": torch.zeros(1)}}, [torch.zeros(1)], torch.zeros(1)],
    ids=["a training state", "a list", "a tensor"],
)
def test_a_pth_that_is_no_table_of_tensors_is_an_error_that_says_so(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "ast.pth")
    error = refusal(tmp_path / "ast.pth")
    assert isinstance(error, CheckpointError)
    assert f"{tmp_path / 'ast.pth'} is not a plain table of tensors" in str(error)
    assert "state_dict()" in str(error)


def test_weights_without_a_config_are_an_error_that_asks_for_it(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert f"no config.json beside {folder / 'model.safetensors'}" in str(refusal(folder))


def test_weights_without_features_are_an_error_that_asks_for_them(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    assert "has no preprocessor_config.json" in str(refusal(folder, ASTFeatureExtractor))


def test_a_folder_without_weights_is_an_error_that_names_both(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert f"{tmp_path} holds no model.safetensors or pytorch_model.bin" in str(error)


@pytest.mark.parametrize("source", ["nowhere/at/all", "nowhere.pth", "no such model"])
def test_a_source_that_is_nothing_is_an_error_that_names_it(tmp_path: Path, source: str) -> None:
    assert f"no such model: {tmp_path / source}" in str(refusal(tmp_path / source))


def test_a_checkpoint_is_opened_from_a_folder_a_file_or_itself(folder: Path) -> None:
    checkpoint = Checkpoint.open(folder)
    expected = load_file(folder / "model.safetensors")["classifier.dense.bias"]
    for source in (checkpoint, str(folder), folder / "model.safetensors"):
        model = ASTForAudioClassification.from_pretrained(source)
        assert torch.equal(model.classifier.dense.bias, expected)
        assert ASTFeatureExtractor.from_pretrained(source).max_length == 128


def test_safetensors_come_before_bin(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_text("never read")
    assert Checkpoint.open(folder).files.weights == folder / "model.safetensors"


# As training programs leave them


def logits_of(source: Path) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = ASTForAudioClassification.from_pretrained(source)(windows(128)).logits
    return logits


@pytest.mark.parametrize(
    "wrapper", ["module.", "_orig_mod.", "model.", "model._orig_mod.", "_orig_mod.module."]
)
def test_what_wraps_a_network_is_left_out_of_its_names(folder: Path, wrapper: str) -> None:
    expected = logits_of(folder)
    tensors = load_file(folder / "model.safetensors")
    save_file({wrapper + name: tensor for name, tensor in tensors.items()}, folder / "model.safetensors")
    assert torch.equal(logits_of(folder), expected)


def test_a_part_that_was_compiled_alone_is_read(folder: Path) -> None:
    expected = logits_of(folder)
    edit(folder, lambda t: t.update({n.replace("layer.", "layer._orig_mod."): t.pop(n) for n in list(t)}))
    assert torch.equal(logits_of(folder), expected)


@pytest.mark.parametrize("nest", ["state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("suffix", [".ckpt", ".pth"])
def test_the_network_in_a_state_of_training_is_read(folder: Path, suffix: str, nest: str) -> None:
    expected = logits_of(folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    state = {f"model.{name}": tensor for name, tensor in tensors.items()}
    torch.save({"epoch": 3, "optimizer_states": [{"lr": 1e-3}], nest: state}, folder / f"last{suffix}")
    assert torch.equal(logits_of(folder / f"last{suffix}"), expected)


def test_a_state_of_training_does_not_run_code_either(tmp_path: Path) -> None:
    torch.save(
        {"state_dict": original_weights(), "callbacks": Payload(tmp_path / "ran")}, tmp_path / "a.ckpt"
    )
    error = refusal(tmp_path / "a.ckpt")
    assert not (tmp_path / "ran").exists()
    assert re.search("a.ckpt holds more than tensors.*could run code.*state_dict alone", str(error))


@pytest.mark.parametrize("name", ["embeddings.position_ids", "criterion.pos_weight", "n_averaged"])
def test_what_is_none_of_the_network_and_harmless_is_left_out(folder: Path, name: str) -> None:
    expected = logits_of(folder)
    edit(folder, lambda tensors: tensors.update({name: torch.arange(3)}))
    assert torch.equal(logits_of(folder), expected)


def shard(folder: Path, suffix: str = "safetensors") -> Path:
    """Spread a checkpoint's weights over two files; returns the index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem, save = {
        "safetensors": ("model", save_file),
        "bin": ("pytorch_model", torch.save),
    }[suffix]
    names = [f"{stem}-0000{number}-of-00002.{suffix}" for number in (1, 2)]
    place = {name: names[number % 2] for number, name in enumerate(tensors)}
    for file in names:
        save({name: tensor for name, tensor in tensors.items() if place[name] == file}, folder / file)
    index = folder / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": place}))
    return index


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_weights_in_several_files_are_read(folder: Path, suffix: str) -> None:
    expected = logits_of(folder)
    index = shard(folder, suffix)
    assert torch.equal(logits_of(folder), expected)
    first = Checkpoint.open(folder).files.sha256
    other = sorted(folder.glob(f"*-of-00002.{suffix}"))[1]
    other.write_bytes(other.read_bytes()[:-1] + b"x")
    assert Checkpoint.open(folder).files.sha256 != first
    other.unlink()
    assert f"{index} names {other.name}, which is not there. Fetch it too" in str(refusal(folder))


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', '{"weight_map": {"a": "../b.bin"}}']
)
def test_an_index_that_names_no_files_beside_it_is_refused(folder: Path, text: str) -> None:
    index = shard(folder)
    index.write_text(text)
    assert f"{index} is no index of weights" in str(refusal(folder))


def test_the_one_checkpoint_that_a_trainer_left_is_taken(tmp_path: Path) -> None:
    save_random_checkpoint(tmp_path / "run" / "checkpoint-500")
    (tmp_path / "run" / "checkpoints").mkdir()
    assert torch.equal(logits_of(tmp_path / "run"), logits_of(tmp_path / "run" / "checkpoint-500"))


def test_several_checkpoints_of_a_trainer_are_named_and_none_is_guessed(tmp_path: Path) -> None:
    for steps in (500, 1000):
        save_random_checkpoint(tmp_path / f"checkpoint-{steps}")
    error = str(refusal(tmp_path))
    assert f"{tmp_path} holds no weights of its own, but 2 checkpoints of a training" in error
    assert f"such as {tmp_path / 'checkpoint-1000'}" in error


def test_an_adapter_is_called_one(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    lora = {"base_model.model.audio_spectrogram_transformer.layer.0.lora_A.weight": torch.zeros(4, 64)}
    save_file(lora, folder / "adapter_model.safetensors")
    assert f"{folder} holds an adapter, such as LoRA's, and no whole model. Merge it" in str(refusal(folder))
    (folder / "config.json").unlink()
    assert "Merge it into the model it was trained on" in str(refusal(folder))
    save_random_checkpoint(folder / "other")
    (folder / "adapter_model.safetensors").rename(folder / "other" / "adapter_model.safetensors")
    assert "is an adapter, LoRA's, and no whole model. Merge it" in str(
        refusal(folder / "other" / "adapter_model.safetensors")
    )


def test_a_class_without_a_name_is_called_by_its_number(folder: Path) -> None:
    config = ASTConfig(id2label={0: "Dog", 1: None, 2: "None"})  # type: ignore[dict-item]
    assert [*config.id2label.values()] == ["Dog", "LABEL_1", "None"]


# Position embeddings for another length


def grid(frequency_patches: int, time_patches: int) -> Tensor:
    """Two tokens and a grid of two channels: 10·f + t, and its negative."""
    frequency, time = torch.meshgrid(
        torch.arange(frequency_patches), torch.arange(time_patches), indexing="ij"
    )
    channel = (10.0 * frequency + time).flatten()
    tokens = torch.tensor([[[100.0, 101.0], [200.0, 201.0]]])
    return torch.cat([tokens, torch.stack([channel, -channel], dim=1)[None]], dim=1)


def first_channel(embeddings: Tensor, frequency_patches: int) -> list[list[float]]:
    return embeddings[0, 2:, 0].reshape(frequency_patches, -1).tolist()


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [(6, 4, [1, 2, 3, 4]), (5, 2, [1, 2]), (6, 3, [2, 3, 4]), (7, 1, [3]), (4, 4, [0, 1, 2, 3])],
)
def test_shorter_position_embeddings_are_cut_from_the_middle(
    before: int, after: int, kept: list[int]
) -> None:
    found = adapt_position_embeddings(grid(3, before), frequency_patches=3, time_patches=after)
    assert first_channel(found, 3) == [[10 * frequency + time for time in kept] for frequency in range(3)]
    assert torch.equal(found[0, 2:, 1], -found[0, 2:, 0])


def test_longer_position_embeddings_are_stretched_bilinearly_by_hand() -> None:
    embeddings = torch.tensor([[[9.0], [8.0], [0.0], [4.0], [10.0], [14.0]]])  # rows of time: 0 4, 10 14
    found = adapt_position_embeddings(embeddings, frequency_patches=2, time_patches=4)
    # Four cells over the width of two: their centres lie at -¼, ¼, ¾ and 1¼ of the way from first to last.
    assert first_channel(found, 2) == [[0, 1, 3, 4], [10, 11, 13, 14]]


@pytest.mark.parametrize("after", [8, 9, 20])
def test_longer_position_embeddings_are_interpolated_channel_by_channel(after: int) -> None:
    embeddings = torch.randn(1, 2 + 3 * 7, 5, generator=torch.Generator().manual_seed(0))
    found = adapt_position_embeddings(embeddings, frequency_patches=3, time_patches=after)
    for channel in range(5):
        image = embeddings[0, 2:, channel].reshape(1, 1, 3, 7)
        expected = F.interpolate(image, size=(3, after), mode="bilinear").flatten()
        torch.testing.assert_close(found[0, 2:, channel], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("after", [1, 6, 11])
def test_the_tokens_keep_their_position_embeddings(after: int) -> None:
    found = adapt_position_embeddings(grid(3, 6), frequency_patches=3, time_patches=after)
    assert found.shape == (1, 2 + 3 * after, 2)
    assert torch.equal(found[:, :2], grid(3, 6)[:, :2])


@pytest.mark.parametrize("frames", [16, 64, 127, 128, 200, 300])
@pytest.mark.parametrize("kind", [ASTForAudioClassification, ASTModel])
def test_a_network_of_another_length_runs(folder: Path, frames: int, kind: type) -> None:
    model = kind.from_pretrained(folder, max_length=frames)
    assert model.config.max_length == frames
    with torch.inference_mode():
        output = model(windows(frames))
    assert torch.isfinite(output[0]).all()
    embeddings = load_file(folder / "model.safetensors")[f"{BACKBONE}embeddings.position_embeddings"]
    expected = adapt_position_embeddings(embeddings, 12, (frames - 16) // 10 + 1)
    found = {name.removeprefix(BACKBONE): weight for name, weight in model.state_dict().items()}
    assert torch.equal(found["embeddings.position_embeddings"], expected)


def test_an_original_of_another_length_runs(tmp_path: Path) -> None:
    weights = original_weights()
    path = save_original(tmp_path / "ast.pth", weights)
    model = ASTForAudioClassification.from_pretrained(path, max_length=64)
    columns = weights["v.pos_embed"][:, 2:].reshape(1, 12, 12, WIDTH)[:, :, 6 - 2 : 6 - 2 + 5]
    weights["v.pos_embed"] = torch.cat([weights["v.pos_embed"][:, :2], columns.flatten(1, 2)], dim=1)
    with torch.inference_mode():
        found = model(windows(64)).logits
    expected = original_forward(weights, windows(64), stride=10, head_epsilon=1e-6)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


def test_a_length_without_a_patch_is_an_error(folder: Path) -> None:
    with pytest.raises(ConfigError, match="15 × 128 holds no patch"):
        ASTForAudioClassification.from_pretrained(folder, max_length=15)


# Files that are nearly right


def test_query_key_and_value_are_checked_one_by_one(folder: Path) -> None:
    prefix = "audio_spectrogram_transformer.encoder.layer.0.attention.attention"

    def shift_rows(tensors: Tensors) -> None:  # together they still have the right shape
        query, key = tensors[f"{prefix}.query.weight"], tensors[f"{prefix}.key.weight"]
        tensors[f"{prefix}.query.weight"] = query[:32].clone()
        tensors[f"{prefix}.key.weight"] = torch.cat([query[32:], key])

    edit(folder, shift_rows)
    assert "layer.0.attention.attention.query.weight is 32×64, but config.json asks for 64×64" in str(
        refusal(folder)
    )


@pytest.mark.parametrize("prefix", ["audio_spectrogram_transformer.", "module."])
def test_a_tensor_that_is_there_twice_is_an_error_that_names_it(folder: Path, prefix: str) -> None:
    name = "layernorm.weight"

    def double(tensors: Tensors) -> None:
        tensors[name] = torch.ones(64)
        tensors[prefix + name] = torch.zeros(64)

    edit(folder, double)
    assert f"holds twice, with and without {prefix}: {name}" in str(refusal(folder))


def test_names_that_are_no_text_are_no_table_of_tensors(tmp_path: Path) -> None:
    torch.save({1: torch.ones(2)}, tmp_path / "odd.pth")
    assert "is not a plain table of tensors" in str(refusal(tmp_path / "odd.pth"))


@pytest.mark.parametrize("text", ["Repository not found", "error: no", "README", "(see the wiki)", "x"])
def test_any_text_called_bin_is_an_error_that_names_the_file(folder: Path, text: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_text(text)
    assert "pytorch_model.bin" in str(refusal(folder))


def test_json_nested_without_end_is_an_error_that_names_the_file(folder: Path) -> None:
    (folder / "config.json").write_text('{"a":' * 100_000)
    assert "config.json" in str(refusal(folder))


def test_two_networks_from_one_checkpoint_share_nothing(folder: Path) -> None:
    checkpoint = Checkpoint.open(folder)
    first, second = (ASTForAudioClassification.from_pretrained(checkpoint) for _ in range(2))
    with torch.no_grad():
        first.classifier.dense.bias.zero_()
    assert second.classifier.dense.bias.abs().max() > 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path: Path, value: float) -> None:
    folder = save_random_checkpoint(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.dense.bias"][7] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"not finite: classifier\.dense\.bias"):
        ASTForAudioClassification.from_pretrained(folder)


def test_weights_whose_sum_is_too_large_are_sound_each(tmp_path: Path) -> None:
    folder = save_random_checkpoint(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.dense.bias"][:] = 3e38
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    model = ASTForAudioClassification.from_pretrained(folder)
    assert torch.equal(model.classifier.dense.bias, tensors["classifier.dense.bias"])

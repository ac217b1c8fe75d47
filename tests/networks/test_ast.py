"""The network by itself: attentions, masks, number formats and shapes against each other and by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ast_cli.errors import UsageError
from ast_cli.networks.ast import ASTAttention, ASTForAudioClassification, ASTModel
from ast_cli.networks.config import ASTConfig
from tests.random_checkpoint import random_config, random_model, save_random_checkpoint

# float32 rounding when sums are taken in another order; seen to reach 1e-6 on logits of size 7.
TOLERANCE = 1e-5


def windows(count: int = 2, frames: int = 128) -> Tensor:
    return torch.randn(count, frames, 128, generator=torch.Generator().manual_seed(1))


def logits(model: ASTForAudioClassification, attn: str = "sdpa", **arguments: object) -> Tensor:
    model.attn_implementation = attn
    with torch.inference_mode():
        return model(windows(), **arguments).logits


# Attention


@pytest.mark.parametrize("attn", ["sdpa", "heads", "math", "flash"])
def test_every_attention_equals_eager(attn: str) -> None:
    model = random_model()
    torch.testing.assert_close(logits(model, attn), logits(model, "eager"), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("attn", ["sdpa", "heads", "math", "flash"])
@pytest.mark.parametrize("qkv_bias", [True, False])
def test_the_pooled_vector_is_that_of_all_tokens(attn: str, qkv_bias: bool) -> None:
    model = random_model(random_config(qkv_bias=qkv_bias))
    model.attn_implementation = attn
    backbone = model.audio_spectrogram_transformer
    with torch.inference_mode():
        for frames in (128, 64):
            found = backbone.pooled(windows(frames=frames), cropped=True)
            expected = backbone(windows(frames=frames), cropped=True).pooler_output
            torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


def test_the_last_block_is_whole_where_its_tokens_are_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = random_model()
    monkeypatch.setattr(ASTAttention, "of_first_two", None)  # nobody may call it
    model(windows(), output_hidden_states=True)
    model.train()(windows())
    model.eval().attn_implementation = "eager"
    model(windows())
    model(windows(), output_attentions=True)


def test_attention_equals_softmax_by_hand() -> None:
    [layer] = ASTModel(ASTConfig(hidden_size=4, num_hidden_layers=1, num_attention_heads=2)).layers
    attention = layer.attention
    tokens = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        attention.qkv.weight.copy_(torch.randn(12, 4, generator=torch.Generator().manual_seed(1)))
        found, rows = attention(tokens, torch.ones(2), "eager")
        query, key, value = (tokens[0] @ part.T for part in attention.qkv.weight.chunk(3))
        heads = []
        for head, columns in enumerate((slice(0, 2), slice(2, 4))):
            shares = ((query[:, columns] @ key[:, columns].T) / 2**0.5).softmax(dim=1)
            torch.testing.assert_close(rows[0, head], shares)
            heads.append(shares @ value[:, columns])
        expected = torch.cat(heads, dim=1) @ attention.output.weight.T
    torch.testing.assert_close(found[0], expected)


def test_the_attentions_of_a_token_sum_to_one() -> None:
    model = random_model()
    model.attn_implementation = "eager"
    attentions = model(windows(), output_attentions=True).attentions
    assert [attention.shape for attention in attentions] == [(2, 2, 146, 146)] * 2
    for attention in attentions:
        assert (attention >= 0).all()
        torch.testing.assert_close(attention.sum(dim=-1), torch.ones(2, 2, 146), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("attn", ["sdpa", "heads", "math", "flash"])
def test_attentions_are_an_error_where_they_are_never_formed(attn: str) -> None:
    model = random_model()
    with pytest.raises(UsageError, match=rf"{attn} never forms the attentions\. .*eager"):
        logits(model, attn, output_attentions=True)


def test_an_unknown_attention_is_an_error_that_lists_the_known(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match=r"no such attention: fast.* sdpa, eager, heads, flash"):
        ASTForAudioClassification.from_pretrained(checkpoint, attn_implementation="fast")
    with pytest.raises(UsageError, match="no such attention: fast"):
        ASTModel(random_config(), "fast")
    model = random_model()
    with pytest.raises(UsageError, match="no such attention: fast"):
        model.attn_implementation = "fast"
    assert model.attn_implementation == "sdpa"


def test_the_choice_of_attention_reaches_the_backbone(checkpoint: Path) -> None:
    model = ASTForAudioClassification.from_pretrained(checkpoint, attn_implementation="eager")
    assert model.audio_spectrogram_transformer.attn_implementation == "eager"
    model.attn_implementation = "math"
    assert model.audio_spectrogram_transformer.attn_implementation == "math"


# Head masks


def silence(model: ASTForAudioClassification, layer: int, head: int) -> None:
    """Zero the columns of the output projection that read this head: what a mask of 0 should amount to."""
    projection = model.audio_spectrogram_transformer.layers[layer].attention.output
    width = projection.in_features // model.config.num_attention_heads
    with torch.no_grad():
        projection.weight[:, head * width : (head + 1) * width] = 0


@pytest.mark.parametrize("attn", ["eager", "sdpa", "heads"])
@pytest.mark.parametrize("head", [0, 1])
def test_a_mask_of_heads_silences_them_in_every_layer(attn: str, head: int) -> None:
    model = random_model()
    masked = logits(model, attn, head_mask=torch.tensor([float(head != 0), float(head != 1)]))
    assert (masked - logits(model, attn)).abs().max() > 0.01
    for layer in range(2):
        silence(model, layer, head)
    torch.testing.assert_close(masked, logits(model, attn), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("attn", ["eager", "sdpa", "heads"])
@pytest.mark.parametrize(("layer", "head"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_mask_of_layers_and_heads_silences_one(attn: str, layer: int, head: int) -> None:
    model = random_model()
    mask = torch.ones(2, 2)
    mask[layer, head] = 0
    masked = logits(model, attn, head_mask=mask)
    assert (masked - logits(model, attn)).abs().max() > 0.01
    silence(model, layer, head)
    torch.testing.assert_close(masked, logits(model, attn), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("attn", ["sdpa", "heads", "math", "flash"])
def test_a_partial_mask_means_the_same_in_every_attention(attn: str) -> None:
    model, mask = random_model(), torch.tensor([[0.3, 1.0], [0.0, 2.0]])
    expected = logits(model, "eager", head_mask=mask)
    torch.testing.assert_close(logits(model, attn, head_mask=mask), expected, rtol=0, atol=TOLERANCE)


def test_a_mask_of_ones_changes_nothing() -> None:
    model = random_model()
    assert torch.equal(logits(model, head_mask=torch.ones(2)), logits(model))


def test_the_attentions_of_a_masked_head_are_zero() -> None:
    model = random_model()
    model.attn_implementation = "eager"
    output = model(windows(), head_mask=torch.tensor([0.0, 1.0]), output_attentions=True)
    for attention in output.attentions:
        assert (attention[:, 0] == 0).all()
        assert (attention[:, 1] > 0).all()


# Number formats and batches


@pytest.mark.filterwarnings("ignore:record_property is incompatible with junit_family")
@pytest.mark.parametrize("attn", ["eager", "sdpa", "heads"])
@pytest.mark.parametrize(
    ("size", "dtype", "bound"),
    # About twice what was seen: rounding to 8 or 11 bits, amplified by 2 or 12 layers.
    [
        pytest.param("nano", torch.bfloat16, 0.008, id="nano-bfloat16"),
        pytest.param("nano", torch.float16, 0.001, id="nano-float16"),
        pytest.param("tiny", torch.bfloat16, 0.02, id="tiny-bfloat16"),
        pytest.param("tiny", torch.float16, 0.0025, id="tiny-float16"),
    ],
)
def test_scores_in_half_precision_stay_close_to_float32(
    size: str, dtype: torch.dtype, bound: float, attn: str, record_property: Callable[[str, object], None]
) -> None:
    model = random_model(random_config(size))
    expected = logits(model, attn)
    with torch.inference_mode():
        found = model.to(dtype)(windows().to(dtype)).logits
    assert found.dtype == dtype
    deviation = (found.float().sigmoid() - expected.sigmoid()).abs().max().item()
    record_property("logits_deviation", (found.float() - expected).abs().max().item())
    record_property("score_deviation", deviation)
    assert deviation <= bound


@pytest.mark.parametrize("attn", ["eager", "sdpa", "heads"])
def test_a_batch_equals_its_windows_one_by_one(attn: str) -> None:
    model = random_model()
    model.attn_implementation = attn
    batch = windows(5)
    with torch.inference_mode():
        together = model(batch).logits
        alone = torch.cat([model(window[None]).logits for window in batch])
    torch.testing.assert_close(together, alone, rtol=0, atol=TOLERANCE)


# Shapes


@pytest.mark.parametrize("shape", [(128, 128), (2, 127, 128), (2, 128, 64), (2, 1, 128, 128), (2, 1024, 128)])
def test_input_of_another_shape_is_an_error_that_says_which_is_wanted(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        random_model()(torch.zeros(shape))
    assert str(list(shape)) in str(caught.value)
    assert "[B, 128, 128]" in str(caught.value)


def test_patches_are_numbered_along_time_first_and_see_their_own_square_only() -> None:
    config = ASTConfig(
        hidden_size=4,
        num_attention_heads=1,
        max_length=48,
        num_mel_bins=36,
        frequency_stride=10,
        time_stride=8,
    )
    assert (config.frequency_patches, config.time_patches) == (3, 5)
    embeddings = ASTModel(config).embeddings
    for frequency, time in [(0, 0), (0, 4), (1, 2), (2, 4)]:
        input_values = torch.zeros(1, 48, 36, requires_grad=True)
        embeddings(input_values)[0, 2 + 5 * frequency + time].sum().backward()
        seen = torch.zeros(48, 36, dtype=torch.bool)
        seen[8 * time : 8 * time + 16, 10 * frequency : 10 * frequency + 16] = True
        assert torch.equal(input_values.grad[0] != 0, seen)


def test_the_pooled_vector_is_the_mean_of_the_first_two_tokens() -> None:
    backbone = random_model().audio_spectrogram_transformer
    output = backbone(windows())
    assert output.last_hidden_state.shape == (2, 146, 64)
    torch.testing.assert_close(output.pooler_output, output.last_hidden_state[:, :2].mean(dim=1))


def test_the_first_hidden_state_is_the_embeddings_and_the_last_is_before_the_norm() -> None:
    backbone = random_model().audio_spectrogram_transformer
    output = backbone(windows(), output_hidden_states=True)
    assert torch.equal(output.hidden_states[0], backbone.embeddings(windows()))
    assert torch.equal(backbone.layernorm(output.hidden_states[-1]), output.last_hidden_state)


def test_the_first_tokens_are_cls_and_distillation_at_their_positions() -> None:
    embeddings = random_model().audio_spectrogram_transformer.embeddings
    tokens = embeddings(windows())
    specials = torch.cat([embeddings.cls_token, embeddings.distillation_token], dim=1)
    expected = specials + embeddings.position_embeddings[:, :2]
    assert torch.equal(tokens[:, :2], expected.expand(2, -1, -1))


def test_the_published_network_has_its_published_size() -> None:
    with torch.device("meta"):
        model = ASTForAudioClassification(ASTConfig(num_labels=527))
    assert model.audio_spectrogram_transformer.embeddings.position_embeddings.shape == (1, 1214, 768)
    assert round(sum(weight.numel() for weight in model.parameters()) / 1e6, 1) == 86.6


def test_fresh_weights_are_small_and_fresh_biases_zero() -> None:
    torch.manual_seed(0)
    model = ASTForAudioClassification(dataclasses.replace(random_config(), initializer_range=0.03))
    backbone = model.audio_spectrogram_transformer
    for module in (backbone.embeddings.patch_embeddings.projection, backbone.layers[1].mlp.fc1):
        assert module.weight.std().item() == pytest.approx(0.03, rel=0.05)
        assert (module.bias == 0).all()
    assert (backbone.embeddings.position_embeddings == 0).all()
    assert (backbone.layernorm.weight == 1).all()


# Loading and saving


@pytest.mark.parametrize("kind", [ASTForAudioClassification, ASTModel])
def test_a_loaded_network_is_ready_to_evaluate_and_to_train(
    checkpoint: Path, kind: type[ASTForAudioClassification | ASTModel]
) -> None:
    model = kind.from_pretrained(checkpoint)
    assert not any(module.training for module in model.modules())
    for weight in model.parameters():
        assert (weight.dtype, weight.device.type, weight.requires_grad) == (torch.float32, "cpu", True)


def test_saving_and_loading_change_nothing(tmp_path: Path) -> None:
    model = random_model(random_config(labels=3, stride=16, problem_type="regression"))
    model.save_pretrained(tmp_path / "new" / "folder")
    again = ASTForAudioClassification.from_pretrained(tmp_path / "new" / "folder")
    assert again.config == model.config
    for name, weight in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name


def test_the_backbone_of_a_classifier_is_the_backbone_alone(tmp_path: Path) -> None:
    save_random_checkpoint(tmp_path)
    classifier = ASTForAudioClassification.from_pretrained(tmp_path)
    backbone = ASTModel.from_pretrained(tmp_path)
    inside = classifier.audio_spectrogram_transformer(windows()).pooler_output
    assert torch.equal(backbone(windows()).pooler_output, inside)


def test_saving_a_half_precision_network_keeps_its_numbers(tmp_path: Path) -> None:
    model = random_model().bfloat16()
    model.save_pretrained(tmp_path)
    again = ASTForAudioClassification.from_pretrained(tmp_path)
    weight = model.classifier.dense.weight
    assert torch.equal(again.classifier.dense.weight, weight.float())


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 1, 1)])
def test_a_mask_of_another_shape_is_an_error_that_says_which_is_wanted(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"not \[2\] or \[2, 2\]"):
        random_model()(windows(), head_mask=torch.ones(shape))


def test_an_output_asked_for_by_a_name_it_has_not_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="nope"):
        random_model()(windows())["nope"]

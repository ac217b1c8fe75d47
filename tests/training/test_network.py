"""A step of training against `transformers` and plain torch; patchout and the columns' loss by hand."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ast_cli.training.examples import AS_IT_IS, Batch
from ast_cli.training.network import TrainedNetwork
from ast_cli.training.settings import TrainSettings
from tests.extras import Extra
from tests.training.practice import MULTI, SINGLE, Drawn, Looking, batch_of, nano, train

transformers = Extra("transformers")

LR, HEAD_LR, DECAY = 1e-3, 5e-3, 0.1
PLAIN = TrainSettings(
    dtype="float32",
    epochs=1,
    batch_size=8,
    lr=LR,
    head_lr=HEAD_LR,
    warmup=0,
    weight_decay=DECAY,
    clip_norm=1.0,
    ema=0,
    optimizer="adamw",
)

each_problem = pytest.mark.parametrize("problem", [SINGLE, MULTI])
each_attention = pytest.mark.parametrize("attn", ["sdpa", "eager"])


def in_transformers(folder: Path, problem: str, attn: str) -> nn.Module:
    """The network that `nano` makes, as theirs."""
    nano(problem).save_pretrained(folder)
    return transformers.AutoModelForAudioClassification.from_pretrained(
        folder, attn_implementation=attn
    ).train()


def as_saved(model: Any, tensors: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """Tensors by the name of a network's parameters -> by the names and in the shapes that files have."""
    holder = copy.deepcopy(model)
    holder.load_state_dict(tensors)
    holder.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def their_loss(model: nn.Module, batch: Batch, problem: str) -> Tensor:
    labels = batch.targets if problem == MULTI else batch.targets.argmax(dim=1)
    loss: Tensor = model(batch.input_values, labels=labels).loss
    return loss


@each_attention
@each_problem
def test_loss_and_gradients_equal_transformers(problem: str, attn: str, tmp_path: Path) -> None:
    batch = batch_of(Drawn(8, multi_label=problem == MULTI, shortest=20), *range(8))
    classifier = nano(problem)
    classifier.attn_implementation = attn
    losses = TrainedNetwork(classifier)(batch, whole=False)
    losses.total.backward()
    theirs = in_transformers(tmp_path, problem, attn)
    loss = their_loss(theirs, batch, problem)
    loss.backward()
    torch.testing.assert_close(losses.total, loss, rtol=0, atol=1e-5)
    found = as_saved(classifier, gradients(classifier), tmp_path / "ours")
    expected = as_saved(theirs, gradients(theirs), tmp_path / "theirs")
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("clips", "batch_size", "accumulate"),
    [(8, 8, 1), (8, 4, 2), (7, 4, 2), (5, 4, 2), (5, 2, 8)],
    ids=["one pass", "two passes", "a shorter pass", "a pass of one", "fewer passes"],
)
@each_attention
@each_problem
def test_a_step_equals_plain_torch_on_all_of_its_clips(
    problem: str, attn: str, clips: int, batch_size: int, accumulate: int, tmp_path: Path
) -> None:
    examples = Drawn(clips, multi_label=problem == MULTI)
    examples.example = as_they_are(examples)  # type: ignore[method-assign]
    classifier, watcher = nano(problem), Looking()
    classifier.attn_implementation = attn
    settings = dataclasses.replace(PLAIN, batch_size=batch_size, accumulate=accumulate)
    train(tmp_path / "run", settings, examples, classifier, watcher=watcher)
    assert len(watcher.steps) == 1

    theirs = in_transformers(tmp_path / "theirs", problem, attn)
    loss = their_loss(theirs, batch_of(examples, *range(clips)), problem)
    loss.backward()
    if accumulate == 1:
        assert watcher.steps[0]["loss"] == pytest.approx(loss.item(), abs=1e-5)
    slopes = as_saved(theirs, gradients(theirs), tmp_path / "slopes")
    nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
    torch.optim.AdamW(
        [
            {
                "params": [weight],
                "lr": HEAD_LR if name.startswith("classifier") else LR,
                "weight_decay": DECAY if is_matrix(name) else 0.0,
            }
            for name, weight in theirs.named_parameters()
        ],
        betas=(0.9, 0.98),
    ).step()
    found = as_saved(classifier, classifier.state_dict(), tmp_path / "ours")
    expected = as_saved(theirs, theirs.state_dict(), tmp_path / "stepped")
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        # Adam's first step is the gradient's sign: where that is all rounding, there is nothing to compare.
        sure = slopes[name].abs() > 1e-5
        torch.testing.assert_close(found[name][sure], weight[sure], rtol=0, atol=1e-5)
        torch.testing.assert_close(found[name], weight, rtol=0, atol=2.1 * HEAD_LR)


def is_matrix(name: str) -> bool:
    return name.endswith("weight") and "norm" not in name


def as_they_are(examples: Drawn):
    make = examples.example
    return lambda index, epoch, rng: make(index, AS_IT_IS, rng)


# Patchout


def kept(network: TrainedNetwork, lengths: list[int]) -> Tensor:
    """Indices of the patches that stay, [B, K], sorted."""
    columns = (torch.arange(32) % 4).expand(len(lengths), -1)
    return network._kept(columns, torch.tensor(lengths)).sort(dim=1).values


@pytest.mark.parametrize("seed", range(5))
def test_real_patches_stay_before_padding(seed: int) -> None:
    torch.manual_seed(seed)
    # 8 × 4 patches of 16 frames: 33 frames reach into the third column, 16 fill the first.
    long, short = kept(TrainedNetwork(nano(), patchout=0.5), [33, 16])
    assert len(long) == len(short) == 16
    assert len(set(long.tolist())) == len(set(short.tolist())) == 16
    assert set((long % 4).tolist()) <= {0, 1, 2}
    assert {0, 4, 8, 12, 16, 20, 24, 28} <= set(short.tolist())  # all that it has


def test_no_more_stay_than_the_longest_clip_has() -> None:
    assert kept(TrainedNetwork(nano(), patchout=0.1), [17, 16]).shape == (2, 16)
    assert kept(TrainedNetwork(nano(), patchout=0.1), [64, 16]).shape == (2, 29)  # round(0.9 · 32)
    assert kept(TrainedNetwork(nano(), patchout=0.99), [64]).shape == (1, 1)


def test_what_stays_is_left_to_chance() -> None:
    torch.manual_seed(0)
    network = TrainedNetwork(nano(), patchout=0.5)
    drawn = torch.stack([kept(network, [64])[0] for _ in range(200)])
    often = torch.bincount(drawn.flatten(), minlength=32) / 200
    assert often.min() > 0.35
    assert often.max() < 0.65


def test_patches_keep_their_positions_and_come_with_both_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, batch = nano(), batch_of(Drawn(3), 0, 1, 2)
    network = TrainedNetwork(classifier, patchout=0.75)
    chosen = torch.tensor([[3, 0, 17, 30, 31, 8, 9, 10]] * 3)
    monkeypatch.setattr(network, "_kept", lambda columns, lengths: chosen)
    backbone = classifier.audio_spectrogram_transformer
    tokens = backbone.embeddings(batch.input_values)
    tokens = torch.cat([tokens[:, :2], tokens[:, 2 + chosen[0]]], dim=1)
    for layer in backbone.layers:
        tokens, _ = layer(tokens, None, False)
    logits = classifier.classifier(backbone.layernorm(tokens)[:, :2].mean(dim=1))
    expected = F.cross_entropy(logits, batch.targets.argmax(dim=1))
    torch.testing.assert_close(network(batch, whole=False).total, expected)


@each_problem
def test_nothing_left_out_equals_the_classifier(problem: str) -> None:
    classifier, batch = nano(problem), batch_of(Drawn(3, shortest=20, columns=True), 0, 1, 2)
    logits = classifier(batch.input_values).logits
    wanted = batch.targets if problem == MULTI else batch.targets.argmax(dim=1)
    loss = (F.binary_cross_entropy_with_logits if problem == MULTI else F.cross_entropy)(logits, wanted)
    for network, whole in (
        (TrainedNetwork(classifier), False),
        (TrainedNetwork(classifier, patchout=0.5), True),
        (TrainedNetwork(classifier, column_weight=0.5), True),  # the long way round
    ):
        torch.testing.assert_close(network(batch, whole).targets, loss)


def test_patchout_ends_where_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole: list[bool] = []
    forward = TrainedNetwork.forward

    def noting(self: TrainedNetwork, batch: Batch, is_whole: bool = True):  # type: ignore[no-untyped-def]
        whole.append(is_whole)
        return forward(self, batch, is_whole)

    monkeypatch.setattr(TrainedNetwork, "forward", noting)
    settings = TrainSettings(epochs=2, batch_size=2, patchout=0.5, whole_from=0.7, warmup=0)
    train(tmp_path, settings, Drawn(10))
    assert whole == [False] * 7 + [True] * 3


# When each class sounds


def test_the_columns_loss_by_hand() -> None:
    batch = batch_of(Drawn(2, columns=True, shortest=20), 0, 1)
    batch.lengths = torch.tensor([64, 17])  # the second clip fills one column and touches another
    network = TrainedNetwork(nano(), column_weight=0.3)
    tokens = network.classifier.audio_spectrogram_transformer(batch.input_values).last_hidden_state
    assert network.column_head is not None
    assert batch.columns is not None
    terms = []
    for clip, columns in ((0, 4), (1, 2)):
        for row in range(8):
            for column in range(columns):
                logits = network.column_head(tokens[clip, 2 + 4 * row + column])
                wanted = batch.columns[clip, column]
                terms += [-(wanted * F.logsigmoid(logits) + (1 - wanted) * F.logsigmoid(-logits))]
    losses = network(batch)
    torch.testing.assert_close(losses.total, losses.targets + 0.3 * torch.cat(terms).mean())


def test_patches_that_stay_are_asked_about_their_own_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of(Drawn(1, columns=True), 0)
    assert batch.columns is not None
    network = TrainedNetwork(nano(), patchout=0.9, column_weight=1.0)
    assert network.column_head is not None
    nn.init.zeros_(network.column_head.weight)  # hears in every patch what its bias says
    monkeypatch.setattr(network, "_kept", lambda columns, lengths: torch.tensor([[2, 30, 5]]))
    losses = network(batch, whole=False)
    wanted = batch.columns[0, [2, 2, 1]]  # 30 = 7 · 4 + 2, 5 = 1 · 4 + 1
    heard = network.column_head.bias.expand(3, -1)
    expected = F.binary_cross_entropy_with_logits(heard, wanted)
    torch.testing.assert_close(losses.total - losses.targets, expected)


def test_without_known_columns_there_is_no_such_loss() -> None:
    losses = TrainedNetwork(nano(), column_weight=0.3)(batch_of(Drawn(2), 0, 1))
    assert losses.total.item() == losses.targets.item()

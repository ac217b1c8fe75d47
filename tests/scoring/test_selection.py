"""Which labels are shown: patterns against AudioSet's tree, roll-up against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ast_cli.errors import UsageError
from ast_cli.scoring.labels import LabelSet, audioset_classes
from ast_cli.scoring.selection import Selection
from ast_cli.settings import LabelSettings

AUDIOSET = LabelSet.from_names(node.name for node in audioset_classes())
OWN = LabelSet.from_names(["cat", "Hot dog", "dog", "dogs [wild]", "7", "x*"])


def names(pattern: str, labels: LabelSet = AUDIOSET) -> list[str]:
    return [labels.names[index] for index in labels.matching(pattern)]


def shown(labels: LabelSet = AUDIOSET, **settings: object) -> list[str]:
    selection = Selection(labels, LabelSettings(top_k=0, **settings))
    return [tag.label for tag in selection.tags(np.zeros(len(labels), np.float32))]


# Patterns


@pytest.mark.parametrize("pattern", ["Dog", "dog", "DOG", "/m/0bt9lr", "74"])
def test_a_class_is_named_by_its_name_mid_or_index(pattern: str) -> None:
    assert names(pattern) == ["Dog"]


def test_a_glob_goes_over_the_names() -> None:
    assert names("*speech*") == [name for name in AUDIOSET.names if "speech" in name.lower()]
    assert names("do[fg]") == ["Dog"]
    assert names("Do?") == ["Dog"]


def test_a_subtree_is_a_class_with_all_below_it() -> None:
    # AudioSet's tree: Bark, Yip, Howl, Bow-wow, Growling and Whimper (dog) stand below Dog
    assert names("Dog/**") == ["Dog", "Bark", "Yip", "Howl", "Bow-wow", "Growling", "Whimper (dog)"]
    assert names("/m/0bt9lr/**") == names("dog/**")
    assert set(names("Animal/**")) > set(names("Dog/**")) | {"Animal", "Bird", "Insect", "Cricket"}
    assert "Speech" not in names("Animal/**")


def test_a_node_that_only_groups_others_has_a_subtree() -> None:
    assert "Speech" in names("Human voice/**")
    with pytest.raises(UsageError, match=r"It only groups others: Human voice/\*\* takes those"):
        names("Human voice")


def test_names_of_own_classes_are_never_taken_for_something_else() -> None:
    assert names("7", OWN) == ["7"]
    assert names("x*", OWN) == ["x*"]
    assert names("dogs [wild]", OWN) == ["dogs [wild]"]
    assert names("2", OWN) == ["dog"]
    assert names("*dog*", OWN) == ["Hot dog", "dog", "dogs [wild]"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("Dgo", "Did you mean Dog"),
        ("Dgo/**", "Did you mean Dog"),
        ("527", "no class '527'"),
        ("no such*", "no class"),
        ("", "no class"),
        ("/**", "no class"),
    ],
)
def test_a_wrong_name_is_an_error_with_a_hint(pattern: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("*", r"\*")):
        names(pattern)


def test_a_class_of_audioset_that_the_model_does_not_have_is_told_as_that() -> None:
    few = LabelSet.from_names(["Speech", "Dog"])
    with pytest.raises(UsageError, match="AudioSet has it, but this model does not"):
        names("Siren", few)
    assert names("Animal/**", few) == ["Dog"]


def test_own_classes_have_no_subtrees() -> None:
    with pytest.raises(UsageError, match="classes of its own"):
        names("dog/**", OWN)


@given(st.text(max_size=20))
def test_any_pattern_gives_classes_or_a_usage_error(pattern: str) -> None:
    for labels in (AUDIOSET, OWN):
        try:
            found = labels.matching(pattern)
        except UsageError:
            continue
        assert found == sorted(set(found))
        assert 0 < len(found) <= len(labels)


# What is shown


def test_included_less_excluded_is_shown() -> None:
    assert shown(include=("Dog/**", "Cat"), exclude=("Bark", "*owl*")) == [
        *("Dog", "Yip", "Bow-wow", "Whimper (dog)", "Cat"),
    ]
    assert shown(exclude=("Speech",)) == list(AUDIOSET.names[1:])


def test_what_leaves_no_class_is_refused() -> None:
    with pytest.raises(UsageError, match="leave no class"):
        shown(include=("Dog",), exclude=("Animal/**",))


def test_the_ranks_and_the_top_k_are_those_of_what_is_shown() -> None:
    labels = LabelSet(("ant", "bee", "cat"), ("", "", ""))
    selection = Selection(labels, LabelSettings(top_k=1, exclude=("cat",)))
    [tag] = selection.tags(np.array([0.1, 0.2, 0.9], np.float32))
    assert (tag.rank, tag.label) == (1, "bee")


def test_rolled_up_a_class_gets_the_highest_score_of_all_below_it() -> None:
    scores = np.full(527, 0.01, np.float32)
    yip = AUDIOSET.names.index("Yip")
    scores[yip] = 0.8
    rolled = Selection(AUDIOSET, LabelSettings(rollup=True)).rolled_up(scores)
    assert {AUDIOSET.names[index] for index in np.flatnonzero(rolled > 0.5)} == {
        *("Yip", "Dog", "Domestic animals, pets", "Animal"),
    }
    assert np.array_equal(Selection(AUDIOSET, LabelSettings()).rolled_up(scores), scores)


@given(st.integers(0, 2**32))
def test_rolling_up_lowers_nothing_and_twice_is_once(seed: int) -> None:
    scores = np.random.default_rng(seed).random(527, np.float32)
    selection = Selection(AUDIOSET, LabelSettings(rollup=True))
    rolled = selection.rolled_up(scores)
    assert (rolled >= scores).all()
    assert rolled.max() == scores.max()
    assert np.array_equal(selection.rolled_up(rolled), rolled)
    for index, (_, *below) in enumerate(AUDIOSET.below()):
        assert (
            rolled[index] == max(scores[index], *scores[below]) if below else rolled[index] == scores[index]
        )


def test_own_classes_cannot_be_rolled_up() -> None:
    with pytest.raises(UsageError, match="form no tree"):
        Selection(OWN, LabelSettings(rollup=True))


def test_events_begin_at_the_threshold_or_at_one_half_and_only_of_what_is_shown() -> None:
    labels = LabelSet(("ant", "bee"), ("", ""))
    halves = Selection(labels, LabelSettings(exclude=("bee",))).event_thresholds()
    assert halves.tolist() == [0.5, np.inf]
    own = Selection(labels, LabelSettings(threshold=(0.25, None))).event_thresholds()
    assert own.tolist() == [0.25, np.inf]

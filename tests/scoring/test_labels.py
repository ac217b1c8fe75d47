"""The class tables against known entries and their own laws; look-up, paths in the tree and suggestions."""

from __future__ import annotations

import hashlib
import re

import pytest

from ast_cli.scoring.labels import (
    AudioSetNode,
    LabelSet,
    audioset_classes,
    audioset_nodes,
    children,
    search_audioset,
    speech_commands_names,
    tree_paths,
)
from ast_cli.text import did_you_mean


def node(name: str) -> AudioSetNode:
    [found] = [node for node in audioset_nodes().values() if node.name == name]
    return found


# The tables


def test_audioset_has_527_classes_in_order() -> None:
    assert [node.index for node in audioset_classes()] == list(range(527))


@pytest.mark.parametrize(
    ("index", "mid", "name"),
    [
        (0, "/m/09x0r", "Speech"),
        (1, "/m/05zppz", "Male speech, man speaking"),
        (27, "/m/015lz1", "Singing"),
        (74, "/m/0bt9lr", "Dog"),
        (137, "/m/04rlf", "Music"),
        (300, "/m/07yv9", "Vehicle"),
        (500, "/m/028v0c", "Silence"),
        (526, "/m/07hvw1", "Field recording"),
    ],
)
def test_known_classes_are_where_the_published_models_have_them(index: int, mid: str, name: str) -> None:
    found = audioset_classes()[index]
    assert (found.index, found.mid, found.name) == (index, mid, name)


def test_the_classes_are_the_published_table_to_the_letter() -> None:
    rows = "\n".join(f"{node.index}\t{node.mid}\t{node.name}" for node in audioset_classes())
    digest = hashlib.sha256(rows.encode()).hexdigest()
    assert digest == "ccad22ac9cfd24bf699d8ac0c06518652234a56dcd5a62c69110d98df727c7a3"


def test_the_tree_has_632_nodes_with_names_and_mids_of_their_own() -> None:
    nodes = audioset_nodes()
    assert len(nodes) == 632
    assert list(nodes) == [node.mid for node in nodes.values()]
    assert all(re.fullmatch(r"/[mgt]/\w+", mid) for mid in nodes)
    assert len({node.name for node in nodes.values()}) == 632
    assert tuple(nodes.values())[:527] == audioset_classes()


def test_every_parent_is_a_node_and_seven_nodes_have_none() -> None:
    nodes = audioset_nodes()
    assert all(parent in nodes for node in nodes.values() for parent in node.parents)
    assert {node.name for node in nodes.values() if not node.parents} == {
        "Animal",
        "Channel, environment and background",
        "Human sounds",
        "Music",
        "Natural sounds",
        "Sounds of things",
        "Source-ambiguous sounds",
    }


def test_speech_commands_has_35_words_in_the_order_of_the_published_model() -> None:
    names = speech_commands_names()
    assert len(set(names)) == len(names) == 35
    assert names[:4] == ("backward", "follow", "five", "bed")
    assert names[-1] == "one"


# The tree


def test_a_node_with_two_parents_has_a_path_through_each() -> None:
    assert tree_paths(node("Choir")) == [
        ("Human sounds", "Human voice", "Singing"),
        ("Music", "Musical instrument"),
    ]


def test_a_root_has_one_empty_path() -> None:
    assert tree_paths(node("Music")) == [()]


def test_every_path_starts_at_a_root_and_ends_at_a_parent() -> None:
    nodes = audioset_nodes()
    by_name = {node.name: node for node in nodes.values()}
    for some in nodes.values():
        paths = tree_paths(some)
        assert len(paths) == max(1, sum(len(tree_paths(nodes[parent])) for parent in some.parents))
        for path in paths:
            if some.parents:
                assert by_name[path[0]].parents == ()
                assert by_name[path[-1]].mid in some.parents


def test_children_are_the_nodes_right_below() -> None:
    assert [child.name for child in children(node("Dog"))] == [
        *("Bark", "Yip", "Howl", "Bow-wow", "Growling", "Whimper (dog)", "Bay"),
    ]
    assert children(node("Bark")) == []


# Search


@pytest.mark.parametrize("query", ["Dog", "dog", " DOG ", "/m/0bt9lr", "74"])
def test_a_class_is_found_by_name_mid_or_index(query: str) -> None:
    assert search_audioset(query)[0] == node("Dog")


@pytest.mark.parametrize("query", ["/m/0bt9lr", "74"])
def test_a_mid_or_index_finds_nothing_else(query: str) -> None:
    assert search_audioset(query) == [node("Dog")]


def test_an_exact_name_comes_before_names_that_hold_it() -> None:
    found = [node.name for node in search_audioset("guitar")]
    assert found[0] == "Guitar"
    assert "Acoustic guitar" in found[1:]
    assert len(set(found)) == len(found)
    assert all("guitar" in name.casefold() for name in found)


def test_every_word_of_a_query_must_be_there_in_any_order() -> None:
    assert [node.name for node in search_audioset("speaking man MALE")] == ["Male speech, man speaking"]
    assert search_audioset("dog cathedral") == []


def test_the_beginning_of_a_word_is_enough_but_not_its_middle() -> None:
    assert [node.name for node in search_audioset("rain")] == ["Rain", "Rain on surface", "Raindrop"]


def test_the_middle_of_a_word_counts_where_nothing_begins_so() -> None:
    assert [node.name for node in search_audioset("indrop")] == ["Raindrop"]


def test_a_word_of_a_long_name_is_guessed() -> None:
    names = [node.name for node in audioset_classes()]
    assert did_you_mean("voilin", names).startswith("Did you mean Violin, fiddle")


def test_nodes_that_are_no_classes_are_found_too() -> None:
    [found] = search_audioset("Human sounds")
    assert found.index is None


def test_a_query_that_fits_nothing_finds_nothing() -> None:
    assert search_audioset("speach") == []
    assert search_audioset("527") == []


# Suggestions


def test_a_slip_is_answered_with_the_nearest_name() -> None:
    names = [node.name for node in audioset_classes()]
    assert did_you_mean("speach", names).startswith("Did you mean Speech")
    assert did_you_mean("MUSICK", names).startswith("Did you mean Music")


def test_a_suggestion_has_the_spelling_of_the_list() -> None:
    assert did_you_mean("DGO", ["Dog", "Cat"]) == "Did you mean Dog?"
    assert did_you_mean("dgo", ["Dog", "dog"]) == "Did you mean Dog?"


def test_several_near_names_are_all_suggested_up_to_a_limit() -> None:
    near = ["model-a", "model-b", "model-c", "model-d"]
    assert did_you_mean("model-", near, limit=2).count(" or ") == 1
    assert did_you_mean("model-", near).count(" or ") == 2


def test_nothing_near_is_no_suggestion() -> None:
    assert did_you_mean("qqqqqq", ["Dog", "Cat"]) == ""
    assert did_you_mean("Dog", []) == ""


# The classes of a checkpoint


def test_labels_that_are_all_audiosets_have_mids() -> None:
    labels = LabelSet.from_names(["Dog", "Speech"])
    assert labels == LabelSet(names=("Dog", "Speech"), mids=("/m/0bt9lr", "/m/09x0r"))
    assert labels.are_audioset
    assert len(labels) == 2


@pytest.mark.parametrize("names", [["Dog", "crackle"], ["dog"], ["Human sounds"], []])
def test_labels_that_are_not_all_audiosets_classes_have_no_mids(names: list[str]) -> None:
    labels = LabelSet.from_names(names)
    assert labels.names == tuple(names)
    assert labels.mids == ("",) * len(names)
    assert not labels.are_audioset

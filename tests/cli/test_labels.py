"""`ast-tag labels`: the class table, searched from the shell."""

from __future__ import annotations

import pytest

from ast_cli.errors import ExitCode
from ast_cli.scoring.labels import audioset_classes
from tests.cli.runner import Done, ast_tag, in_a_process

DOG = "74\t/m/0bt9lr\tDog\tAnimal › Domestic animals, pets\n"


def test_a_name_is_found_with_its_index_mid_and_place_the_closest_first() -> None:
    done = ast_tag("labels", "dog")
    assert done.code == 0
    assert done.out.startswith(DOG)
    assert [line.split("\t")[2] for line in done.out.splitlines()] == [
        "Dog",
        "Whimper (dog)",
        "Canidae, dogs, wolves",
    ]


@pytest.mark.parametrize("query", ["74", "/m/0bt9lr", "DOG"])
def test_index_mid_and_any_case_lead_to_the_class(query: str) -> None:
    assert ast_tag("labels", query).out.startswith(DOG)


def test_several_words_are_one_query() -> None:
    assert ast_tag("labels", "baby", "cry").out.startswith("23\t/t/dd00002\tBaby cry, infant cry\t")
    assert ast_tag("labels", "baby", "cry") == ast_tag("labels", "baby cry")


def test_every_place_of_a_class_in_the_tree_is_shown() -> None:
    places = "Animal › Domestic animals, pets › Dog | Animal › Wild animals › Canidae, dogs, wolves"
    assert ast_tag("labels", "77").out == f"77\t/m/07qf0zm\tHowl\t{places}\n"


def test_a_node_that_only_groups_others_has_no_index() -> None:
    assert ast_tag("labels", "human sounds").out.startswith("\t/m/0dgw9r\tHuman sounds\t")


def test_without_a_query_all_classes_come_in_their_order() -> None:
    rows = [line.split("\t") for line in ast_tag("labels").out.splitlines()]
    assert [row[:3] for row in rows] == [
        [str(node.index), node.mid, node.name] for node in audioset_classes()
    ]


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("speach", "Did you mean Speech"),
        ("gitar", "Did you mean Guitar"),
        ("xyzzy", "Try a shorter word"),
        ("*[", "Try a shorter word"),
        ("\x1b[31m", "Try a shorter word"),
    ],
)
def test_what_is_not_found_is_wrong_usage_with_a_suggestion(query: str, hint: str) -> None:
    done = ast_tag("labels", query)
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert hint in done.one_line()
    assert done.one_line().isprintable()


def test_a_locale_without_unicode_stands_in_no_way() -> None:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert in_a_process("labels", "74", env=locale) == Done(0, DOG, "")

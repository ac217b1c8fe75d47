"""How names are spelt: what is shown of them, what lies in what, and where it goes in a tree."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from braceexpand import braceexpand
from hypothesis import given
from hypothesis import strategies as st

from ast_cli import names
from ast_cli.names import parse_name
from ast_cli.results import FileFailure, FileResult, display_name

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)
KEYS = st.text(st.sampled_from("ab./%?#* é"), min_size=1, max_size=8)
MEMBERS = KEYS.filter(lambda key: not key.startswith("/"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("dir/clip.wav", "dir/clip.wav"),
        ("s3://bucket/what?.wav", "s3://bucket/what?.wav"),
        ("./https://user:word@host", "./https://user:word@host"),
        ("https://user:word@host/x.wav", "https://host/x.wav"),
        ("https://token@host:8000/x.wav#part", "https://host:8000/x.wav"),
        (
            "https://host/x.wav?X-Amz-Expires=60&X-Amz-Signature=ab12&X-Amz-Credential=AKIA",
            "https://host/x.wav",
        ),
        ("https://host/x.wav?sv=2024&se=2026&sr=b&sp=r&sig=abc%3D", "https://host/x.wav"),
        ("https://host/get?id=5&access_token=abc", "https://host/get?~043e1c6f"),
        ("https://host/get?id=5&name=a%20b.wav", "https://host/get?~0e5cf8d2"),
        ("https://host/get?%73ig=abc&id=5", "https://host/get?~043e1c6f"),
        ("https://host/x.wav?p=hunter2", "https://host/x.wav"),
        ("https://host/x.wav?pw=hunter2&pin=1234", "https://host/x.wav"),
        ("https://host/x.wav?~043e1c6f", "https://host/x.wav?~043e1c6f"),
        ("https://host/x.tar/a.wav?id=5", "https://host/x.tar/a.wav?~043e1c6f"),
        ("https://host/x.wav?abcdefghijklmnop", "https://host/x.wav"),
        ("https://host?apikey=1", "https://host"),
        ("zip://a.wav::https://user:word@host/x.zip", "zip://a.wav::https://host/x.zip"),
    ],
)
def test_a_name_is_shown_without_its_secrets(name: str, shown: str) -> None:
    assert parse_name(name).shown == shown
    assert not parse_name(shown).holds_secrets
    assert display_name(name) == shown
    assert FileFailure(name, "unreadable", "").file == shown
    assert FileResult(name, 1.0, 1.0, 16000, 1, ()).file == shown


def test_values_are_not_shown_and_names_still_differ() -> None:
    for length in (1, 4, 40):
        one, other = (parse_name(f"https://host/get?id={letter * length}").shown for letter in "xy")
        assert not set("xy") & set(one.removeprefix("https://host/get"))
        assert one != other


@given(WORDS, WORDS)
def test_nothing_of_a_query_is_ever_shown(key: str, word: str) -> None:
    secret = f"<{word}>"
    for query in (f"{key}={secret}", secret, f"a=1&{key}={secret}#{secret}"):
        name = parse_name(f"https://host/x.wav?{query}")
        assert secret not in name.shown
        assert name.shown == parse_name(f"https://host/x.wav?{query}").shown == parse_name(name.shown).shown


def test_an_address_that_is_signed_anew_has_the_name_it_had() -> None:
    one, other = (parse_name(f"https://host/get?id=5&X-Amz-Date={d}&X-Amz-Signature={d}").shown for d in "12")
    assert one == other


@given(WORDS.filter(lambda word: not set(word) & set("/?#@")), WORDS.filter(lambda word: "@" not in word))
def test_no_password_is_ever_shown(user: str, word: str) -> None:
    secret = f"<{word.translate(str.maketrans('/?#', '...'))}>"
    assert secret not in parse_name(f"https://{user}:{secret}@host/x.wav").shown
    assert secret not in parse_name(f"https://host/x.wav?a=1&X-Goog-Signature={secret}").shown


@given(
    st.sampled_from(["s3://b/a.tar", "https://h/a.TAR", "https://h/a.tar?sig=x/y.tar", "dir/x.parquet"]),
    MEMBERS,
)
def test_a_member_is_found_again_by_its_name(shard: str, member: str) -> None:
    name = parse_name(shard)
    inside = parse_name(name.of_member(member)).shard_and_member()
    if name.is_address:
        assert name.is_shard
        assert inside == (shard, member)
    else:
        assert inside is None  # no such file


def test_a_folder_that_is_called_like_a_shard_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.tar").mkdir()
    (tmp_path / "a.tar" / "b.tar").touch()
    inner = str(tmp_path / "a.tar" / "b.tar")
    assert parse_name(str(tmp_path / "a.tar" / "x.wav")).shard_and_member() is None
    assert parse_name(f"{inner}/c.tar/x.wav").shard_and_member() == (inner, "c.tar/x.wav")


@pytest.mark.parametrize(
    "name",
    [
        "shard-{000..009}.tar",
        "s3://b/{train,test}-{8..11}.tar",
        "{9..7}",
        "{08..11}/{a,b}.tar",
        "{0..2}",
        "{a}{}.tar",
        "plain.tar",
    ],
)
def test_braces_stand_for_what_they_do_to_webdataset(name: str) -> None:
    assert [*parse_name(name).in_braces()] == [*braceexpand(name)]


def test_braces_in_the_name_of_a_file_are_themselves(tmp_path: Path) -> None:
    path = tmp_path / "take{1..3}.wav"
    assert len([*parse_name(str(path)).in_braces()]) == 3
    path.touch()
    assert [*parse_name(str(path)).in_braces()] == [str(path)]


@given(KEYS, KEYS)
def test_no_two_keys_share_a_place_in_a_tree(one: str, other: str) -> None:
    places = [parse_name(f"s3://bucket/{key}").tree_path() for key in (one, other)]
    assert (places[0] == places[1]) is (one == other)
    assert [os.path.normpath(place) for place in places] == places


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ("s3://b/2024/", "/s3:/b/2024"),
        ("s3://b/2024/x.wav", "/s3:/b/2024"),
        ("s3://b/", "/s3:/b"),
        ("s3://b/2024-*/*.flac", "/s3:/b"),
        ("s3://b/a/{1..3}/x.tar", "/s3:/b/a"),
        ("https://h/d/x.wav?id=5/6", "/https:/h/d"),
        ("/data/{1..3}/x.tar", "/data"),
        ("/data/x.tar", "/data"),
    ],
)
def test_the_folder_in_which_all_lies_that_a_name_stands_for(given: str, folder: str) -> None:
    assert parse_name(given).tree_folder() == folder


@pytest.mark.parametrize(
    ("name", "many"),
    [
        ("clip.wav", False),
        ("s3://b/x.wav", False),
        ("s3://b/prefix", True),
        ("s3://b/prefix/", True),
        ("s3://b/*.wav", True),
        ("s3://b/x.tar", True),
        ("s3://b/x.tar/a.wav", False),
        ("https://h/stream", False),
        ("https://h/x.tar?sig=1", True),
        ("x{1..2}.wav", True),
    ],
)
def test_what_may_stand_for_several(name: str, many: bool) -> None:
    assert parse_name(name).may_be_many() is many


def test_only_braces_make_a_path_a_pattern() -> None:
    assert parse_name("no-such-{1,2}.wav").is_pattern()
    assert not parse_name("no-such-*.wav").is_pattern()


def test_paths_of_windows_lie_in_shards_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_SHARD", re.compile(names._shard_pattern("nt"), re.IGNORECASE | re.DOTALL))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.tar").touch()
    assert names.Name("x.tar\\a.wav", "", "x.tar\\a.wav", "").shard_and_member() == ("x.tar", "a.wav")
    assert names.Name("x.tar/a.wav", "", "x.tar/a.wav", "").shard_and_member() == ("x.tar", "a.wav")

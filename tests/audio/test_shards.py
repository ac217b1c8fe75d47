"""Tar and Parquet shards: each recording in them is heard as the file it was, by a name below the shard."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ast_cli.audio import local, parquet_shard, shards
from ast_cli.audio.decode import open_recording
from ast_cli.audio.discover import discover, unless_known
from ast_cli.audio.shards import members
from ast_cli.audio.sources import open_file
from ast_cli.errors import EngineError, InputError
from ast_cli.names import parse_name
from ast_cli.results import FileFailure, Stamp
from ast_cli.tagger import Tagger
from tests.extras import Extra
from tests.stores import S3Server, WebServer, clip, hub_audio, save, save_parquet, tar_of

pa = Extra("pyarrow")
pq = Extra("pyarrow.parquet")
webdataset = Extra("webdataset")

SOUND = b"some bytes that stand for a sound"


@pytest.fixture(autouse=True)
def nothing_open(stores: None) -> None:
    """A test that leaves shards open does so to itself only."""


@pytest.fixture(scope="module")
def tagger(checkpoint: Path) -> Tagger:
    return Tagger.from_pretrained(checkpoint)


def content(name: str) -> bytes:
    with open_file(name)[0] as file:
        return file.read()


def failure(name: str) -> InputError:
    with pytest.raises(InputError) as caught:
        content(name)
    return caught.value


def test_the_shards_of_webdataset_are_heard_as_the_files_in_them(tagger: Tagger, tmp_path: Path) -> None:
    files = {f"{number:03}.wav": clip(number) for number in range(20)}
    files |= {"020.wav": clip(0)[:5000], "021.flac": clip(21, form="FLAC"), "022.wav": b"no audio"}
    (tmp_path / "files").mkdir()
    with webdataset.ShardWriter(str(tmp_path / "shard-%03d.tar"), maxcount=10, verbose=0) as writer:
        for name, data in files.items():
            key, suffix = name.split(".")
            writer.write({"__key__": key, suffix: data, "json": {"label": key}, "cls": 3})
            (tmp_path / "files" / name).write_bytes(data)
    expected = [*tagger.tag_many(tmp_path / "files")]
    found = [*tagger.tag_many(str(tmp_path / "shard-{000..002}.tar"), workers=4)]
    assert [Path(one.file).name for one in found] == [*files]
    assert [one.file.split("/")[-2] for one in found[:11]] == ["shard-000.tar"] * 10 + ["shard-001.tar"]
    assert [replace(one, file="") for one in found] == [replace(one, file="") for one in expected]
    assert [*tagger.tag_many(tmp_path)] == [*expected, *found]  # the walk takes them too


def test_the_parquet_of_the_hub_is_heard_as_the_files_in_it(tagger: Tagger, tmp_path: Path) -> None:
    files = {f"{number:03}.wav": clip(number) for number in range(10)} | {"010.wav": b"no audio"}
    (tmp_path / "files").mkdir()
    for name, data in files.items():
        (tmp_path / "files" / name).write_bytes(data)
    rows = [{"bytes": data, "path": name} for name, data in files.items()]
    shard = save_parquet(tmp_path / "data.parquet", rows, row_group_size=4)
    expected = [*tagger.tag_many(tmp_path / "files")]
    found = [*tagger.tag_many(shard, workers=4)]
    assert [one.file for one in found] == [f"{shard}/{row}/{name}" for row, name in enumerate(files)]
    assert [replace(one, file="") for one in found] == [replace(one, file="") for one in expected]
    assert [*tagger.tag_many(tmp_path)] == expected  # the walk leaves it alone: results are Parquet, too


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_recording_is_opened_by_its_name_alone(kind: str, tmp_path: Path) -> None:
    if kind == "tar":
        shard = save(tmp_path / "x.tar", tar_of([("a.wav", b"first"), ("b/c.wav", SOUND)]))
        name = f"{shard}/b/c.wav"
    else:
        rows = [{"bytes": b"first", "path": "a.wav"}, {"bytes": SOUND, "path": "b/c.wav"}]
        shard = save_parquet(tmp_path / "x.parquet", rows)
        name = f"{shard}/1/c.wav"
    assert content(name) == SOUND
    shards.forget()
    assert name in [*discover([shard])]
    file, stamp = open_file(name)
    with file:
        assert stamp == Stamp.of(Path(shard).stat()) == Stamp.of_recording(name)
    assert failure(f"{shard}/7/none.wav").word == "not-found"


# Tar


FORMS = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)
PARTS = st.one_of(
    st.sampled_from([".", "", "..", ".hidden", "a", "a.wav", "b.flac", "notes.txt", "x" * 120]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=6),
)
NAMES = st.builds(
    lambda parts, suffix: "/".join(parts) + suffix,
    st.lists(PARTS, min_size=1, max_size=4),
    st.sampled_from(["", ".wav", ".FLAC", ".txt"]),
).filter(lambda name: name.strip("/") and len(name.encode()) < 1000)


def as_heard(names: Iterable[str]) -> list[str]:
    """What recordings of these members are called: worked out from the names alone."""
    heard: list[str] = []
    for name in names:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        root, suffix = os.path.splitext("/".join(parts))  # noqa: PTH122 — no path of this machine
        if suffix.lower() not in (".wav", ".flac") or any(part[0] == "." for part in parts):
            continue
        called, number = root + suffix, 1
        while called in heard:
            number += 1
            called = f"{root}#{number}{suffix}"
        heard.append(called)
    return heard


@given(st.lists(NAMES, max_size=12), st.sampled_from(FORMS))
def test_members_are_found_whatever_they_are_called(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], form: int
) -> None:
    names = [name for name in names if not name.endswith("/")]
    entries = [(name, f"{number} {name}".encode()) for number, name in enumerate(names)]
    shard = save(tmp_path_factory.mktemp("any") / "x.tar", tar_of(entries, form))
    found = [one for one in members(shard) if isinstance(one, str)]
    assert found == [f"{shard}/{name}" for name in as_heard(names)]
    for name in reversed(found):  # in any order, and each its own
        number, _, own = content(name).decode().partition(" ")
        assert names[int(number)] == own
        assert parse_name(name).shard_and_member() is not None
    shards.forget()


def test_names_that_are_no_unicode_come_through(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    shard = save(tmp_path / "x.tar", tar_of([(name, SOUND)], tarfile.GNU_FORMAT))
    assert [*members(shard)] == [f"{shard}/{name}"]
    assert content(f"{shard}/{name}") == SOUND


def test_members_of_the_same_name_are_all_heard(tmp_path: Path) -> None:
    entries = [("a.wav", b"1"), ("./a.wav", b"2"), ("a#2.wav", b"3"), ("a.wav", b"4")]
    shard = save(tmp_path / "x.tar", tar_of(entries))
    names = [f"{shard}/{name}" for name in ("a.wav", "a#2.wav", "a#2#2.wav", "a#3.wav")]
    assert [*members(shard)] == names
    assert [content(name) for name in names] == [b"1", b"2", b"3", b"4"]


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            header = tarfile.TarInfo(f"{kind.decode()}.wav")
            header.type, header.linkname = kind, "a.wav"
            tar.addfile(header)
        header = tarfile.TarInfo("a.wav")
        header.size = len(SOUND)
        tar.addfile(header, io.BytesIO(SOUND))
    shard = save(tmp_path / "x.tar", packed.getvalue())
    assert [*members(shard)] == [f"{shard}/a.wav"]


@given(st.data())
def test_a_tar_that_is_cut_off_gives_what_came_before(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    entries = [
        ("a.wav", b"a" * 700),
        ("n" * 150 + ".wav", b"b" * 10),
        ("notes.txt", b"c" * 600),
        ("d.wav", b"d"),
    ]
    whole = tar_of(entries)
    length = data.draw(st.integers(1, len(whole) - 1))
    shard = save(tmp_path_factory.mktemp("cut") / "x.tar", whole[:length])
    *found, last = members(shard)
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        ends = [(one.name, one.offset_data + one.size) for one in tar if one.name.endswith(".wav")]
        end = tar.offset + tarfile.BLOCKSIZE
    if length >= end:  # nothing but padding is gone
        assert [*found, last] == [f"{shard}/{name}" for name, _ in ends]
    else:
        assert found == [f"{shard}/{name}" for name, end in ends if end <= length]
        assert isinstance(last, FileFailure)
        assert (last.file, last.error) == (shard, "unreadable")
    assert all(content(name) for name in found)
    shards.forget()


@given(st.data())
def test_no_damage_to_a_tar_is_worse_than_a_failure(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    packed = bytearray(tar_of([("a.wav", SOUND), ("ü" * 100 + ".wav", SOUND), ("b.wav", SOUND)]))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, 5000))] = data.draw(st.integers(0, 255))
    shard = save(tmp_path_factory.mktemp("damage") / "x.tar", bytes(packed))
    found = [*members(shard)]
    assert found
    for one in found:
        assert isinstance(one, FileFailure) or len(content(one)) <= len(packed)
    shards.forget()


def test_a_header_that_is_overwritten_is_told_with_its_place(tmp_path: Path) -> None:
    packed = bytearray(tar_of([("a.wav", SOUND), ("b.wav", SOUND)]))
    packed[1024:1536] = b"x" * 512
    shard = save(tmp_path / "x.tar", bytes(packed))
    name, told = members(shard)
    assert name == f"{shard}/a.wav"
    assert isinstance(told, FileFailure)
    assert "damaged at byte 1,024: 1 recording comes before" in told.message
    assert failure(f"{shard}/b.wav").word == "unreadable"


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"no tar at all" * 100, "unreadable"),
        (tar_of([]), "no-audio"),
        (tar_of([("notes.txt", b"")]), "no-audio"),
    ],
)
def test_what_is_no_shard_of_recordings(data: bytes, word: str, tmp_path: Path) -> None:
    shard = save(tmp_path / "x.tar", data)
    [found] = discover([shard])
    assert isinstance(found, FileFailure)
    assert (found.file, found.error) == (shard, word)


def test_a_folder_that_is_called_like_a_shard_is_walked(tmp_path: Path) -> None:
    path = save(tmp_path / "x.tar" / "a.wav", SOUND)
    assert [*discover([tmp_path / "x.tar"])] == [path]
    assert content(path) == SOUND


def test_a_tar_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    shard = save(tmp_path / "x.tar", tar_of([("a.wav", b"before")]))
    assert content(f"{shard}/a.wav") == b"before"
    save(tmp_path / "x.tar", tar_of([("b.wav", SOUND), ("a.wav", b"after")]))
    assert content(f"{shard}/a.wav") == b"after"


# What is open


def open_now() -> int:
    return len(shards._cache._by_key)


def test_a_shard_is_closed_with_its_last_recording(tmp_path: Path) -> None:
    shard = save(tmp_path / "x.tar", tar_of([("a.wav", b"1"), ("b.wav", b"2")]))
    names = [str(one) for one in members(shard)]
    descriptors = len([*Path("/dev/fd").iterdir()])
    assert open_now() == 1
    assert [content(name) for name in names] == [b"1", b"2"]
    assert open_now() == 0
    assert len([*Path("/dev/fd").iterdir()]) == descriptors - 1
    assert content(names[0]) == b"1"  # and opened again for whoever comes later


def descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc/self/fd here")


@needs_proc
@pytest.mark.parametrize("kind", ["tar", "parquet"])
@pytest.mark.parametrize("where", ["here", "there"])
def test_nothing_stays_open_of_a_shard(kind: str, where: str, web: WebServer, tmp_path: Path) -> None:
    """Nor of its copy: listed twice, given twice, passed over, or given up."""
    if kind == "tar":
        save(tmp_path / "web" / "x.tar", tar_of([(f"{n}.wav", clip(n)) for n in range(4)]))
    else:
        rows = [{"bytes": clip(n), "path": f"{n}.wav"} for n in range(4)]
        save_parquet(tmp_path / "web" / "x.parquet", rows, row_group_size=2)
    shard = f"{web.url}/x.{kind}" if where == "there" else str(tmp_path / "web" / f"x.{kind}")
    names = [str(one) for one in members(shard)]
    for name in names:
        content(name)
    before = descriptors()  # a connection may be kept
    assert open_now() == 0
    assert [*members(shard)] == [*members(shard)] == names  # as for the progress, and then for the run
    for name in names:
        content(name)
    assert open_now() == 0
    known = {name: FileFailure(name, "empty", "") for name in names[1:]}
    for one in unless_known(members(shard), known.get):
        if isinstance(one, str):
            content(one)
    assert open_now() == 0
    gone = [FileFailure(name, "empty", "") for name in names]
    assert [*unless_known(members(shard), dict(zip(names, gone, strict=True)).get)] == gone
    assert (open_now(), descriptors()) == (0, before)


@needs_proc
def test_a_run_leaves_no_shard_open(tagger: Tagger, tmp_path: Path) -> None:
    shard = save(tmp_path / "x.tar", tar_of([(f"{n}.wav", clip(n)) for n in range(6)]))
    [*tagger.tag_many([shard])]
    before = descriptors()
    assert len([*tagger.tag_many([shard, shard])]) == 12
    assert (open_now(), descriptors()) == (0, before)
    run = tagger.tag_many([shard])
    next(run)
    run.close()  # type: ignore[attr-defined]
    assert (open_now(), descriptors()) == (0, before)


def test_where_there_is_no_room_for_a_copy_that_is_said(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for the copy of standard input, of a pipe, of an address, and of a recording in a shard."""
    tar = save(tmp_path / "web" / "x.tar", tar_of([("a.wav", clip(1))]))
    parquet = save_parquet(tmp_path / "x.parquet", [{"bytes": clip(1), "path": "a.wav"}])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(clip(1))))
    names = ["-", f"{tar}/a.wav", f"{parquet}/0/a.wav", f"{web.url}/x.tar", f"{web.url}/x.tar/a.wav"]
    for name in names:
        with no_file_of_more_than(1000):
            error = failure(name)
        assert error.word == "unreadable"
        assert "no room for a copy" in error.cause
        assert "TMPDIR" in error.remedy


@contextmanager
def no_file_of_more_than(size: int) -> Iterator[None]:
    """A limit that the system sets to this process, as a full disk does."""
    resource = pytest.importorskip("resource", reason="only POSIX has such limits")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_where_no_copy_can_be_made_at_all_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SOUND)))
    monkeypatch.setattr(local.tempfile, "tempdir", "/dev/null/nowhere")
    error = failure("-")
    assert error.word == "unreadable"
    assert "TMPDIR" in error.remedy


def test_few_shards_are_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MOST_OPEN", 3)
    names = [
        f"{save(tmp_path / f'{number}.tar', tar_of([('a.wav', str(number).encode())]))}/a.wav"
        for number in range(6)
    ]
    assert [content(name) for name in (*names, *names)] == [b"0", b"1", b"2", b"3", b"4", b"5"] * 2
    assert open_now() == 3


def test_copies_are_bounded_by_their_bytes(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MOST_COPIED", 25_000)
    for number in range(4):
        save(tmp_path / "web" / f"{number}.tar", tar_of([("a.wav", SOUND)]))  # 10,240 bytes each
        assert content(f"{web.url}/{number}.tar/a.wav") == SOUND
    assert open_now() == 2


def test_a_shard_at_an_address_is_fetched_once(web: WebServer, tagger: Tagger, tmp_path: Path) -> None:
    with webdataset.TarWriter(str(tmp_path / "web" / "x.tar")) as writer:
        for number in range(12):
            writer.write({"__key__": f"{number:02}", "wav": clip(number)})
    given = f"{web.url}/x.tar?X-Amz-Signature=hidden"
    found = [*tagger.tag_many([given], workers=8)]
    local = [*tagger.tag_many([tmp_path / "web" / "x.tar"])]
    assert web.asked == ["/x.tar?X-Amz-Signature=hidden"]
    assert [one.file for one in found] == [f"{web.url}/x.tar/{number:02}.wav" for number in range(12)]
    assert [replace(one, file="") for one in found] == [replace(one, file="") for one in local]
    assert open_now() == 0


def test_shards_in_a_bucket(s3: S3Server, tmp_path: Path) -> None:
    parquet = Path(save_parquet(tmp_path / "x.parquet", [{"bytes": SOUND, "path": "a.wav"}])).read_bytes()
    tars = {f"shard-{number}.tar": tar_of([(f"{number}?#.wav", SOUND)]) for number in range(3)}
    s3.fill("shards", tars | {"x.parquet": parquet, "odd.tar/a.wav": b"of a folder"})
    found = [*discover(["s3://shards/"])]
    expected = [f"s3://shards/shard-{number}.tar/{number}?#.wav" for number in range(3)]
    assert found == ["s3://shards/odd.tar/a.wav", *expected]
    assert content("s3://shards/odd.tar/a.wav") == b"of a folder"
    assert {content(name) for name in expected} == {SOUND}
    assert [*discover(["s3://shards/shard-{1..2}.tar"])] == expected[1:]
    assert [*discover(["s3://shards/*.parquet"])] == ["s3://shards/x.parquet/0/a.wav"]
    assert content("s3://shards/x.parquet/0/a.wav") == SOUND
    [missing] = discover(["s3://shards/none.tar"])
    assert isinstance(missing, FileFailure)
    assert missing.error == "not-found"
    assert failure("s3://shards/none.tar/a.wav").word == "not-found"


# Parquet


def test_the_names_of_rows(tmp_path: Path) -> None:
    paths = ["a.wav", "b/c.wav", None, "", "..", "ü*?.wav"]
    rows = [*({"bytes": SOUND, "path": path} for path in paths), None]
    shard = save_parquet(tmp_path / "x.parquet", rows, row_group_size=2)
    names = [f"{shard}/{name}" for name in ("0/a.wav", "1/c.wav", "2", "3", "4", "5/ü*?.wav", "6")]
    assert [*members(shard)] == names
    assert [content(name) for name in names[:-1]] == [SOUND] * 6
    assert failure(names[-1]).word == "not-found"


@given(st.lists(st.binary(max_size=2000), max_size=20), st.integers(1, 7), st.randoms())
def test_rows_are_read_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, sounds: list[bytes], group: int, random: Any
) -> None:
    rows = [{"bytes": sound, "path": f"{number}.wav"} for number, sound in enumerate(sounds)]
    shard = save_parquet(tmp_path_factory.mktemp("rows") / "x.parquet", rows, row_group_size=group)
    wanted = [*enumerate(sounds)]
    random.shuffle(wanted)
    for number, sound in wanted:
        assert content(f"{shard}/{number}/{number}.wav") == sound
    shards.forget()


def test_what_a_row_names_is_never_opened(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither on the network, nor on standard input, nor beside the shard: whoever made it would choose."""
    save(tmp_path / "web" / "sub" / "a.wav", clip(1))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(clip(2))))
    inner = save(tmp_path / "web" / "inner.tar", tar_of([("a.wav", clip(3))]))
    paths = [
        *(f"{web.url}/sub/a.wav", "-", "sub/a.wav", str(tmp_path / "web/sub/a.wav"), "../web/sub/a.wav"),
        *(
            "inner.tar/a.wav",
            f"{inner}/a.wav",
            "file:///etc/hostname",
            "/dev/stdin",
            "C:\\a.wav",
            "sub\\a.wav",
        ),
    ]
    shard = save_parquet(tmp_path / "web" / "x.parquet", [{"bytes": None, "path": path} for path in paths])
    for where in (shard, f"{web.url}/x.parquet"):
        names = [str(one) for one in members(where)]
        assert len(names) == len(paths)
        web.asked.clear()
        for name in names:
            error = failure(name)
            assert error.word == "not-found"
            assert "is not opened" in error.cause
            assert "Put the audio into the shard" in error.remedy
        assert [one for one in web.asked if "parquet" not in one] == []
    assert sys.stdin.buffer.tell() == 0


@pytest.mark.parametrize(
    "name", ["../../out.wav", "/etc/out.wav", "a/../../out.wav", "http://127.0.0.1:9/x.wav", "-.wav"]
)
def test_a_member_of_a_tar_is_what_is_in_it_whatever_it_is_called(name: str, tmp_path: Path) -> None:
    save(tmp_path / "out.wav", b"outside")
    shard = save(tmp_path / "sub" / "x.tar", tar_of([(name, SOUND), ("other.wav", SOUND)]))
    for member in members(shard):
        assert content(str(member)) == SOUND
    for outside in (f"{shard}/../out.wav", f"{shard}/../../out.wav", f"{shard}/{tmp_path}/out.wav"):
        with pytest.raises(InputError):
            content(outside)


def test_links_of_a_tar_lead_nowhere(tmp_path: Path) -> None:
    outside = save(tmp_path / "out.wav", b"outside")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            header = tarfile.TarInfo(f"{kind.decode()}.wav")
            header.type, header.linkname = kind, outside
            tar.addfile(header)
    shard = save(tmp_path / "x.tar", packed.getvalue())
    [found] = members(shard)
    assert isinstance(found, FileFailure)
    for name in ("2.wav", "1.wav"):
        assert failure(f"{shard}/{name}").word == "not-found"


@pytest.mark.parametrize("name", ["list.m3u8", "x.wav"])
def test_a_playlist_in_a_shard_leads_nowhere(name: str, web: WebServer, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    beside = save(tmp_path / "web" / "other.wav", clip(1))
    for target in (f"{web.url}/other.wav", beside, "other.wav"):
        for text in (f"#EXTM3U\n#EXTINF:9,\n{target}\n", f"ffconcat version 1.0\nfile {target}\n"):
            shard = save(tmp_path / "web" / "x.tar", tar_of([(name, text.encode())]))
            shards.forget()
            with pytest.raises(InputError), open_recording(f"{shard}/{name}"):
                pass
    assert web.asked == []


def test_which_column_is_the_audio(tmp_path: Path) -> None:
    rows = pa.array([{"bytes": SOUND, "path": "a.wav"}], hub_audio())
    path = tmp_path / "x.parquet"
    for columns, found in (
        ({"speech.en": rows}, "0/a.wav"),
        ({"other": rows, "audio": rows}, "0/a.wav"),
        ({"audio": ["text"], "speech": rows}, "0/a.wav"),
    ):
        pq.write_table(pa.table(columns), path)
        assert [*members(str(path))] == [f"{path}/{found}"]
        assert content(f"{path}/{found}") == SOUND
    for columns, cause in (({"one": rows, "other": rows}, "one, other"), ({"label": [1]}, "no audio column")):
        pq.write_table(pa.table(columns), path)
        [failed] = members(str(path))
        assert isinstance(failed, FileFailure)
        assert failed.error == "no-audio"
        assert cause in failed.message


@given(st.data())
def test_no_damage_to_a_parquet_is_worse_than_a_failure(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    rows = [{"bytes": bytes([number]) * 300, "path": f"{number}.wav"} for number in range(6)]
    packed = bytearray(Path(save_parquet(folder / "x.parquet", rows, row_group_size=3)).read_bytes())
    if data.draw(st.booleans()):
        packed = packed[: data.draw(st.integers(0, len(packed)))]
    else:
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    shard = save(folder / "x.parquet", bytes(packed))
    for one in members(shard):
        if isinstance(one, str):
            try:
                content(one)
            except InputError as error:
                assert error.word in ("unreadable", "not-found")  # noqa: PT017
    shards.forget()


def test_no_more_of_a_row_group_is_in_memory_than_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"bytes": os.urandom(1 << 16), "path": "a.wav"} for _ in range(400)]
    # A group of 26 MB, its pages of 1 MB.
    shard = save_parquet(tmp_path / "x.parquet", rows, compression="none", write_batch_size=4)
    pa.default_memory_pool().release_unused()
    monkeypatch.setattr(parquet_shard, "BUFFER_BYTES", 1 << 16)
    before = pa.total_allocated_bytes()
    assert content(f"{shard}/0/a.wav") == rows[0]["bytes"]
    assert pa.total_allocated_bytes() - before < 8 << 20


def test_without_pyarrow_all_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = save_parquet(tmp_path / "x.parquet", [])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(EngineError, match="pip install 'ast-cli\\[parquet\\]'"):
        [*discover([shard])]


def test_a_recording_in_a_shard_is_audio_like_any_other(tmp_path: Path) -> None:
    shard = save(tmp_path / "x.tar", tar_of([("a.wav", clip(5))]))
    with open_recording(f"{shard}/a.wav") as inside, open_recording(save(tmp_path / "a.wav", clip(5))) as own:
        assert (inside.sample_rate, inside.encoding) == (own.sample_rate, own.encoding)
        assert np.array_equal(np.concatenate([*inside.blocks]), np.concatenate([*own.blocks]))

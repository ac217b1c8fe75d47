"""Recordings at addresses: heard as the same files on disk, listed in their order, and each fault told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ast_cli.audio import remote
from ast_cli.audio.decode import open_recording
from ast_cli.audio.discover import discover
from ast_cli.errors import EngineError, InputError, UsageError
from ast_cli.features.extractor import ASTFeatureExtractor
from ast_cli.pipeline.process_pool import Decoders
from ast_cli.pipeline.windows import Windowing
from ast_cli.results import FileFailure
from ast_cli.settings import TagSettings
from ast_cli.tagger import Tagger
from tests.stores import S3Server, WebServer, clip, cutting_proxy

# Names whose order is another one as keys of a bucket, and what is passed over.
TREE = (
    *("b.wav", "a/x.flac", "a/deep/y.ogg", "a.wav", "a-b.wav", "a/[z]*.wav", "a b/ü.wav", "#1.wav"),
    *("notes.txt", ".hidden/x.wav", "a/.hidden.wav", "results.parquet"),
)


def samples(name: str) -> np.ndarray[Any, Any]:
    with open_recording(name) as recording:
        return np.concatenate([*recording.blocks])


def save(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def failure(name: str) -> InputError:
    with pytest.raises(InputError) as caught:
        samples(name)
    return caught.value


@pytest.fixture(scope="module")
def tree() -> dict[str, bytes]:
    return {name: clip(seed) for seed, name in enumerate(TREE)}


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server, tree: dict[str, bytes]) -> str:
    return s3_server.fill("tree", {f"all/{name}": data for name, data in tree.items()})


@pytest.fixture(scope="module")
def tagger(checkpoint: Path) -> Tagger:
    return Tagger.from_pretrained(checkpoint)


@pytest.mark.parametrize("given", ["s3://tree/all/", "s3://tree/all", "s3a://tree/all/"])
def test_a_bucket_is_walked_as_a_folder_is(
    given: str, s3: S3Server, bucket: str, tree: dict[str, bytes], tmp_path: Path
) -> None:
    local = [*discover([save(tmp_path / "all", tree)])]
    head = given.rstrip("/")
    assert [*discover([given])] == [name.replace(str(tmp_path / "all"), head) for name in local]


def test_what_lies_there_is_heard_as_on_disk(s3: S3Server, bucket: str, tree: dict[str, bytes]) -> None:
    for name in discover(["s3://tree/all/"]):
        with open_recording(name) as recording:
            assert recording.stamp is None
            heard = np.concatenate([*recording.blocks])
        path = name.removeprefix("s3://tree/all/")
        assert np.array_equal(heard, samples_of(tree[path]))


def samples_of(data: bytes) -> np.ndarray[Any, Any]:
    import io

    import soundfile

    return soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("s3://tree/all/a*.wav", ["a-b.wav", "a.wav"]),
        ("s3://tree/all/*/x.*", ["a/x.flac"]),
        ("s3://tree/all/a/[z]*.wav", ["a/[z]*.wav"]),  # a key that is called so goes first
        ("s3://tree/all/[ab].wav", ["a.wav", "b.wav"]),
        ("s3://tree/all/{b,a}.wav", ["b.wav", "a.wav"]),
        ("s3://tree/all/a/d*", ["a/deep/y.ogg"]),  # a folder that a pattern finds is walked
        ("s3://tree/all/notes.*", []),
        ("s3://tree/all/*.txt", ["notes.txt"]),
        ("s3://tree/all/notes.txt.wav", ["notes.txt.wav"]),  # not asked for before it is opened
    ],
)
def test_patterns_in_addresses(given: str, found: list[str], s3: S3Server, bucket: str) -> None:
    names = [one for one in discover([given]) if isinstance(one, str)]
    assert names == [f"s3://tree/all/{name}" for name in found]


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ("s3://tree/all/.hidden/", None),
        ("s3://tree/none/", "not-found"),
        ("s3://no-such-bucket/", "not-found"),
        ("s3://no-such-bucket/*.wav", "not-found"),
        ("s3://tree/all/*.mp3", "not-found"),
        ("s3://tree/text/", "no-audio"),
        ("s3://", "not-found"),
    ],
)
def test_folders_that_are_not_there_or_empty(given: str, word: str | None, s3: S3Server, bucket: str) -> None:
    s3.client().put_object(Bucket=bucket, Key="text/notes.txt", Body=b"")
    [found] = discover([given])
    assert (found.error if isinstance(found, FileFailure) else None) == word
    assert getattr(found, "file", given) == given


def test_a_hundred_recordings_give_the_same_rows(s3: S3Server, tagger: Tagger, tmp_path: Path) -> None:
    files = {f"{number:03}.wav": clip(number) for number in range(98)}
    files |= {"098.wav": clip(0)[:5000], "099.wav": b"no audio"}  # cut off, and broken
    s3.fill("hundred", files)
    local = [*tagger.tag_many(save(tmp_path / "hundred", files))]
    there = [*tagger.tag_many("s3://hundred/", workers=8)]
    assert [replace(one, file=one.file.replace("s3://", f"{tmp_path}/")) for one in there] == local
    assert any(one.warnings for one in there if not isinstance(one, FileFailure))
    [one] = tagger.embed(["s3://hundred/000.wav"])
    [other] = tagger.embed([tmp_path / "hundred/000.wav"])
    assert np.array_equal(one.vectors, other.vectors)


@pytest.mark.slow
def test_a_thousand_recordings_on_several_pages(s3: S3Server, tagger: Tagger, tmp_path: Path) -> None:
    files = {f"{number % 7}/{number:04}.wav": clip(number, 800) for number in range(50)}
    files |= {f"{number:04}.wav": clip(number, 800) for number in range(1050)}
    s3.fill("thousand", files)
    local = [*tagger.tag_many(save(tmp_path / "thousand", files))]
    there = [*tagger.tag_many("s3://thousand/")]
    assert [replace(one, file=one.file.replace("s3://", f"{tmp_path}/")) for one in there] == local


def test_processes_that_decode_open_addresses_themselves(s3: S3Server, bucket: str) -> None:
    here = Windowing(ASTFeatureExtractor(), TagSettings()).of_file
    names = ["s3://tree/all/a.wav", "s3://tree/all/none.wav"]
    with closing(Decoders(here, after=0)) as decoders:
        there = [[*decoders.items(name)][-1] for name in names]
    assert there == [[*here(name)][-1] for name in names]
    assert isinstance(there[1], FileFailure)


def test_a_forked_process_has_connections_of_its_own(s3: S3Server, bucket: str) -> None:
    heard = samples("s3://tree/all/a.wav")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            same = np.array_equal(samples("s3://tree/all/a.wav"), heard)
            os.write(writing, b"same" if same else b"other")
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        assert answer.read() == b"same"
    os.waitpid(child, 0)


def test_a_missing_key_and_a_missing_bucket(s3: S3Server, bucket: str) -> None:
    assert failure("s3://tree/all/none.wav").word == "not-found"
    assert failure("s3://no-such-bucket/x.wav").cause == "no such bucket"


def test_where_access_is_denied_the_remedy_names_the_credentials(s3: S3Server, bucket: str) -> None:
    s3.allow("0")
    try:
        denied = failure("s3://tree/all/a.wav")
        [folder] = discover(["s3://tree/all/"])
    finally:
        s3.allow("inf")
    assert (denied.word, denied.cause) == ("unreadable", "access denied")
    assert "AWS_PROFILE" in denied.remedy
    assert "very-secret-key" not in str(denied)
    assert isinstance(folder, FileFailure)
    assert folder.error == "unreadable"
    assert "AWS_PROFILE" in folder.message


def test_without_credentials_they_are_named(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert "FSSPEC_S3_ANON" in failure("s3://tree/all/a.wav").remedy


def test_credentials_in_an_address_of_s3_are_refused_and_not_shown(s3: S3Server) -> None:
    refused = failure("s3://KEYID:secretword@tree/x.wav")
    assert "secretword" not in str(refused)
    assert "AWS_ACCESS_KEY_ID" in refused.remedy


def test_what_is_cut_off_once_is_fetched_on(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cutting_proxy(s3.port, [3000]) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        heard = samples("s3://tree/all/b.wav")
    assert np.array_equal(heard, samples_of(clip(0)))


def test_what_is_cut_off_again_and_again_is_noticed(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cutting_proxy(s3.port, [3000] * 20) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        cut = failure("s3://tree/all/b.wav")
    assert cut.word == "unreadable"
    assert "connection was cut" in cut.cause


def test_fewer_bytes_than_promised_are_noticed(web: WebServer, tmp_path: Path) -> None:
    save(tmp_path / "web", {"x.wav": clip(0)})
    web.faults["/x.wav"] = web.cut
    cut = failure(f"{web.url}/x.wav")
    assert cut.word == "unreadable"
    assert "connection was cut" in cut.cause
    assert len(web.asked) == remote.ATTEMPTS


def test_on_the_web_too_it_is_tried_again(web: WebServer, tmp_path: Path) -> None:
    save(tmp_path / "web", {"x.wav": clip(0)})
    web.cut_once("/x.wav")
    assert np.array_equal(samples(f"{web.url}/x.wav"), samples_of(clip(0)))


def test_a_server_that_hangs_is_given_up(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "READ_SECONDS", 0.1)
    save(tmp_path / "web", {"x.wav": clip(0)})
    web.faults["/x.wav"] = web.hang
    hung = failure(f"{web.url}/x.wav")
    assert (hung.word, hung.cause) == ("unreadable", "the server does not answer in time")


def test_an_s3_that_hangs_is_given_up(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "READ_SECONDS", 0.1)
    monkeypatch.setattr(remote, "ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", web.url)
    save(tmp_path / "web", {"bucket/x.wav": clip(0)})
    web.faults["/bucket/x.wav"] = web.hang
    assert failure("s3://bucket/x.wav").cause == "the server does not answer in time"


@pytest.mark.parametrize(
    ("status", "word", "cause", "requests"),
    [
        (404, "not-found", "nothing is at this address", 1),
        (410, "not-found", "nothing is at this address", 1),
        (403, "unreadable", "access denied (403)", 1),
        (401, "unreadable", "access denied (401)", 1),
        (500, "unreadable", "the server answers 500", 3),
        (503, "unreadable", "the server answers 503", 3),
        (416, "unreadable", "the server answers 416", 1),
    ],
)
def test_what_a_server_answers(
    status: int, word: str, cause: str, requests: int, web: WebServer, tmp_path: Path
) -> None:
    save(tmp_path / "web", {"x.wav": b""})
    web.faults["/x.wav"] = status
    error = failure(f"{web.url}/x.wav?token=hidden-token")
    assert error.word == word
    assert error.cause.startswith(cause)
    assert "hidden-token" not in str(error)
    assert len(web.asked) == requests
    assert all("hidden-token" in asked for asked in web.asked)


def test_where_nobody_listens(stores: None) -> None:
    refused = failure("http://127.0.0.1:1/x.wav?token=hidden-token")
    assert (refused.word, refused.cause) == ("unreadable", "no connection: Connection refused")
    assert "hidden-token" not in str(refused)


def test_a_host_that_is_not_there(stores: None) -> None:
    assert failure("https://no-such-host.invalid/x.wav").word == "unreadable"


def test_a_user_and_password_are_sent_and_not_told(web: WebServer, tmp_path: Path, tagger: Tagger) -> None:
    save(tmp_path / "web", {"x.wav": clip(0)})
    web.password = "user:hidden-word"
    [result] = tagger.tag_many([f"http://user:hidden-word@{web.address}/x.wav"])
    assert result.file == f"{web.url}/x.wav"
    assert not isinstance(result, FileFailure)
    [wrong] = tagger.tag_many([f"http://user:other-word@{web.address}/x.wav"])
    assert isinstance(wrong, FileFailure)
    assert "other-word" not in str(wrong)


def test_a_page_of_links_is_walked(web: WebServer, tree: dict[str, bytes], tmp_path: Path) -> None:
    plain = {name: data for name, data in tree.items() if not set(name) & set("[#*")}
    save(tmp_path / "web/all", plain)
    found = [*discover([f"{web.url}/all/"])]
    expected = ["a%20b/%C3%BC.wav", "a-b.wav", "a.wav", "a/deep/y.ogg", "a/x.flac", "b.wav"]
    assert sorted(found) == [f"{web.url}/all/{name}" for name in expected]
    assert np.array_equal(samples(f"{web.url}/all/a%20b/%C3%BC.wav"), samples_of(tree["a b/ü.wav"]))


def test_an_address_of_the_web_is_taken_as_it_is(web: WebServer) -> None:
    assert [*discover([f"{web.url}/stream", f"{web.url}/x?id=1"])] == [
        f"{web.url}/stream",
        f"{web.url}/x?id=1",
    ]
    assert web.asked == []


@pytest.fixture
def memory(stores: None) -> Iterator[Callable[[str, bytes], None]]:
    import fsspec

    system = fsspec.filesystem("memory")
    yield lambda path, data: system.pipe_file(path, data) and None
    system.store.clear()


def test_any_store_that_fsspec_knows(memory: Callable[[str, bytes], None]) -> None:
    memory("/all/b/x.wav", clip(1))
    memory("/all/a.wav", clip(2))
    memory("/all/notes.txt", b"")
    found = [*discover(["memory://all/"])]
    assert found == ["memory://all/a.wav", "memory://all/b/x.wav"]
    assert [*discover(["memory://all/*/*.wav"])] == ["memory:///all/b/x.wav"]
    assert np.array_equal(samples("memory://all/b/x.wav"), samples_of(clip(1)))
    assert failure("memory://all/c.wav").word == "not-found"


def test_no_such_scheme(stores: None) -> None:
    with pytest.raises(UsageError, match="no such scheme: gopher"):
        [*discover(["gopher://host/x.wav"])]


@pytest.mark.skipif(find_spec("gcsfs") is not None, reason="gcsfs is installed")
def test_a_package_that_is_missing_stops_all(tagger: Tagger) -> None:
    with pytest.raises(EngineError, match="gcsfs"):
        [*tagger.tag_many(["gs://bucket/x.wav"])]
    with pytest.raises(EngineError, match="gcsfs"):
        tagger.tag("gs://bucket/x.wav")


def test_no_copy_is_left_behind(s3: S3Server, bucket: str) -> None:
    before = len([*Path("/dev/fd").iterdir()])
    for _ in range(3):
        samples("s3://tree/all/a.wav")
        failure("s3://tree/all/none.wav")
    assert len([*Path("/dev/fd").iterdir()]) <= before + 3  # connections that stay open


def test_a_full_disk_is_told(s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    monkeypatch.setattr(remote, "_copied", lambda *_: OSError(errno.ENOSPC, "No space left on device"))
    assert "TMPDIR" in failure("s3://tree/all/a.wav").remedy

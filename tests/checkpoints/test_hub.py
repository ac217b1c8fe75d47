"""The real Hub client against a Hub of our own: each run is a process that finds it in its environment."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import logging
import os
import pty
import random
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from ast_cli.checkpoints import hub as hub_room
from ast_cli.checkpoints.locate import find_checkpoint
from ast_cli.checkpoints.published import DEFAULT_MODEL, PUBLISHED_MODELS
from ast_cli.errors import CheckpointError, ExitCode
from tests.hub_server import TOKEN, Cut, HubServer, Refusal, Request

REPO = "someone/tagger"
FILES = {
    "config.json": b'{"model_type": "audio-spectrogram-transformer"}',
    "preprocessor_config.json": b'{"mean": -4.2677393}',
    "model.safetensors": b"weights, as far as this room knows",
}
# The client keeps what it has got in pieces of this size, and starts a smaller file again from its beginning.
PIECE = 10 << 20
LARGE_WEIGHTS = random.Random(0).randbytes(PIECE + (1 << 20))

CLIENT = """
import json, sys, time
from ast_cli.checkpoints import hub
from ast_cli.checkpoints import locate
from ast_cli.errors import CheckpointError

naps = []
time.sleep = naps.append  # that the client would wait and try again is all we want to know
function, arguments, options = json.loads(sys.argv[1])
found, error = None, None
try:
    found = {**vars(hub), **vars(locate)}[function](*arguments, **options)
    if isinstance(found, locate.CheckpointFiles):
        found = {name: getattr(found, name) for name in ("id", "revision", "weights", "config", "features")}
    elif function == "cached_models":
        found = [known.id for known in found]
except CheckpointError as caught:
    error = str(caught)
print(json.dumps([found, error, naps], default=str))
"""


@dataclass(frozen=True)
class Run:
    """What one process found or raised, and how long it wanted to wait between attempts."""

    found: Any
    error: str | None
    naps: list[float]

    @property
    def weights(self) -> bytes:
        return Path(self.found["weights"]).read_bytes()


class Client:
    """A user's machine with a home and a cache of its own."""

    def __init__(self, home: Path, hub: HubServer) -> None:
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
            "HOME": str(home),
            "HF_HOME": str(home / "hf"),
            "HF_ENDPOINT": hub.url,
        }

    def run(
        self,
        function: str,
        *arguments: str,
        environment: dict[str, str] | None = None,
        stderr: int = subprocess.PIPE,
        **options: object,
    ) -> Run:
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, json.dumps([function, arguments, options])],
            env=self.environment | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr, "only our error shall tell what went wrong"
        run = Run(*json.loads(done.stdout))
        if run.error is not None:
            assert_one_clear_line(run.error)
        return run

    def find(self, source: str = REPO, *arguments: str, **options: Any) -> Run:
        return self.run("find_checkpoint", source, *arguments, **options)


def assert_one_clear_line(error: str) -> None:
    cause, _, remedy = error.partition(". ")
    assert cause
    assert remedy
    assert "\n" not in error
    assert "Error" not in error
    assert "/resolve/" not in error


@pytest.fixture
def hub() -> Iterator[HubServer]:
    server = HubServer()
    yield server
    server.stop()


@pytest.fixture
def client(hub: HubServer, tmp_path: Path) -> Client:
    return Client(tmp_path, hub)


# What is there


def test_the_first_run_fetches_each_file_once_and_the_second_asks_nothing(
    hub: HubServer, client: Client
) -> None:
    commit = hub.push(REPO, FILES)
    first = client.find()
    assert first.found["id"] == REPO
    assert first.found["revision"] == commit
    for field, name in zip(("config", "features", "weights"), FILES, strict=True):
        assert Path(first.found[field]).read_bytes() == FILES[name]
    assert hub.downloads == list(FILES)

    hub.requests.clear()
    assert client.find() == first
    assert hub.requests == []


def test_a_run_from_the_cache_needs_no_network(hub: HubServer, client: Client) -> None:
    hub.push(REPO, FILES)
    first = client.find()
    hub.stop()
    assert client.find() == first
    assert client.find(offline=True) == first
    assert client.find(environment={"HF_HUB_OFFLINE": "1"}) == first


@pytest.mark.parametrize("kind", ["commit", "tag", "branch"])
def test_a_revision_is_found_and_kept_by_its_name(kind: str, hub: HubServer, client: Client) -> None:
    first = hub.push(REPO, FILES | {"model.safetensors": b"first"})
    hub.tag(REPO, "v1", first)
    hub.push(REPO, FILES | {"model.safetensors": b"second"})
    trial = hub.push(REPO, FILES | {"model.safetensors": b"trial"}, branch="refs/pr/1")
    name, commit, weights = {
        "commit": (first, first, b"first"),
        "tag": ("v1", first, b"first"),
        "branch": ("refs/pr/1", trial, b"trial"),
    }[kind]
    client.find()
    run = client.find(REPO, name)
    assert run.found["revision"] == commit
    assert run.weights == weights
    hub.stop()
    assert client.find(REPO, name) == run


def test_a_model_changes_under_its_user_only_when_pulled(hub: HubServer, client: Client) -> None:
    old = hub.push(REPO, FILES)
    client.find()
    new = hub.push(REPO, FILES | {"model.safetensors": b"better weights"})
    assert client.find().found["revision"] == old
    hub.requests.clear()
    assert client.run("pull_checkpoint", REPO).found["revision"] == new
    assert hub.downloads == ["model.safetensors"], "the other files did not change"
    assert client.find().weights == b"better weights"


def test_pulling_without_a_network_gives_what_is_here(hub: HubServer, client: Client) -> None:
    hub.push(REPO, FILES)
    first = client.find()
    hub.stop()
    assert client.run("pull_checkpoint", REPO).found == first.found
    assert client.find(offline=True).found == first.found


def test_a_push_between_two_downloads_does_not_mix_commits(hub: HubServer, client: Client) -> None:
    before = hub.push(REPO, {name: b"old " + contents for name, contents in FILES.items()})

    def push_meanwhile(request: Request) -> None:
        if request.method == "GET" and request.file == "config.json":
            hub.push(REPO, {name: b"new " + contents for name, contents in FILES.items()})

    hub.before_answering = push_meanwhile
    found = client.find().found
    assert found["revision"] == before
    assert [Path(found[field]).read_bytes()[:4] for field in ("config", "features", "weights")] == [
        b"old "
    ] * 3


def test_weights_in_the_older_file_are_taken_where_there_are_no_others(
    hub: HubServer, client: Client
) -> None:
    hub.push(REPO, {"config.json": b"{}", "preprocessor_config.json": b"{}", "pytorch_model.bin": b"pickled"})
    run = client.find()
    assert run.weights == b"pickled"
    hub.stop()
    assert client.find(offline=True) == run


def test_weights_in_several_files_are_all_fetched(hub: HubServer, client: Client) -> None:
    shards = {f"model-0000{number}-of-00002.safetensors": b"%d" % number for number in (1, 2)}
    index = json.dumps({"weight_map": dict(zip("ab", shards, strict=True))}).encode()
    hub.push(REPO, {"config.json": b"{}", "model.safetensors.index.json": index} | shards)
    run = client.find()
    assert run.weights == index
    folder = Path(run.found["weights"]).parent
    assert {name: (folder / name).read_bytes() for name in shards} == shards
    hub.stop()
    assert client.find(offline=True) == run


def test_a_missing_feature_file_is_not_asked_for_again(hub: HubServer, client: Client) -> None:
    hub.push(REPO, {"config.json": b"{}", "model.safetensors": b"weights"})
    run = client.find()
    assert run.found["features"] is None
    hub.requests.clear()
    assert client.find() == run
    assert hub.requests == []


def test_a_cache_that_others_filled_in_part_is_completed(hub: HubServer, client: Client) -> None:
    hub.push(REPO, FILES)
    client.run("fetch", REPO, "config.json")
    client.run("fetch", REPO, "model.safetensors")
    hub.requests.clear()
    assert Path(client.find().found["features"]).read_bytes() == FILES["preprocessor_config.json"]
    assert hub.downloads == ["preprocessor_config.json"]


def test_known_models_in_the_cache_are_listed_once_they_are_complete(hub: HubServer, client: Client) -> None:
    whole, part = PUBLISHED_MODELS[2].id, PUBLISHED_MODELS[0].id
    hub.push(whole, FILES)
    hub.push(part, FILES)
    assert client.run("cached_models").found == []
    client.find(whole)
    client.run("fetch", part, "config.json")
    assert client.run("cached_models").found == [whole]


def test_a_file_of_a_dataset_is_fetched_once(hub: HubServer, client: Client) -> None:
    repo, name = "someone/sounds", "clips/first.flac"
    hub.push(f"datasets/{repo}", {name: b"a sound"})
    first = client.run("fetch", repo, name, repo_type="dataset")
    assert Path(first.found).read_bytes() == b"a sound"
    assert client.run("fetch", repo, "clips/none.flac", repo_type="dataset").found is None
    assert client.run("fetch", repo, name, repo_type="dataset") == first
    assert hub.downloads == ["first.flac"]
    hub.stop()
    assert client.run("fetch", repo, name, repo_type="dataset") == first
    assert client.run("fetch", repo, name, repo_type="dataset", offline=True) == first


def test_a_token_opens_what_is_private(hub: HubServer, client: Client) -> None:
    commit = hub.push(REPO, FILES)
    hub.refusals[REPO] = Refusal(401, "RepoNotFound")
    assert client.find().error
    assert client.find(environment={"HF_TOKEN": TOKEN}).found["revision"] == commit


# What is not there, or not for everybody


def test_a_name_close_to_a_published_model_is_asked_back(client: Client) -> None:
    error = client.find("MIT/ast-finetuned-audioset-10-10-0.4953").error
    assert error.startswith("the Hub has no repository MIT/ast-finetuned-audioset-10-10-0.4953")
    assert f"Did you mean {DEFAULT_MODEL}" in error


@pytest.mark.parametrize("name", ["nobody/nothing", DEFAULT_MODEL])
def test_another_name_gets_no_guess(name: str, client: Client) -> None:
    error = client.find(name).error
    assert error.startswith(f"the Hub has no repository {name}, or it is private")
    assert "Did you mean" not in error


def test_the_guess_for_a_dataset_is_not_a_model(client: Client) -> None:
    error = client.run("fetch", "MIT/ast-finetuned-audioset", "a.flac", repo_type="dataset").error
    assert error.startswith("the Hub has no repository MIT/ast-finetuned-audioset")
    assert "Did you mean" not in error


@pytest.mark.parametrize(
    ("refusal", "cause", "remedy"),
    [
        (Refusal(401, "RepoNotFound", "Invalid username or password."), "or it is private", "HF_TOKEN"),
        (Refusal(404, "RepoNotFound", "Repository not found"), "or it is private", "HF_TOKEN"),
        (Refusal(401, "GatedRepo", "Access is restricted."), "terms to be accepted", f"/{REPO}, then"),
        (Refusal(403, "GatedRepo", "You are not on the list."), "terms to be accepted", f"/{REPO}, then"),
        (Refusal(401, "", "Invalid credentials in Authorization header"), "refuses access", "HF_TOKEN"),
        (Refusal(403, "", "Forbidden"), "refuses access to someone/tagger (HTTP 403)", "HF_TOKEN"),
        (Refusal(403, "", "Access to this resource is disabled."), "refuses access", "HF_TOKEN"),
        (Refusal(429, "", "Too many requests"), "failed on someone/tagger (HTTP 429)", "later"),
        (Refusal(500, "", "Internal error"), "failed on someone/tagger (HTTP 500)", "later"),
        (Refusal(503, "", "Service unavailable"), "failed on someone/tagger (HTTP 503)", "later"),
        (Refusal(200, "", "<html>Log in to this network"), "cannot be reached", "network and proxy"),
    ],
    ids=lambda value: f"{value.status} {value.code or value.message}" if isinstance(value, Refusal) else "",
)
def test_a_refusal_is_told_at_once_in_one_line(
    refusal: Refusal, cause: str, remedy: str, hub: HubServer, client: Client
) -> None:
    hub.push(REPO, FILES)
    hub.refusals[REPO] = refusal
    run = client.find()
    found_cause, _, found_remedy = run.error.partition(". ")
    assert REPO in found_cause
    assert cause in found_cause
    assert remedy in found_remedy
    assert run.naps == []


def test_an_unknown_revision_is_named(hub: HubServer, client: Client) -> None:
    hub.push(REPO, FILES)
    error = client.find(REPO, "v7").error
    assert error.startswith(f"{REPO} has no revision v7. ")
    assert f"{hub.url}/{REPO}/commits/main" in error


def test_a_repository_without_config_is_no_checkpoint(hub: HubServer, client: Client) -> None:
    hub.push(REPO, {"README.md": b"hello"})
    assert client.find().error.startswith(f"{REPO} has no config.json")


def test_a_repository_without_weights_is_no_checkpoint(hub: HubServer, client: Client) -> None:
    hub.push(REPO, {"config.json": b"{}", "preprocessor_config.json": b"{}", "tf_model.h5": b""})
    assert client.find().error.startswith(f"{REPO} has none of model.safetensors, pytorch_model.bin")


# What breaks on the way


def test_a_download_cut_off_goes_on_where_it_stopped(hub: HubServer, client: Client) -> None:
    hub.push(REPO, FILES | {"model.safetensors": LARGE_WEIGHTS})
    hub.cuts["model.safetensors"] = Cut(after=len(LARGE_WEIGHTS) - 1000, times=1)
    run = client.find()
    gets = [
        request for request in hub.requests if request.method == "GET" and request.file == "model.safetensors"
    ]
    assert [request.range for request in gets] == ["", f"bytes={PIECE}-"]
    assert hashlib.sha256(run.weights).digest() == hashlib.sha256(LARGE_WEIGHTS).digest()


@pytest.mark.parametrize("reset", [False, True], ids=["ended", "reset"])
def test_a_download_cut_off_for_good_leaves_nothing_that_a_later_run_trusts(
    reset: bool, hub: HubServer, client: Client
) -> None:
    commit = hub.push(REPO, FILES)
    hub.cuts["model.safetensors"] = Cut(after=10, times=-1, reset=reset)
    assert client.find().error.startswith(
        f"the download of model.safetensors of {REPO} broke off. Run it again"
    )
    assert "model.safetensors of someone/tagger is not in the cache" in client.find(offline=True).error

    hub.cuts.clear()
    hub.requests.clear()
    run = client.find()
    assert run.found["revision"] == commit
    assert run.weights == FILES["model.safetensors"]
    assert hub.downloads == ["model.safetensors"], "the other files were here already"


def test_without_a_network_one_attempt_is_enough(hub: HubServer, client: Client) -> None:
    hub.stop()
    run = client.find()
    assert run.error.startswith(
        f"config.json of {REPO} is not in the cache and the Hub cannot be reached. Check"
    )
    assert run.naps == []


def test_a_dataset_that_cannot_be_reached_is_not_called_a_model(hub: HubServer, client: Client) -> None:
    hub.stop()
    for options in ({}, {"offline": True}):
        error = client.run("fetch", REPO, "first.flac", repo_type="dataset", **options).error
        assert error.startswith(f"first.flac of {REPO} is not in the cache")
        assert "model" not in error


@pytest.mark.parametrize(
    "off", [{"offline": True}, {"environment": {"HF_HUB_OFFLINE": "1"}}], ids=["option", "environment"]
)
def test_offline_nothing_is_asked_and_what_is_missing_is_named(
    off: dict[str, Any], hub: HubServer, client: Client
) -> None:
    hub.push(REPO, FILES)
    error = client.find(**off).error
    assert error.startswith(f"config.json of {REPO} is not in the cache and the network is off")
    assert f"ast-tag models pull {REPO}" in error
    client.run("fetch", REPO, "config.json")
    hub.requests.clear()
    assert client.find(**off).error.startswith(f"preprocessor_config.json of {REPO} is not in the cache")
    assert hub.requests == []


def test_a_cache_that_cannot_be_written_is_named_as_the_cause(
    hub: HubServer, client: Client, tmp_path: Path
) -> None:
    hub.push(REPO, FILES)
    (tmp_path / "file").touch()
    run = client.find(environment={"HF_HUB_CACHE": str(tmp_path / "file" / "cache")})
    assert run.error.startswith(f"cannot store config.json of {REPO}: Not a directory. Check the rights")


def test_the_plain_way_helps_where_the_hubs_storage_fails(hub: HubServer, client: Client) -> None:
    pytest.importorskip("hf_xet")
    hub.push(REPO, FILES)
    hub.storage = hub.url  # which has no such service
    error = client.find().error
    assert error.startswith(f"the download of model.safetensors of {REPO} failed in the Hub's storage")
    assert "HF_HUB_DISABLE_XET=1" in error
    assert client.find(environment={"HF_HUB_DISABLE_XET": "1"}).weights == FILES["model.safetensors"]


# What is shown meanwhile


def test_on_a_terminal_only_the_weights_have_a_progress_bar(hub: HubServer, client: Client) -> None:
    hub.push(REPO, FILES)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with os.fdopen(theirs, "wb"):
        assert client.find(stderr=theirs).error is None
    shown = ""
    with (
        os.fdopen(ours, "rb", buffering=0) as terminal,
        suppress(OSError),
    ):  # Linux's way to say it is the end
        while block := terminal.read(1 << 16):
            shown += block.decode()
    assert "model.safetensors: 100%" in shown
    assert "config.json" not in shown
    assert "HF_TOKEN" not in shown


def test_bars_asked_for_in_the_environment_do_not_cause_a_warning(hub: HubServer, client: Client) -> None:
    hub.push(REPO, FILES)
    for wish in ("0", "1"):
        client.run("fetch", REPO, "config.json", environment={"HF_HUB_DISABLE_PROGRESS_BARS": wish})


def test_only_warnings_are_left_out_and_only_while_and_where_we_download() -> None:
    import huggingface_hub.utils  # noqa: F401 - its logger has its handler once this is imported

    logger = logging.getLogger("huggingface_hub.file_download")
    handler = logging.StreamHandler(io.StringIO())
    logging.getLogger("huggingface_hub").addHandler(handler)
    try:
        with hub_room._quietly(bar=True):
            logger.warning("a retry")
            logger.error("an error")
            other = Thread(target=logger.warning, args=("another thread",))
            other.start()
            other.join()
        logger.warning("afterwards")
    finally:
        logging.getLogger("huggingface_hub").removeHandler(handler)
    assert handler.stream.getvalue().split("\n")[:-1] == ["an error", "another thread", "afterwards"]


# Folders, files and names that are neither


def test_a_folder_gives_its_files_and_no_revision(tmp_path: Path) -> None:
    for name, contents in FILES.items():
        (tmp_path / name).write_bytes(contents)
    files = find_checkpoint(str(tmp_path))
    assert (files.id, files.revision) == (str(tmp_path), "")
    assert [path.name for path in (files.config, files.features, files.weights)] == list(FILES)
    assert files.sha256 == hashlib.sha256(FILES["model.safetensors"]).hexdigest()


def test_of_two_weights_files_the_safe_one_is_taken(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").touch()
    assert find_checkpoint(str(tmp_path)).weights.name == "pytorch_model.bin"
    (tmp_path / "model.safetensors").touch()
    assert find_checkpoint(str(tmp_path)).weights.name == "model.safetensors"


@pytest.mark.parametrize("name", ["audioset.pth", "weights.safetensors", "old.bin", "mine.pt"])
def test_a_weights_file_stands_alone_or_beside_its_configuration(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    files = find_checkpoint(str(tmp_path / name))
    assert (files.weights, files.config, files.features) == (tmp_path / name, None, None)
    (tmp_path / "config.json").touch()
    assert find_checkpoint(str(tmp_path / name)).config == tmp_path / "config.json"


def test_a_tilde_is_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ast.pth").touch()
    files = find_checkpoint("~/ast.pth")
    assert (files.id, files.weights) == ("~/ast.pth", tmp_path / "ast.pth")


def test_a_folder_without_weights_says_which_it_wants(tmp_path: Path) -> None:
    (tmp_path / "epoch3.pth").touch()
    with pytest.raises(
        CheckpointError, match=r"holds no model\.safetensors or pytorch_model\.bin\. Name the"
    ) as error:
        _ = find_checkpoint(str(tmp_path)).weights
    assert_one_clear_line(str(error.value))


def test_another_kind_of_file_is_no_weights_file(tmp_path: Path) -> None:
    (tmp_path / "clip.wav").touch()
    with pytest.raises(
        CheckpointError, match=r"clip\.wav is not a weights file\. Weights end in \.safetensors"
    ):
        find_checkpoint(str(tmp_path / "clip.wav"))


def test_a_name_without_its_owner_is_completed() -> None:
    with pytest.raises(CheckpointError, match=f"Did you mean {DEFAULT_MODEL}"):
        find_checkpoint(DEFAULT_MODEL.partition("/")[2])


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("Tiny", "tiny"),
        ("tinny", "tiny"),
        ("ast-finetuned-speech-commands", "MIT/ast-finetuned-speech-commands-v2"),
    ],
)
def test_a_slip_in_a_name_is_answered_with_the_one_that_is_meant(slip: str, meant: str) -> None:
    with pytest.raises(CheckpointError, match=f"no such model: {slip}. Did you mean {meant}"):
        find_checkpoint(slip)


@pytest.mark.parametrize(
    "source",
    [
        "nothing",
        "long" * 99,
        "./models/none",
        "models/none.safetensors",
        "~nobody-of-this-name/model",
        "three/parts/long",
        "https://hub.example/someone/tagger",
        "double--dash/model",
        "-dash/model",
        "someone/model.git",
        "someone/" + "long" * 25,
    ],
)
def test_what_cannot_be_a_model_is_not_looked_for(source: str) -> None:
    with pytest.raises(CheckpointError, match="no such model: ") as error:
        find_checkpoint(source)
    assert error.value.exit_code == ExitCode.CANNOT_RUN
    assert_one_clear_line(str(error.value))

"""A Hub small enough to read: repositories, commits and files, served on 127.0.0.1 as the real client wants them.

Tests push files, tag commits, refuse access and cut downloads off, and read afterwards what was asked for.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SO_LINGER, SOL_SOCKET
from threading import Thread
from urllib.parse import unquote

# The real Hub stores large files apart, and sends the hash and the size of what it stores in headers of their own.
LARGE_FILES = (".safetensors", ".bin", ".flac")
PATH = re.compile(r"/(?P<repo>(?:datasets/)?[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    range: str = ""

    @property
    def file(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass
class Repository:
    """Every commit ever pushed, and the branches and tags that point at some of them."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """What the Hub says instead of a file; `code` is the word by which its client tells refusals apart."""

    status: int
    code: str = ""
    message: str = ""


NO_REPOSITORY = Refusal(401, "RepoNotFound", "Invalid username or password.")
NO_REVISION = Refusal(404, "RevisionNotFound", "Invalid rev id")
NO_FILE = Refusal(404, "EntryNotFound", "Entry not found")


@dataclass
class Cut:
    """Where downloads of a file end too early.

    `times` of them do, counted down. A reset connection is torn off; one that is not ends politely.
    """

    after: int
    times: int
    reset: bool = False


class HubServer:
    """The Hub's `resolve` addresses, for models and datasets (whose names begin with `datasets/`).

    Attributes:
        url: What HF_ENDPOINT shall be.
        requests: Every request so far, in order.
        cuts: By file name.
        refusals: By repository.
        before_answering: Called with each request; may push.
        note: Sent with every answer, for the client to show to its user.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.repositories: dict[str, Repository] = {}
        self.cuts: dict[str, Cut] = {}
        self.refusals: dict[str, Refusal] = {}
        self.before_answering: Callable[[Request], object] = lambda _: None
        self.note = "auth; You are sending unauthenticated requests to the HF Hub. Please set a HF_TOKEN."

        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def push(self, repo: str, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Make `files` the whole contents of a branch; returns the commit."""
        repository = self.repositories.setdefault(repo, Repository())
        commit = hashlib.sha1(f"{repo} {len(repository.commits)}".encode()).hexdigest()
        repository.commits[commit] = dict(files)
        repository.refs[branch] = commit
        return commit

    def tag(self, repo: str, name: str, commit: str) -> None:
        self.repositories[repo].refs[name] = commit

    def downloads(self) -> list[str]:
        """The names of the files whose contents were asked for, in order."""
        return [request.file for request in self.requests if request.method == "GET" and "/resolve/" in request.path]

    def stop(self) -> None:
        """Let nobody be at home from now on; may be called twice."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        request = Request(self.command, unquote(self.path), self.headers.get("Range", ""))
        self.hub.requests.append(request)
        self.hub.before_answering(request)
        asked = PATH.fullmatch(self.path)
        if asked is None:
            return self.refuse(Refusal(404))
        repo, file = asked["repo"], unquote(asked["file"])
        if repo in self.hub.refusals:
            return self.refuse(self.hub.refusals[repo])
        if repo not in self.hub.repositories:
            return self.refuse(NO_REPOSITORY)
        repository = self.hub.repositories[repo]
        revision = unquote(asked["revision"])
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            return self.refuse(NO_REVISION)
        if file not in repository.commits[commit]:
            return self.refuse(NO_FILE, commit)
        return self.send_file(file, repository.commits[commit][file], commit, request.range)

    def refuse(self, refusal: Refusal, commit: str = "") -> None:
        body = refusal.message.encode()
        self.send_response(refusal.status)
        self.send_headers(
            {
                "X-Repo-Commit": commit,
                "X-Error-Code": refusal.code,
                "X-Error-Message": refusal.message,
                "Content-Type": "text/plain; charset=utf-8",
                "Content-Length": str(len(body)),
            }
        )
        if self.command == "GET":
            self.wfile.write(body)

    def send_file(self, name: str, contents: bytes, commit: str, wanted: str) -> None:
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        large = name.endswith(LARGE_FILES)
        etag = f'"{(hashlib.sha256 if large else hashlib.sha1)(contents).hexdigest()}"'
        self.send_response(206 if wanted else 200)
        self.send_headers(
            {
                "X-Repo-Commit": commit,
                "ETag": f'"part-{etag[1:-1]}"' if large else etag,
                "X-Linked-Etag": etag if large else "",
                "X-Linked-Size": str(len(contents)) if large else "",
                "Accept-Ranges": "bytes",
                "Content-Range": f"bytes {start}-{len(contents) - 1}/{len(contents)}" if wanted else "",
                "Content-Length": str(len(contents) - start),
            }
        )
        if self.command == "HEAD":
            return
        cut = self.hub.cuts.get(name)
        if cut is None or cut.times == 0:
            self.wfile.write(contents[start:])
            return
        cut.times -= 1
        self.wfile.write(contents[start : cut.after])
        self.close_connection = True
        if cut.reset:  # closing with this option set throws the connection away instead of ending it
            self.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def send_headers(self, headers: Mapping[str, str]) -> None:
        for name, value in {**headers, "X-HF-Warning": self.hub.note}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: `HubServer.requests` is the log."""

"""A Hub small enough to read: repositories, commits and files on 127.0.0.1, served as its client wants them.

Tests push files, tag commits, refuse access and cut downloads off, and read afterwards what was asked for.
"""

from __future__ import annotations

import hashlib
import re
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SO_LINGER, SOL_SOCKET
from threading import Thread
from urllib.parse import unquote

# Small files are asked for at the first address, and the real Hub sends the client on to the second, where no
# push can change them.
RESOLVE = re.compile(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)")
RESOLVED = re.compile(r"/api/resolve-cache/((?:models|datasets)/[^/]+/[^/]+)/([^/]+)/(.+)")
# Large files are kept apart; the hash and the size of what is kept come in headers of their own.
LARGE = (".safetensors", ".bin", ".flac")
TOKEN = "hf_openSesame"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    range: str

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
    """What the Hub answers instead of a file; `code` is the word by which its client tells refusals apart."""

    status: int
    code: str = ""
    message: str = ""


NO_REPOSITORY = Refusal(401, "RepoNotFound", "Invalid username or password.")
NO_REVISION = Refusal(404, "RevisionNotFound", "Invalid rev id")
NO_FILE = Refusal(404, "EntryNotFound", "Entry not found")


@dataclass
class Cut:
    """Where downloads of a file end too early.

    `times` says how many of them, and is counted down. The connection ends as if all were sent, or is reset.
    """

    after: int
    times: int
    reset: bool = False


class HubServer:
    """Serves `/{repo}/resolve/{revision}/{file}`; the names of datasets begin with `datasets/`.

    Attributes:
        url: What HF_ENDPOINT shall be.
        requests: All so far, in order.
        before_answering: Called with each request; may push.
        refusals: By repository, for whoever does not bring `TOKEN`.
        cuts: By name of the file.
        storage: Of large files, where not here: the address of a Xet server.
        note: Sent with every answer, for the client to show to its user.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.before_answering: Callable[[Request], object] = lambda request: None
        self.refusals: dict[str, Refusal] = {}
        self.cuts: dict[str, Cut] = {}
        self.storage = ""
        self.note = "auth; You are sending unauthenticated requests to the HF Hub. Please set a HF_TOKEN."
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def push(self, repo: str, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Make `files` all that a branch holds; returns the commit."""
        repository = self.repositories.setdefault(repo, Repository())
        commit = hashlib.sha1(f"{repo} {len(repository.commits)}".encode()).hexdigest()
        repository.commits[commit] = dict(files)
        repository.refs[branch] = commit
        return commit

    def tag(self, repo: str, name: str, commit: str) -> None:
        self.repositories[repo].refs[name] = commit

    @property
    def downloads(self) -> list[str]:
        """The names of the files whose contents were asked for, in order."""
        return [
            request.file
            for request in self.requests
            if request.method == "GET" and (RESOLVE.match(request.path) or RESOLVED.match(request.path))
        ]

    def stop(self) -> None:
        """From now on nobody listens."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


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
        if "/xet-read-token/" in self.path:
            self.send_way_to_storage()
        elif asked := RESOLVE.fullmatch(self.path) or RESOLVED.fullmatch(self.path):
            self.find_file(*map(unquote, asked.groups()))
        else:
            self.refuse(Refusal(404))

    def find_file(self, repo: str, revision: str, name: str) -> None:
        repo = repo.removeprefix("models/")
        repository = self.hub.repositories.get(repo)
        if repo in self.hub.refusals and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.refuse(self.hub.refusals[repo])
        elif repository is None:
            self.refuse(NO_REPOSITORY)
        elif (commit := repository.refs.get(revision, revision)) not in repository.commits:
            self.refuse(NO_REVISION)
        elif name not in repository.commits[commit]:
            self.refuse(NO_FILE, commit)
        elif RESOLVE.fullmatch(self.path) and not name.endswith(LARGE):
            path = f"{repo if repo.startswith('datasets/') else f'models/{repo}'}/{commit}/{name}"
            self.send_head(307, {"Location": f"/api/resolve-cache/{path}", "Content-Length": "0"})
        else:
            self.send_file(name, repository.commits[commit][name], commit)

    def refuse(self, refusal: Refusal, commit: str = "") -> None:
        body = refusal.message.encode()
        self.send_head(
            refusal.status,
            {
                "X-Repo-Commit": commit,
                "X-Error-Code": refusal.code,
                "X-Error-Message": refusal.message,
                "Content-Type": "text/plain; charset=utf-8",
                "Content-Length": str(len(body)),
            },
        )
        if self.command == "GET":
            self.wfile.write(body)

    def send_file(self, name: str, contents: bytes, commit: str) -> None:
        wanted = self.headers.get("Range", "")
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        headers = {
            "X-Repo-Commit": commit,
            "ETag": f'"{hashlib.sha1(contents).hexdigest()}"',
            "Accept-Ranges": "bytes",
            "Content-Length": str(len(contents) - start),
        }
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(contents) - 1}/{len(contents)}"
        if name.endswith(LARGE):
            sha256 = hashlib.sha256(contents).hexdigest()
            headers |= {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(contents))}
            if self.hub.storage:
                headers |= {
                    "X-Xet-Hash": sha256,
                    "Link": f'<{self.hub.url}/api/xet-read-token/{commit}>; rel="xet-auth"',
                }
        self.send_head(206 if wanted else 200, headers)
        if self.command == "GET":
            self.send_body(contents, start, self.hub.cuts.get(name))

    def send_body(self, contents: bytes, start: int, cut: Cut | None) -> None:
        if cut is None or cut.times == 0:
            self.wfile.write(contents[start:])
            return
        cut.times -= 1
        self.wfile.write(contents[start : cut.after])
        self.close_connection = True
        if cut.reset:  # lingering for no time throws the connection away instead of ending it
            self.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))

    def send_way_to_storage(self) -> None:
        self.send_head(
            200,
            {
                "X-Xet-Cas-Url": self.hub.storage,
                "X-Xet-Access-Token": "for this file",
                "X-Xet-Token-Expiration": str(int(time.time()) + 3600),
                "Content-Length": "0",
            },
        )

    def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "X-HF-Warning": self.hub.note}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Print nothing: `HubServer.requests` is the log."""

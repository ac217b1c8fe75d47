"""Stores to read from, all on this machine: S3 by moto, the web by Python's server; and how they go wrong."""

from __future__ import annotations

import base64
import io
import logging
import socket
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import soundfile

from tests.extras import Extra

pa = Extra("pyarrow")
pq = Extra("pyarrow.parquet")

LOOPBACK = "127.0.0.1"
# Whatever proxies and profiles this machine has, tests reach their own servers with their own keys.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIATESTKEY",
    "AWS_SECRET_ACCESS_KEY": "very-secret-key",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": f"{LOOPBACK},localhost",
    "no_proxy": f"{LOOPBACK},localhost",
}


def hub_audio() -> Any:
    """The type of a column of audio, as `datasets.Audio` is stored."""
    return pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def clip(seed: int, samples: int = 4000, form: str = "WAV") -> bytes:
    """A file of noise at 16 kHz, another one for each seed."""
    file = io.BytesIO()
    noise = 0.1 * np.random.default_rng(seed).standard_normal(samples)
    soundfile.write(file, noise, 16_000, format=form)
    return file.getvalue()


def tar_of(entries: Iterable[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar with these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form, errors="surrogateescape") as tar:
        for name, data in entries:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return packed.getvalue()


def save(path: Path, data: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def save_parquet(path: Path, rows: Sequence[Any], column: str = "audio", **options: Any) -> str:
    """A Parquet with an audio column as the Hub has it, and another one."""
    table = pa.table({"label": [*map(str, range(len(rows)))], column: pa.array(rows, hub_audio())})
    pq.write_table(table, path, **options)
    return str(path)


class S3Server:
    """An S3 of its own, in this process."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address=LOOPBACK, port=0, verbose=False)
        self._server.start()
        self.port = self._server.get_host_and_port()[1]
        self.url = f"http://{LOOPBACK}:{self.port}"

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        )

    def fill(self, bucket: str, objects: dict[str, bytes]) -> str:
        """Make a bucket and put objects into it; returns its name."""
        client = self.client()
        client.create_bucket(Bucket=bucket)
        for key, data in objects.items():
            client.put_object(Bucket=bucket, Key=key, Body=data)
        return bucket

    def allow(self, actions: str) -> None:
        """After so many actions more, `inf` for never, only known users are let in, and none is known."""
        import urllib.request

        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.url}/moto-api/reset-auth", actions.encode(), plain)
        opener.open(request).close()

    def stop(self) -> None:
        self._server.stop()


class WebServer:
    """Serves a folder; some of its files not as they should be.

    Attributes:
        asked: The paths of all requests, with their queries.
        faults: What is to happen instead at a path: a status; or a function of the request and its file.
        password: What basic authorisation must say, if any: `user:password`.
    """

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        self.faults: dict[str, int | Callable[[Any, bytes], None]] = {}
        self.password: str | None = None
        self.released = threading.Event()
        web = self

        class Handler(SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web.asked.append(self.path)
                path = urlsplit(self.path).path
                if web.password is not None:
                    wanted = f"Basic {base64.b64encode(web.password.encode()).decode()}"
                    if self.headers.get("Authorization") != wanted:
                        self.send_error(401)
                        return
                fault = web.faults.get(path)
                if isinstance(fault, int):
                    self.send_error(fault)
                elif fault is not None:
                    fault(self, Path(self.translate_path(path)).read_bytes())
                else:
                    super().do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, 0), partial(Handler, directory=str(folder)))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.address = f"{LOOPBACK}:{self._server.server_port}"
        self.url = f"http://{self.address}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def cut(self, request: Any, data: bytes) -> None:
        """Promise all, send half and hang up."""
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data[: len(data) // 2])
        request.close_connection = True

    def cut_once(self, path: str) -> None:
        def cut(request: Any, data: bytes) -> None:
            del self.faults[path]
            self.cut(request, data)

        self.faults[path] = cut

    def hang(self, request: Any, data: bytes) -> None:
        """Say nothing until the test is over."""
        self.released.wait()
        request.close_connection = True

    def stop(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def cutting_proxy(port: int, sizes: list[int]) -> Iterator[str]:
    """In front of a server of this machine: hangs up after so many bytes of its answers.

    Args:
        port: Of the server.
        sizes: A number for each connection; those beyond them go through whole.

    Yields:
        Its URL.
    """
    listening = socket.create_server((LOOPBACK, 0))
    left = list(sizes)

    def pump(source: socket.socket, target: socket.socket, most: float) -> None:
        with suppress(OSError):
            while most > 0 and (data := source.recv(1 << 14)):
                target.sendall(data[: int(min(most, len(data)))])
                most -= len(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def both_ways(client: socket.socket, most: float) -> None:
        with client, socket.create_connection((LOOPBACK, port)) as server:
            asking = threading.Thread(target=pump, args=(client, server, float("inf")), daemon=True)
            asking.start()
            pump(server, client, most)
            asking.join()

    def serve() -> None:
        with suppress(OSError):  # until nobody listens any more
            while True:
                client, _ = listening.accept()
                most = left.pop(0) if left else float("inf")
                threading.Thread(target=both_ways, args=(client, most), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()

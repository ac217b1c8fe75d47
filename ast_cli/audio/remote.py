"""Recordings at addresses, such as `s3://bucket/key.wav`: what lies there, and local copies, by fsspec.

Each store finds its own credentials where its programs look for them; none is ever shown. Called from many
threads at once. fsspec is loaded when the first address is met.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

from ast_cli.audio.local import new_copy, no_room
from ast_cli.audio.suffixes import counts, found_or_failure, is_audio, suffix_of
from ast_cli.errors import EngineError, InputError, UsageError
from ast_cli.extras import install
from ast_cli.names import WEB, Name, parse_name
from ast_cli.results import FileFailure
from ast_cli.text import shorten

CONNECT_SECONDS = 10
READ_SECONDS = 30  # without a byte, after which a server is taken to hang
ATTEMPTS = 3
FIRST_PAUSE = 0.2  # seconds before the second attempt; it doubles
S3 = ("s3", "s3a")
BUCKETS = (*S3, "gs", "gcs")
# What brings a scheme's file system; but for the first, fsspec finds packages that no extra of ours brings.
INSTALL = {
    **dict.fromkeys((*WEB, *S3), install("remote")),
    **dict.fromkeys(("gs", "gcs"), "pip install 'gcsfs'"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "pip install 'adlfs'"),
    "hf": "pip install 'huggingface_hub'",
    **dict.fromkeys(("sftp", "ssh"), "pip install 'paramiko'"),
}
CREDENTIALS = {
    **dict.fromkeys(
        S3,
        "for s3 AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public bucket "
        "FSSPEC_S3_ANON=true",
    ),
    **dict.fromkeys(("gs", "gcs"), "for gs GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth login`"),
    "hf": "for hf HF_TOKEN, or `hf auth login`",
    **dict.fromkeys(WEB, "user:password@ in the address, or ~/.netrc; a signed address may have expired"),
}
# What an exception or one of its parents is called; stores have their own, and none is imported for this.
DENIED = re.compile(r"Permission|Credential|Token|Unauthorized|GatedRepo|Profile")
SLOW = re.compile(r"Timeout")
CUT = re.compile(r"Payload|IncompleteRead|ContentLength|ResponseStreaming|ServerDisconnected|ConnectionReset")
CONNECTION = re.compile(r"Connect|Connection|DNS|SSL")
MOST_CAUSE = 200  # characters of what a store says


class _ShortError(Exception):
    """Fewer bytes came than the store promised."""


def require(name: str) -> None:
    """See that what opens an address is here, before anything is fetched.

    Raises:
        EngineError: The package for its scheme is not installed.
        UsageError: There is no such scheme.
    """
    _system(parse_name(name).scheme)


def discover(text: str, passed_over: Counter[str]) -> Iterator[str | FileFailure]:
    """What lies at an address: itself; of a folder, or where it has `*`, all that counts, by name.

    Args:
        text: A folder ends in a slash. One without a suffix is asked for, but on the web.
        passed_over: Counts by suffix what folders hold beside recordings.

    Yields:
        Addresses of recordings and shards; or the failure of a folder that cannot be listed or holds none.

    Raises:
        EngineError: The package for its scheme is not installed.
        UsageError: There is no such scheme.
    """
    name = parse_name(text)
    system = _system(name.scheme)
    if name.bare.endswith("://"):
        nothing = InputError("not-found", "nothing is named", f"{name.scheme}://bucket/folder/")
        yield FileFailure.of(text, nothing)
        return
    try:
        # In a bucket, what means something in patterns may be part of a key.
        if name.has_glob and (name.is_web or not system.exists(_path(system, name))):
            found = _globbed(system, name, passed_over)
        elif name.bare.endswith("/") or (
            not (is_audio(name.bare) or name.is_shard or name.is_web) and _is_folder(system, name)
        ):
            found = _walk(system, name.bare.removesuffix("/"), passed_over)
        else:
            yield text
            return
    except Exception as error:
        yield FileFailure.of(text, input_error(text, error))
        return
    yield from found_or_failure(found, text, "address")


def fetch(name: str) -> IO[bytes]:
    """A local copy of a file: it has a descriptor and no name, and goes when it is closed.

    What is cut off in the middle, answers too late or not at all is tried again some times.

    Raises:
        InputError: It is not there, may not be read, or does not come through whole.
        EngineError: The package for its scheme is not installed.
        UsageError: There is no such scheme.
    """
    scheme = parse_name(name).scheme
    system = _system(scheme)
    copy = new_copy()
    try:
        # s3fs goes on by itself where it was cut off.
        attempts = 1 if scheme in S3 else ATTEMPTS
        for attempt in range(attempts):
            error = _copied(system, name, copy)
            if error is None:
                break
            if attempt + 1 == attempts or not _may_pass(error):
                raise input_error(name, error)
            time.sleep(FIRST_PAUSE * 2**attempt)
        copy.seek(0)
        return copy
    except BaseException:
        copy.close()
        raise


def _copied(system: Any, name: str, copy: IO[bytes]) -> Exception | None:
    """Copy a file anew; returns what went wrong."""
    from fsspec.callbacks import Callback

    copy.seek(0)
    copy.truncate()
    told, parsed = Callback(), parse_name(name)
    # Some stores open what they write to themselves, as Python's `open` does, which takes a descriptor too.
    opens = system.async_impl and not parsed.is_web
    target: Any = os.dup(copy.fileno()) if opens else None
    try:
        if opens:
            system.get_file(_path(system, parsed), target, callback=told)
        else:  # buffered: it writes all that it is given
            with open(copy.fileno(), "rb+", closefd=False) as buffered:
                system.get_file(_path(system, parsed), buffered, callback=told)
    except Exception as error:
        return error
    finally:
        with suppress(OSError):  # it closed it, unless it did not come so far
            if opens and os.path.sameopenfile(target, copy.fileno()):
                os.close(target)
    size = os.fstat(copy.fileno()).st_size
    if told.size is not None and told.size != size:
        return _ShortError(f"{size:,} of {told.size:,} bytes came")
    return None


_systems: dict[str, Any] = {}
_systems_lock = threading.Lock()


def _forget() -> None:
    """A connection must not outlive a fork, and a lock may be held in the other process."""
    global _systems_lock
    _systems.clear()
    _systems_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _system(scheme: str) -> Any:
    """The file system for a scheme; one serves all threads where it can, which keeps connections open."""
    known = _systems.get(scheme)
    if known is not None:
        return known
    with _systems_lock:
        if scheme in _systems:
            return _systems[scheme]
        try:
            import fsspec

            try:
                kind = fsspec.get_filesystem_class(scheme)
            except ValueError:
                raise UsageError(
                    f"no such scheme: {scheme}://", "Schemes are s3, gs, https, hf and others of fsspec's"
                ) from None
            if not kind.async_impl:
                return kind(**_options(scheme))  # of this thread
            system = kind(**_options(scheme), skip_instance_cache=True)
        except ImportError as error:
            remedy = INSTALL.get(scheme, "fsspec's documentation names it")
            raise EngineError(f"{scheme}:// needs a package that is not installed", remedy) from error
        except (TypeError, ValueError) as error:  # it wants more than an address can say
            raise UsageError(
                f"{scheme}:// cannot be opened by its address alone", _scrubbed(error, "")
            ) from None
        if scheme in S3:
            system.retries = ATTEMPTS
        _systems[scheme] = system
        return system


def _options(scheme: str) -> dict[str, Any]:
    """What a file system is made with: nobody waits for ever, and lists do not stay in memory."""
    if scheme in S3:
        retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
        waits = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS, "retries": retries}
        # Several parts of a file at a time would be held in memory.
        return {"config_kwargs": waits, "max_concurrency": 1, "use_listings_cache": False}
    if scheme in WEB:
        import aiohttp

        waiting = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
        # As it is stored: packed on the way, its length would tell nothing. And by this machine's proxies.
        as_it_is = {"Accept-Encoding": "identity"}
        return {"client_kwargs": {"timeout": waiting, "headers": as_it_is, "trust_env": True}}
    return {}


def _path(system: Any, name: Name) -> str:
    """An address as its file system takes it."""
    if name.scheme in BUCKETS and "@" in _below_scheme(name).partition("/")[0]:
        what = "user and password mean nothing in this address"
        raise InputError("unreadable", what, f"Name them elsewhere: {_credentials(name.scheme)}")
    return str(system._strip_protocol(name.text))


def _below_scheme(name: Name) -> str:
    return name.text.partition("://")[2]


def _is_folder(system: Any, name: Name) -> bool:
    path = _path(system, name)
    if name.scheme not in S3:
        return bool(system.isdir(path))
    bucket, _, key = path.partition("/")  # `isdir` would list all that lies below
    page = system.call_s3("list_objects_v2", Bucket=bucket, Prefix=f"{key}/" if key else "", MaxKeys=1)
    return not key or bool(page.get("KeyCount"))


def _walk(system: Any, folder: str, passed_over: Counter[str]) -> Iterator[str | FileFailure]:
    """What counts in a folder and below, by name, as a local walk has it.

    Args:
        system: Of its scheme.
        folder: Its address without the last slash.
        passed_over: See `discover`.
    """
    name = parse_name(folder)
    try:
        listed = _s3_entries(system, name) if name.scheme in S3 else _entries(system, name)
        entries = []
        for below, is_file in listed:
            if below.startswith(".") or (is_file and not below):  # a key that ends in a slash marks a folder
                continue
            if not is_file or counts(below):
                entries.append((below, is_file))
            else:
                passed_over[suffix_of(below)] += 1
    except Exception as error:
        yield FileFailure.of(f"{folder}/", input_error(folder, error))
        return
    for below, is_file in sorted(entries):
        if is_file:
            yield f"{folder}/{below}"
        else:
            yield from _walk(system, f"{folder}/{below}", passed_over)


def _s3_entries(system: Any, folder: Name) -> Iterator[tuple[str, bool]]:
    """Name of each entry, and whether it is a file, page by page: what does not count is not kept."""
    bucket, _, key = _below_scheme(folder).partition("/")
    prefix = f"{key}/" if key else ""
    page: dict[str, Any] = {"NextContinuationToken": None}
    empty = True
    while (token := page.get("NextContinuationToken", "")) != "":
        more = {"ContinuationToken": token} if token else {}
        page = system.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter="/", **more)
        for one in page.get("CommonPrefixes", ()):
            empty = False
            yield one["Prefix"][len(prefix) : -1], False
        for one in page.get("Contents", ()):
            empty = False
            yield one["Key"][len(prefix) :], True
    if empty:
        raise FileNotFoundError(folder.text)


def _entries(system: Any, folder: Name) -> Iterator[tuple[str, bool]]:
    path = _path(system, parse_name(f"{folder.text}/")).rstrip("/")
    for one in system.ls(f"{path}/" if folder.is_web else path, detail=True):
        below = str(one["name"]).rstrip("/")
        # A page of the web links to elsewhere, too.
        if below.startswith(f"{path}/") and not re.search("[?#/]", base := below[len(path) + 1 :]):
            yield base, one["type"] != "directory"


def _globbed(system: Any, name: Name, passed_over: Counter[str]) -> Iterator[str | FileFailure]:
    """What a pattern stands for: files that count, or have the suffix that it names; and folders, walked."""
    pattern = _path(system, name)
    named = os.path.splitext(pattern)[1]
    try:
        found: dict[str, Any] = system.glob(pattern, detail=True)
    except Exception as error:
        yield FileFailure.of(name.text, input_error(name.text, error))
        return
    head = "" if name.is_web else f"{name.text[: len(name.scheme)]}://"
    fixed = len(re.split(r"[*?\[]", pattern, maxsplit=1)[0])
    for path, about in sorted(found.items(), key=lambda one: one[0].split("/")):
        if "/." in path[max(0, fixed - 1) :] and "/." not in pattern:
            continue  # hidden, and not asked for
        if about["type"] == "directory":
            if "**" not in pattern:  # which finds what is below by itself
                yield from _walk(system, f"{head}{path.rstrip('/')}", passed_over)
        elif counts(path) or parse_name(path).is_shard or os.path.splitext(path)[1] == named:
            yield f"{head}{path}"
    if not found:
        nothing = InputError("not-found", "nothing has such a name", "Check the spelling")
        yield FileFailure.of(name.text, nothing)


def input_error(name: str, error: BaseException) -> InputError:
    """What a store's exception means for a recording or folder, without what must not be shown."""
    if isinstance(error, InputError):
        return error
    scheme = parse_name(name).scheme
    status = getattr(error, "status", None) or getattr(error, "code", None)
    kinds = " ".join(kind.__name__ for kind in type(error).__mro__ if kind not in (Exception, OSError))
    remedy = "Try again later"
    if (full := no_room(error)) is not None:
        return full
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        what = "no such bucket" if "bucket does not exist" in str(error) else "nothing is at this address"
        return InputError("not-found", what, "Check the spelling")
    if isinstance(error, PermissionError) or status in (401, 403, 407) or DENIED.search(kinds):
        cause = f"access denied ({status})" if status else "access denied"
        remedy = f"Check the credentials: {_credentials(scheme)}"
    elif isinstance(error, TimeoutError) or SLOW.search(kinds):
        cause = "the server does not answer in time"
    elif isinstance(error, _ShortError) or CUT.search(kinds):
        cause = f"the connection was cut: {_scrubbed(error, name)}"
    elif isinstance(status, int) and status >= 300:
        cause = f"the server answers {status} {getattr(error, 'message', '')}".rstrip()
        remedy = remedy if status >= 500 else ""
    elif isinstance(error, ConnectionError) or CONNECTION.search(kinds):
        number = getattr(getattr(error, "os_error", error), "errno", None)
        cause = f"no connection: {os.strerror(number) if number else _scrubbed(error, name)}"
        remedy = "Is the address right, and the network up?"
    else:
        cause, remedy = f"cannot be fetched: {_scrubbed(error, name)}", ""
    return InputError("unreadable", cause, remedy)


def _may_pass(error: Exception) -> bool:
    """Whether another attempt may end otherwise."""
    status = getattr(error, "status", None)
    if isinstance(status, int) and status >= 300:
        return status >= 500 or status == 429
    kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
    return isinstance(error, _ShortError | TimeoutError | ConnectionError) or any(
        kind.search(kinds) for kind in (SLOW, CUT, CONNECTION)
    )


def _credentials(scheme: str) -> str:
    return CREDENTIALS.get(scheme, f"those of {scheme}, where its own programs look for them")


def _scrubbed(error: BaseException, name: str) -> str:
    """What an exception says, in one line, without what `Name.shown` takes out of the address."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"[A-Za-z][A-Za-z0-9+.-]+://[^\s'\"<>]+", lambda found: parse_name(found[0]).shown, text)
    shown = parse_name(name).shown
    for secret in re.split(r"[/?#&=:@]", name):
        if len(secret) > 3 and secret not in shown:
            text = text.replace(secret, "…")
    return shorten(text.rstrip("."), MOST_CAUSE)

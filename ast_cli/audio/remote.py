"""Recordings at addresses, such as `s3://bucket/key.wav`: what lies there, and local copies, by fsspec.

Each store finds its own credentials where its programs look for them; none is ever shown. Called from many
threads at once. fsspec is loaded when the first address is met.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from typing import IO, Any

from ast_cli.audio.sorting import FILE, FOLDER, sorted_entries
from ast_cli.audio.suffixes import counts, is_audio, no_audio
from ast_cli.errors import EngineError, InputError, UsageError
from ast_cli.names import WEB, has_glob, is_shard, scheme_of, without_query, without_secrets
from ast_cli.results import FileFailure

CONNECT_SECONDS = 10
READ_SECONDS = 30  # without a byte, after which a server is taken to hang
ATTEMPTS = 3
FIRST_PAUSE = 0.2  # seconds before the second attempt; it doubles
S3 = ("s3", "s3a")
BUCKETS = (*S3, "gs", "gcs")
PACKAGES = {
    **dict.fromkeys(("http", "https", *S3), "ast-cli[remote]"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs"),
    "hf": "huggingface_hub",
    "sftp": "paramiko",
    "ssh": "paramiko",
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
    _system(scheme_of(name))


def discover(name: str) -> Iterator[str | FileFailure]:
    """What lies at an address: itself; of a folder, or where it has `*`, all that counts, by name.

    Args:
        name: A folder ends in a slash. One without a suffix is asked for, but on the web.

    Yields:
        Addresses of recordings and shards; or the failure of a folder that cannot be listed or holds none.

    Raises:
        EngineError: The package for its scheme is not installed.
        UsageError: There is no such scheme.
    """
    scheme = scheme_of(name)
    system = _system(scheme)
    bare = without_query(name)[0]
    if bare.endswith("://"):
        yield FileFailure.of(name, InputError("not-found", "nothing is named", f"{scheme}://bucket/folder/"))
        return
    try:
        # In a bucket, what means something in patterns may be part of a key.
        if has_glob(name) and (scheme in WEB or not system.exists(_path(system, name))):
            found = _globbed(system, name)
        elif bare.endswith("/") or (not _has_suffix(bare) and scheme not in WEB and _is_folder(system, name)):
            found = _walk(system, bare.removesuffix("/"))
        else:
            yield name
            return
    except Exception as error:
        yield FileFailure.of(name, input_error(name, error))
        return
    empty = True
    for one in found:
        empty = False
        yield one
    if empty:
        yield FileFailure.of(name, no_audio("address"))


def fetch(name: str) -> IO[bytes]:
    """A local copy of a file: it has a descriptor and no name, and goes when it is closed.

    What is cut off in the middle, answers too late or not at all is tried again some times.

    Raises:
        InputError: It is not there, may not be read, or does not come through whole.
        EngineError: The package for its scheme is not installed.
        UsageError: There is no such scheme.
    """
    scheme = scheme_of(name)
    system = _system(scheme)
    copy = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 — the caller closes it
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
    told = Callback()
    try:
        # By the name of the descriptor: some stores take nothing but names.
        system.get_file(_path(system, name), f"/dev/fd/{copy.fileno()}", callback=told)
    except Exception as error:
        return error
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
    install = f"pip install '{PACKAGES[scheme]}'" if scheme in PACKAGES else "fsspec's documentation names it"
    with _systems_lock:
        if scheme in _systems:
            return _systems[scheme]
        try:
            import fsspec

            kind = fsspec.get_filesystem_class(scheme)
        except ImportError as error:
            what = f"{scheme}:// needs a package that is not installed"
            raise EngineError(what, install) from error
        except ValueError:
            raise UsageError(
                f"no such scheme: {scheme}://", "Schemes are s3, gs, https, hf and others of fsspec's"
            ) from None
        try:
            if not kind.async_impl:
                return kind(**_options(scheme))  # of this thread
            system = kind(**_options(scheme), skip_instance_cache=True)
        except ImportError as error:
            raise EngineError(f"{scheme}:// needs a package that is not installed", install) from error
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


def _path(system: Any, name: str) -> str:
    """An address as its file system takes it."""
    scheme = scheme_of(name)
    if scheme in BUCKETS and "@" in name[len(scheme) + 3 :].partition("/")[0]:
        what = "user and password mean nothing in this address"
        raise InputError("unreadable", what, f"Name them elsewhere: {_credentials(scheme)}")
    return str(system._strip_protocol(name))


def _has_suffix(bare: str) -> bool:
    return is_audio(bare) or is_shard(bare)


def _is_folder(system: Any, name: str) -> bool:
    path = _path(system, name)
    if scheme_of(name) not in S3:
        return bool(system.isdir(path))
    bucket, _, key = path.partition("/")  # `isdir` would list all that lies below
    page = system.call_s3("list_objects_v2", Bucket=bucket, Prefix=f"{key}/" if key else "", MaxKeys=1)
    return not key or bool(page.get("KeyCount"))


def _walk(system: Any, folder: str) -> Iterator[str | FileFailure]:
    """What counts in a folder and below, by name, as a local walk has it.

    Args:
        system: Of its scheme.
        folder: Its address without the last slash.
    """
    try:
        listed = _s3_entries if scheme_of(folder) in S3 else _listed_entries
        entries = sorted_entries(listed(system, folder))
    except Exception as error:
        yield FileFailure.of(f"{folder}/", input_error(folder, error))
        return
    for name, kind in entries:
        if kind == FOLDER:
            yield from _walk(system, f"{folder}/{name}")
        else:
            yield f"{folder}/{name}"


def _s3_entries(system: Any, folder: str) -> Iterator[tuple[str, str]]:
    """Name and kind of what counts, page by page: a bucket may hold more than there is memory for."""
    bucket, _, key = folder[len(scheme_of(folder)) + 3 :].partition("/")
    prefix = f"{key}/" if key else ""
    page: dict[str, Any] = {"NextContinuationToken": None}
    empty = True
    while (token := page.get("NextContinuationToken", "")) != "":
        more = {"ContinuationToken": token} if token else {}
        page = system.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter="/", **more)
        found = [(one["Prefix"][len(prefix) : -1], FOLDER) for one in page.get("CommonPrefixes", ())]
        found += [(one["Key"][len(prefix) :], FILE) for one in page.get("Contents", ())]
        empty = empty and not found
        yield from _counting(found)
    if empty:
        raise FileNotFoundError(folder)


def _listed_entries(system: Any, folder: str) -> Iterator[tuple[str, str]]:
    path = _path(system, f"{folder}/").rstrip("/")
    found = []
    for one in system.ls(f"{path}/" if scheme_of(folder) in WEB else path, detail=True):
        below = str(one["name"]).rstrip("/")
        # A page of the web links to elsewhere, too.
        if below.startswith(f"{path}/") and not re.search("[?#/]", base := below[len(path) + 1 :]):
            found.append((base, FOLDER if one["type"] == "directory" else FILE))
    yield from _counting(found)


def _counting(found: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, kind in found:
        if not name.startswith(".") and (kind == FOLDER or counts(name)):
            yield name, kind


def _globbed(system: Any, name: str) -> Iterator[str | FileFailure]:
    """What a pattern stands for: files that count, or have the suffix that it names; and folders, walked."""
    scheme, pattern = scheme_of(name), _path(system, name)
    named = os.path.splitext(pattern)[1]
    try:
        found: dict[str, Any] = system.glob(pattern, detail=True)
    except Exception as error:
        yield FileFailure.of(name, input_error(name, error))
        return
    head = "" if scheme in WEB else f"{name[: len(scheme)]}://"
    fixed = len(re.split(r"[*?\[]", pattern, maxsplit=1)[0])
    for path, about in sorted(found.items(), key=lambda one: one[0].split("/")):
        if "/." in path[max(0, fixed - 1) :] and "/." not in pattern:
            continue  # hidden, and not asked for
        if about["type"] == "directory":
            if "**" not in pattern:  # which finds what is below by itself
                yield from _walk(system, f"{head}{path.rstrip('/')}")
        elif counts(path) or is_shard(path) or os.path.splitext(path)[1] == named:
            yield f"{head}{path}"
    if not found:
        yield FileFailure.of(name, InputError("not-found", "nothing has such a name", "Check the spelling"))


def input_error(name: str, error: BaseException) -> InputError:
    """What a store's exception means for a recording or folder, without what must not be shown."""
    if isinstance(error, InputError):
        return error
    scheme = scheme_of(name)
    status = getattr(error, "status", None) or getattr(error, "code", None)
    kinds = " ".join(kind.__name__ for kind in type(error).__mro__ if kind not in (Exception, OSError))
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return InputError(
            "unreadable",
            f"no room for a copy of it in {tempfile.gettempdir()}",
            "Free some space, or set TMPDIR to where there is some",
        )
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        what = "no such bucket" if "bucket does not exist" in str(error) else "nothing is at this address"
        return InputError("not-found", what, "Check the spelling")
    if isinstance(error, PermissionError) or status in (401, 403, 407) or DENIED.search(kinds):
        how = f" ({status})" if status else ""
        return InputError(
            "unreadable", f"access denied{how}", f"Check the credentials: {_credentials(scheme)}"
        )
    if isinstance(error, TimeoutError) or SLOW.search(kinds):
        return InputError("unreadable", "the server does not answer in time", "Try again later")
    if isinstance(error, _ShortError) or CUT.search(kinds):
        return InputError(
            "unreadable", f"the connection was cut: {_scrubbed(error, name)}", "Try again later"
        )
    if isinstance(status, int) and status >= 300:
        said = f"the server answers {status} {getattr(error, 'message', '')}".rstrip()
        return InputError("unreadable", said, "Try again later" if status >= 500 else "")
    if isinstance(error, ConnectionError) or CONNECTION.search(kinds):
        number = getattr(getattr(error, "os_error", error), "errno", None)
        cause = os.strerror(number) if number else _scrubbed(error, name)
        return InputError(
            "unreadable", f"no connection: {cause}", "Is the address right, and the network up?"
        )
    return InputError("unreadable", f"cannot be fetched: {_scrubbed(error, name)}")


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
    """What an exception says, in one line, without what `without_secrets` takes out of the address."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"[A-Za-z][A-Za-z0-9+.-]+://[^\s'\"<>]+", lambda found: without_secrets(found[0]), text)
    shown = without_secrets(name)
    for secret in re.split(r"[/?#&=:@]", name):
        if len(secret) > 3 and secret not in shown:
            text = text.replace(secret, "…")
    text = text.rstrip(".")
    return text if len(text) <= MOST_CAUSE else f"{text[: MOST_CAUSE - 1]}…"

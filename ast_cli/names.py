r"""What recordings are called: paths, addresses such as `s3://bucket/key.wav`, members of shards below both.

A name is text from the moment it is listed until its recording is opened, be it by another process or on
another machine. This module knows how names are spelt, and looks at no more than whether a file is there.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from urllib.parse import unquote_plus

STDIN = "-"

# A scheme has two letters at least. A file below a folder `s3:` is `./s3:/…`.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_USER = re.compile(r"://[^/?#]*@")
WEB = ("http", "https")  # where `?` begins a query; elsewhere it is part of a key
_BUCKETS = ("s3", "s3a", "gs", "gcs", "hf", "file", "memory")
# Of a query: what lets in whoever has it, and what is said beside it in signed addresses.
_SECRET = re.compile(
    r"sig|token|key|auth|secret|pass|pwd|cred|session|jwt|ticket|policy|expire|access|^(x-)?(amz|goog)"
    r"|^(code|hmac|hash|sv|st|se|sr|sp|spr|skoid|sktid|skt|ske|sks|skv|sdd|saoid|suoid|scid)$",
    re.IGNORECASE,
)
LONGEST_SHOWN = 16  # characters of a value in a query; a longer one may be a secret of any name

SHARD_SUFFIXES = (".tar", ".parquet")
_SHARD = re.compile(r"\.(?:tar|parquet)(?=/.)", re.IGNORECASE | re.DOTALL)
_IN_WEB = {"%": "%25", "?": "%3F", "#": "%23"}  # of a member below an address of the web
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"([0-9]{1,18})\.\.([0-9]{1,18})")
_PATTERN = re.compile(r"[*?\[]|\{[^{}]*(?:\.\.|,)[^{}]*\}")


def scheme_of(name: str) -> str:
    """The scheme of an address, in small letters; empty for a path."""
    found = _ADDRESS.match(name)
    return found[1].lower() if found else ""


def is_address(name: str) -> bool:
    """Whether a name is an address rather than a path."""
    return _ADDRESS.match(name) is not None


def without_query(name: str) -> tuple[str, str]:
    """An address of the web without its query and fragment, and these; any other name as it is."""
    if scheme_of(name) not in WEB:
        return name, ""
    bare = re.split(r"[?#]", name, maxsplit=1)[0]
    return bare, name[len(bare) :]


def without_secrets(name: str) -> str:
    """A name as it may be shown and stored: an address without passwords, signatures and tokens.

    What stands before `@` goes, and so do the fragment and all parameters of a query that are named like a
    secret or accompany one. Of others, long values become a digest, so that names that differ go on to.
    """
    scheme = scheme_of(name)
    if not scheme:
        return name
    name = _USER.sub("://", name)
    if scheme in _BUCKETS:
        return name
    bare, mark, query = re.split(r"#", name, maxsplit=1)[0].partition("?")
    if not mark:
        return bare
    kept = [shown for one in query.split("&") if (shown := _shown_parameter(one))]
    return f"{bare}?{'&'.join(kept)}" if kept else bare


def holds_secrets(name: str) -> bool:
    """Whether a name is opened with something that must not be shown or stored."""
    return without_secrets(name) != name


def _shown_parameter(parameter: str) -> str:
    key, _, value = parameter.partition("=")
    # What is no parameter with a value may be a secret by itself.
    if not value or len(key) > LONGEST_SHOWN or _SECRET.search(unquote_plus(key)):
        return ""
    if len(value) <= LONGEST_SHOWN:
        return parameter
    digest = hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{key}=~{digest[:8]}"


def is_shard(name: str) -> bool:
    """Whether a name is that of a shard, which holds many recordings."""
    return without_query(name)[0].lower().endswith(SHARD_SUFFIXES)


def member_name(shard: str, member: str) -> str:
    """What a recording in a shard is called: a path below it."""
    bare, query = without_query(shard)
    if scheme_of(shard) in WEB:
        member = re.sub("[%?#]", lambda found: _IN_WEB[found[0]], member)
    return f"{bare}/{member}{query}"


def shard_and_member(name: str) -> tuple[str, str] | None:
    """The shard in which a recording lies, and what it is called there; None if it lies in none.

    A path lies in a shard where a part of it is a file. Of an address that cannot be known here: the first
    part that is called like a shard is taken for one.
    """
    bare, query = without_query(name)
    remote = is_address(name)
    for found in _SHARD.finditer(bare):
        shard, member = bare[: found.end()], bare[found.end() + 1 :]
        if remote or os.path.isfile(shard):  # noqa: PTH113 — names are bytes
            if scheme_of(name) in WEB:
                member = re.sub("%(?:25|3F|23)", lambda code: chr(int(code[0][1:], 16)), member)
            return shard + query, member
    return None


def is_pattern(name: str) -> bool:
    """Whether an address stands for several by `*`, `?`, `[…]` or braces; or a path, by braces."""
    bare = without_query(name)[0]
    if is_address(name):
        return _PATTERN.search(bare) is not None
    return any(True for _ in _choices(bare)) and not os.path.lexists(name)


def has_glob(name: str) -> bool:
    """Whether an address has `*`, or one of a store `?` or `[`, which stand for themselves on the web."""
    bare = without_query(name)[0]
    return "*" in bare or (scheme_of(name) not in WEB and ("?" in bare or "[" in bare))


def in_braces(name: str) -> Iterator[str]:
    """The names that one with braces stands for, as webdataset has them: `{000..009}`, `{train,test}`.

    A name without them is itself, and so is the path of a file that is called just that.
    """
    if "{" not in name or (not is_address(name) and os.path.lexists(name)):
        yield name
    else:
        yield from _expanded(name)


def _expanded(name: str) -> Iterator[str]:
    for start, end, choices in _choices(name):
        for choice in choices:
            for rest in _expanded(name[end:]):
                yield name[:start] + choice + rest
        return
    yield name


def _choices(name: str) -> Iterator[tuple[int, int, Iterator[str]]]:
    for found in _BRACES.finditer(name):
        if ends := _RANGE.fullmatch(found[1]):
            yield found.start(), found.end(), _numbers(ends[1], ends[2])
        elif "," in found[1]:
            yield found.start(), found.end(), iter(found[1].split(","))


def _numbers(first: str, last: str) -> Iterator[str]:
    padded = any(one != "0" and one.startswith("0") for one in (first, last))
    width = max(len(first), len(last)) if padded else 0
    step = 1 if int(first) <= int(last) else -1
    return (f"{number:0{width}}" for number in range(int(first), int(last) + step, step))


def may_be_many(name: str) -> bool:
    """Whether a name that was given may stand for more than one recording."""
    if is_pattern(name):
        return True
    if is_address(name):
        bare = without_query(name)[0]
        inside = shard_and_member(name) is not None
        is_folder = bare.endswith("/") or (scheme_of(name) not in WEB and not os.path.splitext(bare)[1])  # noqa: PTH122
        return is_folder or (is_shard(name) and not inside)
    return os.path.isdir(name) or (is_shard(name) and os.path.isfile(name))  # noqa: PTH112, PTH113


def is_there(name: str) -> bool:
    """Whether a recording is there, as far as can be told without a network: what is at an address may be."""
    return is_address(name) or os.path.isfile(name) or shard_and_member(name) is not None  # noqa: PTH113


def tree_path(name: str) -> str:
    """The absolute path of a name, by which places in trees are found; no two recordings share one.

    An address stands below its scheme, as `/s3:/bucket/key.wav`. Its key is no path: parts that mean
    something in one get `%` in front, and so do those that begin with `%`.
    """
    if not is_address(name):
        return os.path.abspath(name)  # noqa: PTH100 — links stay as they were named
    scheme, _, rest = without_secrets(name).partition("://")
    odd = ("", ".", "..")
    parts = [f"%{part}" if part in odd or part.startswith("%") else part for part in rest.split("/")]
    return "/".join(("", f"{scheme.lower()}:", *parts))


def tree_folder(name: str) -> str:
    """The path, as `tree_path` tells it, of the folder in which all lies that a given name stands for."""
    if is_pattern(name):
        begin = len(f"{scheme_of(name)}://") if is_address(name) else 0
        found = _PATTERN.search(name, begin)
        first = found.start() if begin and found else next(_choices(name))[0]
        name = name[: max(begin, name.rfind("/", begin, first) + 1)]
        if not begin:
            return tree_path(name or ".")
    if is_address(name):
        bare = without_query(name)[0].rstrip("/")
        is_folder = name.endswith("/") and "://" in bare
        return tree_path(bare) if is_folder else os.path.dirname(tree_path(bare))  # noqa: PTH120
    return tree_path(name) if os.path.isdir(name) else os.path.dirname(tree_path(name))  # noqa: PTH112, PTH120

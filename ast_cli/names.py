r"""What recordings are called: paths, addresses such as `s3://bucket/key.wav`, members of shards below both.

A name is text from the moment it is listed until its recording is opened, perhaps by another process or on
another machine; `parse_name` takes it apart. This module looks at no more of the disk than whether a file is
there.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_plus

STDIN = "-"

# A scheme has two letters at least. A file below a folder `s3:` is `./s3:/…`.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_USER = re.compile(r"://[^/?#]*@")
WEB = ("http", "https")  # where `?` begins a query; elsewhere it is part of a key
_BUCKETS = ("s3", "s3a", "gs", "gcs", "hf", "file", "memory")
# Parameters of a query that give access, and those beside them in signed addresses.
_SECRET = re.compile(
    r"sig|token|key|auth|secret|pass|pwd|cred|session|jwt|ticket|policy|expire|access|^(x-)?(amz|goog)"
    r"|^(code|hmac|hash|p|pw|pin|k|sv|st|se|sr|sp|spr|skoid|sktid|skt|ske|sks|skv|sdd|saoid|suoid|scid)$",
    re.IGNORECASE,
)
_DIGEST = re.compile(r"\?~[0-9a-f]{8}")


def _shard_pattern(system: str) -> str:
    return r"\.(?:tar|parquet)(?=[/\\].)" if system == "nt" else r"\.(?:tar|parquet)(?=/.)"


SHARD_SUFFIXES = (".tar", ".parquet")
_SHARD = re.compile(_shard_pattern(os.name), re.IGNORECASE | re.DOTALL)
_IN_WEB = {"%": "%25", "?": "%3F", "#": "%23"}  # of a member below an address of the web
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"([0-9]{1,18})\.\.([0-9]{1,18})")
_PATTERN = re.compile(r"[*?\[]|\{[^{}]*(?:\.\.|,)[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Name:
    """A name, taken apart. What can be told from the text alone is a property; methods look at the disk.

    Attributes:
        text: The whole of it.
        scheme: Of an address, in small letters; empty for a path and for standard input.
        bare: Without query and fragment, which only addresses of the web have.
        query: These two, with their marks.
    """

    text: str
    scheme: str
    bare: str
    query: str

    @property
    def is_address(self) -> bool:
        """Whether it is an address rather than a path."""
        return bool(self.scheme)

    @property
    def is_web(self) -> bool:
        """Whether it is an address of the web, where a query may follow and nothing can be listed."""
        return self.scheme in WEB

    @property
    def is_shard(self) -> bool:
        """Whether it is that of a shard, which holds many recordings."""
        return self.bare.lower().endswith(SHARD_SUFFIXES)

    @property
    def has_glob(self) -> bool:
        """Whether it has `*`, or one of a store `?` or `[`, which stand for themselves on the web."""
        return "*" in self.bare or (not self.is_web and ("?" in self.bare or "[" in self.bare))

    @property
    def shown(self) -> str:
        """The name as it may be shown and stored: of an address neither what stands before `@` nor a query.

        Whatever a query says, under whatever name, may be a secret. A digest stands for it, so that files
        that differ in it do so here; without what gives access, which may be another one tomorrow.
        """
        if not self.scheme:
            return self.text
        name = _USER.sub("://", self.text)
        if self.scheme in _BUCKETS:
            return name
        bare, _, query = name.partition("#")[0].partition("?")
        if _DIGEST.fullmatch(f"?{query}"):
            return f"{bare}?{query}"
        told = [one for one in query.split("&") if "=" in one and not _gives_access(one)]
        if not told:
            return bare
        return f"{bare}?~{hashlib.sha256('&'.join(told).encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"

    @property
    def holds_secrets(self) -> bool:
        """Whether it is opened with what gives access, as far as its parameters are called like it."""
        if not self.scheme or self.shown == self.text:
            return False
        query = self.text.partition("?")[2] if self.scheme not in _BUCKETS else ""
        return _USER.search(self.text) is not None or any(
            map(_gives_access, query.split("&") if query else ())
        )

    def of_member(self, member: str) -> str:
        """What a recording in this shard is called: a path below it."""
        if self.is_web:
            member = re.sub("[%?#]", lambda found: _IN_WEB[found[0]], member)
        return f"{self.bare}/{member}{self.query}"

    def shard_and_member(self) -> tuple[str, str] | None:
        """The shard in which the recording lies, and what it is called there; None if it lies in none.

        A path lies in a shard where a part of it is a file. Of an address that cannot be known here: the
        first part that is called like a shard is taken for one.
        """
        for found in _SHARD.finditer(self.bare):
            shard, member = self.bare[: found.end()], self.bare[found.end() + 1 :]
            if self.is_address or os.path.isfile(shard):  # noqa: PTH113 — names are bytes
                if self.is_web:
                    member = re.sub("%(?:25|3F|23)", lambda code: chr(int(code[0][1:], 16)), member)
                return shard + self.query, member
        return None

    def is_pattern(self) -> bool:
        """Whether an address stands for several by `*`, `?`, `[…]` or braces; or a path, by braces."""
        if self.is_address:
            return _PATTERN.search(self.bare) is not None
        return any(True for _ in _choices(self.bare)) and not os.path.lexists(self.text)

    def in_braces(self) -> Iterator[str]:
        """The names that one with braces stands for, as webdataset has them: `{000..009}`, `{train,test}`.

        A name without them is itself, and so is the path of a file that is called just that.
        """
        if "{" not in self.text or (not self.is_address and os.path.lexists(self.text)):
            return iter((self.text,))
        return _expanded(self.text)

    def may_be_many(self) -> bool:
        """Whether a name that was given may stand for more than one recording."""
        if self.is_pattern():
            return True
        if self.is_address:
            has_suffix = os.path.splitext(self.bare)[1]  # noqa: PTH122
            is_folder = self.bare.endswith("/") or not (self.is_web or has_suffix)
            return is_folder or (self.is_shard and self.shard_and_member() is None)
        return os.path.isdir(self.text) or (self.is_shard and os.path.isfile(self.text))  # noqa: PTH112, PTH113

    def is_there(self) -> bool:
        """Whether the recording is there, as far as can be told offline: what is at an address may be."""
        return self.is_address or os.path.isfile(self.text) or self.shard_and_member() is not None  # noqa: PTH113

    def tree_path(self) -> str:
        """The absolute path by which places in trees are found; no two recordings share one.

        An address stands below its scheme, as `/s3:/bucket/key.wav`. Its key is no path: parts that mean
        something in one get `%` in front, and so do those that begin with `%`.
        """
        if not self.is_address:
            return os.path.abspath(self.text)  # noqa: PTH100 — links stay as they were named
        parts = self.shown.partition("://")[2].split("/")
        odd = ("", ".", "..")
        parts = [f"%{part}" if part in odd or part.startswith("%") else part for part in parts]
        return "/".join(("", f"{self.scheme}:", *parts))

    def tree_folder(self) -> str:
        """The path, as `tree_path` tells it, of the folder in which all lies that a given name stands for."""
        if self.is_pattern():
            begin = len(f"{self.scheme}://") if self.is_address else 0
            found = _PATTERN.search(self.text, begin) if begin else None
            first = found.start() if found else next(_choices(self.text))[0]
            above = parse_name(
                self.text[: max(begin, max(self.text.rfind(one, begin, first) for one in ("/", os.sep)) + 1)]
                or "."
            )
            return above.tree_folder() if begin else above.tree_path()
        if self.is_address:
            bare = self.bare.rstrip("/")
            path, is_folder = parse_name(bare).tree_path(), self.text.endswith("/") and "://" in bare
        else:
            path, is_folder = self.tree_path(), os.path.isdir(self.text)  # noqa: PTH112
        return path if is_folder else os.path.dirname(path)  # noqa: PTH120


@lru_cache(maxsize=1024)  # a name is asked about at every station of its recording
def parse_name(text: str) -> Name:
    """Take a name apart."""
    found = _ADDRESS.match(text)
    scheme = found[1].lower() if found else ""
    bare = re.split("[?#]", text, maxsplit=1)[0] if scheme in WEB else text
    return Name(text, scheme, bare, text[len(bare) :])


def _gives_access(parameter: str) -> bool:
    key, _, value = parameter.partition("=")
    return not value or _SECRET.search(unquote_plus(key)) is not None


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

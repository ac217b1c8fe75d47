"""Classes: index, machine id (mid), name and place in AudioSet's tree; search and "did you mean".

Knows only the packaged tables (`data/SOURCES.md` names their sources), no checkpoint and no network.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

NEARLY_ALL = 0.9


@dataclass(frozen=True, slots=True)
class AudioSetNode:
    """One node of the AudioSet ontology.

    Attributes:
        index: Position among the 527 classes; None for a node that only groups others.
        mid: The machine id, such as `/m/0bt9lr`.
        name: The display name, such as `Dog`.
        parents: The mids of the nodes right above it; a node may have several.
    """

    index: int | None
    mid: str
    name: str
    parents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The classes of one checkpoint, in the order of its logits.

    Attributes:
        names: One name a class.
        mids: One AudioSet mid a class, empty where its name is none of AudioSet's. All are empty unless
            nearly every name is one, since a foreign checkpoint may mean something else by the same word.
    """

    names: tuple[str, ...]
    mids: tuple[str, ...]

    @classmethod
    def from_names(cls, names: Iterable[str]) -> LabelSet:
        """Look up the mids of `names`, which are in the order of the logits."""
        names = tuple(names)
        by_name = {node.name: node.mid for node in audioset_classes()}
        mids = tuple(by_name.get(name, "") for name in names)
        if sum(map(bool, mids)) < NEARLY_ALL * len(names):
            mids = ("",) * len(names)
        return cls(names, mids)

    @property
    def are_audioset(self) -> bool:
        """Whether the classes are AudioSet's, but for a few that may be spelled otherwise."""
        return any(self.mids)

    def __len__(self) -> int:
        return len(self.names)


def _read_table(name: str) -> list[dict[str, str]]:
    text = (resources.files("ast_cli") / "data" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


@cache
def audioset_nodes() -> Mapping[str, AudioSetNode]:
    """All nodes of the ontology by mid, the 527 classes first and in their order."""
    return {
        row["mid"]: AudioSetNode(
            index=int(row["index"]) if row["index"] else None,
            mid=row["mid"],
            name=row["name"],
            parents=tuple(row["parents"].split()),
        )
        for row in _read_table("audioset.tsv")
    }


@cache
def audioset_classes() -> tuple[AudioSetNode, ...]:
    """The 527 classes in the order of the logits."""
    return tuple(node for node in audioset_nodes().values() if node.index is not None)


@cache
def speech_commands_names() -> tuple[str, ...]:
    """The 35 words of Speech Commands in the order of the published checkpoint's logits."""
    return tuple(row["name"] for row in _read_table("speech_commands.tsv"))


def tree_paths(node: AudioSetNode) -> list[tuple[str, ...]]:
    """Every way from a root of the tree down to `node`, as names without the node itself."""
    if not node.parents:
        return [()]
    nodes = audioset_nodes()
    return [(*path, nodes[parent].name) for parent in node.parents for path in tree_paths(nodes[parent])]


def children(node: AudioSetNode) -> list[AudioSetNode]:
    """The nodes right below `node`, in the order of the table."""
    return [other for other in audioset_nodes().values() if node.mid in other.parents]


def search_audioset(query: str) -> list[AudioSetNode]:
    """Nodes whose name holds every word of `query`, or whose mid or index is `query`; the closest first.

    Exact names come first, then names with these very words, then names with words that begin so (`rain`
    finds Raindrop but not Train), and only if there are none, names that hold them anywhere. Upper and lower
    case are the same. A query that finds nothing gives an empty list: see `did_you_mean`.
    """
    wanted = query.casefold().strip()
    parts = wanted.split()

    def distance(node: AudioSetNode) -> int | None:
        name = node.name.casefold()
        words = re.findall(r"\w+", name)
        if wanted in (name, node.mid, str(node.index)):
            return 0
        if set(parts) <= set(words):
            return 1
        if all(any(word.startswith(part) for word in words) for part in parts):
            return 2
        return 3 if all(part in name for part in parts) else None

    found = [(near, node) for node in audioset_nodes().values() if (near := distance(node)) is not None]
    found = [pair for pair in found if pair[0] < 3] or found
    return [node for _, node in sorted(found, key=lambda pair: pair[0])]


def did_you_mean(word: str, known: Sequence[str], limit: int = 3) -> str:
    """`Did you mean A or B?` for the entries of `known` closest to `word`; empty if none is close.

    A word of a longer entry counts too: `voilin` is close to `Violin, fiddle`.
    """
    by_key: dict[str, str] = {}
    for name in known:
        words = re.findall(r"\w{4,}", name) if " " in name else []
        for key in (name, *words):
            by_key.setdefault(key.casefold(), name)
    close = difflib.get_close_matches(word.casefold(), by_key, n=2 * limit, cutoff=0.6)
    names = list(dict.fromkeys(by_key[key] for key in close))[:limit]
    return f"Did you mean {' or '.join(names)}?" if names else ""

"""Classes: index, machine id (mid), name and place in AudioSet's tree; and search.

Knows only the packaged tables (`data/SOURCES.md` names their sources), no checkpoint and no network.
"""

from __future__ import annotations

import csv
import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ast_cli.errors import UsageError
from ast_cli.text import did_you_mean

NEARLY_ALL = 0.9
SUBTREE = "/**"  # behind a class: it and all below it


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
        """Whether the classes are AudioSet's, except for a few that may be spelled differently."""
        return any(self.mids)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[str, str]:
        """Mid and name of a class."""
        return self.mids[index], self.names[index]

    def matching(self, pattern: str) -> list[int]:
        """The indices of the classes that a pattern names.

        It is a name, in upper or lower case; a mid; an index; `X/**` for a node of AudioSet's tree and all
        below it; or a glob over the names, such as `*speech*`.

        Raises:
            UsageError: It names none.
        """
        if pattern.endswith(SUBTREE):
            if not self.are_audioset:
                raise UsageError(
                    f"{pattern} names a part of AudioSet's tree, but the model has classes of its own",
                    "Use names or globs, such as 'dog*'",
                )
            mids = {
                mid for node in _nodes_called(pattern.removesuffix(SUBTREE)) for mid in descendants(node.mid)
            }
            found = [index for index, mid in enumerate(self.mids) if mid in mids]
        else:
            found = self._named(pattern)
        if not found:
            raise UsageError(f"the model has no class {pattern!r}", self._hint(pattern))
        return found

    def _named(self, pattern: str) -> list[int]:
        wanted = pattern.casefold()
        names = [name.casefold() for name in self.names]
        if wanted in names or pattern in self.mids:
            return [i for i, name in enumerate(names) if name == wanted or self.mids[i] == pattern != ""]
        if re.fullmatch("[0-9]{1,9}", pattern):
            return [int(pattern)] if int(pattern) < len(self) else []
        if any(char in pattern for char in "*?["):
            return [i for i, name in enumerate(names) if fnmatch.fnmatchcase(name, wanted)]
        return []

    def _hint(self, pattern: str) -> str:
        called = pattern.removesuffix(SUBTREE)
        for node in _nodes_called(called) if self.are_audioset else ():
            if pattern == called and descendants(node.mid) & set(self.mids):
                return f"It only groups others: {node.name}{SUBTREE} takes those"
            return "AudioSet has it, but this model does not"
        names = (*self.names, *(node.name for node in audioset_nodes().values() if pattern != called))
        return did_you_mean(called, names) or "`ast-tag labels` searches AudioSet's"

    def below(self) -> tuple[tuple[int, ...], ...]:
        """For each class itself and those below it in AudioSet's tree, as indices; UsageError if in none."""
        if not self.are_audioset:
            raise UsageError("the model's classes form no tree", "Leave --rollup out")
        index_of = {mid: index for index, mid in enumerate(self.mids) if mid}
        return tuple(
            (index, *sorted(index_of[m] for m in descendants(mid) - {mid} if m in index_of))
            if mid
            else (index,)
            for index, mid in enumerate(self.mids)
        )


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
    """Every path from a root of the tree down to `node`, as names without the node itself."""
    if not node.parents:
        return [()]
    nodes = audioset_nodes()
    return [(*path, nodes[parent].name) for parent in node.parents for path in tree_paths(nodes[parent])]


def children(node: AudioSetNode) -> list[AudioSetNode]:
    """The nodes right below `node`, in the order of the table."""
    return [other for other in audioset_nodes().values() if node.mid in other.parents]


@cache
def descendants(mid: str) -> frozenset[str]:
    """The mids of a node and of all below it."""
    found = {mid}
    for child in children(audioset_nodes()[mid]):
        found |= descendants(child.mid)
    return frozenset(found)


def _nodes_called(name: str) -> list[AudioSetNode]:
    wanted = name.casefold()
    return [
        node for node in audioset_nodes().values() if wanted in (node.name.casefold(), node.mid.casefold())
    ]


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

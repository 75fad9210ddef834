"""Results kept from prompt to prompt, by what they were made of.

A node's key says its class, its literal inputs, its own fingerprint and the keys of the nodes it is linked
to. Equal keys are one small number, so that a key is as cheap to compare as it is to nest. A fingerprint that
is not equal to itself (NaN) never finds its number again: such a node always runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from typing import Any, NamedTuple

from . import nodes
from .graph import DynamicPrompt
from .graph_utils import is_link

# Enough for any demo or test; when it is full everything is forgotten, which only costs time.
MAXIMUM_KEYS = 20_000

Fingerprint = Callable[[str], Awaitable[Any]]


class CacheEntry(NamedTuple):
    """What a node showed (None: nothing) and its outputs, each a list."""

    ui: dict[str, Any] | None
    outputs: list[Any]


class KeyBook:
    """The keys of one prompt's nodes, and the numbers that stand for keys."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._counter = itertools.count()
        self._of_node: dict[str, int] = {}
        self._dynprompt = DynamicPrompt({})
        self._fingerprint: Fingerprint | None = None

    def full(self) -> bool:
        """Whether it is time to forget."""
        return len(self._numbers) > MAXIMUM_KEYS

    def open(self, dynprompt: DynamicPrompt, fingerprint: Fingerprint) -> None:
        """Begin a prompt."""
        self._of_node = {}
        self._dynprompt, self._fingerprint = dynprompt, fingerprint

    def known(self, node_id: str) -> int | None:
        """A node's number, if it has been worked out."""
        return self._of_node.get(node_id)

    def all(self) -> list[int]:
        """The numbers of this prompt's nodes."""
        return list(self._of_node.values())

    async def number(self, node_id: str) -> int:
        """A node's number. A cycle or a missing source makes it one that nothing else has."""
        for current in self._sources_first(node_id):
            key = await self._key(current)
            self._of_node[current] = self._numbers.setdefault(key, next(self._counter))
        return self._of_node[node_id]

    def _sources_first(self, node_id: str) -> Iterator[str]:
        """The nodes without a number that a node hangs on, each after its own sources, and the node itself."""
        stack, seen = [(node_id, False)], set[str]()
        while stack:
            current, sources_done = stack.pop()
            if sources_done:
                yield current
            elif current not in seen and current not in self._of_node and self._dynprompt.has_node(current):
                seen.add(current)
                stack.append((current, True))
                stack.extend((source, False) for _, source, _ in self._dynprompt.links(current))

    async def _key(self, node_id: str) -> Hashable:
        assert self._fingerprint is not None, "open() comes first"
        node = self._dynprompt.get_node(node_id)
        own = node_id if _is_itself(nodes.NODE_CLASS_MAPPINGS[node["class_type"]]) else None
        inputs: list[Hashable] = []
        for name, value in sorted(node["inputs"].items()):
            if is_link(value):
                number = self._of_node.get(value[0])
                inputs.append((name, "link", next(self._counter) if number is None else number, value[1]))
            else:
                inputs.append((name, freeze(value)))
        return node["class_type"], freeze(await self._fingerprint(node_id)), own, tuple(inputs)


def _is_itself(node_class: type[Any]) -> bool:
    """Whether two such nodes with equal inputs still differ."""
    hidden = node_class.INPUT_TYPES().get("hidden", {})
    return bool(getattr(node_class, "NOT_IDEMPOTENT", False)) or "UNIQUE_ID" in hidden.values()


def freeze(value: Any) -> Hashable:
    """A value that can stand in a key; what can't be compared is equal to nothing."""
    if isinstance(value, (int, float, str, bytes, type(None))):
        return value
    if isinstance(value, Mapping):
        return frozenset((freeze(key), freeze(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(freeze(item) for item in value)
    return object()


class OutputCache:
    """The results by key, asked for by node of the prompt that runs or ran last."""

    def __init__(self) -> None:
        self.keys = KeyBook()
        self._entries: dict[int, CacheEntry] = {}
        self._children: dict[int, set[int]] = {}
        self._tidy = False

    async def open(self, dynprompt: DynamicPrompt, fingerprint: Fingerprint) -> None:
        """Begin a prompt: work out the keys of its nodes."""
        if self.keys.full():
            self.__init__()  # type: ignore[misc]
        self.keys.open(dynprompt, fingerprint)
        for node_id in dynprompt.original_prompt:
            await self.keys.number(node_id)
        self._tidy = False

    def drop_unused(self) -> None:
        """Drop what the prompt that runs neither has nor expands into, once: after its first step.

        With its default settings ComfyUI does so as well; a prompt whose first step fails drops nothing.
        """
        if self._tidy:
            return
        self._tidy = True
        found, used = self.keys.all(), set[int]()
        while found:
            number = found.pop()
            found.extend(self._children.get(number, set()) - used)
            used.add(number)
        self._entries = {number: entry for number, entry in self._entries.items() if number in used}
        self._children = {number: inner for number, inner in self._children.items() if number in used}

    async def add(self, node_ids: list[str], parent: str) -> None:
        """Work out the keys of nodes that an expansion has brought; they stay as long as their parent does."""
        inner = self._children.setdefault(await self.keys.number(parent), set())
        for node_id in node_ids:
            inner.add(await self.keys.number(node_id))

    async def get(self, node_id: str) -> CacheEntry | None:
        """A node's result, of this prompt or an earlier one; None: it must run."""
        return self.get_local(node_id)

    def get_local(self, node_id: str) -> CacheEntry | None:
        """The same, without waiting."""
        number = self.keys.known(node_id)
        return None if number is None else self._entries.get(number)

    async def set(self, node_id: str, entry: CacheEntry) -> None:
        """Keep a result."""
        number = self.keys.known(node_id)
        if number is not None:
            self._entries[number] = entry


class CacheSet:
    """All that outlives a prompt: outputs, and the nodes' own objects."""

    def __init__(self) -> None:
        self.outputs = OutputCache()
        self.objects: dict[tuple[str, str], Any] = {}

    def node_object(self, node_id: str, class_type: str) -> Any:
        """The instance that stands for this node, made when first asked for."""
        key = (node_id, class_type)
        if key not in self.objects:
            self.objects[key] = nodes.NODE_CLASS_MAPPINGS[class_type]()
        return self.objects[key]

    def keep_objects_of(self, dynprompt: DynamicPrompt) -> None:
        """Forget the instances of nodes that this prompt doesn't have."""
        kept = {(node_id, node["class_type"]) for node_id, node in dynprompt.original_prompt.items()}
        self.objects = {key: value for key, value in self.objects.items() if key in kept}

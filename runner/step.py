"""What is said of a prompt's progress: a sentence, and where the server tells it how far a node is."""

from __future__ import annotations


class Step(str):
    """A sentence of a prompt that runs, with its node's step and steps; null where the node tells none."""

    node: str | None
    value: float | None
    most: float | None

    def __new__(cls, text: str, node: str | None = None, value: float | None = None, most: float | None = None) -> Step:
        """The sentence, with these beside it."""
        made = super().__new__(cls, text)
        made.node, made.value, made.most = node, value, most
        return made

"""What the recorder raises of its own."""

from __future__ import annotations


class NotReadyError(RuntimeError):
    """The store is not open, or can't be."""


class AnothersPromptError(RuntimeError):
    """A prompt that is open on another server of this database, which alone may write its record."""

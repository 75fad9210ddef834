"""How functions of ComfyUI are wrapped: where they are really called, and so that no call is told twice.

Other node packs do the same. One that came first may have put a function of its own on the object itself, where it
hides that of the class; one that comes later may do so over ours, with or without calling it.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

Function = Callable[..., Any]
Wrapper = Callable[[Function], Function]
"""Makes, of a function whose first argument is the object, another one."""


class Wrapping:
    """Wraps functions, each once, and knows which calls come from within a call."""

    def __init__(self) -> None:
        self._ours: list[Any] = []
        self._calls = threading.local()

    def wrap(self, owner: Any, name: str, wrapper: Wrapper) -> None:
        """Wrap a function of a module or class. Raises AttributeError where it has none of this name."""
        original = getattr(owner, name)
        if not self._is_ours(original):
            self._set(owner, name, original, wrapper(original))

    def wrap_called(self, instance: Any, of_class: Any, name: str, wrapper: Wrapper) -> None:
        """Wrap what a call on an object comes to: the object's own function, and those of its classes.

        The object may be null, and of another class than ComfyUI's. Raises AttributeError where nobody has the name.
        """
        if instance is None:
            self.wrap(of_class, name, wrapper)
            return
        getattr(instance, name)
        for owner in type(instance).__mro__:
            if name in vars(owner):
                self.wrap(owner, name, wrapper)
        own = getattr(instance, "__dict__", {}).get(name)
        if own is not None and not self._is_ours(own):
            inner = wrapper(lambda _instance, *args, **kwargs: own(*args, **kwargs))
            self._set(instance, name, own, functools.partial(inner, instance))

    def _is_ours(self, function: Any) -> bool:
        function = getattr(function, "__func__", function)
        return any(one is function for one in self._ours)

    def _set(self, owner: Any, name: str, original: Function, function: Function) -> None:
        wrapped = functools.update_wrapper(function, original)
        setattr(owner, name, wrapped)
        self._ours.append(wrapped)

    @contextlib.contextmanager
    def call(self, *what: object) -> Iterator[bool]:
        """A call of this thread's, and what it is about. False where it comes from within one about the same."""
        calls: list[tuple[object, ...]] = self._calls.__dict__.setdefault("open", [])
        first = what not in calls
        calls.append(what)
        try:
            yield first
        finally:
            calls.pop()

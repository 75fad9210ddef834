"""What is wrapped of ComfyUI beside other packs that wrap it, too: each call is told, and told once."""

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from run_recorder.comfyui_host.wrapping import Wrapping

Layer = tuple[str, str, bool]
"""On the class or on the object; before us or after; whether it calls what it covers."""
LAYERS: list[Layer] = list(itertools.product(("class", "object"), ("before", "after"), (True, False)))
SHAPES: list[tuple[Layer, ...]] = [(one,) for one in LAYERS] + list(itertools.product(LAYERS, LAYERS))


class Queue:
    def __init__(self) -> None:
        self.items: list[Any] = []

    def put(self, item: Any) -> str:
        self.items.append(item)
        return "done"


class OfItsOwn:
    """A queue that is none of ComfyUI's."""

    def put(self, item: Any) -> str:
        return "done"


def telling(wrapping: Wrapping, told: list[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        def put(*args: Any, **kwargs: Any) -> Any:
            item = args[1] if len(args) > 1 else kwargs["item"]
            with wrapping.call("put", item) as first:
                if first:
                    told.append((args[0], item))
                return original(*args, **kwargs)

        return put

    return wrapper


def cover(queue: Any, layer: Layer) -> None:
    where, _, through = layer
    if where == "class":
        covered = type(queue).put

        def method(self: Any, item: Any) -> Any:
            return covered(self, item) if through else "covered"

        type(queue).put = method
    else:
        own = queue.put

        def function(item: Any) -> Any:
            return own(item) if through else "covered"

        queue.put = function


def test_there_are_shapes_enough() -> None:
    assert len(SHAPES) >= 60


@pytest.mark.parametrize("layers", SHAPES, ids=lambda layers: " ".join("-".join(map(str, one)) for one in layers))
def test_every_call_is_told_once_after_the_second_look_and_never_twice_before(layers: tuple[Layer, ...]) -> None:
    class Mine(Queue):
        pass

    Mine.put = lambda self, item: Queue.put(self, item)  # type: ignore[method-assign]
    queue: Any = Mine()
    wrapping, told = Wrapping(), []
    wrapper = telling(wrapping, told)
    for layer in layers:
        if layer[1] == "before":
            cover(queue, layer)
    wrapping.wrap_called(queue, Queue, "put", wrapper)
    try:
        queue.put("once")
        assert told == [(queue, "once")]
        for layer in layers:
            if layer[1] == "after":
                cover(queue, layer)
        told.clear()
        answer = queue.put("late")
        assert told in ([], [(queue, "late")])
        wrapping.wrap_called(queue, Queue, "put", wrapper)
        wrapping.wrap_called(queue, Queue, "put", wrapper)
        told.clear()
        assert queue.put("again") == answer
        assert told == [(queue, "again")]
        told.clear()
    finally:
        Queue.put = ORIGINAL  # type: ignore[method-assign]


ORIGINAL = Queue.put


def test_an_object_of_another_class_is_wrapped_where_it_is_called() -> None:
    wrapping, told = Wrapping(), []
    queue = OfItsOwn()
    wrapping.wrap_called(queue, Queue, "put", telling(wrapping, told))
    assert (queue.put("a"), told) == ("done", [(queue, "a")])


def test_without_an_object_the_class_is_wrapped() -> None:
    class Mine(Queue):
        def put(self, item: Any) -> str:
            return "mine"

    wrapping, told = Wrapping(), []
    wrapping.wrap_called(None, Mine, "put", telling(wrapping, told))
    queue = Mine()
    assert (queue.put("a"), told) == ("mine", [(queue, "a")])


def test_a_name_that_nobody_has_is_an_error() -> None:
    wrapping = Wrapping()
    for instance, of_class in ((Queue(), Queue), (None, Queue), (None, None)):
        with pytest.raises(AttributeError):
            wrapping.wrap_called(instance, of_class, "nosuch", lambda original: original)


def test_a_call_about_something_else_from_within_a_call_is_told() -> None:
    wrapping = Wrapping()
    with wrapping.call("put", "a") as outer, wrapping.call("put", "b") as other, wrapping.call("put", "a") as same:
        assert (outer, other, same) == (True, True, False)
    with wrapping.call("put", "a") as again:
        assert again


def test_threads_do_not_hide_each_others_calls() -> None:
    wrapping = Wrapping()
    seen = []

    def elsewhere() -> None:
        with wrapping.call("put", "a") as first:
            seen.append(first)

    with wrapping.call("put", "a"):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert seen == [True]


def test_what_raises_leaves_no_open_call_behind() -> None:
    wrapping = Wrapping()
    with pytest.raises(KeyError), wrapping.call("put", "a"):
        raise KeyError("a")
    with wrapping.call("put", "a") as first:
        assert first

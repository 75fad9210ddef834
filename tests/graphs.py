"""Graphs in ComfyUI's API format, and the few shapes that many tests need."""

import random
from typing import Any

Link = list[Any]


class Graph(dict[str, Any]):
    """A graph in API format. `add` numbers the node and returns a link to its first output."""

    def add(self, class_type: str, title: str | None = None, id: str | None = None, **inputs: Any) -> Link:
        node_id = id or str(len(self) + 1)
        node: dict[str, Any] = {"class_type": class_type, "inputs": inputs}
        if title is not None:
            node["_meta"] = {"title": title}
        self[node_id] = node
        return [node_id, 0]

    def image(self, batch_size: int = 1, width: int = 16, height: int = 16) -> Link:
        """An image that no earlier prompt has cached: the colour is new."""
        color = random.randrange(1 << 24)
        return self.add("EmptyImage", width=width, height=height, batch_size=batch_size, color=color)

    def save(self, images: Link, filename_prefix: Any, **more: Any) -> Link:
        return self.add("SaveImage", images=images, filename_prefix=filename_prefix, **more)

    def marker(self, **inputs: Any) -> Link:
        return self.add("WriteDoneMarker", **inputs)

    def slow(self, seconds: float, source: Link | None = None, steps: int = 20) -> Link:
        inputs = {} if source is None else {"source": source}
        return self.add("ProbeSlow", seconds=seconds, steps=steps, salt=random.random(), **inputs)


def saved(prefix: str, frames: int = 1, marker: dict[str, Any] | None = None) -> Graph:
    """One image saved under a prefix, with a marker where asked for (its inputs, perhaps none)."""
    graph = Graph()
    graph.save(graph.image(batch_size=frames), prefix)
    if marker is not None:
        graph.marker(**marker)
    return graph


def slow_then_saved(prefix: str, seconds: float, **marker: Any) -> Graph:
    """A slow node (`slow`), then a saver that hangs on it, and a marker."""
    graph = Graph()
    image = graph.image()
    slow = graph.add(
        "ProbeSlow", id="slow", source=image, seconds=seconds, steps=max(20, int(seconds * 20)), salt=random.random()
    )
    graph.add("SaveImage", id="save", images=slow, filename_prefix=prefix)
    graph.add("WriteDoneMarker", id="marker", **marker)
    return graph


def failing(prefix: str, message: str = "it broke", after_saving: bool = False, **marker: Any) -> Graph:
    """A saver behind a node that fails (or before it), and a marker."""
    graph = Graph()
    image = graph.image()
    if after_saving:
        graph.add("ProbeSilentSaver", id="early", source=image, filename_prefix=prefix, count=1)
        graph.add("ProbeSlow", id="slow", source=image, seconds=0.3, steps=2, salt=random.random())
        image = ["slow", 0]
    failed = graph.add("ProbeFail", id="fail", title="The one that fails", source=image, message=message)
    graph.add("SaveImage", id="save", images=failed, filename_prefix=prefix)
    graph.add("WriteDoneMarker", id="marker", **marker)
    return graph

"""Nodes that show what a recorder has to cope with: slow, failing, async, expanding, silent."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from . import io
from .graph_utils import GraphBuilder
from .nodes_image import save_batch
from .pictures import ImageBatch
from .progress_bar import ProgressBar

CATEGORY = "demo"


class DemoSlow(io.ComfyNode):
    """Takes its time, and tells how far it is; an interrupt stops it between two steps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Duration and steps, with a picture to pass on."""
        return io.Schema(
            node_id="DemoSlow",
            display_name="Demo: Slow",
            category=CATEGORY,
            inputs=[
                io.Image.Input("image", optional=True),
                io.Float.Input("seconds", default=2.0, min=0.0, max=3600.0, step=0.1),
                io.Int.Input("steps", default=10, min=1, max=10_000),
            ],
            outputs=[io.Image.Output(display_name="image")],
        )

    @classmethod
    def execute(cls, seconds: float, steps: int, image: ImageBatch | None = None) -> io.NodeOutput:
        """Sleep, step by step."""
        bar = ProgressBar(steps)
        for _ in range(steps):
            time.sleep(seconds / steps)
            bar.update(1)
        return io.NodeOutput(image if image is not None else ImageBatch.filled(64, 64, 1, 0))


class DemoFail(io.ComfyNode):
    """Always fails."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What to say."""
        return io.Schema(
            node_id="DemoFail",
            display_name="Demo: Fail",
            category=CATEGORY,
            inputs=[io.Image.Input("image"), io.String.Input("message", default="this node always fails")],
            outputs=[io.Image.Output(display_name="image")],
        )

    @classmethod
    def execute(cls, image: ImageBatch, message: str) -> io.NodeOutput:
        """Say it."""
        raise RuntimeError(message)


class DemoAsync(io.ComfyNode):
    """Waits without holding up others: several of them overlap."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """How long, with a picture to pass on."""
        return io.Schema(
            node_id="DemoAsync",
            display_name="Demo: Async",
            category=CATEGORY,
            inputs=[
                io.Image.Input("image"),
                io.Float.Input("seconds", default=1.0, min=0.0, max=3600.0, step=0.1),
            ],
            outputs=[io.Image.Output(display_name="image")],
        )

    @classmethod
    async def execute(cls, image: ImageBatch, seconds: float) -> io.NodeOutput:
        """Wait."""
        await asyncio.sleep(seconds)
        return io.NodeOutput(image)


class DemoExpand(io.ComfyNode):
    """Becomes a chain of other nodes, slow and inverting in turn."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """How many."""
        return io.Schema(
            node_id="DemoExpand",
            display_name="Demo: Expand",
            category=CATEGORY,
            inputs=[io.Image.Input("image"), io.Int.Input("count", default=3, min=1, max=1000)],
            outputs=[io.Image.Output(display_name="image")],
            enable_expand=True,
        )

    @classmethod
    def execute(cls, image: ImageBatch, count: int) -> io.NodeOutput:
        """Build the chain. The value itself goes in; inner nodes link to each other."""
        graph = GraphBuilder()
        carried: Any = image
        for number in range(count):
            if number % 2:
                carried = graph.node("ImageInvert", image=carried).out(0)
            else:
                carried = graph.node("DemoSlow", image=carried, seconds=0.05, steps=1).out(0)
        return io.NodeOutput(carried, expand=graph.finalize())


class DemoSilentSaver(io.ComfyNode):
    """Writes pictures and reports nothing, as some savers do."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The pictures, and where to."""
        return io.Schema(
            node_id="DemoSilentSaver",
            display_name="Demo: Silent Saver",
            category=CATEGORY,
            inputs=[io.Image.Input("images"), io.String.Input("filename_prefix", default="silent")],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: ImageBatch, filename_prefix: str) -> io.NodeOutput:
        """Write them."""
        save_batch(images, filename_prefix, {})
        return io.NodeOutput()


NODES: list[type[io.ComfyNode]] = [DemoSlow, DemoFail, DemoAsync, DemoExpand, DemoSilentSaver]

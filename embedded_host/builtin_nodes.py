"""Puts the host's own nodes where custom ones will join them."""

from __future__ import annotations

from . import nodes, nodes_demo, nodes_image


def register() -> None:
    """Register them."""
    for name, (node_class, title) in nodes_image.NODES.items():
        nodes.NODE_CLASS_MAPPINGS[name] = node_class
        nodes.NODE_DISPLAY_NAME_MAPPINGS[name] = title
    for demo in nodes_demo.NODES:
        demo.RELATIVE_PYTHON_MODULE = "embedded_host.nodes_demo"  # ComfyUI has no such nodes, and its own say "nodes"
        schema = demo.GET_SCHEMA()
        nodes.NODE_CLASS_MAPPINGS[schema.node_id] = demo
        nodes.NODE_DISPLAY_NAME_MAPPINGS[schema.node_id] = schema.display_name or schema.node_id

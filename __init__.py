"""Run Recorder: a flight recorder for ComfyUI. Everything stays on this machine.

ComfyUI loads this file from `custom_nodes`; there it installs the recorder, the routes and the nodes. Imported
anywhere else it does nothing.
"""

from __future__ import annotations

from typing import Any

from .telemetry.version import VERSION

__all__ = ["WEB_DIRECTORY", "__version__", "comfy_entrypoint"]

__version__ = VERSION
WEB_DIRECTORY = "./web/comfyui"
"""ComfyUI's page loads every script in it: one, that adds a tab to the sidebar."""


def _install() -> Any:
    """Install what this package brings; null outside ComfyUI and where another copy has done so."""
    import sys

    if "server" not in sys.modules or "execution" not in sys.modules:
        return None
    from . import comfyui_host

    if not comfyui_host.is_comfyui():
        return None
    host = comfyui_host.install()
    if host is not None:
        from .server_routes import table

        table.add_routes(sys.modules["server"].PromptServer.instance.routes, host)

        if host.settings.sentinel:
            from .sentinel import inside

            inside.start(host.recording)
    return host


_host = _install()


async def comfy_entrypoint() -> Any:
    """ComfyUI asks here for the nodes."""
    from .nodes import extension

    return extension(_host)

"""``python -m run_recorder.embedded_host``: start the host as one starts ComfyUI's main.py."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import threading

from . import builtin_nodes, custom_nodes, folders, modules, options, progress_hook
from .routes import add_host_routes
from .server import PromptServer
from .worker import prompt_worker

# Validation goes down a chain of nodes by several frames a node: with this, as far as ComfyUI's does.
RECURSION_LIMIT = 5000


def main(argv: list[str] | None = None) -> int:
    """Run until interrupted; returns the process's exit code."""
    args, unknown = options.parse(argv)
    logging.basicConfig(level=args.verbose.upper(), format="%(message)s", stream=sys.stderr)
    if unknown:
        logging.info("Flags without a meaning here: %s", " ".join(unknown))
    places = {kind: getattr(args, f"{kind}_directory") for kind in ("output", "input", "temp", "user")}
    sys.setrecursionlimit(RECURSION_LIMIT)
    folders.configure(args.base(), **places)
    modules.register()
    try:
        asyncio.run(serve(args))
    except KeyboardInterrupt:
        logging.info("\nStopped server")
    except OSError as error:
        logging.error("Cannot listen on %s port %s: %s", args.listen, args.port, error)
        return 1
    return 0


async def serve(args: options.Options) -> None:
    """Load all nodes, start the worker, and listen until told to stop."""
    loop = asyncio.get_running_loop()
    server = PromptServer(loop)
    add_host_routes(server)
    builtin_nodes.register()
    if not args.disable_all_custom_nodes:
        await custom_nodes.load_all()
    server.add_routes()
    progress_hook.install(server)
    threading.Thread(target=prompt_worker, daemon=True, args=(server.prompt_queue, server)).start()
    stopped = _stop_signal(loop)
    publishing = asyncio.create_task(server.publish_loop())
    try:
        logging.info("Starting server\n")
        await server.start(args.listen, args.port)
        await stopped.wait()
        logging.info("\nStopped server")
    finally:
        publishing.cancel()
        await server.stop()


def _stop_signal(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    stopped = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C arrives as KeyboardInterrupt
            loop.add_signal_handler(name, stopped.set)
    return stopped


if __name__ == "__main__":
    sys.exit(main())

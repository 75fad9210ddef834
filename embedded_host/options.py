"""The command line: ComfyUI's flags by their names, those that mean nothing here accepted and ignored."""

from __future__ import annotations

import argparse
from pathlib import Path

DEFAULT_PORT = 8188


class Options(argparse.Namespace):
    """What the process was started with. Custom nodes see it as ``comfy.cli_args.args``."""

    listen: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    base_directory: str | None = None
    output_directory: str | None = None
    input_directory: str | None = None
    temp_directory: str | None = None
    user_directory: str | None = None
    cpu: bool = False
    disable_auto_launch: bool = False
    disable_metadata: bool = False
    disable_all_custom_nodes: bool = False
    enable_cors_header: str | None = None
    enable_compress_response_body: bool = False
    verbose: str = "INFO"

    def base(self) -> Path:
        """The folder that holds custom_nodes, input, output, temp and user."""
        return Path(self.base_directory or Path.cwd()).resolve()


args = Options()


def _made() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="embedded_host", description="A small stand-in for ComfyUI.")
    # As ComfyUI's own: only where the person gives --listen without an address.
    parser.add_argument("--listen", nargs="?", const="0.0.0.0", default="127.0.0.1", metavar="ADDRESS")  # noqa: S104  # nosec B104
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes any free port")
    for name in ("base", "output", "input", "temp", "user"):
        parser.add_argument(f"--{name}-directory", default=None)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--disable-auto-launch", action="store_true")
    parser.add_argument("--disable-metadata", action="store_true")
    parser.add_argument("--disable-all-custom-nodes", action="store_true")
    parser.add_argument("--enable-cors-header", nargs="?", const="*", default=None, metavar="ORIGIN")
    parser.add_argument("--enable-compress-response-body", action="store_true")
    parser.add_argument("--verbose", nargs="?", const="DEBUG", default="INFO")
    return parser


parser = _made()
"""Custom nodes see it as ``comfy.cli_args.parser``."""


def parse(argv: list[str] | None = None) -> tuple[Options, list[str]]:
    """Fill ``args`` from the command line; returns it and the flags that this host doesn't know."""
    _, unknown = parser.parse_known_args(argv, namespace=args)
    return args, unknown

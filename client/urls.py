"""What may name a server."""

from __future__ import annotations

from urllib.parse import urlsplit

DEFAULT_URL = "http://127.0.0.1:8188"
"""Where ComfyUI listens unless it is told otherwise."""


def checked_url(url: str) -> str:
    """A server's URL without a slash at its end; http:// where it has no scheme. Raises ValueError for what is none."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"{url!r} is no http(s) URL, such as {DEFAULT_URL}")
    return parts.geturl().rstrip("/")

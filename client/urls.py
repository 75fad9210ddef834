"""What may name a server, and the password that such a name may bring: used, and said to nobody.

A URL's user and password are taken out of it where it comes in, and kept in this process' memory alone: so no message,
no file of a run and no process' arguments made from it hold them.
"""

from __future__ import annotations

import base64
import ipaddress
import socket
from urllib.parse import SplitResult, unquote, urlsplit

from ..telemetry.process.redact import KEY

DEFAULT_URL = "http://127.0.0.1:8188"
"""Where ComfyUI listens unless it is told otherwise."""
_LOGONS: dict[tuple[str, str], str] = {}
"""By scheme and place the `Authorization` that a URL of this process' command line or settings brought."""


def checked_url(url: str) -> str:
    """A server's URL without a slash at its end; http:// where it has no scheme. Raises ValueError for what is none.

    A query or a fragment is no part of one: what is asked for would stand behind it.
    """
    parts = _split(url)
    if parts is None or parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError(f"{shown_url(url)!r} is no http(s) URL, such as {DEFAULT_URL}")
    return _without_logon(parts).rstrip("/")


def address_of(url: str) -> str | None:
    """An address of any http(s) server, as it stands but for its user and password; null for what is none."""
    parts = _split(url)
    return None if parts is None else _without_logon(parts)


def logon_of(url: str) -> dict[str, str]:
    """The header that carries the user and password which came with this server's URL; nothing where none did."""
    parts = urlsplit(url)
    logon = _LOGONS.get((parts.scheme, parts.netloc))
    return {"Authorization": logon} if logon is not None else {}


def has_logon(url: str) -> bool:
    """Whether a URL as it was given names a user."""
    parts = _split(url)
    return parts is not None and "@" in parts.netloc


def shown_url(url: str) -> str:
    """Whatever was given for a URL, as a message may have it: without a user, a password, and what a query may hold."""
    told, at, place = url.rpartition("@")
    if at:
        scheme, has_scheme, _ = told.partition("://")
        place = f"{scheme}://{KEY}@{place}" if has_scheme else f"{KEY}@{place}"
    place, query, value = place.partition("?")
    return place + (f"{query}{KEY}" if value else query)


def is_local(url: str) -> bool:
    """Whether a server is on this machine, as far as its URL says: a loopback address or this machine's own name."""
    host = urlsplit(url).hostname or ""
    if host in ("localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if good else None


def _without_logon(parts: SplitResult) -> str:
    info, at, place = parts.netloc.rpartition("@")
    if at:
        user, _, password = info.partition(":")
        told = ":".join(unquote(one, errors="surrogateescape") for one in (user, password))
        in_base64 = base64.b64encode(told.encode("utf-8", "surrogateescape"))
        _LOGONS[parts.scheme, place] = f"Basic {in_base64.decode()}"
    return parts._replace(netloc=place).geturl()

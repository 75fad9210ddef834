"""The request's Host: a page that makes its own name point at this machine (DNS rebinding) is refused.

A browser lets a page talk to any server under the page's own name. Where that name has just been made to mean
127.0.0.1, only the Host header still tells the page from the person whose browser it is.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from collections.abc import Callable, Sequence

from aiohttp import web

from ..telemetry.process.problems import Problems
from .route import ApiError

VARIABLE = "RUN_RECORDER_ALLOWED_HOSTS"
PROBLEM = "a strange host"
_LABEL = r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
_NAME = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*|\[?[0-9a-f:.]*:[0-9a-f:.]*\]?")
"""A host's name, perhaps below any other, or an address; without a scheme, a port or a path."""
CHANGES = frozenset(("POST", "PUT", "PATCH", "DELETE"))


class HostCheck:
    """Whether a request may come under the name that it names."""

    def __init__(
        self, loopback_only: Callable[[], bool | None], problems: Problems, allowed: Sequence[str] = ()
    ) -> None:
        """`loopback_only` tells whether ComfyUI listens on loopback addresses alone; null while that isn't known.

        `allowed`: names in lower case, without a port; `*.` begins any name below one.
        """
        self._loopback_only = loopback_only
        self._problems = problems
        wrong = [one for one in allowed if not _NAME.fullmatch(one)]
        self._allowed = ["" if one in wrong else one.strip("[]") for one in allowed]
        """An empty one accepts nothing, and still says that not all are accepted."""
        if wrong:
            hint = f"{VARIABLE}: {', '.join(map(repr, wrong))} is no host's name or address, so it accepts nothing"
            problems.report(f"setting {VARIABLE}", hint)

    def check(self, request: web.Request) -> None:
        """Raises ApiError 403 for a Host that isn't accepted; a request without one comes from no browser."""
        names = [name_of(value) for value in request.headers.getall("Host", ())]
        allowed = self._allowed
        if allowed or self._loopback_only():
            for name in names:
                if not (_is_local(name) or is_allowed(name, allowed)):
                    raise ApiError(403, "forbidden", f"this server is not asked by that Host; {VARIABLE} accepts more")
        elif request.method in CHANGES and any(not (_is_address(name) or _is_this_machine(name)) for name in names):
            hint = (
                "a request that changes something came under a name that is not this machine's: name those that "
                f"are accepted in {VARIABLE}, and set RUN_RECORDER_TOKEN"
            )
            self._problems.report(PROBLEM, hint, passing=True)


def is_allowed(name: str, allowed: Sequence[str]) -> bool:
    """Whether a name is one of these, or below one that begins with `*.`."""
    return any(name == one or (one.startswith("*.") and name.endswith(one[1:])) for one in allowed if one)


def name_of(header: str) -> str:
    """The name or address in a Host header, without its port, its brackets and a final dot, in lower case."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0].rstrip(".") if name.count(":") == 1 else name.rstrip(".")


def _is_address(name: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return False


def _is_local(name: str) -> bool:
    if name == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return False


def _is_this_machine(name: str) -> bool:
    own = socket.gethostname().lower()
    return name in ("localhost", own, own.partition(".")[0])

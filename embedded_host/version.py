"""The version that the host tells: whose behaviour it follows, and that it isn't the real one."""

from __future__ import annotations

__version__ = "0.33.0+embedded"

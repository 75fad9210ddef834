"""This package's version, the one in `pyproject.toml`."""

VERSION = "0.1.0"

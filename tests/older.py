"""Databases as an older version of the package left them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from run_recorder.telemetry.store import migrations


@contextmanager
def older(revision: str) -> Iterator[None]:
    """This version knows no revision after the given one, so that a database that is opened meanwhile is as old."""
    known = [one.revision for one in migrations.REVISIONS].index(revision) + 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "REVISIONS", migrations.REVISIONS[:known])
        patch.setattr(migrations, "HEAD", revision)
        yield

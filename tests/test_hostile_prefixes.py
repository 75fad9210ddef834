"""10,000 hostile prefixes: each is refused, or its marker stands in the output folder and nowhere else."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from run_recorder.telemetry.markers.file import MarkerError, MarkerPlace, make_marker, write_marker
from run_recorder.telemetry.markers.prefix import PrefixError, check_prefix, parse_prefix, resolve_tokens

from .test_markers import HOSTILE

ATTACKS = [
    *HOSTILE,
    "..",
    ".",
    "",
    "/",
    "\\",
    "....//x",
    "..;/x",
    "%2e%2e/x",
    "%2e%2e%2fx",
    "..%c0%afx",
    "a/..",
    "a/./../../x",
    "~/x",
    "~root/x",
    "$HOME/x",
    "file:///etc/x",
    "\\\\?\\C:\\x",
    "\\\\.\\nul",
    "a:stream",
    "a::$DATA",
    "CON.txt",
    "aux.done",
    "lpt¹",
    "a\nb",
    "a\rb",
    "\x7f",
    "\u202ea",
    "\u2025/x",
    "．．/x",
    "a\u2215b",
    "\ud800",
    "-rf",
    "--help",
    "`id`",
    "$(id)",
    "a;id",
    "a|id",
    "<script>",
    "%n%s%x",
    "%year%/../../x",
    "%prompt_id%/../x",
    ".hidden",
    " leading",
    "link/x",
    "link/../x",
    "inside/x",
    "loop/x",
    "file/x",
    "dangling/x",
    "deep/" * 100 + "x",
    "x" * 255,
    "😀" * 80,
]
PIECES = st.sampled_from(
    [
        *("..", ".", "", "/", "\\", "//", "../", "..\\", "a", "etc", "C:", "con", "nul.txt", "\0", " ", "~"),
        *("link", "loop", "dangling", "inside", "file", "%year%", "%prompt_id%", "%width%", "%date:yyyy%"),
        *("é", "😀", "\u202e", "x" * 120),
    ]
)
PREFIXES = st.one_of(
    st.lists(PIECES, max_size=8).map("".join),
    st.lists(PIECES, max_size=6).map("/".join),
    st.lists(st.one_of(PIECES, st.text(max_size=4)), max_size=6).map("".join),
    st.text(max_size=60),
    st.sampled_from(ATTACKS),
)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An output folder with links in it that lead out, round in a circle, nowhere, and back inside."""
    base = tmp_path_factory.mktemp("hostile")
    output = base / "output"
    (output / "real").mkdir(parents=True)
    (base / "outside").mkdir()
    (output / "file").write_text("a file")
    for name, target in (("link", base / "outside"), ("loop", output / "loop"), ("dangling", base / "gone")):
        (output / name).symlink_to(target)
    (output / "inside").symlink_to(output / "real")
    yield output
    shutil.rmtree(base, ignore_errors=True)


def everything_outside(output: Path) -> set[str]:
    base = output.parent
    return {str(p) for p in base.iterdir()} | {str(p) for p in (base / "outside").rglob("*")}


@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@example(prefix="../x")
@given(prefix=PREFIXES)
def test_no_prefix_writes_outside_the_output_folder(output: Path, prefix: str) -> None:
    before = everything_outside(output)
    try:
        check_prefix(prefix, output)
        place = MarkerPlace.of(output, parse_prefix(resolve_tokens(prefix, 1e9, "an-id")))
        written = write_marker(place, make_marker(place, [], status="success", producer="cli", prompt_id="an-id"))
    except (PrefixError, MarkerError):
        assert everything_outside(output) == before
        return
    root = os.path.realpath(output)
    assert os.path.commonpath([root, os.path.realpath(written)]) == root
    assert written.suffix == ".done"
    assert everything_outside(output) == before
    written.unlink()


@pytest.mark.parametrize("prefix", HOSTILE, ids=lambda prefix: ascii(prefix)[:20])
def test_each_known_attack_is_refused_by_name(output: Path, prefix: str) -> None:
    with pytest.raises(PrefixError) as refused:
        check_prefix(prefix, output)
    assert "filename_prefix" in str(refused.value)
    assert repr(prefix)[1:20] in str(refused.value)

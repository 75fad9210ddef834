"""Ten thousand hostile prefixes: each is refused, or its marker stands strictly inside the output folder."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from run_recorder.telemetry.markers import file as marker_module
from run_recorder.telemetry.markers.file import MarkerError, MarkerPlace, make_marker, write_marker
from run_recorder.telemetry.markers.prefix import PrefixError, check_prefix, parse_prefix, resolve_tokens

ATTACKS = [
    "../x",
    "../../../../../../etc/passwd",
    "..",
    "...",
    "....//....//x",
    "..\\..\\x",
    "a/../../x",
    "a/..",
    "./../x",
    "/etc/x",
    "//etc/x",
    "///x",
    "\\\\host\\share\\x",
    "//host/share/x",
    "\\\\?\\C:\\x",
    "\\\\.\\pipe\\x",
    "C:\\x",
    "C:x",
    "c:/x",
    "\\x",
    "~/x",
    "~root/x",
    "$HOME/x",
    "${HOME}/x",
    "%HOME%/x",
    "%2e%2e/x",
    "%2e%2e%2fx",
    "..%2fx",
    "..%c0%afx",
    "..%255cx",
    "\uff0e\uff0e/x",
    "․․/x",
    "..∕x",
    "..⁄x",
    "..／x",
    "a\0b",
    "\0",
    "../x\0.png",
    "a\n../x",
    "a\r\n/etc/x",
    "\u202e/x",
    "con",
    "NUL",
    "aux.txt",
    "com1",
    "lpt1.x",
    "COM¹",
    "con ",
    "a.",
    "a ",
    "a::$DATA",
    "a:stream",
    "file:///etc/x",
    "out/x",
    "out/../x",
    "out/deeper/x",
    "up/x",
    "up/up/x",
    "up/up/secret/x",
    "root/etc/x",
    "root/tmp/x",
    "loop/x",
    "dangling/x",
    "dangling/deeper/x",
    "inside/x",
    "inside/../../x",
    "absolute-sibling/x",
    "secret",
    "link",
    "link.done",
    "link.failed",
    "file/x",
    "file",
    "x" * 300,
    "x" * 248,
    "x/" * 300 + "x",
    "é" * 130,
    "a/" * 2000,
    "",
    ".",
    "./",
    "/",
    "\\",
    "-rf",
    "; rm -rf *",
    "`id`",
    "$(id)",
    "%year%/%second%/../x",
    "%prompt_id%/../../x",
    "%prompt_id%",
    "%width%/x",
    "\ud800",
    "a\udcff",
]

PIECES = st.sampled_from(
    [
        *("..", ".", "/", "//", "\\", "~", "C:", "c:\\", "\0", "\n", " ", "con", "nul.txt", "%year%", "%prompt_id%"),
        *("%width%", "%2e%2e", "%2f", "a", "b.c", "é", "\uff0e\uff0e", "\u202e", "*", "?", "<", "|", '"', ":", "😀"),
        *("out", "up", "root", "loop", "dangling", "inside", "file", "link", "secret", "absolute-sibling", "\udc80"),
        "x" * 250,
    ]
)
HOSTILE = st.one_of(
    st.lists(PIECES, max_size=8).map("".join),
    st.lists(PIECES, max_size=8).map("/".join),
    st.text(max_size=30),
    st.text(st.characters(), max_size=12).map(lambda text: f"../{text}"),
    st.text(st.sampled_from("./\\~:% \0a"), max_size=12),
)
PROMPT_ID = "../../escape"
"""Older servers check no ids: a token may bring anything in."""


class World:
    """An output folder full of links that lead out, in a folder that nothing may change."""

    def __init__(self, root: Path) -> None:
        self.root, self.output = root, root / "output"
        for folder in ("output", "output/real", "outside", "outside/deeper", "output-sibling"):
            (root / folder).mkdir()
        (root / "outside" / "secret").write_bytes(b"secret")
        (root / "outside" / "x.done").write_bytes(b"someone else's")
        (root / "outside" / "x.failed").write_bytes(b"someone else's")
        (self.output / "file").write_bytes(b"a file")
        for name, target in {
            "out": "../outside",
            "up": "..",
            "root": "/",
            "loop": "loop",
            "dangling": "../outside/missing",
            "inside": "real",
            "absolute-sibling": str(root / "output-sibling"),
            "link.done": "../outside/secret",
            "link.failed": "../outside/secret",
        }.items():
            (self.output / name).symlink_to(target)
        self.before = self.outside()
        self.written = 0

    def outside(self) -> list[tuple[str, bytes, int]]:
        """Everything that is not in the output folder."""
        found = []
        for folder, names, files in os.walk(self.root):
            if Path(folder) == self.output:
                names.clear()
                continue
            found += [(folder, b"", 0)] if Path(folder) != self.root else []
            for name in files:
                path = Path(folder, name)
                found.append((str(path), path.read_bytes(), path.stat().st_mtime_ns))
        return sorted(found)

    def attack(self, prefix: str) -> None:
        touched.clear()
        with contextlib.suppress(PrefixError):
            check_prefix(prefix, self.output)
        for literal in dict.fromkeys([prefix, resolve_tokens(prefix, 0.0, PROMPT_ID)]):
            try:
                place = MarkerPlace.of(self.output, parse_prefix(literal))
                marker = make_marker(place, [], status="success", producer="node", prompt_id="p")
                path = write_marker(place, marker)
            except (PrefixError, MarkerError):
                continue
            self.written += 1
            real = os.path.realpath(path)
            assert os.path.commonpath([real, os.path.realpath(self.output)]) == os.path.realpath(self.output)
            assert not path.is_symlink()
            path.unlink()
        root = os.path.realpath(self.output)
        assert all(os.path.commonpath([root, os.path.realpath(folder)]) == root for folder in touched)


touched: list[str] = []
"""Every folder in which a write was tried, whatever came of it."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    with pytest.MonkeyPatch.context() as patch:
        real = marker_module.write_temporary

        def spy(place: MarkerPlace, marker: marker_module.DoneMarker) -> Path:
            touched.append(str(place.folder))
            return real(place, marker)

        patch.setattr(marker_module, "write_temporary", spy)
        patch.setattr(os, "fsync", lambda _descriptor: None)
        yield made
    assert made.outside() == made.before


def short(prefix: str) -> str:
    return "many-parts" if prefix.count("/") > 1000 else ascii(prefix)[:40]


@pytest.mark.parametrize("prefix", ATTACKS, ids=short)
def test_no_known_attack_leads_out(world: World, prefix: str) -> None:
    world.attack(prefix)
    assert world.outside() == world.before


@pytest.mark.host
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(HOSTILE)
@example("out/x")
def test_no_hostile_prefix_leads_out(world: World, prefix: str) -> None:
    world.attack(prefix)


def test_nothing_outside_has_changed_and_the_harmless_ones_were_written(world: World) -> None:
    world.attack("shot/a")
    assert world.written > 0
    assert world.outside() == world.before

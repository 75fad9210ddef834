"""Which files belong together: the documented table, and what no table can hold."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_recorder.telemetry.markers.grouping import MAX_LITERALS, group_of, groups_of, name_at, pattern_of

DOCS = Path(__file__).parents[2] / "docs" / "grouping.md"
ROWS = [
    tuple(re.findall(r"`([^`]+)`", cell) if "`" in cell else [cell.strip()] for cell in line.strip("|\n").split("|"))
    for line in DOCS.read_text("utf-8").splitlines()
    if line.startswith("| ") and "`" in line
]


def test_there_are_names_enough() -> None:
    assert sum(len(names) for _, names, _ in ROWS) >= 120


@pytest.mark.parametrize(("known", "names", "prefix"), ROWS, ids=lambda cell: " ".join(cell)[:40])
def test_the_documented_table(known: list[str], names: list[str], prefix: list[str]) -> None:
    literals = [] if known in (["*"], ["nothing"]) else known
    if known == ["*"]:
        assert {group_of(name) for name in names} == set(prefix)
    else:
        assert groups_of(names, literals) == dict.fromkeys(names, prefix[0])


@pytest.mark.parametrize(
    ("reported", "names"),
    [
        ("AD_00001.%03d.png", {"AD_00001.001.png": True, "AD_00001.1000.png": True, "AD_00001.01.png": False}),
        ("f_%d.png", {"f_1.png": True, "f_10.png": True, "f_.png": False, "f_x.png": False}),
        ("f_%05d_%02d.png", {"f_00001_01.png": True, "f_00001_1.png": False}),
        ("f%%_%04d.png", {"f%_0001.png": True, "f%%_0001.png": False}),
        ("f_%3d.png", {"f_  1.png": True, "f_100.png": True}),
        ("a.b_%02d.png", {"a.b_01.png": True, "axb_01.png": False}),
    ],
)
def test_a_printf_pattern_stands_for_what_matches_it(reported: str, names: dict[str, bool]) -> None:
    pattern = pattern_of(reported)
    assert pattern is not None
    assert {name: pattern.fullmatch(name) is not None for name in names} == names


@pytest.mark.parametrize("name", ["a.png", "100%.png", "%s.png", "%03x.png", "%%.png", "%d" * 5 + ".png", "50%off.png"])
def test_other_names_are_no_pattern(name: str) -> None:
    assert pattern_of(name) is None


@given(st.lists(st.text("ab01_-. %d", min_size=1, max_size=30), max_size=20), st.lists(st.text("ab01_%", max_size=9)))
def test_every_file_is_in_one_group_that_has_a_name(names: list[str], literals: list[str]) -> None:
    found = groups_of(names, literals)
    assert set(found) == set(names)
    assert all(found.values())


def test_names_that_invite_backtracking_come_to_an_end() -> None:
    names = ["1" * 250 + "x", "a_" * 120 + "!", "1_" * 120 + "x", "a" * 250, ("1." * 100) + "y"]
    groups_of(names, ["a", "1", "a_", *(f"p{number}" for number in range(2 * MAX_LITERALS))])
    assert all(group_of(name) for name in names)


NUMBERED = [
    ("a_%03d.png", 7, "a_007.png"),
    ("a_%03d.png", 1234, "a_1234.png"),
    ("a.%d.exr", 7, "a.7.exr"),
    ("a_%5d.png", 7, "a_    7.png"),
    ("100%%_%02d.png", 1, "100%_01.png"),
    ("a.png", 1, None),
    ("100%.png", 1, None),
    ("%03d_%03d.png", 1, None),
    ("%s_%d", 3, "%s_3"),
]


@pytest.mark.parametrize(("name", "number", "told"), NUMBERED)
def test_a_name_with_a_number_in_it_names_the_file_of_each_number(name: str, number: int, told: str | None) -> None:
    assert name_at(name, number) == told
    pattern = pattern_of(name)
    assert told is None or (pattern is not None and pattern.fullmatch(told))

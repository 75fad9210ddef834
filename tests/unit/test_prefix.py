"""Prefixes: what is accepted, what is refused and why, what tokens become, and which file is whose."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_recorder.telemetry.markers import prefix as prefix_module
from run_recorder.telemetry.markers.grouping import group_of, is_resolved_from
from run_recorder.telemetry.markers.prefix import (
    MARKER_SUFFIXES,
    PrefixError,
    PrefixPath,
    check_prefix,
    confine,
    counts_as_output,
    has_tokens,
    parse_prefix,
    resolve_tokens,
)


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prefix module believes that it runs on Windows."""
    monkeypatch.setattr(prefix_module.sys, "platform", "win32")


# ---------------------------------------------------------------- parsing


@pytest.mark.parametrize(
    ("text", "folder", "name"),
    [
        ("a", "", "a"),
        ("shot/a", "shot", "a"),
        ("a//b", "a", "b"),
        ("./a", "", "a"),
        ("a/./b", "a", "b"),
        ("a/", "", "a"),
        ("x/y/z", "x/y", "z"),
        ("ComfyUI", "", "ComfyUI"),
        ("a b", "", "a b"),
        (" a", "", " a"),
        ("a.b", "", "a.b"),
        (".hidden/a", ".hidden", "a"),
        ("ünïcödé/日本", "ünïcödé", "日本"),
        ("con1", "", "con1"),
        ("confirm/auxiliary", "confirm", "auxiliary"),
        ("com10", "", "com10"),
        ("...a", "", "...a"),
        ("%date:yyyy%", "", "%date:yyyy%"),
        ("1:2", "", "1:2"),
        ("a" * 248, "", "a" * 248),
        ("ä" * 124, "", "ä" * 124),
    ],
)
def test_what_savers_accept_below_the_output_folder_is_accepted(text: str, folder: str, name: str) -> None:
    assert parse_prefix(text) == PrefixPath(folder, name)
    assert str(PrefixPath(folder, name)) == (f"{folder}/{name}" if folder else name)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        (".", "names no file"),
        ("./", "names no file"),
        ("././.", "names no file"),
        ("..", "'..'"),
        ("../x", "'..'"),
        ("a/..", "'..'"),
        ("a/../b", "'..'"),
        ("a/../../b", "'..'"),
        ("a\\..\\b", "'..'"),
        ("/etc/x", "absolute"),
        ("/", "absolute"),
        ("//host/share", "absolute"),
        ("\\\\host\\share", "absolute"),
        ("\\x", "absolute"),
        ("C:\\x", "drive"),
        ("c:/x", "drive"),
        ("C:x", "drive"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\x1fb", "control"),
        ("a\x7fb", "control"),
        ("con", "Windows reserves"),
        ("CON", "Windows reserves"),
        ("a/Nul/b", "Windows reserves"),
        ("con.txt", "Windows reserves"),
        ("con .txt", "Windows reserves"),
        ("a\\con\\b", "Windows reserves"),
        ("prn/x", "Windows reserves"),
        ("aux", "Windows reserves"),
        ("com1", "Windows reserves"),
        ("lpt9.a.b", "Windows reserves"),
        ("COM¹", "Windows reserves"),
        ("conin$", "Windows reserves"),
        ("CONOUT$", "Windows reserves"),
        ("a.", "dot or a space"),
        ("a ", "dot or a space"),
        ("a./b", "dot or a space"),
        ("a /b", "dot or a space"),
        ("...", "dot or a space"),
        (". ", "dot or a space"),
        ("a\\b.\\c", "dot or a space"),
        ("a" * 249, "too long"),
        ("ä" * 125, "too long"),
        ("x/" + "a" * 249 + "/y", "too long"),
        ("a\ud800", "no file name can hold"),
    ],
)
def test_a_prefix_that_could_lead_astray_is_refused_by_name_and_reason(text: str, why: str) -> None:
    with pytest.raises(PrefixError) as refused:
        parse_prefix(text)
    assert why in str(refused.value)
    assert str(refused.value).startswith("filename_prefix ")
    assert repr(text)[1:9] in str(refused.value) or len(text) < 8


@pytest.mark.parametrize(("length", "cut"), [(80, False), (81, True)])
def test_a_very_long_prefix_is_shown_in_part(length: int, cut: bool) -> None:
    said = str(PrefixError("x" * length, "is bad"))
    assert said == (f"filename_prefix '{'x' * 77}...' is bad" if cut else f"filename_prefix '{'x' * length}' is bad")


def test_a_backslash_is_part_of_a_name_except_on_windows() -> None:
    assert parse_prefix("a\\b") == PrefixPath("", "a\\b")


def test_a_backslash_separates_on_windows(windows: None) -> None:
    assert parse_prefix("a\\b/c") == PrefixPath("a/b", "c")


@pytest.mark.parametrize("text", ["a<b", "a>b", "1:2", 'a"b', "a|b", "a?b", "a*b", "%date:yyyy%"])
def test_characters_that_windows_does_not_allow_are_refused_there(windows: None, text: str) -> None:
    with pytest.raises(PrefixError, match="Windows does not allow"):
        parse_prefix(text)


# ---------------------------------------------------------------- confinement


def test_a_prefix_is_confined_to_the_output_folder(output: Path) -> None:
    assert confine(output, PrefixPath("", "a")) == output.resolve()
    assert confine(output, PrefixPath("new/deeper", "a")) == output.resolve() / "new" / "deeper"


def test_a_link_inside_the_output_folder_may_be_used(output: Path) -> None:
    (output / "real").mkdir()
    (output / "link").symlink_to(output / "real")
    assert confine(output, PrefixPath("link", "a")) == (output / "real").resolve()


def test_an_output_folder_that_is_itself_a_link_is_fine(tmp_path: Path, output: Path) -> None:
    (tmp_path / "alias").symlink_to(output)
    assert confine(tmp_path / "alias", PrefixPath("x", "a")) == output.resolve() / "x"


@pytest.mark.parametrize("target", ["outside", "output-evil", ".", "/", "missing/deep"])
def test_a_link_that_leads_out_is_refused(tmp_path: Path, output: Path, target: str) -> None:
    for name in ("outside", "output-evil"):
        (tmp_path / name).mkdir()
    (output / "link").symlink_to(tmp_path / target)
    for folder in ("link", "link/deeper"):
        with pytest.raises(PrefixError, match=r"'link.*/a' leads out of the output folder by a link"):
            confine(output, PrefixPath(folder, "a"))


def test_a_link_that_leads_out_and_back_in_is_fine(tmp_path: Path, output: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "back").symlink_to(output)
    (output / "link").symlink_to(tmp_path / "outside")
    assert confine(output, PrefixPath("link/back", "a")) == output.resolve()


def test_a_folder_that_is_a_file_is_refused(output: Path) -> None:
    (output / "file").write_bytes(b"")
    with pytest.raises(PrefixError, match="is a file"):
        confine(output, PrefixPath("file", "a"))


def test_links_in_a_circle_are_refused(output: Path) -> None:
    (output / "a").symlink_to(output / "b")
    (output / "b").symlink_to(output / "a")
    with pytest.raises(PrefixError):
        confine(output, PrefixPath("a", "x"))


def test_a_path_that_no_system_can_resolve_is_refused(output: Path) -> None:
    with pytest.raises(PrefixError):
        confine(output, PrefixPath("a\0b", "x"))


def test_the_prefix_that_was_given_is_the_one_that_is_shown(output: Path) -> None:
    (output / "link").symlink_to("/")
    with pytest.raises(PrefixError, match="'%year%'"):
        confine(output, PrefixPath("link", "a"), shown="%year%")


def test_a_literal_prefix_is_checked_with_its_tokens_filled_in(output: Path) -> None:
    check_prefix("%year%/%width%x%height%/%prompt_id%", output)
    with pytest.raises(PrefixError, match="too long"):
        check_prefix("a" * 215 + "%prompt_id%", output)
    with pytest.raises(PrefixError, match="too long"):
        check_prefix("a" * 245 + "%width%", output)
    check_prefix("a" * 212 + "%prompt_id%", output)
    (output / "1970").symlink_to("/")
    (output / "1969").symlink_to("/")
    with pytest.raises(PrefixError, match="'%year%/a'"):
        check_prefix("%year%/a", output)


# ---------------------------------------------------------------- tokens


def test_time_tokens_are_the_local_time_of_the_start_padded(utc: None) -> None:
    literal = "%year%-%month%-%day%/%hour%.%minute%.%second%/%prompt_id%"
    assert resolve_tokens(literal, 0.0, "me") == "1970-01-01/00.00.00/me"
    assert resolve_tokens(literal, 1_785_579_630.9, "me") == "2026-08-01/10.20.30/me"


def test_time_tokens_follow_the_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XXX-5")
    time.tzset()
    try:
        assert resolve_tokens("%hour%", 0.0, "me") == "05"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["plain", "%width%x%height%", "%date:yyyy%", "%YEAR%", "%batch_num%", "100%", "%%"])
def test_other_tokens_stay_as_they_are(text: str) -> None:
    assert resolve_tokens(text, 0.0, "me") == text


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("a", False),
        ("%date:x%", False),
        ("%prompt_id%", False),
        ("%year%", True),
        ("a%second%", True),
        ("%width%", True),
        ("%batch_num%", True),
    ],
)
def test_a_prefix_with_tokens_is_known_only_once_something_was_saved(text: str, known: bool) -> None:
    assert has_tokens(text) is known


# ---------------------------------------------------------------- grouping


@pytest.mark.parametrize(
    ("filename", "prefix"),
    [
        ("a_00001_.png", "a"),
        ("a_00001.flac", "a"),
        ("a_100000_.png", "a"),
        ("a_00001-audio.mp4", "a"),
        ("a-00001.png", "a"),
        ("a00001.png", "a"),
        ("a.0001.exr", "a"),
        ("a.00001_.exr", "a"),
        ("a_b_00001_.png", "a_b"),
        ("render_1080.png", "render_1080"),
        ("a_7_00001_.png", "a_7"),
        ("a_0001_.png", "a_0001_"),
        ("a.001.exr", "a.001"),
        ("a", "a"),
        ("a_00001_", "a"),
        ("2024_00001_.png", "2024"),
        ("20240101.png", "20240101"),
        ("_00001_.png", "_"),
        ("a__00001_.png", "a_"),
        ("a_00001_00002_.png", "a_00001"),
        ("a\nb_00001_.png", "a\nb"),
        ("shot.v2_00001_.png", "shot.v2"),
    ],
)
def test_a_file_name_is_of_a_prefix_by_the_contract_s_rule(filename: str, prefix: str) -> None:
    assert group_of(filename) == prefix


@pytest.mark.parametrize(
    ("filename", "literal", "prefix"),
    [
        ("a_00001_.png", "a", "a"),
        ("shot_12345.png", "shot_12345", "shot_12345"),
        ("shot_12345_00001_.png", "shot_12345", "shot_12345"),
        ("shot_12345_00001_.png", "x/y/shot_12345", "shot_12345"),
        ("a_2024_00001_.png", "a_%year%", "a_2024"),
        ("64x32_00001_.png", "%width%x%height%", "64x32"),
        ("a7_00001_.png", "a%batch_num%", "a7"),
        ("a_03_00001_.png", "a_%hour%", "a_03"),
        ("a_3_00001_.png", "a_%hour%", "a_3"),
        ("other_00001_.png", "a", "other"),
        ("render_1080.png", "render", "render"),
        ("a_00001-audio.mp4", "a", "a"),
        ("a.b_00001_.png", "a.b", "a.b"),
        ("axb_00001_.png", "a.b", "axb"),
        ("a_00001_.png", "", "a"),
        ("a_00001_.png", None, "a"),
        ("a_00001_.png", "x/a/", "a"),
    ],
)
def test_the_literal_prefix_of_a_file_s_saver_wins_where_it_fits(
    filename: str, literal: str | None, prefix: str
) -> None:
    assert group_of(filename, literal) == prefix


@pytest.mark.parametrize(
    ("name", "literal", "fits"),
    [
        ("a", "a", True),
        ("a", "x/a", True),
        ("b", "a", False),
        ("aa", "a", False),
        ("2024", "%year%", True),
        ("24", "%month%", True),
        ("240", "%month%", False),
        ("a%foo%", "a%foo%", True),
        ("axb", "a.b", False),
    ],
)
def test_a_name_can_be_what_a_saver_made_of_its_literal_prefix(name: str, literal: str, fits: bool) -> None:
    assert is_resolved_from(name, literal) is fits


def test_a_literal_prefix_ends_at_a_backslash_on_windows(windows: None) -> None:
    assert group_of("a_00001_.png", "x\\a") == "a"
    assert is_resolved_from("a", "x\\a")


NAME = st.text("abcXYZ019_-. ä", min_size=1, max_size=20).filter(
    lambda name: not name.startswith("/") and name[-1] not in ". "
)


@given(NAME, st.integers(1, 10**7), st.sampled_from(["_{:05}_", "_{:05}"]), st.sampled_from([".png", ".flac", ".exr"]))
def test_every_file_of_a_known_saver_is_grouped_under_its_prefix(
    prefix: str, number: int, counter: str, suffix: str
) -> None:
    assert group_of(prefix + counter.format(number) + suffix, prefix) == prefix


@given(st.from_regex(r"[a-z]{1,8}(_[a-z]{1,5})?", fullmatch=True), st.integers(1, 10**7))
def test_a_counted_name_is_grouped_even_where_the_saver_is_unknown(prefix: str, number: int) -> None:
    for form in ("{}_{:05}_.png", "{}_{:05}.flac", "{}-{:05}.png", "{}{:05}.png", "{}.{:04}.exr", "{}_{:05}-audio.mp4"):
        assert group_of(form.format(prefix, number)) == prefix


@given(st.text(max_size=40), st.none() | st.text(max_size=20))
def test_every_name_has_a_group_that_it_begins_with(filename: str, literal: str | None) -> None:
    assert filename.startswith(group_of(filename, literal))


# ---------------------------------------------------------------- what counts


@pytest.mark.parametrize("name", ["a.png", "a_00001_.safetensors", "a", "done", "a.done.png", "a.tmp.png"])
def test_an_ordinary_name_counts_as_output(name: str) -> None:
    assert counts_as_output(name)


@pytest.mark.parametrize(
    "name",
    [
        ".a.png",
        *"a.tmp a.TMP a.temp a.part a.partial a.crdownload a.download a.swp a.lock a.png~ A.DONE".split(),
        *(f"a{suffix}" for suffix in MARKER_SUFFIXES),
    ],
)
def test_hidden_and_temporary_names_and_markers_never_count(name: str) -> None:
    assert not counts_as_output(name)

"""Error texts keep their sense and lose paths, keys and length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_recorder.telemetry.process.redact import KEY, MAX_TEXT, PATH, redact

ROOTS = ["/srv/comfy/output", "/srv/comfy", "C:\\Comfy\\output"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no such file: /home/me/a.png", f"no such file: {PATH}"),
        ("'/home/me/my pictures/a b.png' is gone", f"'{PATH}' is gone"),
        ("`/opt/x y/z`", f"`{PATH}`"),
        ("C:\\Users\\me\\a.png is locked", f"{PATH} is locked"),
        ("'C:\\Users\\me\\my pictures\\a.png' is locked", f"'{PATH}' is locked"),
        ("'C:\\\\Users\\\\me\\\\a.png'", f"'{PATH}'"),
        ("C:/Users/me/a.png", PATH),
        ("\\\\server\\share\\a.png", PATH),
        ("~/secrets/a.txt", PATH),
        ("file:///home/me/a.png", PATH),
        ("(/etc/passwd)", f"({PATH})"),
        ("path=/etc/passwd", f"path={PATH}"),
        ("/a, /b; /c", f"{PATH}, {PATH}; {PATH}"),
    ],
)
def test_an_absolute_path_is_not_told(text: str, said: str) -> None:
    assert redact(text) == said


def test_a_path_in_double_quotes_may_hold_an_apostrophe() -> None:
    assert "brien" not in redact('No such file or directory: "/home/o\'brien/x.png"')


@pytest.mark.parametrize("text", ["error:/data/me/a.png", "<file at </data/me/x>", "load failed:C:\\Users\\me\\x"])
def test_a_path_right_after_a_colon_or_a_bracket_is_not_told(text: str) -> None:
    assert "me" not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "see https://example.com/a/b?c=d for more",
        "expected 3/4, got 1/2",
        "shape [1, 3] and/or [2, 3]",
        "mat1 and mat2 shapes cannot be multiplied (2x768 and 1280x320)",
        "models/checkpoints/a.safetensors is no model",
        "ratio a:b is 16:9",
        "// a comment",
        "key error: 'images'",
    ],
)
def test_what_is_no_path_and_no_key_stays(text: str) -> None:
    assert redact(text, ROOTS) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/srv/comfy/output/shot/a.png is gone", "shot/a.png is gone"),
        ("'/srv/comfy/output/shot/a.png'", "'shot/a.png'"),
        ("/srv/comfy/models/x.pt", "models/x.pt"),
        ("C:\\Comfy\\output\\a.png", "a.png"),
        ("in /srv/comfy/output:", "in :"),
        ("/srv/comfy-old/output/a.png", PATH),
        ("/srv/comfy.bak/a.png", PATH),
    ],
)
def test_a_path_below_a_root_becomes_relative_to_the_deepest_one(text: str, said: str) -> None:
    assert redact(text, ROOTS) == said


def test_a_root_of_one_character_and_an_empty_one_are_no_roots() -> None:
    assert redact("a/b and /c/d", ["/", ""]) == f"a/b and {PATH}"


@pytest.mark.parametrize(
    "text",
    [
        "api_key=SECRETVALUE1",
        "API-KEY: SECRETVALUE1",
        '{"token": "SECRETVALUE1"}',
        "hf_token='SECRETVALUE1'",
        "password=SECRETVALUE1",
        "Authorization: Bearer SECRETVALUE1",
        "bearer SECRETVALUE1xyz",
        "Basic SECRETVALUE1xyz",
        "https://me:SECRETVALUE1@example.com/x",
        "https://SECRETVALUE1@example.com/x",
        "sk-SECRETVALUE1abcdefghijk",
        "hf_SECRETVALUE1abcdefghijk",
        "ghp_SECRETVALUE1abcdefghijk",
        "eyJSECRETVALUE1.abcdefghijkl.xyz",
        "hash SECRETVALUE1SECRETVALUE1SECRETVALUE1SECRETVALUE1 end",
    ],
)
def test_what_looks_like_a_key_is_masked(text: str) -> None:
    said = redact(text)
    assert "SECRETVALUE1" not in said
    assert KEY in said


def test_long_text_is_cut_to_2000_characters_and_says_so() -> None:
    assert redact("ab " * 1000) == ("ab " * 1000)[: MAX_TEXT - 3] + "..."
    assert redact("x." * 1000) == "x." * 1000
    assert len(redact("x." * 1001)) == MAX_TEXT


def test_anything_can_be_redacted_and_nul_is_dropped() -> None:
    assert redact(ValueError("a\0b ")) == "ab"
    assert redact(None) == "None"
    assert redact(3) == "3"


@given(st.text(st.characters(), max_size=3000), st.lists(st.text(max_size=20), max_size=3))
def test_redacting_never_fails_and_never_tells_more_than_2000_characters(text: str, roots: list[str]) -> None:
    assert len(redact(text, roots)) <= MAX_TEXT


SEGMENT = st.text("abcXYZ019_-. ", min_size=1, max_size=8).filter(lambda part: part.strip(". ") != "")


@given(
    st.sampled_from(["", "error in ", "x\n", "(", "[", "path=", "a, "]),
    st.sampled_from(["", "'", '"', "`"]),
    st.lists(SEGMENT, min_size=1, max_size=3),
    st.sampled_from(["", "\nmore", " and more", ")"]),
)
def test_no_root_survives_wherever_it_stands(before: str, quote: str, parts: list[str], after: str) -> None:
    root = "/srv/private place/output" if quote else "/srv/private-place/output"
    said = redact(f"{before}{quote}{root}/{'/'.join(parts)}{quote}{after}", [root])
    assert root not in said
    assert "private" not in said


@given(
    st.sampled_from(["", "error in ", "x\n", "(", "path="]),
    st.lists(st.text("abcXYZ019_-", min_size=1, max_size=8), min_size=1, max_size=4),
    st.sampled_from(["/", "C:\\", "D:/", "\\\\host\\", "~/"]),
)
def test_no_absolute_path_without_spaces_survives(before: str, parts: list[str], start: str) -> None:
    separator = "\\" if "\\" in start else "/"
    path = start + separator.join(["Private7", *parts])
    assert "Private7" not in redact(before + path)


@pytest.mark.parametrize(
    "text",
    [
        "login --password hunter2 failed",
        "login --password=hunter2 failed",
        "['login', '--password', 'hunter2']",
        '["tool", "--api-key", "hunter2", "--verbose"]',
        "tool -pwd hunter2",
        "passphrase: hunter2",
        "pwd=hunter2;",
        "Cookie: session=hunter2; theme=dark hunter2",
        "set-cookie: id=hunter2; Path=x",
        "https://bucket.example/x.png?Signature=hunter2&Expires=9",
        "https://bucket.example/x.png?X-Amz-Signature=hunter2",
        "private_key: hunter2",
        "session_id=hunter2",
    ],
)
def test_more_ways_in_which_secrets_are_said(text: str) -> None:
    said = redact(text)
    assert "hunter2" not in said
    assert KEY in said


def test_an_option_s_name_and_what_comes_after_a_secret_stay() -> None:
    assert redact("login --password hunter2 failed on host") == f"login --password {KEY} failed on host"
    assert redact("the signature of this function has changed") == "the signature of this function has changed"


@pytest.mark.parametrize("text", ["no oil <b>left</b>", "</think>", "<a></a> and </div>"])
def test_a_closing_tag_is_no_path(text: str) -> None:
    assert redact(text) == text
    assert redact(f"{text} in /home/me/x.png") == f"{text} in <path>"

"""What those who come to help are given: every file and verb that is named is there, and every form can be read."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .hosts import REPO
from .test_quality import PYPROJECT

GITHUB = REPO / ".github"
FORMS = sorted(path.name for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml"))
YAML = sorted([*GITHUB.rglob("*.yml"), REPO / ".pre-commit-config.yaml", REPO / "mkdocs.yml"])
ASKED_FOR = {"run-recorder", "comfyui", "system", "python", "health"}
TO_BE_MADE = {"telemetry/store/migrations/r0011_what.py"}
"""Named as what somebody is going to write."""
SAID_OF_ALL = {"_seconds", "_bytes", "_ms", "nodes", "touch", "solved", "WrongSetting"}
"""Words of the code in a step that names no file of theirs."""
SYSTEMS = {"ubuntu-latest", "windows-latest", "macos-latest"}
VERSIONS = {"3.10", "3.13"}


def text_of(name: str) -> str:
    return (REPO / name).read_text("utf-8")


def read(path: Path) -> dict:
    """A YAML file; GitHub takes its `on` for a word, and so does this."""
    loader = type("Loader", (yaml.SafeLoader,), {"yaml_implicit_resolvers": {}})
    loader.yaml_implicit_resolvers = {
        sign: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for sign, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    found = yaml.load(path.read_text("utf-8"), loader)
    assert isinstance(found, dict), path.name
    return found


def sessions() -> dict[str, str]:
    """The sessions of the noxfile, and what each says of itself."""
    functions = [node for node in ast.parse(text_of("noxfile.py")).body if isinstance(node, ast.FunctionDef)]
    return {one.name: ast.get_docstring(one) or "" for one in functions if one.decorator_list}


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_every_yaml_file_can_be_read(path: Path) -> None:
    if path.name == "mkdocs.yml":
        assert yaml.safe_load(path.read_text("utf-8"))["nav"]
        return
    assert read(path)


def test_the_workflow_has_every_system_and_version_and_few_rights() -> None:
    flow = read(GITHUB / "workflows" / "tests.yml")
    assert flow["permissions"] == {"contents": "read"}
    assert set(flow["on"]) == {"push", "pull_request", "workflow_dispatch"}
    assert not [job for job in flow["jobs"].values() if "permissions" in job]
    matrix = flow["jobs"]["unit"]["strategy"]["matrix"]
    assert (set(matrix["system"]), set(matrix["python"])) == (SYSTEMS, VERSIONS)
    assert flow["jobs"]["unit"]["runs-on"] == "${{ matrix.system }}"
    assert all(job["timeout-minutes"] for job in flow["jobs"].values())
    runs = {name: " ".join(step.get("run", "") for step in job["steps"]) for name, job in flow["jobs"].items()}
    assert 'pytest -m "not host"' in runs["unit"]
    assert "pytest -m host" in runs["embedded-host"]


def test_the_versions_of_python_that_are_tried_are_the_oldest_and_the_newest_that_are_promised() -> None:
    promised = [one.rpartition(" ")[2] for one in PYPROJECT["project"]["classifiers"] if re.search(r"3\.\d+$", one)]
    assert {promised[0], promised[-1]} == VERSIONS
    assert PYPROJECT["project"]["requires-python"] == f">={promised[0]}"


def test_every_action_has_its_full_version() -> None:
    used = re.findall(r"uses: (\S+)", "".join(path.read_text("utf-8") for path in GITHUB.rglob("workflows/*.yml")))
    assert used
    assert not [one for one in used if not re.fullmatch(r"[\w.-]+/[\w.-]+@v\d+\.\d+\.\d+", one)]


def test_a_form_for_bugs_asks_for_what_is_needed() -> None:
    assert FORMS == ["bug.yml", "config.yml", "feature.yml"]
    fields = {one["id"]: one for one in read(GITHUB / "ISSUE_TEMPLATE" / "bug.yml")["body"] if "id" in one}
    assert set(fields) >= ASKED_FOR
    assert not [name for name in ASKED_FOR if fields[name]["validations"] != {"required": "true"}]
    assert "/telemetry/health" in fields["health"]["attributes"]["label"]


def test_every_file_that_is_named_is_there() -> None:
    found = {}
    for name in ("CONTRIBUTING.md", "SECURITY.md", "docs/releasing.md", ".github/PULL_REQUEST_TEMPLATE.md"):
        text = re.sub(r"```[\s\S]*?```", "", text_of(name))
        named = re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:md|toml|txt|yml)|\.[\w.-]+\.yaml)`", text)
        linked = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
        places = [REPO, (REPO / name).parent, REPO / "telemetry" / "store"]
        found[name] = [
            one for one in [*named, *linked] if one not in TO_BE_MADE and not any((at / one).exists() for at in places)
        ]
        assert named or linked, name
    found["docs/releasing.md"] = [one for one in found["docs/releasing.md"] if not one.startswith("site/")]
    assert not any(found.values()), found
    assert not [name for name in TO_BE_MADE if (REPO / name).exists()], "name the next one"


def test_every_name_of_the_code_that_a_step_names_is_in_a_file_that_it_names() -> None:
    text = text_of("CONTRIBUTING.md")
    part = text[text.index("## Adding things") : text.index("## How the code looks")]
    wrong = []
    for step in re.split(r"\n(?=\d\. |\| |\n)", part):
        names = set(re.findall(r"`([\w./-]+\.py)`", step)) - TO_BE_MADE
        files = [*map(text_of, names), *(text_of(f"{at}/__init__.py") for at in re.findall(r"`(comfyui_host)/`", step))]
        code = "\n".join(files)
        for name in re.findall(r"`(_?[A-Za-z]\w+)`", step):
            here = re.search(rf"\b(?:def|class) {name}\b|^\s*{name}\b\s*[:=]", code, re.MULTILINE)
            if code and here is None and name not in SAID_OF_ALL:
                wrong.append(name)
    assert wrong == []


def test_every_verb_that_is_named_is_a_session_and_every_session_is_named() -> None:
    known = sessions()
    assert all(known.values()), "each says what it does"
    named = {}
    for name in ("CONTRIBUTING.md", "docs/releasing.md", "noxfile.py", ".github/PULL_REQUEST_TEMPLATE.md"):
        named[name] = set(re.findall(r"nox -s ([\w-]+)", text_of(name)))
    assert {one for names in named.values() for one in names} <= set(known), named
    assert named["CONTRIBUTING.md"] == set(known)


def test_nox_can_read_its_file() -> None:
    pytest.importorskip("nox")
    command = [sys.executable, "-m", "nox", "-f", str(REPO / "noxfile.py"), "--list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"^[*-] (\w+) -> ", done.stdout, re.MULTILINE)) == set(sessions())


@pytest.mark.parametrize(
    ("message", "good"),
    [
        ("fix: a folder that can't be read is told\n\nIt was taken for an empty one.\n", True),
        ("feat(panel)!: what waits is shown\n", True),
        ("docs: " + "a" * 66, True),
        ("docs: " + "a" * 67, False),
        ("Fix: a folder\n", False),
        ("a folder that can't be read is told\n\nfix: it\n", False),
        ("fix:\n", False),
    ],
)
def test_the_hook_knows_the_form_of_a_message(message: str, good: bool) -> None:
    hooks = {one["id"]: one for one in read(REPO / ".pre-commit-config.yaml")["repos"][0]["hooks"]}
    pattern = re.compile(hooks["commit-subject"]["entry"], re.MULTILINE | re.DOTALL)
    assert bool(pattern.search(message)) is good


def test_hooks_fetch_nothing() -> None:
    assert [repo["repo"] for repo in read(REPO / ".pre-commit-config.yaml")["repos"]] == ["local"]


def test_the_types_of_commits_are_those_of_the_hook() -> None:
    entry = text_of(".pre-commit-config.yaml")
    (types,) = re.findall(r"\(\?:(build\|[a-z|]+)\)", entry)
    sentence = re.search(r"the types are (.*?)\.", text_of("CONTRIBUTING.md"), re.DOTALL)
    assert sentence is not None
    assert set(re.findall(r"`(\w+)`", sentence[1])) == set(types.split("|"))


def test_the_version_is_the_same_in_both_places() -> None:
    (version,) = re.findall(r'^VERSION = "(.*)"$', text_of("telemetry/version.py"), re.MULTILINE)
    assert version == PYPROJECT["project"]["version"]

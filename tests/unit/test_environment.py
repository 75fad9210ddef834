"""What prompts run on is told without secrets, paths or running anything."""

import platform
from pathlib import Path

import pytest
from run_recorder.telemetry.process.environment import (
    SWITCHES,
    commit_of,
    declared_version,
    gather,
    installed_version,
    launch_options,
    nvidia_driver_version,
    packs_in,
)

from .support import write

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


def text(path: Path, said: str) -> Path:
    return write(path, said.encode())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], []),
        (["--cpu"], ["--cpu"]),
        (["--port", "8188", "--lowvram"], ["--port 8188", "--lowvram"]),
        (["--port=8188"], ["--port 8188"]),
        (["--listen", "0.0.0.0,::"], ["--listen 0.0.0.0,::"]),
        (["--fast", "fp16_accumulation", "cublas_ops"], ["--fast fp16_accumulation cublas_ops"]),
        (["--output-directory", "/home/me/out"], ["--output-directory <path>"]),
        (["--output-directory=out"], ["--output-directory <path>"]),
        (["--port", "/home/me/x"], ["--port <path>"]),
        (["--port", "x" * 65], ["--port <path>"]),
        (["--my-api-key", "SECRET", "--cpu"], ["--cpu"]),
        (["--token=SECRET"], []),
        (["stray", "--cpu"], ["--cpu"]),
        (["--comfy-api-base", "https://me:pw@x"], []),
        (["--tls-keyfile", "/home/me/key.pem"], []),
    ],
)
def test_only_known_switches_are_told_and_paths_are_not(arguments: list[str], told: list[str]) -> None:
    assert launch_options(arguments) == told


def test_no_switch_that_is_told_takes_a_secret() -> None:
    assert not [name for name in SWITCHES if any(word in name for word in ("key", "token", "secret", "passw", "tls"))]


def pack(folder: Path, name: str, version: str | None = None, head: str | None = None) -> Path:
    made = folder / name
    made.mkdir(parents=True)
    if version is not None:
        text(made / "pyproject.toml", f'[build-system]\nversion = "9"\n[project]\nname = "x"\nversion = "{version}"\n')
    if head is not None:
        text(made / ".git" / "HEAD", head)
    return made


def test_packs_are_folders_and_single_files_with_what_they_declare(tmp_path: Path) -> None:
    pack(tmp_path, "b", "1.2.3", COMMIT)
    pack(tmp_path, "a")
    for hidden in (".hidden", "__pycache__", "off.disabled"):
        pack(tmp_path, hidden)
    text(tmp_path / "single.py", "")
    text(tmp_path / "off.py.disabled", "")
    text(tmp_path / "notes.txt", "")
    assert [(one.name, one.version, one.commit) for one in packs_in(tmp_path)] == [
        ("a", None, None),
        ("b", "1.2.3", COMMIT),
        ("single", None, None),
    ]
    assert packs_in(tmp_path / "missing") == []


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ('[project]\nversion = "1.0"', "1.0"),
        ("[project]\nversion='1.0'", "1.0"),
        ('[tool.x]\nversion = "1.0"', None),
        ('[project]\n[tool.x]\nversion = "1.0"', None),
        ('[project]\ndynamic = ["version"]', None),
        ('version = "1.0"', None),
        ("", None),
        ("\0\xff", None),
    ],
)
def test_a_version_is_the_project_s_own(tmp_path: Path, said: str, version: str | None) -> None:
    text(tmp_path / "pyproject.toml", said)
    assert declared_version(tmp_path) == version


def test_a_commit_is_found_wherever_git_keeps_it(tmp_path: Path) -> None:
    detached = pack(tmp_path, "detached", head=f"{COMMIT}\n")
    loose = pack(tmp_path, "loose", head="ref: refs/heads/main\n")
    text(loose / ".git" / "refs" / "heads" / "main", f"{COMMIT}\n")
    packed = pack(tmp_path, "packed", head="ref: refs/heads/main\n")
    lines = f"# pack-refs with: peeled\n{OTHER} refs/heads/other\n{COMMIT} refs/heads/main\n"
    text(packed / ".git" / "packed-refs", lines)
    module = pack(tmp_path, "module")
    text(module / ".git", "gitdir: ../git/modules/module\n")
    text(tmp_path / "git" / "modules" / "module" / "HEAD", COMMIT)
    assert [commit_of(one) for one in (detached, loose, packed, module)] == [COMMIT] * 4


@pytest.mark.parametrize("head", [None, "", "garbage", "ref: refs/heads/gone", COMMIT[:-1], COMMIT.upper()])
def test_a_commit_that_cannot_be_told_is_null(tmp_path: Path, head: str | None) -> None:
    assert commit_of(pack(tmp_path, "x", head=head)) is None


def test_a_git_file_without_a_folder_is_no_checkout(tmp_path: Path) -> None:
    text(pack(tmp_path, "x") / ".git", "nonsense")
    assert commit_of(tmp_path / "x") is None


def gathered(**changes: object) -> object:
    given = {
        "comfyui_version": "0.33.0",
        "comfyui_folder": Path("nowhere"),
        "arguments": ["--cpu"],
        "node_folders": [],
        "devices": ["cpu"],
    }
    return gather(**{**given, "driver_version": None, **changes})  # type: ignore[arg-type]


def test_an_environment_is_what_it_says_and_its_id_a_digest_of_that(tmp_path: Path) -> None:
    pack(tmp_path / "two", "b")
    pack(tmp_path / "one", "c")
    pack(tmp_path / "one", "a")
    folders = [tmp_path / "one", tmp_path / "two"]
    environment = gather(
        comfyui_version="0.33.0",
        comfyui_folder=folders[0].parent,
        arguments=["--cpu"],
        node_folders=folders,
        devices=("cpu",),
        driver_version="1",
    )
    assert [one.name for one in environment.node_packs] == ["a", "b", "c"]
    assert environment.python_version == platform.python_version()
    assert (environment.devices, environment.launch_options, environment.driver_version) == (["cpu"], ["--cpu"], "1")
    assert gathered() == gathered()
    differing = [
        gathered(comfyui_version="0.34.0"),
        gathered(arguments=["--lowvram"]),
        gathered(node_folders=folders),
        gathered(devices=["cuda"]),
        gathered(driver_version="2"),
        gathered(),
    ]
    assert len({one.id for one in differing}) == 6  # type: ignore[attr-defined]
    assert all(len(one.id) == 16 for one in differing)  # type: ignore[attr-defined]


def test_comfyui_s_own_commit_is_told_where_it_is_a_checkout(tmp_path: Path) -> None:
    checkout = pack(tmp_path, "ComfyUI", head=f"{COMMIT}\n")
    told = gathered(comfyui_folder=checkout)
    assert told.comfyui_commit == COMMIT  # type: ignore[attr-defined]
    assert told.id != gathered().id  # type: ignore[attr-defined]
    assert gathered().comfyui_commit is None  # type: ignore[attr-defined]


def test_the_version_of_what_is_not_installed_is_null() -> None:
    assert installed_version("pydantic")
    assert installed_version("run-recorder-nobody-has-this") is None


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n", "550.54.15"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35  Release Build\n", "560.35"),
        ("something else", None),
    ],
)
def test_the_driver_is_read_from_the_kernel(tmp_path: Path, said: str, version: str | None) -> None:
    assert nvidia_driver_version(text(tmp_path / "version", said)) == version
    assert nvidia_driver_version(tmp_path / "missing") is None

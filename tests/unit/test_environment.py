"""What prompts run on is told without secrets, paths or running anything."""

import platform
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from run_recorder.comfyui_host.torch import torch_build
from run_recorder.telemetry.process import environment as environment_module
from run_recorder.telemetry.process.distributions import attention_packages, distributions, version_of
from run_recorder.telemetry.process.environment import (
    TorchBuild,
    commit_of,
    declared_version,
    gather,
    nvidia_driver_version,
    packs_in,
)
from run_recorder.telemetry.process.machine import machine

from .support import write

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


def text(path: Path, said: str) -> Path:
    return write(path, said.encode())


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
        "frontend_version": None,
        "options": ["--cpu"],
        "torch": TorchBuild(),
        "node_folders": [],
        "devices": ["cpu"],
    }
    return gather(**{**given, "driver_version": None, **changes})  # type: ignore[arg-type]


def test_an_environment_is_what_it_says_and_its_id_a_digest_of_that(tmp_path: Path) -> None:
    pack(tmp_path / "two", "b")
    pack(tmp_path / "one", "c")
    pack(tmp_path / "one", "a")
    folders = [tmp_path / "one", tmp_path / "two"]
    environment: Any = gathered(node_folders=folders, driver_version="1")
    assert [one.name for one in environment.node_packs] == ["a", "b", "c"]
    assert environment.python_version == platform.python_version()
    assert (environment.devices, environment.launch_options, environment.driver_version) == (["cpu"], ["--cpu"], "1")
    assert gathered() == gathered()
    differing = [
        gathered(comfyui_version="0.34.0"),
        gathered(options=["--lowvram"]),
        gathered(frontend_version="1.49.6"),
        gathered(torch=TorchBuild("cuda 13.0", "13.0", lambda: "9.24.0")),
        gathered(node_folders=folders),
        gathered(devices=["cuda"]),
        gathered(driver_version="2"),
        gathered(),
    ]
    assert len({one.id for one in differing}) == 8  # type: ignore[attr-defined]
    assert all(len(one.id) == 16 for one in differing)  # type: ignore[attr-defined]


def test_comfyui_s_own_commit_is_told_where_it_is_a_checkout(tmp_path: Path) -> None:
    checkout = pack(tmp_path, "ComfyUI", head=f"{COMMIT}\n")
    told = gathered(comfyui_folder=checkout)
    assert told.comfyui_commit == COMMIT  # type: ignore[attr-defined]
    assert told.id != gathered().id  # type: ignore[attr-defined]
    assert gathered().comfyui_commit is None  # type: ignore[attr-defined]


def test_cuda_is_told_where_torch_was_built_for_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked() -> str:
        raise AssertionError("loading cuDNN takes its time")

    there = {"nvidia-cuda-runtime-cu12": "12.8.90", "nvidia-cudnn-cu12": "9.10.2.21", "torch": "2.8.0"}
    monkeypatch.setattr(environment_module, "distributions", lambda: there)
    told: Any = gathered(torch=TorchBuild("cuda 12.8", "12.8", asked))
    assert (told.torch_version, told.torch_build) == ("2.8.0", "cuda 12.8")
    assert (told.cuda_runtime_version, told.cudnn_version) == ("12.8.90", "9.10.2.21")
    told = gathered(torch=TorchBuild("cpu"))
    assert (told.torch_build, told.cuda_runtime_version, told.cudnn_version) == ("cpu", None, None)
    monkeypatch.setattr(environment_module, "distributions", dict)
    told = gathered(torch=TorchBuild("cuda 13.0", "13.0", lambda: "9.24.0"))
    assert (told.torch_version, told.cuda_runtime_version, told.cudnn_version) == (None, "13.0", "9.24.0")


@pytest.mark.parametrize(
    ("about", "build", "cuda"),
    [
        (None, None, None),
        ({"cuda": "13.0", "hip": None}, "cuda 13.0", "13.0"),
        ({"cuda": None, "hip": "7.1.25424-4179531dcd"}, "rocm 7.1", None),
        ({"cuda": None, "hip": None, "xpu": "20250302"}, "xpu 20250302", None),
        ({"cuda": None, "hip": None, "xpu": None}, "cpu", None),
        ({}, "cpu", None),
        ({"cuda": 13, "hip": ""}, "cpu", None),
    ],
)
def test_what_torch_was_built_for(
    about: dict | None, build: str | None, cuda: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = None if about is None else SimpleNamespace(version=SimpleNamespace(**about))
    monkeypatch.setitem(sys.modules, "torch", torch)  # type: ignore[arg-type]
    found = torch_build()
    assert (found.build, found.cuda) == (build, cuda)


@pytest.mark.parametrize(
    ("number", "told"), [(92400, "9.24.0"), (91002, "9.10.2"), (8902, "8.9.2"), (None, None), ("x", None)]
)
def test_the_version_of_cudnn_is_a_number_with_two_meanings(
    number: object, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cudnn = SimpleNamespace(version=lambda: number)
    torch = SimpleNamespace(version=SimpleNamespace(cuda="13.0"), backends=SimpleNamespace(cudnn=cudnn))
    monkeypatch.setitem(sys.modules, "torch", torch)  # type: ignore[arg-type]
    assert torch_build().cudnn() == told
    torch.backends = None
    assert torch_build().cudnn() is None


def installed(folder: Path, *metadata: tuple[str, bytes | None]) -> None:
    for name, told in metadata:
        (folder / f"{name}.dist-info").mkdir()
        if told is not None:
            write(folder / f"{name}.dist-info" / "METADATA", told)


def test_what_is_installed_is_told_by_its_normalised_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(
        tmp_path,
        ("Flash_Attn-2.8", b"Metadata-Version: 2.1\nName: Flash_Attn\nVersion: 2.8.3\n"),
        ("zope.x-1", b"Metadata-Version: 2.1\nName: zope.x\nVersion: 1\n"),
        ("nameless-1", b"Metadata-Version: 2.1\nVersion: 1\n"),
        ("versionless-1", b"Name: versionless\n"),
        ("empty-1", b""),
        ("binary-1", bytes(range(256))),
        ("gone-1", None),
        ("odd-1", b"Name: odd\nVersion: " + b"9" * 5000 + b"\x1b[31m\n"),
    )
    (tmp_path / "folder-1.dist-info" / "METADATA").mkdir(parents=True)
    later = tmp_path / "later"
    later.mkdir()
    installed(later, ("zope-x-2", b"Name: Zope-X\nVersion: 2\n"), ("triton-3", b"Name: triton\nVersion: 3.7\n"))
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(later)])
    found = distributions()
    odd = found.pop("odd")
    assert len(odd) <= 80 and "\x1b" not in odd
    assert found == {"flash-attn": "2.8.3", "triton": "3.7", "versionless": "?", "zope-x": "1"}
    assert attention_packages(found) == {"flash-attn": "2.8.3", "triton": "3.7"}
    assert version_of(found, "flash") == "2.8.3" and version_of(found, "nvidia-cudnn") is None


def test_the_machine_is_told_by_the_system(tmp_path: Path) -> None:
    cpuinfo = text(tmp_path / "cpuinfo", "processor\t: 0\nmodel name\t: A Fine CPU @ 3 GHz\nmodel name\t: other\n")
    told = machine(cpuinfo)
    assert told.cpu == "A Fine CPU @ 3 GHz"
    assert told.cpu_count and told.ram_total_bytes and told.ram_total_bytes > 2**28
    for odd in (tmp_path / "missing", text(tmp_path / "arm", "Hardware: x\n")):
        assert machine(odd).cpu == (platform.processor() or None)


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

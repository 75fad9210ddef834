"""`run-recorder node deploy` and `remove`, on a folder that looks like a ComfyUI."""

import sys
from pathlib import Path

import pytest

from .hosts import cli

HERE = {"COMFYUI_PYTHON": sys.executable}


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    folder = tmp_path / "Comfy UI ü"
    (folder / "custom_nodes").mkdir(parents=True)
    (folder / "main.py").touch()
    return folder


def names(comfyui: Path) -> list[str]:
    return sorted(path.name for path in (comfyui / "custom_nodes").iterdir())


def test_it_is_copied_and_removed_and_leaves_nothing(comfyui: Path) -> None:
    done = cli("node", "deploy", comfyui, env=HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    copy = comfyui / "custom_nodes" / "run-recorder"
    assert (copy / "telemetry" / "record" / "recorder.py").is_file()
    assert not {".git", ".venv", "tests"} & {path.name for path in copy.iterdir()}
    assert cli("node", "remove", comfyui).returncode == 0
    assert names(comfyui) == []
    assert cli("node", "remove", comfyui).returncode == 0, "twice is once"


@pytest.mark.parametrize("how", [(), ("--link",)], ids=["copy", "link"])
def test_what_stood_there_is_kept_and_restored(comfyui: Path, how: tuple[str, ...]) -> None:
    mine = comfyui / "custom_nodes" / "run-recorder"
    mine.mkdir()
    (mine / "mine.txt").write_text("mine", "utf-8")
    assert cli("node", "deploy", comfyui, *how, env=HERE).returncode == 0
    assert mine.is_symlink() == bool(how)
    assert [name for name in names(comfyui) if ".backup-" in name and name.endswith(".disabled")]
    assert cli("node", "remove", comfyui).returncode == 0
    assert names(comfyui) == ["run-recorder"]
    assert (mine / "mine.txt").read_text("utf-8") == "mine"
    assert cli("node", "remove", comfyui).returncode == 2, "what we did not put there is left alone"
    assert (mine / "mine.txt").exists()


def test_where_it_cannot_be_imported_nothing_is_changed(comfyui: Path, tmp_path: Path) -> None:
    done = cli("node", "deploy", comfyui, env={"COMFYUI_PYTHON": str(tmp_path / "no python")})
    assert done.returncode == 1
    assert names(comfyui) == []


def test_a_folder_that_is_no_comfyui_is_bad_use(tmp_path: Path) -> None:
    for command in ("deploy", "remove"):
        assert cli("node", command, tmp_path).returncode == 2

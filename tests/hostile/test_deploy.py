"""`run-recorder node` in a custom_nodes that others write in: nothing of theirs goes, and nothing is half done."""

import os
import sys
from pathlib import Path

import pytest
from run_recorder.cli import main
from run_recorder.commands import node as node_command

pytestmark = [
    pytest.mark.timeout(60, func_only=True),
    pytest.mark.skipif(sys.platform == "win32", reason="makes links and pipes"),
]


@pytest.fixture
def comfyui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like ComfyUI; the check by its interpreter is taken as passed."""
    folder = tmp_path / "ComfyUI"
    (folder / "custom_nodes").mkdir(parents=True)
    (folder / "main.py").touch()
    monkeypatch.setattr(node_command, "_cannot_import", lambda *_: None)
    return folder


def place(comfyui: Path) -> Path:
    return comfyui / "custom_nodes" / "run-recorder"


def put(comfyui: Path, kind: str) -> Path:
    """Something of somebody else's in the package's place."""
    there = place(comfyui)
    if kind == "file":
        there.write_text("mine")
    elif kind == "pipe":
        os.mkfifo(there)
    elif kind == "dangling":
        there.symlink_to(comfyui / "nothing")
    else:
        there.mkdir()
        (there / "mine.py").touch()
        if kind == "note is a link":
            (there / node_command.DEPLOYED).symlink_to(there / "mine.py")
    return there


def names(comfyui: Path) -> list[str]:
    return sorted(path.name for path in (comfyui / "custom_nodes").iterdir())


def test_a_link_to_another_s_folder_is_not_removed(comfyui: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "work").write_text("mine")
    place(comfyui).symlink_to(precious)
    assert main(["node", "remove", str(comfyui)]) == 2
    assert place(comfyui).is_symlink()
    assert (precious / "work").read_text() == "mine"


def test_a_link_to_another_s_folder_is_kept_by_deploy_and_restored_by_remove(comfyui: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "work").write_text("mine")
    place(comfyui).symlink_to(precious)
    assert main(["node", "deploy", str(comfyui)]) == 0
    assert not place(comfyui).is_symlink()
    assert main(["node", "remove", str(comfyui)]) == 0
    assert place(comfyui).resolve() == precious
    assert [path.name for path in precious.iterdir()] == ["work"]


@pytest.mark.parametrize("kind", ["file", "folder", "pipe", "dangling", "note is a link"])
def test_what_another_put_there_is_left_alone_by_remove(comfyui: Path, kind: str) -> None:
    there = put(comfyui, kind)

    def known() -> tuple[int, int, int, int]:
        """All but the time of access: a link is read when it is looked at."""
        found = there.lstat()
        return found.st_mode, found.st_ino, found.st_mtime_ns, found.st_ctime_ns

    before = known()
    assert main(["node", "remove", str(comfyui)]) == 2
    assert known() == before


def test_links_inside_a_copy_are_removed_and_not_followed(comfyui: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "work").write_text("mine")
    assert main(["node", "deploy", str(comfyui)]) == 0
    (place(comfyui) / "models").symlink_to(precious)
    assert main(["node", "remove", str(comfyui)]) == 0
    assert names(comfyui) == []
    assert (precious / "work").read_text() == "mine"


def test_what_is_only_called_like_a_backup_is_not_restored(comfyui: Path) -> None:
    (comfyui / "custom_nodes" / "run-recorder.backup-zzz.disabled").mkdir()
    assert main(["node", "deploy", str(comfyui)]) == 0
    assert main(["node", "remove", str(comfyui)]) == 0
    assert names(comfyui) == ["run-recorder.backup-zzz.disabled"]


def test_a_foreign_folder_in_the_way_of_the_staged_copy_is_not_removed(
    comfyui: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_command.secrets, "token_hex", lambda _count: "0")
    foreign = comfyui / "custom_nodes" / "run-recorder.0.disabled"
    foreign.mkdir()
    (foreign / "work").touch()
    assert main(["node", "deploy", str(comfyui)]) == 1
    assert names(comfyui) == ["run-recorder.0.disabled"]
    assert (foreign / "work").exists()


def test_what_stood_there_stands_there_again_when_deploying_fails_half_way(
    comfyui: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(comfyui).mkdir()
    (place(comfyui) / "mine.py").touch()
    honest = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".disabled") and ".backup-" not in self.name:
            raise OSError(28, "No space left on device")
        return honest(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    assert main(["node", "deploy", str(comfyui)]) == 1
    assert names(comfyui) == ["run-recorder"]
    assert (place(comfyui) / "mine.py").exists()


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "Ctrl-C"])
@pytest.mark.parametrize("command", ["deploy", "remove"])
def test_a_command_that_is_stopped_between_its_two_renames_is_undone(
    comfyui: Path, monkeypatch: pytest.MonkeyPatch, command: str, fault: BaseException
) -> None:
    place(comfyui).mkdir()
    (place(comfyui) / "mine.py").touch()
    if command == "remove":
        assert main(["node", "deploy", str(comfyui)]) == 0
    before = names(comfyui)
    honest, calls = Path.rename, list[Path]()

    def failing(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise fault
        return honest(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    assert main(["node", command, str(comfyui)]) in (1, 130)
    assert names(comfyui) == before
    ours = place(comfyui) / node_command.DEPLOYED
    assert ours.exists() == (command == "remove")


def test_links_and_pipes_in_the_package_s_own_folder_are_not_followed_into_the_copy(
    comfyui: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, precious = tmp_path / "package", tmp_path / "precious"
    (package / "telemetry").mkdir(parents=True)
    (package / "__init__.py").touch()
    precious.mkdir()
    (precious / "key").write_text("mine")
    (package / "models").symlink_to(precious)
    (package / "telemetry" / "key.py").symlink_to(precious / "key")
    (package / "around").symlink_to(package)
    os.mkfifo(package / "telemetry" / "pipe")
    monkeypatch.setattr(node_command, "PACKAGE", package)
    assert main(["node", "deploy", str(comfyui)]) == 0
    copied = sorted(str(path.relative_to(place(comfyui))) for path in place(comfyui).rglob("*"))
    assert copied == [node_command.DEPLOYED, "__init__.py", "telemetry"]


@pytest.mark.parametrize("kind", ["file", "folder", "pipe", "dangling"])
def test_what_another_put_there_is_kept_by_deploy_and_stands_again_after_remove(comfyui: Path, kind: str) -> None:
    there = put(comfyui, kind)
    before = there.lstat()
    assert main(["node", "deploy", str(comfyui)]) == 0
    assert (there / node_command.DEPLOYED).is_file()
    assert main(["node", "remove", str(comfyui)]) == 0
    now = there.lstat()
    assert (now.st_ino, now.st_mode, now.st_size) == (before.st_ino, before.st_mode, before.st_size)
    assert names(comfyui) == ["run-recorder"] and not (comfyui / "nothing").exists()


@pytest.mark.parametrize("kind", ["dangling", "pipe", "file", "nothing"])
@pytest.mark.parametrize("command", ["deploy", "remove"])
def test_a_custom_nodes_that_is_no_folder_is_refused_and_stays(comfyui: Path, command: str, kind: str) -> None:
    nodes = comfyui / "custom_nodes"
    nodes.rmdir()
    if kind == "dangling":
        nodes.symlink_to(comfyui / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(nodes)
    elif kind == "file":
        nodes.touch()
    before = sorted(path.name for path in comfyui.iterdir())
    assert main(["node", command, str(comfyui)]) == 2
    assert sorted(path.name for path in comfyui.iterdir()) == before


def test_a_custom_nodes_that_is_a_link_to_a_shared_folder_is_used_and_stays_a_link(
    comfyui: Path, tmp_path: Path
) -> None:
    shared = tmp_path / "shared nodes"
    (shared / "another-pack").mkdir(parents=True)
    (comfyui / "custom_nodes").rmdir()
    (comfyui / "custom_nodes").symlink_to(shared)
    assert main(["node", "deploy", str(comfyui)]) == 0
    assert sorted(path.name for path in shared.iterdir()) == ["another-pack", "run-recorder"]
    assert main(["node", "remove", str(comfyui)]) == 0
    assert sorted(path.name for path in shared.iterdir()) == ["another-pack"]
    assert (comfyui / "custom_nodes").is_symlink()

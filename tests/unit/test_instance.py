"""A process is known by a lock that only its death gives back."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_recorder.telemetry.process.identity import Identity, machine, this_process
from run_recorder.telemetry.store.instance import FOLDER, InstanceLocks

HOLD = (
    "import sys; from pathlib import Path\n"
    "from run_recorder.telemetry.store.instance import InstanceLocks\n"
    "locks = InstanceLocks(Path(sys.argv[1])); print(locks.begin(1).id, flush=True); sys.stdin.read()\n"
)


def other_process(folder: Path) -> tuple["subprocess.Popen[str]", str]:
    """A process that holds its lock until it is killed, and its identity."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def test_an_instance_has_an_id_a_host_and_a_port(tmp_path: Path) -> None:
    locks = InstanceLocks(tmp_path)
    instance = locks.begin(8188)
    assert uuid.UUID(instance.id)
    assert instance.hostname
    assert instance.port == 8188
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == [f"{instance.id}.lock"]
    locks.end()


def test_every_start_is_another_instance(tmp_path: Path) -> None:
    one, two = InstanceLocks(tmp_path), InstanceLocks(tmp_path)
    assert one.begin(None).id != two.begin(None).id
    one.end()
    two.end()


def test_this_process_and_a_living_one_are_not_dead_and_a_killed_one_is(tmp_path: Path) -> None:
    locks = InstanceLocks(tmp_path)
    assert not locks.is_dead(locks.begin(None).id)
    process, other = other_process(tmp_path)
    assert not locks.is_dead(other)
    end(process)
    assert locks.is_dead(other)
    locks.forget(other)
    locks.forget(other)
    assert not (tmp_path / FOLDER / f"{other}.lock").exists()
    locks.end()


@pytest.mark.parametrize("shared", [True, False])
def test_an_instance_without_a_lock_is_dead_only_where_all_locks_are_kept_here(tmp_path: Path, shared: bool) -> None:
    assert InstanceLocks(tmp_path, shared_with_all=shared).is_dead(str(uuid.uuid4())) is shared


GONE = Identity(machine(), f"{str(this_process().process).partition(':')[0]}:{2**22 + 1}:1")
"""A process of this machine that is not there: a number above all that a kernel gives."""
ELSEWHERE = Identity("another machine", "another place:1:1")


@pytest.fixture
def living() -> Iterator[Identity]:
    """Another process of this machine, that lives."""
    code = (
        "from run_recorder.telemetry.process.identity import this_process as t; print(t().process, flush=True); input()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield Identity(machine(), process.stdout.readline().strip())
    end(process)


def test_a_living_process_that_could_not_hold_a_lock_is_not_dead(tmp_path: Path, living: Identity) -> None:
    locks = InstanceLocks(tmp_path)
    assert not locks.is_dead(str(uuid.uuid4()), living)


def test_a_dead_process_without_a_lock_is_dead_wherever_locks_are_kept(tmp_path: Path) -> None:
    assert InstanceLocks(tmp_path, shared_with_all=False).is_dead(str(uuid.uuid4()), GONE)
    assert InstanceLocks(tmp_path).is_dead(str(uuid.uuid4()), GONE)


def test_a_process_of_another_machine_without_a_lock_is_let_alone(tmp_path: Path) -> None:
    for shared in (True, False):
        assert not InstanceLocks(tmp_path, shared_with_all=shared).is_dead(str(uuid.uuid4()), ELSEWHERE)


def test_a_lock_that_can_be_taken_tells_the_death_of_a_process_that_cannot_be_seen(tmp_path: Path) -> None:
    process, other = other_process(tmp_path)
    locks = InstanceLocks(tmp_path)
    assert not locks.is_dead(other, ELSEWHERE), "it holds its lock"
    end(process)
    assert locks.is_dead(other, ELSEWHERE)


def test_a_process_that_lives_is_not_dead_because_its_lock_was_lost(tmp_path: Path, living: Identity) -> None:
    locks = InstanceLocks(tmp_path)
    instance = locks.begin(None)
    others = InstanceLocks(tmp_path)
    Path(others._file(instance.id)).unlink()
    assert not others.is_dead(instance.id, living)
    Path(others._file(instance.id)).touch()
    assert not others.is_dead(instance.id, living)


@pytest.mark.parametrize("odd", ["", "me", "../../etc/passwd", "x" * 300])
def test_what_is_no_identity_is_dead_and_touches_no_file(tmp_path: Path, odd: str) -> None:
    locks = InstanceLocks(tmp_path)
    assert locks.is_dead(odd)
    locks.forget(odd)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_cannot_be_tried_is_taken_for_a_living_one(tmp_path: Path) -> None:
    locks = InstanceLocks(tmp_path)
    odd = str(uuid.uuid4())
    (tmp_path / FOLDER / f"{odd}.lock").mkdir(parents=True)
    assert not locks.is_dead(odd)


def test_an_end_gives_the_lock_back_and_leaves_no_file(tmp_path: Path) -> None:
    locks = InstanceLocks(tmp_path)
    instance = locks.begin(None)
    locks.end()
    locks.end()
    assert list((tmp_path / FOLDER).iterdir()) == []
    assert locks.is_dead(instance.id)


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_bytes(b"")
    with pytest.raises(OSError):
        InstanceLocks(tmp_path).begin(None)

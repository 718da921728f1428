"""Leases between real processes, and between what looks like processes of other nodes."""

import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from stoker.errors import StoppedError
from stoker.progress import Silent
from stoker.store import heartbeat
from stoker.store.lease import SharedProgress, leased, living_leases
from stoker.store.owner import Owner, owner_in, this_process

SPAWN = multiprocessing.get_context("spawn")


def hold(locks: Path, acquired, release) -> None:
    with leased(locks, "k", Silent()):
        acquired.set()
        release.wait(60)


class Heard(Silent):
    """What a waiting process showed."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.advances: list[tuple[int, int]] = []

    def phase(self, name: str, detail: str = "") -> None:
        self.phases.append(detail)

    def advance(self, done: int, total: int, unit: str = "bytes") -> None:
        self.advances.append((done, total))


@pytest.fixture
def holder(tmp_path: Path):
    acquired, release = SPAWN.Event(), SPAWN.Event()
    process = SPAWN.Process(target=hold, args=(tmp_path, acquired, release))
    process.start()
    assert acquired.wait(60)
    yield process, release
    process.kill()  # its event cannot be set any more once it was killed while it waited
    process.join(60)


def test_the_second_waits_until_the_first_is_done(tmp_path: Path, holder) -> None:
    _, release = holder
    acquired = threading.Event()

    def second() -> None:
        with leased(tmp_path, "k", Silent()):
            acquired.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not acquired.wait(0.6)
    release.set()
    assert acquired.wait(60)
    thread.join(60)
    assert list(tmp_path.iterdir()) == []


def test_other_keys_do_not_wait(tmp_path: Path, holder) -> None:
    with leased(tmp_path, "another", Silent()):
        assert [path.name for path, _ in living_leases(tmp_path, "another")] == ["another.lease.1"]


def test_a_killed_holder_is_followed_at_once(tmp_path: Path, holder) -> None:
    process, _ = holder
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    assert (tmp_path / "k.lease.1").exists()
    with leased(tmp_path, "k", Silent()) as lease:
        assert lease.path.name == "k.lease.2"
        assert not (tmp_path / "k.lease.1").exists()


def test_a_holder_of_another_node_counts_as_dead_when_its_heartbeat_stops(tmp_path: Path) -> None:
    elsewhere = Owner("0123456789ab", 1, 1, 1)
    path = tmp_path / "k.lease.7"
    path.write_text(json.dumps({"owner": str(elsewhere), "host": "node-b", "pid": 1}))
    assert [each for each, _ in living_leases(tmp_path, "k")] == [path]
    old = time.time() - heartbeat.STALE_SECONDS - 1
    os.utime(path, (old, old))
    with leased(tmp_path, "k", Silent()) as lease:
        assert lease.path.name == "k.lease.8"


def test_a_stopped_process_counts_as_dead_too(tmp_path: Path, holder) -> None:
    process, _ = holder
    os.kill(process.pid, signal.SIGSTOP)
    try:
        old = time.time() - heartbeat.STALE_SECONDS - 1
        os.utime(tmp_path / "k.lease.1", (old, old))
        with leased(tmp_path, "k", Silent()):
            pass
    finally:
        os.kill(process.pid, signal.SIGCONT)


def test_the_waiting_one_shows_who_holds_it_and_how_far_that_is(tmp_path: Path) -> None:
    heard, cancel = Heard(), threading.Event()

    def wait_for_it() -> None:
        with pytest.raises(StoppedError), leased(tmp_path, "k", heard, cancel):
            pass

    with leased(tmp_path, "k", Silent()) as lease:
        shared = SharedProgress(Silent(), lease)
        shared.phase("building")
        shared.advance(3, 10)
        lease.write()
        thread = threading.Thread(target=wait_for_it)
        thread.start()
        while not heard.advances:
            time.sleep(0.01)
        cancel.set()
        thread.join(60)
    assert f"waiting for process {os.getpid()}" in heard.phases[0]
    assert heard.advances[0] == (3, 10)


def take_in_turn(locks: Path, inside: Path) -> None:
    for _ in range(10):
        with leased(locks, "k", Silent()):
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # raises if another is in here
            inside.unlink()


@pytest.mark.slow
def test_never_two_at_once(tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    locks.mkdir()
    processes = [SPAWN.Process(target=take_in_turn, args=(locks, tmp_path / "inside")) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4


def test_an_owner_is_read_back_from_a_name() -> None:
    me = this_process()
    assert owner_in(f"build-{me}-x1") == me
    assert me.lives
    assert Owner(me.boot, me.namespace, me.pid, me.started + 1).lives is False
    assert Owner("0123456789ab", me.namespace, me.pid, me.started).lives is None
    assert owner_in("nothing") is None

"""From the health reports and the log of a server in a container."""

from collections.abc import Mapping

from stoker.containers.watch import Follower, last_words
from stoker.progress import Silent
from stoker.serve.operate.lifecycle import Lifecycle


class Listener(Silent):
    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def phase(self, name: str, detail: str = "") -> None:
        self.heard.append((name, detail))

    def advance(self, done: int, total: int, unit: str = "bytes") -> None:
        self.heard.append((done, total, unit))

    def expect(self, seconds: Mapping[str, float]) -> None:
        self.expected = seconds


def test_real_reports_are_followed_and_what_went_by_between_them_is_told():
    listener, lifecycle = Listener(), Lifecycle()
    follower = Follower(listener)
    assert not follower.follow(lifecycle.report())
    lifecycle.phase("probing")
    lifecycle.phase("downloading", "model.safetensors")
    lifecycle.advance(1, 4)
    assert not follower.follow(lifecycle.report())
    assert not follower.follow(lifecycle.report())
    assert listener.heard == [
        *(("starting", ""), ("probing", ""), ("downloading", "model.safetensors"), (1, 4, "bytes"), (1, 4, "bytes"))
    ]


def test_a_ready_report_ends_it():
    follower = Follower(Listener())
    assert follower.follow({**Lifecycle().report(), "ready": True})


def test_the_last_words_are_the_servers_own_error_and_hint():
    log = "12:00 INFO probing\nerror: it does not fit: 7 GiB are missing\nhint: --precision int4\nlater noise\n"
    assert last_words(log) == ("it does not fit: 7 GiB are missing", "", "--precision int4")
    assert last_words("exec format error\n\n") == ("exec format error", "", "")
    assert last_words("") == ("it said nothing", "", "")


def test_what_the_server_expects_is_passed_on():
    listener, lifecycle = Listener(), Lifecycle()
    lifecycle.expect({"building": 100.0})
    lifecycle.phase("building")
    Follower(listener).follow(lifecycle.report())
    assert 99 < listener.expected["building"] < 101

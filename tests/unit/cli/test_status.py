"""What `stoker status` says of a server with several replicas, and with adapters."""

import pytest

from stoker.cli.status import _table
from stoker.containers.listing import Row, row_document


def row(state="ready", replicas=(), adapters=0):
    return Row("demo", "stoker-demo", state, "http://127.0.0.1:8000", "stoker:cpu", replicas, adapters)


@pytest.mark.parametrize(
    ("replicas", "shown"),
    [
        ((), "demo  ready  http"),
        (("ready",), "demo  ready  http"),
        (("ready", "ready"), "demo  ready, 2 of 2 replicas  http"),
        (("ready", "loading", "failed"), "demo  ready, 1 of 3 replicas (1 loading, 2 failed)  http"),
    ],
)
def test_replicas_that_are_not_ready_are_named(replicas, shown):
    assert shown in _table([row(replicas=replicas)])


@pytest.mark.parametrize(
    ("replicas", "adapters", "shown"),
    [
        ((), 1, "demo  ready, 1 adapter  http"),
        (("ready", "ready"), 3, "demo  ready, 2 of 2 replicas, 3 adapters  http"),
    ],
)
def test_adapters_are_counted(replicas, adapters, shown):
    assert shown in _table([row(replicas=replicas, adapters=adapters)])


def test_api_processes_that_are_not_ready_are_named():
    several = Row("demo", "c", "ready", "http://x", "i", ("ready",), 0, ("ready", "restarting"))
    assert "demo  ready, 1 of 2 API processes (1 restarting)  http" in _table([several])


def test_on_the_way_there_the_phase_says_it():
    assert "demo  loading 40%  http" in _table([row("loading 40%", ("loading", "starting"))])


def test_the_document_has_the_state_of_each():
    assert row_document(row(replicas=("ready", "restarting")))["replicas"] == ("ready", "restarting")

"""Two servers of one machine: none is taken for the other."""

from __future__ import annotations

import pytest

from stoker.launch import server
from stoker.launch.python_engine import PythonEngine
from stoker.launch.supervisor import Patience, Supervisor


def test_a_port_that_another_server_took_meanwhile_is_not_taken_for_its_own(loop, supervisor, settings_of, tiny_engine):
    """The other one answers there, and that its model is loaded; this one has not even tried to listen yet."""
    taken = [int(supervisor.address.rpartition(":")[2]), *server.free_ports(1)]
    with pytest.MonkeyPatch.context() as patch:
        ports = iter([taken])
        free_ports = server.free_ports
        patch.setattr(server, "free_ports", lambda count: next(ports, None) or free_ports(count))
        second = Supervisor(PythonEngine(settings_of(tiny_engine)), Patience(heartbeat=3600))
        try:
            loop.run(second.start())
            assert second.address != supervisor.address
            assert second.restarts == 0
        finally:
            loop.run(second.stop())

"""Which container engine is asked, and what is said where there is none."""

import http.server
import socket
import socketserver
import threading

import pytest

from stoker.containers import connection
from stoker.containers.connection import connect, usual_sockets
from stoker.errors import ContainerError, UsageError


def test_another_machines_engine_is_refused():
    with pytest.raises(UsageError, match="another machine's") as caught:
        connect({"DOCKER_HOST": "tcp://10.0.0.7:2375"})
    assert "stoker manifest docker" in caught.value.remedy


def test_the_usual_sockets_are_tried_in_order_docker_first():
    sockets = [str(path) for path in usual_sockets({"XDG_RUNTIME_DIR": "/run/user/7"})]
    assert sockets[0] == "/var/run/docker.sock"
    assert "/run/user/7/podman/podman.sock" in sockets


def test_no_engine_at_all(monkeypatch, tmp_path):
    monkeypatch.setattr(connection, "usual_sockets", lambda environ: iter([tmp_path / "docker.sock"]))
    with pytest.raises(ContainerError, match="no container engine was found") as caught:
        connect({})
    assert "podman system service" in caught.value.remedy


def test_a_socket_that_nobody_listens_on(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "p.sock"))
    with pytest.raises(ContainerError, match=r"nothing answers at .*p\.sock: connection refused"):
        connect({"DOCKER_HOST": f"unix://{tmp_path}/p.sock"})


def test_a_socket_that_is_not_there(tmp_path):
    with pytest.raises(ContainerError, match="no such file or directory"):
        connect({"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})


def test_a_socket_that_may_not_be_used(monkeypatch, tmp_path):
    def refuse(self: socket.socket, path: str) -> None:  # root may everything
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", type("Refusing", (socket.socket,), {"connect": refuse}))
    with pytest.raises(ContainerError, match="may not be used by this user") as caught:
        connect({"DOCKER_HOST": f"unix://{tmp_path}/p.sock"})
    assert "usermod -aG docker" in caught.value.remedy


def test_something_else_listens(tmp_path):
    """An HTTP server that is no container engine."""
    path = tmp_path / "p.sock"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None: ...

        def address_string(self) -> str:
            return "unix"

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(ContainerError, match="is no container engine"):
            connect({"DOCKER_HOST": f"unix://{path}"})
        server.shutdown()

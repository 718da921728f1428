"""What the container engine is asked for."""

import socket

import pytest
from tests.planning import plan_compiled

from stoker.containers.start import check_port
from stoker.containers.wanted import Place, container_options, gpu_options, volume_or_directory
from stoker.deploy.types import Deployment, Sized, Sizing
from stoker.errors import ContainerError, UsageError
from stoker.plan.types import Overrides
from stoker.probe.description import load_description
from stoker.progress import Silent
from stoker.resolve.resolve import resolve

PLACE = Place("127.0.0.1", 9000, "stoker")


def server(machine: str, tmp_path, directory: str = "") -> Deployment:
    model = resolve("demo", tmp_path, Silent())
    plan = plan_compiled(load_description(machine), model, Overrides())
    one = Sized(1, "")
    sizing = Sizing(one, one, one, Sized(600 << 20, ""), one, one, Sized(55, ""), cores_limited=True)
    return Deployment("stoker-demo", plan, sizing, "stoker:cpu", ("demo",), directory=directory)


def test_the_container_may_do_little_and_is_published_where_asked(tmp_path):
    options = container_options(server("cpu:4c-8g", tmp_path), ("--offline",), PLACE, {"HF_TOKEN": "t", "OTHER": "x"})
    assert options["command"] == ["demo", "--offline"]
    assert options["ports"] == {"8000/tcp": ("127.0.0.1", 9000)}
    assert options["environment"] == {"HF_TOKEN": "t"}
    assert options["shm_size"] == 600 << 20
    assert (options["read_only"], options["cap_drop"]) == (True, ["ALL"])
    assert options["volumes"] == {"stoker": {"bind": "/cache", "mode": "rw"}}
    assert gpu_options(server("cpu:4c-8g", tmp_path), is_podman=True) == {}


def test_on_the_hosts_network_the_server_itself_takes_the_address(tmp_path):
    place = Place("127.0.0.1", 9000, "stoker", network="host")
    options = container_options(server("cpu:4c-8g", tmp_path), (), place, {})
    assert options["command"] == ["demo", "--host=127.0.0.1", "--port=9000"]
    assert options["network_mode"] == "host"
    assert "ports" not in options


def test_a_directory_is_mounted_for_reading_where_the_arguments_say(tmp_path):
    options = container_options(server("cpu:4c-8g", tmp_path, directory="/srv/mine"), (), PLACE, {})
    assert options["volumes"]["/srv/mine"] == {"bind": "demo", "mode": "ro"}


@pytest.mark.parametrize("is_podman", [True, False])
def test_the_plans_gpus_are_asked_for_by_what_the_engine_calls_them(is_podman, tmp_path):
    planned = server("2xH100-80GB", tmp_path)
    options = gpu_options(planned, is_podman=is_podman)
    [request] = options["device_requests"]
    uuids = [planned.plan.machine.gpus[index].uuid for index in planned.plan.all_devices]
    assert len(uuids) == 2
    assert request["DeviceIDs"] == [f"nvidia.com/gpu={uuid}" if is_podman else uuid for uuid in uuids]
    assert request["Driver"] == ("cdi" if is_podman else "")
    assert {limit["Name"]: limit["Hard"] for limit in options["ulimits"]} == {"memlock": -1, "stack": 64 << 20}


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:9000"), ("0.0.0.0", "http://127.0.0.1:9000"), ("::1", "http://[::1]:9000")],
)
def test_the_url_is_one_that_this_host_reaches(host, url):
    assert Place(host, 9000, "stoker").url == url


def test_a_taken_port_is_told_before_anything_is_started():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(ContainerError, match="cannot be used: address already in use") as caught:
            check_port(Place("127.0.0.1", listener.getsockname()[1], "stoker"))
    assert "--port" in caught.value.remedy


def test_a_volume_is_a_name_or_a_directory_that_is_there(tmp_path):
    assert volume_or_directory("stoker") == "stoker"
    assert volume_or_directory(f"{tmp_path}/") == str(tmp_path)
    with pytest.raises(UsageError, match="there is no such directory"):
        volume_or_directory(f"{tmp_path}/none")

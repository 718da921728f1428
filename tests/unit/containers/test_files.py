"""Files of this host that a server in a container is to read."""

from pathlib import Path

import pytest

from stoker.containers.files import handed
from stoker.containers.wanted import Place
from stoker.deploy.given import NOT_PASSED_ON, given_flags
from stoker.errors import UsageError
from stoker.settings.layers import load_settings
from stoker.settings.spec import SETTINGS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("cert.pem", "key.pem", "keys", "texts.txt"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_files_that_are_renewed_are_mounted_with_their_folder_once(folder: Path) -> None:
    given = {"tls-cert": f"{folder}/cert.pem", "tls-key": f"{folder}/key.pem", "calibration": f"{folder}/texts.txt"}
    settings = load_settings(given, {})
    found = handed(settings)
    assert found.mounts == {
        f"{folder}/texts.txt": {"bind": "/run/stoker/calibration", "mode": "ro"},
        str(folder): {"bind": "/run/stoker/tls-cert", "mode": "ro"},
    }
    assert set(given_flags(settings, "up", found.values)) == {
        "--tls-cert=/run/stoker/tls-cert/cert.pem",
        "--tls-key=/run/stoker/tls-cert/key.pem",
        "--calibration=/run/stoker/calibration",
    }


def test_a_link_to_elsewhere_is_mounted_as_what_it_is(folder: Path) -> None:
    (folder / "live").mkdir()
    (folder / "live" / "keys").symlink_to("../keys")
    found = handed(load_settings({"api-key-file": f"{folder}/live/keys"}, {}))
    assert found.mounts == {f"{folder}/keys": {"bind": "/run/stoker/api-key-file", "mode": "ro"}}
    assert found.values == {"api-key-file": "/run/stoker/api-key-file"}


def test_stored_responses_are_the_hosts_or_in_memory(folder: Path) -> None:
    found = handed(load_settings({"response-store": str(folder)}, {}))
    assert found.mounts == {str(folder): {"bind": "/run/stoker/response-store", "mode": "rw"}}
    settings = load_settings({"response-store": "memory"}, {})
    assert given_flags(settings, "up", handed(settings).values) == ("--response-store=memory",)


@pytest.mark.parametrize("name", ["api-key-file", "tls-client-ca", "public-key", "response-store"])
def test_what_is_not_there_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--{name} .*there is no such"):
        handed(load_settings({name: f"{tmp_path}/none"}, {}))


def test_operators_have_a_port_of_their_own() -> None:
    place = Place("10.0.0.1", 9000, "stoker", tls=True, management=("127.0.0.1", 9001))
    assert (place.url, place.watch_url) == ("https://10.0.0.1:9000", "http://127.0.0.1:9001")
    assert place.published == {"8000/tcp": ("10.0.0.1", 9000), "9001/tcp": ("127.0.0.1", 9001)}
    assert place.own_flags == ("--host=10.0.0.1", "--port=9000", "--management-host=127.0.0.1")


@pytest.mark.parametrize("command", ["up", "manifest"])
def test_every_setting_of_serve_is_passed_on_or_it_is_said_why_not(command: str) -> None:
    of_serve = {one.name for one in SETTINGS if "serve" in one.applies_to}
    passed_on = {one.name for one in SETTINGS if command in one.applies_to and one.name not in NOT_PASSED_ON[command]}
    assert of_serve - passed_on == set(NOT_PASSED_ON[command]), "neither passed on nor refused with a reason"
    assert all(len(reason) > 5 for reason in NOT_PASSED_ON[command].values())

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from stoker.child_environment import child_environment
from stoker.tethered import PRIVATE, tethered

HARMLESS = {
    "PATH": "/bin",
    "HOME": "/home/me",
    "LC_ALL": "C",
    "LD_LIBRARY_PATH": "/lib",
    "OMP_NUM_THREADS": "2",
    "CUDA_VISIBLE_DEVICES": "0",
    "PYTHONPATH": "/src",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_CACHE_ROOT": "/cache",
    "HSA_OVERRIDE_GFX_VERSION": "11.0.0",
    "OMPI_MCA_btl": "self",
}


@pytest.mark.parametrize(
    "name",
    [
        *("STOKER_API_KEY", "STOKER_API_KEYS_FILE", "STOKER_REMOTES", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
        *("NGC_API_KEY", "NGC_CLI_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("AZURE_STORAGE_CONNECTION_STRING", "GOOGLE_APPLICATION_CREDENTIALS", "COSIGN_PASSWORD", "DOCKER_CONFIG"),
        *("GITHUB_TOKEN", "WANDB_API_KEY", "OTEL_EXPORTER_OTLP_HEADERS", "SSH_AUTH_SOCK", "KUBECONFIG", "PGPASSWORD"),
        *("DATABASE", "my_service", "VLLM_API_KEY", "CUDA_TOKEN", "PYTHON_KEYRING_SECRET", "HTTPS_PROXY"),
    ],
)
def test_no_secret_is_inherited_whatever_it_is_called(name: str) -> None:
    assert child_environment(environ={**HARMLESS, name: "sesame"}) == HARMLESS


def test_a_url_with_a_password_is_a_secret_in_any_variable() -> None:
    assert child_environment(environ={"OV_PLACE": "http://me:sesame@there/x", "TZ": "UTC"}) == {"TZ": "UTC"}


def test_what_the_user_names_is_passed_on_to_children_of_children_too() -> None:
    given = {"STOKER_ENGINE_ENVIRONMENT": "MY_LICENCE, OTHER", "MY_LICENCE": "x", "OTHER": "y", "THIRD": "z"}
    passed = child_environment(environ=given)
    assert passed == {key: value for key, value in given.items() if key != "THIRD"}
    assert child_environment(environ=passed) == passed


def test_a_childs_own_variables_win() -> None:
    assert child_environment({"HF_TOKEN": "given on purpose", "PATH": "/x"}, HARMLESS)["PATH"] == "/x"


def test_a_childs_files_are_private_whatever_mode_it_gives_them(tmp_path) -> None:
    script = "import os; fd = os.open('file', os.O_CREAT | os.O_RDWR, 0o644); os.fchmod(fd, 0o644); os.fsync(fd)"
    both = f"{script}; os.chmod('program', 0o755); os.fchmod(os.open('other', os.O_CREAT | os.O_RDWR), 0o700)"
    (tmp_path / "program").touch()
    subprocess.run(tethered([sys.executable, "-c", both], signal.SIGKILL, PRIVATE), cwd=tmp_path, check=True)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"file": 0o600, "program": 0o755, "other": 0o700}

"""Serving where users and volumes are unusual."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port
from tests.waiting import SECONDS

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
HARD = "кэш 家 $(exit 1) 'q' %41"


@pytest.fixture
def filled(tmp_path: Path, make_cli) -> Path:
    """A cache that holds the engine of the demo model."""
    cache = tmp_path / "filled"
    built = make_cli(cache).run("build", "demo")
    assert built.returncode == 0, built.stderr
    return cache


def mounted(script: str) -> tuple[str, ...]:
    """What runs a command after a script of mounts, which end with it."""
    return ("unshare", "-m", "bash", "-ec", f'{script}; exec "$@"', "--")


def read_only(path: Path | str) -> str:
    return f"mount --bind '{path}' '{path}'; mount -o remount,bind,ro '{path}'"


@pytest.fixture
def answers(tmp_path: Path, wait_until) -> Callable[..., str]:
    """Serves by a Cli until it has answered once; what it answered."""

    def serve(cli: Any, *arguments: str, prefix: tuple[str, ...] = ()) -> str:
        port = free_port()
        log = tmp_path / "serve.log"
        process = cli.start("serve", *(arguments or ("demo",)), "--port", str(port), log=log, prefix=prefix)
        body = json.dumps({"model": "demo", "prompt": "Hi", "max_tokens": 3, "temperature": 0}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", body)
        request.add_header("Content-Type", "application/json")

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/health/ready").close()
            except OSError:
                return False
            return True

        wait_until(ready, "ready")
        with urllib.request.urlopen(request) as answer:
            text = json.load(answer)["choices"][0]["text"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0, log.read_text()
        return str(text)

    return serve


@pytest.mark.parametrize("variable", ["cache", "HOME", "TMPDIR", "XDG_RUNTIME_DIR"])
def test_a_path_in_any_script_with_anything_in_it(variable, tmp_path: Path, make_cli, answers) -> None:
    folder = tmp_path / HARD
    folder.mkdir(mode=0o700)
    in_cache = variable == "cache"
    cli = make_cli(folder) if in_cache else make_cli(tmp_path / "cache", **{variable: str(folder)})
    assert answers(cli)
    if variable != "cache":
        assert [path.name for path in folder.iterdir() if path.name.startswith("stoker-")] == []


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "tlh_KX.UTF-8"},
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    ],
    ids=str,
)
def test_prompts_in_any_script_under_any_locale(locale, filled: Path, make_cli) -> None:
    prompt = "Grüße 家 😀"
    expected = make_cli(filled).run("generate", "demo", "--prompt", prompt, "--max-tokens", "3")
    got = make_cli(filled, **locale).run("generate", "demo", "--prompt", prompt, "--max-tokens", "3")
    assert got.returncode == 0, got.stderr
    assert got.stdout == expected.stdout


def test_a_prompt_that_is_no_text_is_a_usage_error(filled: Path, make_cli) -> None:
    cli = make_cli(filled)
    command = [os.fsencode(part) for part in cli.command("generate", "demo", "--max-tokens", "3")]
    for arguments, given in (([b"--prompt", b"\xff"], b""), ([], b"a\xff")):
        ran = subprocess.run([*command, *arguments], input=given, env=cli.environment, capture_output=True, check=False)
        assert ran.returncode == 64, ran.stderr


@pytest.mark.parametrize("command", [("build", "demo"), ("plan", "demo"), ("engines", "list"), ("doctor",)])
@needs_root
def test_a_user_without_a_home_or_a_name(command, tmp_path: Path, make_cli) -> None:
    """As containers run by number. It keeps the right to read this installation, wherever that is."""
    cache = tmp_path / "cache"
    cache.mkdir()
    os.chown(cache, 12345, 12345)
    user = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "--inh-caps=+dac_read_search")
    prefix = ("env", "-u", "HOME", *user, "--ambient-caps=+dac_read_search")
    with_cache = make_cli(cache).run(*command, prefix=prefix)
    assert with_cache.returncode == (0 if command != ("doctor",) else with_cache.returncode), with_cache.stderr
    assert "should not" not in with_cache.stderr
    without = subprocess.run(
        [*prefix, *make_cli(cache).command(*command)[:-2]], capture_output=True, text=True, check=False
    )
    assert "should not" not in without.stderr
    if command[0] == "build":
        assert without.returncode == 73
        assert "--cache" in without.stderr


@needs_root
def test_a_read_only_cache_that_holds_the_engine_serves(filled: Path, make_cli, answers) -> None:
    prefix = mounted(read_only(filled))
    assert answers(make_cli(filled), prefix=prefix)
    assert answers(make_cli(filled), "demo", "--check", "full", "--cache-limit", "1", prefix=prefix)
    cli = make_cli(filled)
    assert cli.run("generate", "demo", "--prompt", "Hi", "--max-tokens", "2", prefix=prefix).returncode == 0
    assert cli.run("engines", "verify", prefix=prefix).returncode == 0
    lacking = cli.run("build", "demo", "--precision", "int4", prefix=prefix)
    assert lacking.returncode == 73
    assert "Read-only file system" in lacking.stderr


@needs_root
def test_a_read_only_cache_with_a_model_of_the_hub_serves(hub, served_model, tmp_path: Path, make_cli, answers) -> None:
    cli = make_cli(tmp_path / "cache")
    assert cli.run("build", served_model).returncode == 0
    prefix = mounted(read_only(cli.cache))
    for more in ((), ("--offline",)):
        ran = cli.run("generate", served_model, "--prompt", "Hi", "--max-tokens", "2", *more, prefix=prefix)
        assert ran.returncode == 0, ran.stderr


@needs_root
def test_a_read_only_tmp_with_tmpdir_elsewhere(filled: Path, tmp_path: Path, make_cli, answers) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    log = f"mount --bind '{tmp_path}' /mnt"  # its own folders stay writable under another name
    environment = {"TMPDIR": "/mnt/elsewhere", "XDG_RUNTIME_DIR": ""}
    cli = make_cli(Path("/mnt/filled"), **environment)
    assert answers(cli, prefix=mounted(f"{log}; {read_only('/tmp')}"))
    assert [*elsewhere.iterdir()] == []


def test_what_the_cache_holds_is_not_for_others(hub, served_model, tmp_path: Path, make_cli) -> None:
    cli = make_cli(tmp_path / "cache")
    before = os.umask(0)
    try:
        assert cli.run("build", served_model).returncode == 0
        assert cli.run("generate", served_model, "--prompt", "Hi", "--max-tokens", "2").returncode == 0
    finally:
        os.umask(before)
    for path in (cli.cache, *cli.cache.rglob("*")):
        if not path.is_symlink():
            assert stat.S_IMODE(path.stat().st_mode) & 0o027 == 0, path

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stoker.errors import UsageError
from stoker.plan.overrides import overrides_of
from stoker.plan.types import Overrides
from stoker.settings import SETTINGS, Origin, Sourced, load_settings


@pytest.fixture
def write(tmp_path):
    def write_file(text: str) -> Path:
        path = tmp_path / "stoker.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def refusal(flags=None, environ=None, file=None) -> str:
    with pytest.raises(UsageError) as caught:
        load_settings(flags or {}, environ or {}, file)
    return str(caught.value)


def test_defaults_stand_where_nothing_is_given():
    settings = load_settings({}, {"HOME": "/home/someone"})

    assert (settings.host, settings.port, settings.drain_timeout) == ("127.0.0.1", 8000, 30.0)
    assert (settings.log_format, settings.log_level, settings.offline) == ("auto", "info", False)
    assert (settings.model, settings.served_model_names, settings.calibration) == (None, (), None)
    assert settings.cache == Path("/home/someone/.cache/stoker")
    assert all(settings[setting.name].origin is Origin.DEFAULT for setting in SETTINGS)


@pytest.mark.parametrize(
    ("environ", "cache"),
    [
        ({"HOME": "/h", "XDG_CACHE_HOME": "/xdg"}, "/xdg/stoker"),
        ({"HOME": "/h", "XDG_CACHE_HOME": ""}, "/h/.cache/stoker"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "relative"}, "/h/.cache/stoker"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/xdg", "STOKER_CACHE": "/cache"}, "/cache"),
    ],
)
def test_cache_directory(environ, cache):
    assert load_settings({}, environ).cache == Path(cache)


def test_flag_wins_over_environment_over_file_over_default(write):
    file = write("precision: f32\ngoal: latency\nport: 1\n")
    environ = {"STOKER_PRECISION": "bf16", "STOKER_GOAL": "throughput"}

    settings = load_settings({"precision": "int4", "goal": None}, environ, file)

    assert settings["precision"] == Sourced("int4", Origin.FLAG, "--precision")
    assert settings["goal"] == Sourced("throughput", Origin.ENVIRONMENT, "STOKER_GOAL")
    assert settings["port"] == Sourced(1, Origin.FILE, "stoker.yaml: port")
    assert settings["host"] == Sourced("127.0.0.1", Origin.DEFAULT, "default")


def test_every_setting_can_be_given_in_every_layer(write):
    sample = {
        "whole": "2",
        "tokens": "2",
        "seconds": "2",
        "switch": "true",
        "path": "x",
        "text": "x",
        "bytes": "2",
        "places": "file:///x",
        "count": "2",
        "named": "a=./b",
    }
    for setting in SETTINGS:
        text = setting.choices[-1] if setting.choices else sample[setting.type]
        file = write(f"{setting.name.replace('-', '_')}: {text}\n")
        flag = load_settings(
            {setting.name: text}, {"STOKER_CONFIG": ""}, write("") if setting.name == "config" else None
        )
        if setting.name == "config":
            assert flag["config"].origin is Origin.FLAG
            continue
        assert flag[setting.name].origin is Origin.FLAG
        assert load_settings({}, {setting.variable: text})[setting.name].origin is Origin.ENVIRONMENT
        assert load_settings({}, {}, file)[setting.name].origin is Origin.FILE


def test_model_is_named_by_its_argument():
    assert load_settings({"model": "demo"}, {})["model"] == Sourced("demo", Origin.FLAG, "MODEL")


def test_overrides_hold_only_what_was_given(write):
    assert overrides_of(load_settings({}, {})) == Overrides()

    given = load_settings({"max-seq-len": "8k"}, {"STOKER_KV_PRECISION": "u8"}, write("goal: latency"))
    overrides = overrides_of(given)

    assert overrides == Overrides(
        goal=Sourced("latency", Origin.FILE, "stoker.yaml: goal"),
        kv_precision=Sourced("u8", Origin.ENVIRONMENT, "STOKER_KV_PRECISION"),
        max_seq_len=Sourced(8192, Origin.FLAG, "--max-seq-len"),
    )


@pytest.mark.parametrize("source", ["flag", "variable"])
def test_the_file_may_be_named_by_flag_or_variable(write, source):
    path = str(write("port: 9\n"))
    flags, environ = ({"config": path}, {}) if source == "flag" else ({}, {"STOKER_CONFIG": path})
    assert load_settings(flags, environ).port == 9


def test_empty_variable_and_empty_key_count_as_unset(write):
    settings = load_settings({}, {"STOKER_PORT": " ", "STOKER_HOST": ""}, write("precision:\ngoal: ~\nport: 7\n"))
    assert settings.port == 7
    assert not settings.is_given("host")
    assert not settings.is_given("precision")
    assert not settings.is_given("goal")
    assert settings.warnings == ()


def test_values_are_read_as_they_are_written(write):
    settings = load_settings({}, {}, write("served-model-name: 1.10\noffline: yes\nmax_num_tokens: 1m\nport: 8_080\n"))
    assert (settings.served_model_names, settings.offline) == (("1.10",), True)
    assert (settings["max_num_tokens"].value, settings.port) == (1 << 20, 8080)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("port", "abc", "--port=abc: not a whole number (from 0 to 65535)"),
        ("port", "65536", "--port=65536: too large (from 0 to 65535)"),
        ("port", "-1", "--port=-1: too small (from 0 to 65535)"),
        ("port", "8k", "--port=8k: not a whole number (from 0 to 65535)"),
        ("max-seq-len", "0", "--max-seq-len=0: too small (at least 1)"),
        ("max-seq-len", "k", "--max-seq-len=k: not a whole number of tokens, like 4096 or 32k (at least 1)"),
        ("max-batch-size", "1.5", "--max-batch-size=1.5: not a whole number (at least 1)"),
        ("drain-timeout", "nan", "--drain-timeout=nan: not a number of seconds (at least 0)"),
        ("offline", "maybe", "--offline=maybe: not true or false"),
        ("host", " ", "--host needs a value"),
        ("goal", "lattency", "--goal=lattency: not one of throughput, latency (did you mean latency?)"),
        ("zzz", "red", "unknown setting --zzz"),
        ("prot", "1", "unknown setting --prot (did you mean --port?)"),
    ],
)
def test_bad_flag(name, text, said):
    assert refusal({name: text}) == said


def test_bad_value_names_its_place(write):
    assert refusal(environ={"STOKER_PORT": "abc"}).startswith("STOKER_PORT=abc: not a whole number")
    path = write("# mine\ngoal: latency\nport: abc\n")
    assert refusal(file=path).startswith(f"{path}, line 3: port=abc: not a whole number")


def test_bad_value_is_refused_also_where_another_layer_overrides_it():
    assert "STOKER_PORT=abc" in refusal({"port": "1"}, {"STOKER_PORT": "abc"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port: 1\nmax_seqlen: 5\n", "{path}, line 2: unknown setting max_seqlen (did you mean max-seq-len?)"),
        ("port: 1\nPORT: 2\n", "{path}, line 2: unknown setting PORT"),
        ("max-seq-len: 1\nmax_seq_len: 2\n", "{path}, line 2: max_seq_len is set twice (keep one of them)"),
        ("port: [1, 2]\n", "{path}, line 1: port: not a single value"),
        ("- port\n", "{path}, line 1: not a mapping (write one `name: value` a line)"),
        ("config: other.yaml\n", "{path}, line 1: config: cannot be set in the file itself (use --config)"),
        ("port: 1\n\tgoal: x\n", "{path}, line 2: "),
        ("a: 1\n---\nb: 2\n", "{path}, line 2: "),
        ("port: 1\x00\n", "{path}: not YAML"),
    ],
)
def test_bad_file(write, text, said):
    path = write(text)
    assert refusal(file=path).startswith(said.format(path=path))


def test_unreadable_files(tmp_path):
    assert refusal(file=tmp_path / "none.yaml").endswith("No such file or directory")
    assert refusal(file=tmp_path).endswith("Is a directory")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert refusal(file=tmp_path / "binary").endswith("not UTF-8 text")


@pytest.mark.parametrize("text", ["", "# nothing\n", "~\n", "{}\n"])
def test_empty_file_sets_nothing(write, text):
    settings = load_settings({}, {}, write(text))
    assert not any(settings.is_given(setting.name) for setting in SETTINGS)


def test_unknown_variable_is_warned_about_with_the_nearest_name():
    warnings = load_settings(
        {}, {"STOKER_MAX_SEQLEN": "1", "STOKER_QQQ": "1", "OTHER": "1", "STOKER_PORT": "1"}
    ).warnings
    assert warnings == (
        "unknown variable STOKER_MAX_SEQLEN is ignored: did you mean STOKER_MAX_SEQ_LEN?",
        "unknown variable STOKER_QQQ is ignored",
    )


def test_variables_of_a_kubernetes_service_named_stoker_do_not_break_the_port():
    environ = {
        "STOKER_PORT": "tcp://10.0.0.1:8000",
        "STOKER_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "STOKER_PORT_8000_TCP_ADDR": "10.0.0.1",
        "STOKER_SERVICE_HOST": "10.0.0.1",
        "STOKER_SERVICE_PORT_HTTP": "8000",
        "STOKER_GPU_PORT": "tcp://10.0.0.2:8000",
        "STOKER_GPU_SERVICE_PORT": "8000",
    }
    settings = load_settings({}, environ)
    assert settings["port"] == Sourced(8000, Origin.DEFAULT, "default")
    assert settings.warnings == (
        "STOKER_PORT=tcp://10.0.0.1:8000 comes from a Kubernetes Service named stoker, and is ignored",
    )


def test_importing_settings_is_light():
    code = "import sys, stoker.settings; print([m for m in ('yaml', 'rich', 'numpy') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout == "[]\n", result.stderr


def test_a_leader_worker_set_says_which_machine_of_how_many_this_is_unless_the_user_does():
    group = {"LWS_GROUP_SIZE": "2", "LWS_WORKER_INDEX": "1", "LWS_LEADER_ADDRESS": "group-0.group.default"}
    settings = load_settings({}, group)
    assert [settings[name].value for name in ("nodes", "node-rank", "leader")] == [2, 1, "group-0.group.default"]
    assert settings["nodes"].detail == "LWS_GROUP_SIZE"
    assert load_settings({}, {**group, "STOKER_NODES": "3"})["nodes"].value == 3
    assert "LWS_GROUP_SIZE=two" in refusal(environ={"LWS_GROUP_SIZE": "two"})


def test_variables_that_name_the_python_of_another_environment_are_known():
    assert load_settings({}, {"STOKER_DYNAMO_PYTHON": "/opt/dynamo/bin/python"}).warnings == ()


def test_a_cache_named_from_here_is_known_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_settings({"cache": "mine"}, {}).cache == tmp_path / "mine"

"""NVIDIA NIM's variables as a layer of settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.errors import UsageError
from stoker.settings import Origin, Sourced, load_settings
from stoker.settings.nim_reading import Idle, Taken
from stoker.settings.nim_variables import VARIABLES
from stoker.settings.spec import BY_NAME


def given(**environ: str) -> dict[str, object]:
    """What the variables set, without the warnings."""
    settings = load_settings({}, environ)
    return {name: value.value for name, value in settings.values.items() if value.origin is Origin.NIM}


def warning(**environ: str) -> str:
    warnings = load_settings({}, environ).warnings
    assert len(warnings) <= 1
    return "".join(warnings)


def test_they_stand_between_our_variables_and_the_file(tmp_path: Path) -> None:
    file = tmp_path / "stoker.yaml"
    file.write_text("max-seq-len: 1\nmax-batch-size: 1\nport: 1\nprecision: f32\n")
    nim = {"NIM_MAX_MODEL_LEN": "4k", "NIM_MAX_NUM_SEQS": "4", "NIM_SERVER_PORT": "4"}
    settings = load_settings({"max-seq-len": "2k"}, {**nim, "STOKER_MAX_BATCH_SIZE": "3"}, file)
    assert settings["max-seq-len"] == Sourced(2048, Origin.FLAG, "--max-seq-len")
    assert settings["max-batch-size"] == Sourced(3, Origin.ENVIRONMENT, "STOKER_MAX_BATCH_SIZE")
    assert settings["port"] == Sourced(4, Origin.NIM, "NIM_SERVER_PORT")
    assert settings["precision"].origin is Origin.FILE
    assert not settings.warnings


@pytest.mark.parametrize("name", ["NIM_MODEL_PATH", "NIM_FT_MODEL", "NIM_MODEL_NAME"])
@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("hf://meta/llama:v1", "hf://meta/llama@v1"),
        ("hf://meta/llama", "hf://meta/llama"),
        ("hf://meta/llama:main?file=config.json", "hf://meta/llama@main"),
        ("meta/llama", "meta/llama"),
        ("local:///models/llama", "/models/llama"),
        ("/models/llama", "/models/llama"),
    ],
)
def test_a_model_named_in_any_is_the_model(name: str, text: str, model: str) -> None:
    settings = load_settings({}, {name: text})
    assert settings.model == model
    assert settings["model"].detail == name


def test_the_operators_two_names_of_the_model() -> None:
    environ = {"NIM_MODEL_NAME": "/model-store", "NIM_MODEL_PATH": "hf://meta/llama"}
    assert given(**environ) == {"model": "hf://meta/llama"}
    assert "NIM_MODEL_NAME: NIM_MODEL_PATH says hf://meta/llama" in warning(**environ)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"NIM_CACHE_PATH": "/model-store"}, {"cache": Path("/model-store")}),
        ({"NIM_SERVER_PORT": "9000", "NIM_HTTP_API_PORT": "9000"}, {"port": 9000}),
        ({"NIM_SERVED_MODEL_NAME": "a,b"}, {"served-model-name": "a,b"}),
        ({"NIM_TENSOR_PARALLEL_SIZE": "2", "NIM_PIPELINE_PARALLEL_SIZE": "1"},
         {"tensor-parallel": 2, "pipeline-parallel": 1}),
        ({"NIM_JSONL_LOGGING": "1", "NIM_LOG_LEVEL": "INFO"}, {"log-format": "json", "log-level": "info"}),
        ({"NIM_JSONL_LOGGING": "0", "NIM_LOG_LEVEL": "DEFAULT"}, {}),
        ({"NIM_LOG_LEVEL": "TRACE"}, {"log-level": "debug"}),
        ({"NIM_LOG_LEVEL": "CRITICAL"}, {"log-level": "error"}),
        ({"NIM_DISABLE_MODEL_DOWNLOAD": "true"}, {"offline": True}),
        ({"NIM_DISABLE_MODEL_DOWNLOAD": "0"}, {}),
        ({"NIM_TOOL_CALL_PARSER": "llama3_json"}, {"tool-parser": "llama"}),
        ({"NIM_CORS_ALLOW_ORIGINS": "*"}, {"cors-origins": "*"}),
        ({"NIM_PEFT_SOURCE": "/loras", "NIM_PEFT_REFRESH_INTERVAL": "60", "NIM_MAX_GPU_LORAS": "4",
          "NIM_MAX_LORA_RANK": "64"},
         {"lora-source": Path("/loras"), "lora-refresh": 60.0, "max-loras": 4, "max-lora-rank": 64}),
        ({"NIM_NUM_COMPUTE_NODES": "2", "NIM_NODE_RANK": "1", "NIM_MULTI_NODE": "1", "NIM_LEADER_ROLE": "0"},
         {"nodes": 2, "node-rank": 1}),
        ({"NIM_SPECDEC_ENABLE": "1"}, {"speculative": "auto"}),
        ({"NIM_SPECDEC_ENABLE": "0", "NIM_DRAFT_MODEL_PATH": "/draft"}, {"speculative": "off"}),
        ({"NIM_SPECDEC_ENABLE": "1", "NIM_DRAFT_MODEL_PATH": "hf://a/b:v1"}, {"speculative": "draft=hf://a/b@v1"}),
        ({"NIM_DRAFT_MODEL_PATH": "/draft"}, {"speculative": "draft=/draft"}),
        ({"NIM_HEALTH_PORT": "8001"}, {"management-port": 8001}),
        ({"NIM_MODEL_PROFILE": "default"}, {}),
        ({"NIM_MODEL_PROFILE": "openvino-int8-latency"}, {"profile": "openvino-int8-latency"}),
        ({"NIM_MODEL_PROFILE": "vllm-bf16-tp1-pp1"},
         {"engine": "vllm", "precision": "bf16", "tensor-parallel": 1, "pipeline-parallel": 1}),
        ({"NIM_MODEL_PROFILE": "tensorrt_llm-h100-fp16-tp2-pp1-latency"},
         {"engine": "tensorrt_llm", "precision": "f16", "tensor-parallel": 2, "pipeline-parallel": 1,
          "goal": "latency"}),
        ({"NIM_MODEL_PROFILE": "tensorrt_llm-trtllm_buildable-bf16-tp4-lora"},
         {"engine": "tensorrt_llm", "precision": "bf16", "tensor-parallel": 4}),
        ({"NIM_TAGS_SELECTOR": "precision=fp8, tp=2,feat_lora=false,profile=throughput"},
         {"precision": "fp8", "tensor-parallel": 2, "goal": "throughput"}),
        ({"NIM_ENABLE_OTEL": "1", "NIM_OTEL_EXPORTER_OTLP_ENDPOINT": "http://o:4318"},
         {"otlp-endpoint": "http://o:4318"}),
        ({"NIM_ENABLE_OTEL": "0", "NIM_OTEL_EXPORTER_OTLP_ENDPOINT": "http://o:4318"}, {}),
        ({"NIM_SSL_MODE": "TLS", "NIM_SSL_CERTS_PATH": "/c", "NIM_SSL_KEY_PATH": "/k", "NIM_SSL_CA_CERTS_PATH": "/a"},
         {"tls-cert": Path("/c"), "tls-key": Path("/k")}),
        ({"NIM_SSL_MODE": "mtls", "NIM_SSL_CERT_PATH": "/c", "NIM_SSL_KEY_PATH": "/k", "NIM_SSL_CA_CERTS_PATH": "/a"},
         {"tls-cert": Path("/c"), "tls-key": Path("/k"), "tls-client-ca": Path("/a")}),
        ({"NIM_SSL_MODE": "DISABLED", "NIM_SSL_CERTS_PATH": "/c", "NIM_SSL_KEY_PATH": "/k"}, {}),
    ],
)  # fmt: skip
def test_what_they_mean(environ: dict[str, str], expected: dict[str, object]) -> None:
    assert given(**environ) == expected
    assert warning(**environ) == ""


def test_what_has_no_effect_is_named_in_one_warning() -> None:
    told = warning(
        NIM_KVCACHE_PERCENT="0.8", NIM_ENABLE_KV_CACHE_REUSE="0", NIM_MODEL_PROFILE="0" * 64, NIM_SSL_KEY_PATH="/k",
        NIM_TOOL_CALL_PARSER="jamba", NIM_MAX_MODEL_LENGTH="5", NIM_ENABLE_OTEL="1",
    )  # fmt: skip
    for name in ("KVCACHE_PERCENT", "ENABLE_KV_CACHE_REUSE", "MODEL_PROFILE", "SSL_KEY_PATH", "TOOL_CALL_PARSER"):
        assert f"NIM_{name}: " in told
    assert "NIM_MAX_MODEL_LENGTH: not known here, did you mean NIM_MAX_MODEL_LEN?" in told
    assert "NIM_ENABLE_OTEL: set NIM_OTEL_EXPORTER_OTLP_ENDPOINT too" in told


def test_what_is_so_anyway_needs_no_word() -> None:
    assert not warning(
        NIM_ENABLE_KV_CACHE_REUSE="1", NIM_RELAX_MEM_CONSTRAINTS="0", NIM_NUM_COMPUTE_NODES="1", NIM_MULTI_NODE="0",
        NIM_ENABLE_AUTO_TOOL_CHOICE="True", NIM_GUIDED_DECODING_BACKEND="xgrammar", NIM_TELEMETRY_MODE="0",
        NIM_SERVER_SERVICE_HOST="10.0.0.1", NIM_SERVER_PORT="tcp://10.0.0.1:8000", NIM_X_PORT_8000_TCP_ADDR="10.0.0.1",
        NIM_MAX_MODEL_LEN=" ",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"NIM_MAX_MODEL_LEN": "long"}, "NIM_MAX_MODEL_LEN=long: not a whole number"),
        ({"NIM_SERVER_PORT": "99999"}, "NIM_SERVER_PORT=99999: too large"),
        ({"NIM_LOG_LEVEL": "loud"}, "NIM_LOG_LEVEL=loud"),
        ({"NIM_SSL_MODE": "TLS"}, "NIM_SSL_MODE=TLS needs NIM_SSL_CERTS_PATH and NIM_SSL_KEY_PATH"),
        ({"NIM_SSL_MODE": "SSL"}, "not one of DISABLED, TLS, MTLS"),
        ({"NIM_PRECISION": "fp7"}, "NIM_PRECISION=fp7"),
    ],
)
def test_a_bad_value_is_named(environ: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings({}, environ)
    assert said in str(caught.value)


def test_every_variable_is_one_or_the_other_and_names_flags_that_are() -> None:
    flags = {"--help", *(f"--{name}" for name in BY_NAME)}
    for name, what in VARIABLES.items():
        assert name.startswith("NIM_")
        text = what.ours if isinstance(what, Taken) else what.instead
        assert text
        for word in text.replace("`", " ").replace(",", " ").replace(";", " ").replace(":", " ").split():
            assert not word.startswith("--") or word in flags, (name, word)
        assert isinstance(what, Taken | Idle)


def test_several_names_of_the_model() -> None:
    assert load_settings({}, {"NIM_SERVED_MODEL_NAME": "a, b,a"}).served_model_names == ("a", "b")

"""Every variable of NVIDIA NIM 1.x and 2.x for language models that is known here, and what becomes of it.

Of several that mean one setting, the first in this order wins.
"""

from __future__ import annotations

from collections.abc import Mapping

from stoker.settings import nim_reading as reading
from stoker.settings.nim_reading import Idle, Taken, tls_file, to

OFF = ("0", "false", "no", "off")
ON = ("1", "true", "yes", "on")
_MEMORY = "the plan decides how much memory is used; see `stoker plan`; --max-seq-len and --max-batch-size bound it"
_ENGINE = "the plan decides how the engine runs; --engine names its kind"
_NODES = "--nodes and --node-rank say it; node 0 is the leader"
_SOURCES = "models come from the Hugging Face Hub (HF_ENDPOINT names a mirror) or from a directory"
_PORTS = "the engine is reached over private Unix sockets; leave it out"
_CODE = "no code of a model's repository is ever run"
_MANIFEST = "profiles are chosen on this machine: --profile, and `stoker list-model-profiles`"
_REWARD = "serve a reranker, and ask /v1/rerank"
_CAPTURE = "--log-prompts writes request bodies to the access log"
_CORS = "methods and headers are fixed; --cors-origins names the sites"
_DYNAMO = "--dynamo serves a worker of NVIDIA Dynamo, whose frontend is a process of its own"
_REQUEST = "any request may ask for it; leave it out"

VARIABLES: Mapping[str, Taken | Idle] = {
    "NIM_MODEL_PATH": Taken("the model", reading.model),
    "NIM_FT_MODEL": Taken("the model", reading.model),
    "NIM_MODEL_NAME": Taken("the model", reading.model),
    "NIM_SERVED_MODEL_NAME": to("served-model-name"),
    "NIM_CACHE_PATH": to("cache"),
    "NIM_SERVER_PORT": to("port"),
    "NIM_HTTP_API_PORT": to("port"),
    "NIM_HEALTH_PORT": to("management-port"),
    "NIM_PRECISION": Taken("`--precision`", reading.precision),
    "NIM_MAX_MODEL_LEN": to("max-seq-len"),
    "NIM_MAX_NUM_SEQS": to("max-batch-size"),
    "NIM_MAX_BATCH_SIZE": to("max-batch-size"),
    "NIM_MAX_NUM_BATCHED_TOKENS": to("max-num-tokens"),
    "NIM_TENSOR_PARALLEL_SIZE": to("tensor-parallel"),
    "NIM_PIPELINE_PARALLEL_SIZE": to("pipeline-parallel"),
    "NIM_MODEL_PROFILE": Taken(
        "`--profile`; of a name of NIM's, `--engine`, `--precision`, `--tensor-parallel`, `--pipeline-parallel`, "
        "`--goal`",
        reading.profile,
    ),
    "NIM_TAGS_SELECTOR": Taken("the same, from its tags", reading.tags),
    "NIM_NUM_COMPUTE_NODES": to("nodes"),
    "NIM_NODE_RANK": to("node-rank"),
    "NIM_PEFT_SOURCE": to("lora-source"),
    "NIM_PEFT_REFRESH_INTERVAL": to("lora-refresh"),
    "NIM_MAX_GPU_LORAS": to("max-loras"),
    "NIM_MAX_LORA_RANK": to("max-lora-rank"),
    "NIM_DRAFT_MODEL_PATH": Taken("`--speculative draft=MODEL`, unless NIM_SPECDEC_ENABLE is off", reading.draft),
    "NIM_SPECDEC_ENABLE": Taken("`--speculative auto`, or `off`", reading.speculation),
    "NIM_DISABLE_MODEL_DOWNLOAD": Taken("`--offline`", reading.offline),
    "NIM_TOOL_CALL_PARSER": Taken("`--tool-parser`", reading.tool_parser),
    "NIM_LOG_LEVEL": Taken("`--log-level`", reading.log_level),
    "NIM_JSONL_LOGGING": Taken("`--log-format json`", reading.json_lines),
    "NIM_LOGGING_JSONL": Taken("`--log-format json`", reading.json_lines),
    "NIM_OTEL_EXPORTER_OTLP_ENDPOINT": Taken("`--otlp-endpoint`, where NIM_ENABLE_OTEL is on", reading.traces),
    "NIM_SSL_CERTS_PATH": tls_file("tls-cert", "TLS", "MTLS"),
    "NIM_SSL_CERT_PATH": tls_file("tls-cert", "TLS", "MTLS"),
    "NIM_SSL_KEY_PATH": tls_file("tls-key", "TLS", "MTLS"),
    "NIM_SSL_CA_CERTS_PATH": tls_file("tls-client-ca", "MTLS"),
    "NIM_CORS_ALLOW_ORIGINS": to("cors-origins"),
    "NIM_SSL_MODE": Taken("whether the files of the variables above are used", reading.tls_mode),
    "NIM_ENABLE_OTEL": Taken("whether NIM_OTEL_EXPORTER_OTLP_ENDPOINT is used", reading.traced),
    # without effect
    **dict.fromkeys(
        ("NIM_KVCACHE_PERCENT", "NIM_KV_CACHE_PERCENT", "NIM_GPU_MEM_FRACTION", "NIM_GPU_MEMORY_UTILIZATION"),
        Idle(_MEMORY),
    ),
    **dict.fromkeys(("NIM_LOW_MEMORY_MODE", "NIM_RELAX_MEM_CONSTRAINTS"), Idle(_MEMORY, OFF)),
    "NIM_NUM_KV_CACHE_SEQ_LENS": Idle(_MEMORY),
    "NIM_ENABLE_KV_CACHE_REUSE": Idle("prefixes are always cached", ON),
    "NIM_ENABLE_KV_CACHE_HOST_OFFLOAD": Idle("the KV cache is in the device's memory alone", OFF),
    "NIM_KV_CACHE_HOST_MEM_FRACTION": Idle("the KV cache is in the device's memory alone"),
    "NIM_SCHEDULER_POLICY": Idle(_ENGINE),
    **dict.fromkeys(
        (
            *("NIM_DISABLE_CUDA_GRAPH", "NIM_DISABLE_OVERLAP_SCHEDULING", "NIM_ENABLE_DP_ATTENTION"),
            *("NIM_FORCE_DETERMINISTIC", "NIM_USE_SGLANG", "NIM_USE_TRTLLM_LEGACY_BACKEND"),
            "NIM_DISABLE_TRTLLM_PYTORCH_RT",
        ),
        Idle(_ENGINE, OFF),
    ),
    "NIM_PASSTHROUGH_ARGS": Idle("give Stoker's own flags; `stoker serve --help` lists them"),
    "NIM_ENABLE_CHUNKED_PREFILL": Idle("the engine does that by itself", ON),
    "NIM_STREAM_INTERVAL": Idle("answers are streamed as they come"),
    **dict.fromkeys(("NIM_MULTI_NODE", "NIM_LEADER_ROLE", "NIM_MPI_ALLOW_RUN_AS_ROOT"), Idle(_NODES, (*OFF, *ON))),
    "NIM_MAX_CPU_LORAS": Idle("all adapters are in the engine's memory: NIM_MAX_GPU_LORAS, or --max-loras"),
    "NIM_PEFT_API_TIMEOUT_SECS": Idle("there is nothing to set; leave it out"),
    "NIM_SPECDEC_ARGS": Idle("--speculative names the method"),
    "NIM_REPOSITORY_OVERRIDE": Idle(_SOURCES),
    "NIM_SDK_USE_NATIVE_TLS": Idle("SSL_CERT_FILE names the certificates to trust", (*OFF, *ON)),
    **dict.fromkeys(
        (
            *("NIM_SDK_MAX_PARALLEL_DOWNLOAD_REQUESTS", "NIM_RUNTIME_MAX_WORKER_THREADS"),
            *("NIM_PROXY_CONNECTIVITY_TARGETS", "NIM_CACHE_PROBE_TIMEOUT"),
        ),
        Idle("there is nothing to set; leave it out"),
    ),
    "NIM_IGNORE_MODEL_DOWNLOAD_FAIL": Idle("a cached model is served where the hub cannot be reached", (*OFF, *ON)),
    "NIM_RUNTIME_CACHE_PATH": Idle("what is compiled is kept with the engines in --cache"),
    **dict.fromkeys(("NIM_MANIFEST_PATH", "NIM_MANIFEST_PROFILE"), Idle(_MANIFEST)),
    "NIM_MANIFEST_ALLOW_UNSAFE": Idle(_MANIFEST, (*OFF, *ON)),
    "NIM_CUSTOM_MODEL_NAME": Idle("engines are found again by what they were built from; leave it out"),
    **dict.fromkeys(("NIM_TRUST_CUSTOM_CODE", "NIM_FORCE_TRUST_REMOTE_CODE"), Idle(_CODE, OFF)),
    "NIM_TOKENIZER_MODE": Idle("the model's own tokenizer is used", ("auto",)),
    "NIM_CHAT_TEMPLATE": Idle("put it into the model's directory as chat_template.jinja"),
    "NIM_GUIDED_DECODING_BACKEND": Idle("grammars are kept by xgrammar", ("xgrammar", "auto")),
    "NIM_CUSTOM_GUIDED_DECODING_BACKENDS": Idle("grammars are kept by xgrammar"),
    "NIM_ENABLE_AUTO_TOOL_CHOICE": Idle("the model may always choose among a request's tools", ON),
    "NIM_TOOL_PARSER_PLUGIN": Idle("--tool-parser names one of those built in"),
    "NIM_ENABLE_BUDGET_CONTROL": Idle(_REQUEST, (*ON, *OFF)),
    **dict.fromkeys(
        ("NIM_BUDGET_CONTROL_THINKING_START_STRING", "NIM_BUDGET_CONTROL_THINKING_STOP_STRING"),
        Idle("--reasoning-parser selects the format of the model's reasoning"),
    ),
    "NIM_REWARD_MODEL": Idle(_REWARD, OFF),
    **dict.fromkeys(("NIM_REWARD_MODEL_STRING", "NIM_REWARD_LOGITS_RANGE"), Idle(_REWARD)),
    "NIM_ENABLE_PROMPT_LOGPROBS": Idle(_REQUEST, OFF),
    "NIM_PER_REQ_METRICS_ENABLE": Idle("/metrics and the access log have each request's times", OFF),
    "NIM_CAPTURE_ENABLE": Idle(_CAPTURE, OFF),
    "NIM_CAPTURE_ARGS": Idle(_CAPTURE),
    "NIM_MIDDLEWARE_CONFIG_PATH": Idle("put a gateway in front"),
    **dict.fromkeys(("NIM_NGINX_DIR", "NIM_PROXY_MGMT_ENDPOINT_PATTERN"), Idle("there is no nginx; leave it out")),
    "NIM_SAGEMAKER_MODE": Idle("give --port 8080", OFF),
    **dict.fromkeys(("NIM_DYNAMO_SINGLE", "NIM_DYNAMO_WORKER", "NIM_DYNAMO_FRONTEND"), Idle(_DYNAMO, OFF)),
    **dict.fromkeys(
        (
            *("NIM_BACKEND_PORT", "NIM_GRPC_API_PORT", "NIM_TRITON_GRPC_PORT", "NIM_TRITON_HTTP_PORT"),
            *("NIM_TRITON_METRICS_PORT", "NIM_TRITON_LOG_VERBOSE", "NIM_TRITON_OPTIMIZATION_MODE"),
        ),
        Idle(_PORTS),
    ),
    "NIM_TRITON_MAX_BATCH_SIZE": Idle("--max-batch-size"),
    "NIM_TRITON_MAX_QUEUE_SIZE": Idle("--max-queue"),
    "NIM_DISABLE_LOG_REQUESTS": Idle("--log-prompts writes request bodies to the access log", ON),
    "NIM_OTEL_SERVICE_NAME": Idle("the service is called stoker in traces"),
    "NIM_OTEL_TRACES_EXPORTER": Idle("traces go to --otlp-endpoint alone", ("otlp", "none")),
    "NIM_OTEL_METRICS_EXPORTER": Idle("metrics are read from /metrics", ("none",)),
    "NIM_TELEMETRY_MODE": Idle("Stoker sends no telemetry", OFF),
    **dict.fromkeys(
        ("NIM_CORS_ALLOW_METHODS", "NIM_CORS_ALLOW_HEADERS", "NIM_CORS_EXPOSE_HEADERS", "NIM_CORS_MAX_AGE"),
        Idle(_CORS),
    ),
}

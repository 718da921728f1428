import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from stoker.plan.render import command_line, plan_document, render_plan
from stoker.plan.schema import plan_schema, schema_text

SCHEMA = Path(__file__).parents[3] / "docs" / "plan.schema.json"
KEYS = ["machine", "model", "chosen", "memory", "replicas", "rejected", "reasons", "sources", "command"]
KEYS += ["next_profile"]
KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def violations(value: Any, schema: dict[str, Any], path: str = "plan") -> list[str]:
    """What of JSON Schema the plan's schema uses."""
    if "anyOf" in schema:
        tried = [violations(value, choice, path) for choice in schema["anyOf"]]
        return [] if any(not found for found in tried) else tried[0]
    if schema["type"] == "object":
        return object_violations(value, schema, path)
    if schema["type"] == "array":
        return array_violations(value, schema, path)
    right = isinstance(value, KINDS[schema["type"]]) and (schema["type"] == "boolean" or not isinstance(value, bool))
    return [] if right else [f"{path}: {value!r} is no {schema['type']}"]


def object_violations(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    if not isinstance(value, dict) or sorted(value) != sorted(schema["required"]):
        return [f"{path}: {value!r} does not have the names {schema['required']}"]
    children = schema["properties"]
    return [problem for name in value for problem in violations(value[name], children[name], f"{path}.{name}")]


def array_violations(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    if not isinstance(value, list):
        return [f"{path}: {value!r} is no array"]
    items = schema.get("prefixItems") or [schema["items"]] * len(value)
    if len(items) != len(value):
        return [f"{path}: {len(value)} items"]
    return [problem for one, item in zip(value, items, strict=True) for problem in violations(one, item, path)]


def test_the_schema_file_is_the_types():
    assert SCHEMA.read_text() == schema_text(), "run: python -m stoker.plan.schema > docs/plan.schema.json"


@pytest.mark.parametrize("name", ["qwen2.5-0.5b", "mixtral-8x7b", "gemma-2-9b"])
def test_documents_follow_the_schema(plan, machine, name):
    document = json.loads(json.dumps(plan_document(plan(name, on=machine(64, gpus=1)))))
    assert violations(document, plan_schema()) == []
    assert list(document) == KEYS


def test_the_schema_sees_what_is_wrong(plan):
    document = json.loads(json.dumps(plan_document(plan("qwen2.5-0.5b"))))
    document["chosen"]["max_batch_size"] = "many"
    document["rejected"][0]["why"] = ""
    assert len(violations(document, plan_schema())) == 2


def test_the_document_s_memory_adds_up(plan):
    memory = plan_document(plan("llama-3.1-8b", 16))["memory"]
    assert memory["total"] == memory["weights"] + memory["activations"] + memory["runtime"] + memory["kv_cache"]


@pytest.mark.parametrize(
    ("name", "memory", "given"),
    [
        ("llama-3.1-8b", 8, {}),
        ("llama-3.1-8b", 9.8, {"precision": "int8"}),
        ("gemma-2-9b", 32, {}),
        ("qwen2.5-0.5b", 16, {"goal": "latency", "kv_precision": "f16"}),
    ],
)
def test_the_spelled_out_command_gives_the_same_plan(plan, name, memory, given):
    first = plan(name, memory, **given)
    words = shlex.split(command_line(first))
    assert words[:3] == ["stoker", "serve", f"org/{name}"]
    flags = {flag[2:].replace("-", "_"): value for flag, value in zip(words[3::2], words[4::2], strict=True)}
    again = plan(name, memory, **{key: int(value) if value.isdigit() else value for key, value in flags.items()})
    assert again.chosen == first.chosen
    assert again.memory == first.memory


def test_the_text_says_choice_sources_reasons_budget_and_rejections(plan):
    found = plan("llama-3.1-8b", 16, max_seq_len=4096)
    text = render_plan(found, everything=True)
    assert "org/llama-3.1-8b at abc123: LlamaForCausalLM, 8,030,261,248 parameters" in text
    assert "(flag --max-seq-len)" in text
    assert "  weights      7.48 GiB" in text
    assert "  limit        14.40 GiB" in text
    assert all(f"  - {reason}" in text for reason in found.reasons)
    assert all(rejection.reason in text for rejection in found.rejected)
    assert command_line(found) in text
    assert not {"\t", "\x1b"} & set(text)


def test_what_a_plan_does_not_use_is_not_listed(plan):
    """GPUs, adapters, drafts and other machines, on a CPU without any of them."""
    lines = render_plan(plan("llama-3.1-8b", 16), everything=True).split("Chosen\n")[1].split("\n\n")[0].splitlines()
    assert [line[2:24].strip() for line in lines] == [
        "profile",
        "engine",
        "purpose",
        "precision",
        "KV precision",
        "activation precision",
        "tensor parallel",
        "pipeline parallel",
        "concurrent sequences",
        "tokens per step",
        "context",
        "threads",
    ]


def test_the_summary_has_what_a_person_decides_by(plan):
    found = plan("llama-3.1-8b", 16, max_seq_len=4096)
    text = render_plan(found, image="stoker:cpu")
    lines = text.splitlines()
    assert len(lines) < 35
    assert "Model      org/llama-3.1-8b at abc123: LlamaForCausalLM, 8,030,261,248 parameters" in lines
    assert "Image      stoker:cpu" in lines
    assert "Context    4,096 tokens (flag --max-seq-len)" in lines
    assert f"Rejected  {len(found.rejected)} profiles (--all lists them)" in lines
    assert all(f"  - {reason}" in text for reason in found.reasons)
    assert not any(rejection.reason in text for rejection in found.rejected)
    assert command_line(found) in text

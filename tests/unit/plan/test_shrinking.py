"""How plans give way to memory, in which order, and what is refused."""

import pytest

from stoker.errors import DoesNotFitError, StokerError, UnsupportedModelError, UsageError
from stoker.resolve.model import Quantization


def test_the_batch_gives_way_before_the_context(plan):
    found = plan("llama-3.1-8b", 12, precision="int8")
    assert found.chosen.max_seq_len == 8192
    assert 4 <= found.chosen.max_batch_size < 64
    assert any("batch shrunk from 64 to" in reason.text for reason in found.reasons)
    assert dict(found.sources)["max_batch_size"] == "planner"


def test_the_context_gives_way_next(plan):
    found = plan("llama-3.1-8b", 9.8, precision="int8")
    assert 4 <= found.chosen.max_batch_size < 8
    assert 4096 <= found.chosen.max_seq_len < 8192
    assert found.chosen.max_seq_len % 256 == 0
    assert any("context shrunk from 8,192 to" in reason.text for reason in found.reasons)
    assert dict(found.sources)["max_seq_len"] == "planner"


def test_then_the_batch_and_the_rest_of_the_context(plan):
    found = [plan("llama-3.1-8b", size / 100, precision="int8").chosen for size in range(1040, 900, -2)]
    contexts = [chosen.max_seq_len for chosen in found]
    assert contexts == sorted(contexts, reverse=True)
    assert found[-1].max_batch_size < 4
    assert 512 <= contexts[-1] < 2048
    with pytest.raises(DoesNotFitError, match="--precision int8 does not fit"):
        plan("llama-3.1-8b", 8.9, precision="int8")


def test_an_override_is_never_shrunk(plan):
    found = plan("llama-3.1-8b", 12, max_seq_len=16_384, max_batch_size=3, max_num_tokens=100)
    assert (found.chosen.max_seq_len, found.chosen.max_batch_size, found.chosen.max_num_tokens) == (16_384, 3, 100)
    assert dict(found.sources)["max_seq_len"] == "flag --max-seq-len"


def test_a_large_batch_raises_the_tokens_of_a_step(plan):
    assert plan("qwen2.5-0.5b", max_batch_size=300).chosen.max_num_tokens == 300
    assert plan("qwen2.5-0.5b", max_num_tokens=20).chosen.max_batch_size == 20


@pytest.mark.parametrize(
    ("override", "name"),
    [({"max_seq_len": 131_072}, "max_seq_len"), ({"max_batch_size": 3000}, "max_batch_size")],
)
def test_a_refused_limit_names_the_largest_that_fits(plan, override, name):
    with pytest.raises(DoesNotFitError, match="the largest that fits") as caught:
        plan("llama-3.1-8b", 16, **override)
    largest = int(str(caught.value).split()[-1].rstrip(")"))
    flag = "--" + name.replace("_", "-")
    assert f"the largest that fits: {flag} {largest}" in caught.value.remedy
    assert getattr(plan("llama-3.1-8b", 16, **{name: largest}).chosen, name) == largest
    with pytest.raises(DoesNotFitError):
        plan("llama-3.1-8b", 16, **{name: largest + 32})


def test_two_limits_that_do_not_fit_together_are_named_together(plan):
    with pytest.raises(DoesNotFitError, match="--max-seq-len 65536 with --max-batch-size 256") as caught:
        plan("llama-3.1-8b", 16, precision="int8", max_seq_len=65_536, max_batch_size=256)
    assert caught.value.remedy == "the largest that fits: --max-seq-len 320"


def test_a_refused_precision_names_its_bytes_and_the_largest_that_fits(plan):
    with pytest.raises(DoesNotFitError, match="--precision bf16 does not fit") as caught:
        plan("llama-3.1-8b", 16, precision="bf16")
    assert "14.96 GiB of it for weights" in caught.value.why
    assert caught.value.remedy == "the largest precision that fits: int8"
    assert caught.value.exit_code == 69


def test_a_model_that_is_too_large_says_how_much_it_needs(plan):
    with pytest.raises(DoesNotFitError, match="org/llama-3.1-70b does not fit this machine") as caught:
        plan("llama-3.1-70b", 16)
    assert "even with the smallest batch and context, int4 needs 35." in caught.value.why
    assert "GiB of memory available" in caught.value.remedy


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"precision": "int9"}, "--precision: unknown precision 'int9' (did you mean int8?)"),
        ({"profile": "openvino-int8"}, "did you mean openvino-int8-latency?"),
        ({"goal": "latencie"}, "did you mean latency?"),
        ({"kv_precision": "u4"}, "--kv-precision: unknown kv-precision 'u4'"),
        ({"max_seq_len": 0}, "--max-seq-len: 0 is not a number of at least 1"),
        ({"max_seq_len": 200_000}, "its configuration allows 131,072 tokens"),
        ({"max_batch_size": 64, "max_num_tokens": 32}, "contradict each other"),
        ({"profile": "openvino-int8-throughput", "precision": "int4"}, "or take --profile openvino-int4-throughput"),
        ({"profile": "openvino-int8-throughput", "goal": "latency"}, "or take --profile openvino-int8-latency"),
        ({"precision": "f32", "goal": "latency"}, "--goal throughput has it"),
        ({"precision": "fp8"}, "no profile offers precision fp8"),
        ({"precision": "f32", "kv_precision": "bf16"}, "a bf16 cache needs bf16 kernels"),
        ({"kv_precision": "fp8"}, "openvino-int8-throughput offers u8, bf16, f16, f32"),
    ],
)
def test_overrides_that_make_no_sense(plan, override, message):
    with pytest.raises(UsageError) as caught:
        plan("llama-3.1-8b", **override)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["tensor_parallel", "pipeline_parallel"])
def test_parallelism_is_refused_on_a_cpu(plan, name):
    with pytest.raises(DoesNotFitError, match="this version's engines run on the CPU"):
        plan("llama-3.1-8b", **{name: 2})
    assert plan("llama-3.1-8b", **{name: 1}).chosen.tensor_parallel == 1


@pytest.mark.parametrize(
    ("quantization", "override", "error", "message"),
    [
        (Quantization("awq", 4, 128), {"precision": "int8"}, UsageError, "is awq already"),
        (Quantization("awq", 4, 128), {"precision": "int4_gptq"}, UsageError, "possible here: int4_awq"),
        (Quantization("fp8", 8), {}, UnsupportedModelError, "quantised as fp8 8-bit"),
        (Quantization("gptq", 8, 128), {}, UnsupportedModelError, "quantised as gptq 8-bit"),
    ],
)
def test_quantised_checkpoints_are_not_quantised_again(
    plan, model, quantization, override, error: type[StokerError], message
):
    with pytest.raises(error, match=message):
        plan(of=model("llama-3.1-8b", quantization=quantization), **override)


def test_hardware_that_lacks_what_is_needed(plan, machine):
    with pytest.raises(DoesNotFitError, match="needs a processor with one of avx2, avx512, neon"):
        plan("llama-3.1-8b", on=machine(64, isa=()))
    with pytest.raises(DoesNotFitError, match="the processor lacks bf16"):
        plan("llama-3.1-8b", on=machine(64, isa=("avx2",)), kv_precision="bf16")


def test_a_dense_cache_is_kept_in_the_kernels_type(plan):
    with pytest.raises(UsageError, match="cannot be paged"):
        plan("gemma-2-9b", kv_precision="u8")
    assert plan("gemma-2-9b", kv_precision="f32").chosen.activation_precision == "f32"

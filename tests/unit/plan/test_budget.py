import pytest

from stoker.kinds.openvino.plan.memory import (
    Load,
    activation_bytes,
    dense_kv_bytes_per_token,
    kv_bytes_per_token,
    weight_bytes,
)

GIB = 1024**3


@pytest.mark.parametrize(
    ("name", "published"),
    [("llama-3.1-8b", 131_072), ("llama-3.1-70b", 327_680), ("mistral-7b-v0.3", 131_072), ("qwen2.5-0.5b", 12_288)],
)
def test_sixteen_bit_cache_takes_the_published_bytes(model, name, published):
    architecture = model(name).architecture
    assert kv_bytes_per_token(architecture, "f16") == published
    assert kv_bytes_per_token(architecture, "bf16") == published
    assert kv_bytes_per_token(architecture, "f32") == 2 * published


def test_qwen3_of_06b_takes_the_published_cache(model):
    # 28 layers, 8 KV heads of 128: head_dim is stated and is not hidden_size / heads.
    small = {"num_hidden_layers": 28, "num_key_value_heads": 8, "head_dim": 128, "hidden_size": 1024}
    assert kv_bytes_per_token(model("qwen3-8b", small).architecture, "f16") == 114_688


@pytest.mark.parametrize(
    ("kv_heads", "head_size", "bytes_per_layer"),
    # As PipelineMetrics.kv_cache_size_in_bytes gave them.
    [
        (4, 64, 608),
        (2, 64, 304),
        (2, 32, 160),
        (2, 80, 376),
        (2, 96, 448),
        (2, 128, 592),
        (1, 256, 584),
        (8, 128, 2368),
    ],
)
def test_u8_cache_takes_what_openvino_was_seen_to_take(model, kv_heads, head_size, bytes_per_layer):
    changes = {"num_key_value_heads": kv_heads, "num_attention_heads": 8, "head_dim": head_size}
    architecture = model("llama-3.1-8b", changes).architecture
    assert kv_bytes_per_token(architecture, "u8") == bytes_per_layer * architecture.layers


def test_windows_save_nothing_and_dense_caches_are_held_three_times(model):
    gemma = model("gemma-2-9b").architecture
    assert gemma.sliding_layers > 0
    assert kv_bytes_per_token(gemma, "bf16") == 42 * 2 * 8 * 256 * 2
    assert dense_kv_bytes_per_token(gemma, "bf16") == 3 * kv_bytes_per_token(gemma, "bf16")


def test_plain_weights_are_parameters_times_width(model):
    llama = model("llama-3.1-8b")
    assert llama.weights.parameters == 8_030_261_248
    assert weight_bytes(llama.architecture, llama.weights, "bf16") == 2 * 8_030_261_248
    assert weight_bytes(llama.architecture, llama.weights, "f32") == 4 * 8_030_261_248


def test_int8_adds_a_scale_and_a_zero_point_for_each_output_channel(model):
    llama = model("llama-3.1-8b")
    rows = 2 * 128_256 + 32 * ((32 + 2 * 8) * 128 + 4096 + 2 * 14_336 + 4096)
    assert weight_bytes(llama.architecture, llama.weights, "int8") == 8_030_261_248 + 3 * rows
    assert weight_bytes(llama.architecture, llama.weights, "int8_sq") == 8_030_261_248 + 3 * rows


def test_int4_keeps_embeddings_and_output_in_int8(model):
    llama = model("llama-3.1-8b")
    embeddings = 2 * 128_256 * 4096
    linear = 8_030_261_248 - embeddings
    groups = -(-linear // 128)
    expected = embeddings + 3 * 2 * 128_256 + linear // 2 + 2 * groups + -(-groups // 2)
    assert weight_bytes(llama.architecture, llama.weights, "int4", 128) == expected


def test_tied_embeddings_are_stored_once(model):
    tied, untied = model("qwen2.5-0.5b"), model("qwen2.5-0.5b", {"tie_word_embeddings": False})
    difference = weight_bytes(untied.architecture, untied.weights, "int8") - weight_bytes(
        tied.architecture, tied.weights, "int8"
    )
    assert difference == 151_936 * (896 + 3)


def test_mixtures_hold_every_expert(model):
    mixtral = model("mixtral-8x7b")
    assert weight_bytes(mixtral.architecture, mixtral.weights, "int8") > 46.7e9
    assert weight_bytes(mixtral.architecture, mixtral.weights, "int4", 128) < 26e9


@pytest.mark.parametrize(
    ("shape", "precision", "tokens", "context", "peak_mib"),
    # Peak growth of resident memory of one prompt in steps of `tokens`, without its cache, on two threads.
    [
        (
            {"hidden_size": 2048, "num_attention_heads": 16, "head_dim": 128, "intermediate_size": 2048},
            2,
            1024,
            1024,
            37,
        ),
        (
            {"hidden_size": 2048, "num_attention_heads": 16, "head_dim": 128, "intermediate_size": 2048},
            4,
            1024,
            1024,
            64,
        ),
        ({"hidden_size": 512, "num_attention_heads": 8, "head_dim": 64, "intermediate_size": 8192}, 2, 1024, 1024, 94),
        ({"hidden_size": 512, "num_attention_heads": 8, "head_dim": 64, "intermediate_size": 8192}, 4, 1024, 1024, 176),
        ({"hidden_size": 512, "num_attention_heads": 32, "head_dim": 64, "intermediate_size": 512}, 2, 256, 16384, 133),
        ({"hidden_size": 512, "num_attention_heads": 32, "head_dim": 64, "intermediate_size": 512}, 2, 256, 8192, 34),
    ],
)
def test_activations_cover_what_was_measured(model, profiles, shape, precision, tokens, context, peak_mib):
    config = {**shape, "num_key_value_heads": 4, "vocab_size": 1000}
    load = Load(1, tokens, context, 2, {2: "bf16", 4: "f32"}[precision])
    estimate = activation_bytes(model("llama-3.1-8b", config).architecture, load, profiles[0].memory)
    assert peak_mib * 0.98 < estimate / 2**20 < peak_mib * 5


@pytest.mark.parametrize(("batch", "peak_mib"), [(1, 11), (4, 40), (8, 66), (16, 93), (32, 122), (64, 185)])
def test_logits_cover_what_was_measured(model, profiles, batch, peak_mib):
    architecture = model("qwen2.5-0.5b").architecture
    estimate = activation_bytes(architecture, Load(batch, 64, 96, 2, "bf16"), profiles[0].memory)
    assert peak_mib * 0.98 < estimate / 2**20 < peak_mib * 2


@pytest.mark.parametrize(
    ("layers", "precision", "context", "batch", "tokens", "vocabulary", "peak_mib"),
    [
        (2, "bf16", 4096, 1, 128, 1000, 252),
        (4, "bf16", 4096, 1, 128, 1000, 308),
        (4, "f32", 4096, 1, 128, 1000, 553),
        (8, "bf16", 4096, 1, 128, 1000, 368),
        (8, "bf16", 4096, 4, 128, 1000, 617),
        (4, "bf16", 512, 1, 256, 32_000, 102),
        (4, "bf16", 512, 4, 128, 32_000, 178),
    ],
)
def test_dense_attention_covers_what_was_measured(
    model, profiles, layers, precision, context, batch, tokens, vocabulary, peak_mib
):
    config = {"hidden_size": 512, "intermediate_size": 1024, "num_attention_heads": 8, "num_key_value_heads": 4}
    shape = {**config, "head_dim": 64, "num_hidden_layers": layers, "vocab_size": vocabulary}
    architecture = model("gemma-2-9b", shape).architecture
    estimate = activation_bytes(
        architecture, Load(batch, tokens, context, 2, precision, dense=True), profiles[0].memory
    )
    estimate += batch * context * dense_kv_bytes_per_token(architecture, precision)
    assert peak_mib * 0.98 < estimate / 2**20 < peak_mib * 2.5

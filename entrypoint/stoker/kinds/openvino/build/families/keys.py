"""Which keys of a config.json may be there: the ones that a family reads, the ones that never change the mathematics
of inference, and the ones that are fine as long as they have a given value. Anything else is an error."""

from __future__ import annotations

import math
from collections.abc import Mapping

from stoker.errors import DamagedModelError, UnsupportedModelError
from stoker.resolve.numbers import real, shown, whole


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


HARMLESS = names(
    # identity and bookkeeping
    "_name_or_path architectures auto_map dtype model_type torch_dtype transformers_version unsloth_version "
    "unsloth_fixed _commit_hash attn_implementation _attn_implementation_autoset _flash_attn_2_enabled "
    "is_llama_config transformers.js_config "
    # tokens, which the launch step reads
    "bos_token_id eos_token_id pad_token_id sep_token_id unk_token_id decoder_start_token_id forced_bos_token_id "
    "forced_eos_token_id suppress_tokens begin_suppress_tokens prefix bad_words_ids "
    # training
    "attention_dropout embd_pdrop hidden_dropout initializer_range pretraining_tp resid_pdrop residual_dropout "
    "router_aux_loss_coef router_jitter_noise gradient_checkpointing problem_type label2id id2label finetuning_task "
    # what a call returns, and how it caches
    "cache_implementation chunk_size_feed_forward output_attentions output_hidden_states output_router_logits "
    "output_scores remove_invalid_values return_dict return_dict_in_generate torchscript use_bfloat16 use_cache "
    # generation defaults
    "diversity_penalty do_sample early_stopping encoder_no_repeat_ngram_size exponential_decay_length_penalty "
    "length_penalty max_length min_length no_repeat_ngram_size num_beam_groups num_beams num_return_sequences "
    "repetition_penalty temperature tf_legacy_loss tokenizer_class top_k top_p typical_p task_specific_params "
    # how the weights are stored, which the encoding reads; context length, which the planner reads
    "quantization_config compression_config max_position_embeddings max_sequence_length model_max_length"
)

READ_BY_ALL = names(
    "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim "
    "rms_norm_eps tie_word_embeddings rope_scaling rope_theta rope_parameters original_max_position_embeddings"
)

FIXED: Mapping[str, tuple[object, ...]] = {
    "add_cross_attention": (False,),
    "cross_attention_hidden_size": (None,),
    "is_decoder": (False, True),
    "is_encoder_decoder": (False,),
    "pruned_heads": ({},),
    "tie_encoder_decoder": (False,),
    "rope_interleaved": (False,),
}
"""Keys that every family accepts with these values only."""


def unsupported(key: str, value: object, expected: str = "") -> UnsupportedModelError:
    return UnsupportedModelError(
        f"config.json: {key} = {shown(value)} is not supported",
        why=expected or "it may change what the model computes, and this engine does not implement it",
        remedy="use a model without it, or another engine kind",
    )


def refuse_unknown(config: Mapping[str, object], read: frozenset[str], fixed: Mapping[str, tuple[object, ...]]) -> None:
    """Raises UnsupportedModelError for the first key that is neither read, harmless, fixed nor unset."""
    known = HARMLESS | READ_BY_ALL | read
    accepted = {**FIXED, **fixed}
    for key, value in config.items():
        if key in accepted:
            require(config, key, accepted[key])
        elif key not in known and not unset(value):
            raise unsupported(key, value)


def require(config: Mapping[str, object], key: str, accepted: tuple[object, ...]) -> None:
    value = config.get(key)
    if not unset(value) and value not in accepted:
        raise unsupported(key, value, f"accepted: {', '.join(map(repr, accepted))}")


def unset(value: object) -> bool:
    """None, False and empty containers switch nothing on; a number, even 0, might."""
    return value is None or value is False or value in ("", [], {})


def positive(config: Mapping[str, object], key: str, default: int | None = None) -> int:
    """The value of a key that must be a positive integer; a missing one without default is a DamagedModelError."""
    return whole(config, key, default)


def number(config: Mapping[str, object], key: str, default: float | None = None, low: float = -math.inf) -> float:
    """A finite number above `low`."""
    return real(config, key, default, low=low)


def optional_number(
    config: Mapping[str, object], key: str, default: float | None = None, low: float = -math.inf
) -> float | None:
    return None if config.get(key, default) is None else number(config, key, default, low)


def flag(config: Mapping[str, object], key: str, default: bool = False) -> bool:
    value = config.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise DamagedModelError(f"config.json: {key} must be true or false", why=f"it is {shown(value)}")
    return value

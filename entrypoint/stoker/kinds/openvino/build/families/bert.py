"""Encoders: BERT, and RoBERTa with its multilingual variant, which count positions from the padding id on."""

from __future__ import annotations

from dataclasses import replace

from stoker.errors import DamagedModelError
from stoker.kinds.openvino.build.families.family import Config, Family, activation
from stoker.kinds.openvino.build.families.keys import names, number, positive, unsupported
from stoker.kinds.openvino.build.families.spec import Encoder

CLASSIFIER = "ForSequenceClassification"

_READS = names(
    # read
    "hidden_act layer_norm_eps type_vocab_size "
    # training, and what a cross-encoder's scores are passed through afterwards, which changes no order of theirs
    "attention_probs_dropout_prob hidden_dropout_prob classifier_dropout sbert_ce_default_activation_function "
    "sentence_transformers "
    # of pre-training heads that Google's multilingual BERT names, and of old versions of transformers
    "directionality pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type "
    "output_past num_labels"
)
_FIXED: dict[str, tuple[object, ...]] = {
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    # What decoders read: here it has no meaning, so that it must not be set.
    **dict.fromkeys(("num_key_value_heads", "head_dim", "rms_norm_eps"), ()),
    **dict.fromkeys(("rope_scaling", "rope_theta", "rope_parameters"), ()),
}


def describe_bert(config: Config, _: int) -> Encoder:
    return _encoder(config, "bert.", "pooler")


def describe_roberta(config: Config, _: int) -> Encoder:
    padding = config.get("pad_token_id", 1)
    if type(padding) is not int or padding < 0:
        raise DamagedModelError("config.json: pad_token_id must be a token id", why=f"it is {padding!r}")
    return replace(_encoder(config, "roberta.", "classifier"), padding=padding)


def _encoder(config: Config, prefix: str, head: str) -> Encoder:
    heads, width = positive(config, "num_attention_heads"), positive(config, "hidden_size")
    if width % heads:
        raise DamagedModelError("config.json: hidden_size must be a multiple of num_attention_heads")
    return Encoder(
        layers=positive(config, "num_hidden_layers"),
        heads=heads,
        hidden_size=width,
        intermediate_size=positive(config, "intermediate_size"),
        vocabulary_size=positive(config, "vocab_size"),
        positions=positive(config, "max_position_embeddings"),
        token_types=positive(config, "type_vocab_size", 2),
        norm_eps=number(config, "layer_norm_eps", 1e-12, low=0.0),
        activation=activation({"hidden_act": "gelu", **config}),
        prefix=prefix,
        head=_head(config, head),
    )


def _head(config: Config, head: str) -> str:
    if not config["architectures"][0].endswith(CLASSIFIER):
        return ""
    labels = config.get("num_labels") or len(config.get("id2label") or (0, 1))
    if labels != 1:
        raise unsupported("id2label", config.get("id2label"), f"a reranker has one label, and this has {labels}")
    return head


def _names(model: str) -> tuple[str, ...]:
    return f"{model}Model", f"{model}ForMaskedLM", f"{model}{CLASSIFIER}"


BERT = Family(_names("Bert"), describe_bert, _READS, _FIXED)
ROBERTA = Family((*_names("Roberta"), *_names("XLMRoberta")), describe_roberta, _READS, _FIXED)

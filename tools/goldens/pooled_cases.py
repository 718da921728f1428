"""The golden cases of models that give vectors or scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cases import BASE

SIZES = {
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
ONE_LABEL = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}


@dataclass(frozen=True)
class PooledCase:
    """`method` is a Pooling's. `model` is the class of transformers that writes the checkpoint: AutoModel leaves out
    the prefix of the tensors' names and every head, as sentence-transformers does."""

    name: str
    config: dict[str, object]
    method: str
    normalized: bool = False
    model: str = "AutoModel"


def encoder(name: str, architecture: str, model_type: str, method: str, **differences: Any) -> PooledCase:
    normalized, model = differences.pop("normalized", False), differences.pop("model", "AutoModel")
    config = {"architectures": [architecture], "model_type": model_type, **SIZES, **differences}
    return PooledCase(name, config, method, normalized, model)


def roberta(name: str, method: str, *, kind: str = "RobertaModel", **more: Any) -> PooledCase:
    model_type = "xlm-roberta" if kind.startswith("XLM") else "roberta"
    special = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
    return encoder(name, kind, model_type, method, **special, **more)


def qwen3(name: str, **differences: Any) -> PooledCase:
    model = differences.pop("model", "AutoModel")
    config = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", **BASE, **differences}
    return PooledCase(name, config, "last", True, model)


_SCORES = {"model": "AutoModelForSequenceClassification", **ONE_LABEL}

POOLED_CASES: tuple[PooledCase, ...] = (
    encoder("bert_cls", "BertModel", "bert", "cls", normalized=True),
    encoder("bert_mean", "BertModel", "bert", "mean", hidden_act="gelu_new", layer_norm_eps=1e-6),
    encoder("bert_masked_lm", "BertForMaskedLM", "bert", "mean", model="AutoModelForMaskedLM", normalized=True),
    encoder("bert_score", "BertForSequenceClassification", "bert", "score", **_SCORES),
    roberta("roberta_mean", "mean"),
    roberta("xlm_roberta_cls", "cls", kind="XLMRobertaModel", normalized=True),
    roberta("xlm_roberta_score", "score", kind="XLMRobertaForSequenceClassification", **_SCORES),
    qwen3("qwen3_last", tie_word_embeddings=True),
    qwen3("qwen3_last_with_head", model="AutoModelForCausalLM"),
)

"""Tiny embedding models and rerankers as directories: the goldens' weights, and a tokenizer of single characters."""

from __future__ import annotations

import json
import string
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing

GOLDENS = Path(__file__).parent / "integration" / "goldens"
_SPECIAL = ("[UNK]", "[X1]", "[X2]", "[CLS]", "[SEP]", "[PAD]")


def golden_facts(name: str) -> dict[str, Any]:
    with np.load(GOLDENS / "pooled" / f"{name}.npz") as file:
        facts: dict[str, Any] = json.loads(str(file["facts"]))
        return facts


def make_embedding_model(directory: Path, golden: str, **sentence_transformers: Any) -> Path:
    """The model of a golden case; `sentence_transformers` goes into config_sentence_transformers.json."""
    sys.path[:0] = [str(GOLDENS)]
    from golden_weights import write_model

    facts = golden_facts(golden)
    directory.mkdir(parents=True)
    write_model(directory, facts["config"], facts["shapes"], facts["embedding_gain"])
    character_tokenizer().save(str(directory / "tokenizer.json"))
    if facts["method"] != "score":
        _describe(directory, facts, sentence_transformers)
    return directory


def _describe(directory: Path, facts: dict[str, Any], sentence_transformers: dict[str, Any]) -> None:
    mode = {"cls": "cls_token", "mean": "mean_tokens", "last": "lasttoken"}[facts["method"]]
    pooling = {f"pooling_mode_{mode}": True, "word_embedding_dimension": facts["config"]["hidden_size"]}
    kinds = ["Transformer", "Pooling", *(["Normalize"] if facts["normalized"] else [])]
    modules = [
        {"idx": index, "path": f"{index}_{kind}" if index else "", "type": f"sentence_transformers.models.{kind}"}
        for index, kind in enumerate(kinds)
    ]
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    if sentence_transformers:
        (directory / "config_sentence_transformers.json").write_text(json.dumps(sentence_transformers))


def character_tokenizer() -> Tokenizer:
    """A token a character, between [CLS] and [SEP] as BERT has them."""
    tokens = [*_SPECIAL, *string.printable]
    tokenizer = Tokenizer(WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Split("", "isolated")
    special = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=special
    )
    return tokenizer

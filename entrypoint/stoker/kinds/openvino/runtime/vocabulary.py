"""The vocabulary as OpenVINO GenAI's guided decoding wants it: a detokenizer graph.

GenAI reads what each token stands for from the constants of the graph's VocabDecoder, as raw bytes, and gives them to
xgrammar; a token of no bytes is one that a grammar never allows. The graph is made anew from tokenizer.json whenever an
engine is opened, without transformers or PyTorch, and is not run: tokenising is the API's.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino
import openvino_genai
from openvino import opset13 as ops
from openvino.utils.node_factory import NodeFactory
from tokenizers import Tokenizer

from stoker.vocabulary import MARKS, Vocabulary

FILE = "tokenizer.json"
_GRAPH, _ENCODER = "openvino_detokenizer.xml", "openvino_tokenizer.xml"  # GenAI looks for these names


def genai_tokenizer(directory: Path, logits: int, *, compared: bool = False) -> openvino_genai.Tokenizer:
    """An openvino_genai.Tokenizer that knows the vocabulary of the model in `directory`; `logits` is how many ids the
    model gives probabilities for, which may be more or fewer than the tokenizer has; 0 if unknown. `compared`: GenAI
    compares it with a draft's."""
    pieces = vocabulary_bytes(Tokenizer.from_file(str(directory / FILE)), logits)
    factory = NodeFactory()
    factory.add_extension(_extension())
    with tempfile.TemporaryDirectory() as folder:
        openvino.serialize(_detokenizer(factory, pieces), str(Path(folder, _GRAPH)))
        if compared:
            write_encoder(Path(folder))
        return openvino_genai.Tokenizer(folder)


def vocabulary_bytes(tokenizer: Tokenizer, logits: int) -> list[bytes]:
    """What each id may contribute to a text; nothing for control tokens but marks, and for ids that are not in use."""
    vocabulary = Vocabulary(tokenizer)
    size = logits or vocabulary.size  # a longer one would make a grammar's mask write past the logits
    silent = vocabulary.special - {tokenizer.token_to_id(mark) for mark in MARKS}
    return [b"" if id_ in silent else vocabulary.token_bytes(id_) for id_ in range(size)]


def _extension() -> str:
    """The library with the operations; importing its package would load much more."""
    spec = importlib.util.find_spec("openvino_tokenizers")
    assert spec is not None
    assert spec.submodule_search_locations
    return str(next(Path(spec.submodule_search_locations[0], "lib").glob("libopenvino_tokenizers.*")))


def _detokenizer(factory: NodeFactory, pieces: Sequence[bytes]) -> openvino.Model:
    """GenAI tries it once, and puts a switch of its own between the last constants and the decoder."""
    ids = ops.parameter([-1, -1], openvino.Type.i64)
    zero, start, stop, step = (ops.constant(np.array([value], np.int32)) for value in (0, 0, 2**31 - 1, 1))
    skipped = ops.slice(zero, start, stop, step)
    inputs = [ops.convert(ids, "i32"), *_packed(pieces), skipped]
    decoded = factory.create("VocabDecoder", [node.output(0) for node in inputs])
    rows = factory.create("FuzeRagged", [decoded.output(index) for index in range(4)])
    texts = factory.create("StringTensorPack", [rows.output(0), rows.output(1), decoded.output(4)])
    return openvino.Model([ops.result(texts.output(0))], [ids], "vocabulary")


def _packed(pieces: Sequence[bytes]) -> tuple[openvino.Node, openvino.Node, openvino.Node]:
    """Where each piece begins and ends, int32 [vocabulary], and all bytes one after the other, uint8."""
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int32)
    begins = np.concatenate([[0], ends[:-1]]).astype(np.int32)
    return ops.constant(begins), ops.constant(ends), ops.constant(np.frombuffer(b"".join(pieces), np.uint8))


def write_encoder(folder: Path) -> None:
    """A tokenizer that makes any text one token, for GenAI to compare those of both models by; ids are compared where
    the draft is resolved."""
    texts = ops.parameter([-1], openvino.Type.string)
    shape = ops.concat([ops.shape_of(texts, "i64"), ops.constant(np.array([1], np.int64))], 0)
    outputs = []
    for name, value in (("input_ids", 0), ("attention_mask", 1)):
        output = ops.broadcast(ops.constant(np.int64(value)), shape)
        output.output(0).set_names({name})
        outputs.append(ops.result(output))
    openvino.save_model(openvino.Model(outputs, [texts], "encoder"), folder / _ENCODER, compress_to_fp16=False)

from __future__ import annotations

import struct
from array import array

import pytest

from stoker.kinds.tensorrt_llm_pytorch import TENSORS
from stoker.launch import contract
from stoker.launch.generation import EBNF_GRAMMAR, Adapter, EngineDiedError, Generation, Guide, RequestRefusedError
from stoker.launch.messages import encode_request, error_of


def decoded(request) -> dict[str, tuple]:
    formats = {"INT32": "i", "UINT64": "Q", "FP32": "f", "BOOL": "?"}

    def values(datatype: str, raw: bytes) -> tuple:
        if datatype == "BYTES":
            (length,) = struct.unpack_from("<I", raw)
            return (raw[4 : 4 + length].decode(),)
        return struct.unpack(f"<{len(raw) // struct.calcsize(formats[datatype])}{formats[datatype]}", raw)

    pairs = zip(request.inputs, request.raw_input_contents, strict=True)
    return {tensor.name: values(tensor.datatype, raw) for tensor, raw in pairs}


def test_names_are_unique_and_the_required_ones_are_tensorrt_llms():
    names = [spec.name for spec in contract.INPUTS]
    assert len(names) == len(set(names))
    required = {spec.name for spec in contract.INPUTS if not spec.optional}
    assert required == {"input_ids", "input_lengths", "request_output_len"}
    assert {spec.name for spec in contract.INPUTS if spec.ours} == {
        *("min_p", "lora_directory", "token_type_ids", "top_log_probs", "prompt_log_probs", "channel", "handle")
    }


def test_selecting_an_unknown_tensor_is_an_error():
    with pytest.raises(ValueError, match="nonsense"):
        contract.select(contract.INPUTS, ("input_ids", "nonsense"))


def test_a_plain_request_sends_only_what_is_set():
    request = encode_request(Generation("id", (5, 6, 7), max_tokens=9), "id/1")
    assert decoded(request) == {
        "input_ids": (5, 6, 7),
        "input_lengths": (3,),
        "request_output_len": (9,),
        "streaming": (True,),
    }
    assert [list(tensor.shape) for tensor in request.inputs] == [[1, 3], [1, 1], [1, 1], [1, 1]]


def test_every_parameter_has_its_tensor():
    generation = Generation(
        "id",
        (1,),
        max_tokens=2,
        end_ids=(10, 11, 12),
        min_tokens=1,
        temperature=0.5,
        top_p=0.25,
        top_k=40,
        min_p=0.125,
        seed=-1,
        presence_penalty=1.0,
        frequency_penalty=-1.0,
        repetition_penalty=1.5,
        log_probs=True,
        guide=Guide(EBNF_GRAMMAR, 'root ::= "é"'),
        embedding_bias=array("f", (0.0, -100.0)),
        perf_metrics=True,
        adapter=Adapter(3, "/adapters/3"),
    )
    request = encode_request(generation, "id/2")
    values = decoded(request)
    assert values["end_id"] == (10,)
    assert values["stop_words_list"] == (11, 12, 1, 2)
    assert values["seed"] == (2**64 - 1,)
    assert values["runtime_top_k"] == (40,)
    assert values["min_p"] == (0.125,)
    assert values["return_log_probs"] == (True,)
    assert values["guided_decoding_guide_type"] == ("ebnf_grammar",)
    assert values["guided_decoding_guide"] == ('root ::= "é"',)
    assert {tensor.name for tensor in request.inputs} == set(TENSORS["text"].inputs) - {"stop"}
    assert values["embedding_bias"] == (0.0, -100.0)
    assert (values["lora_task_id"], values["lora_directory"]) == ((3,), ("/adapters/3",))
    assert request.id == "id/2"
    assert {tuple(tensor.shape) for tensor in request.inputs if tensor.name == "stop_words_list"} == {(1, 2, 2)}


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("unexpected inference input 'embedding_bias' for model 'engine'", RequestRefusedError),
        ("refused: the engine does not take it", RequestRefusedError),
        ("an engine step failed: out of luck", EngineDiedError),
        ("Stub process 'engine_0' is not healthy.", EngineDiedError),
    ],
)
def test_an_error_is_the_requests_or_the_engines(message, kind):
    assert type(error_of(message)) is kind

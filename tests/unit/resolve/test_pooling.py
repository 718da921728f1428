"""How an embedding model pools: from the files of sentence-transformers, in a directory and from the hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stoker.errors import DamagedModelError, StokerError, UnsupportedModelError
from stoker.kinds.known import check_known, check_model
from stoker.resolve.model import Pooling
from stoker.resolve.resolve import resolve

if TYPE_CHECKING:
    from tests.hub_server import HubServer
    from tests.unit.resolve.conftest import Recorder


Files = dict[str, bytes]

BERT: dict[str, Any] = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_size": 16,
    "intermediate_size": 32,
    "max_position_embeddings": 128,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "vocab_size": 64,
    "position_embedding_type": "absolute",
}
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]
TEXTS = {"query": "Find: ", "document": ""}
PROMPTS = {"prompts": TEXTS, "default_prompt_name": None, "similarity_fn_name": "cosine"}
_LLAMA = {"model_type": "llama", "position_embedding_type": None}
SOURCE = "modules.json and 1_Pooling/config.json"


@pytest.fixture
def files(checkpoint: Callable[..., Files]) -> Callable[..., Files]:
    """A checkpoint of this config; `None` for a document leaves it out."""

    def make(config: Any = None, **documents: Any) -> Files:
        named = {
            "modules.json": MODULES,
            "1_Pooling/config.json": {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True},
            **{name.replace("__", "/").replace("_json", ".json"): value for name, value in documents.items()},
        }
        found = {name: json.dumps(value).encode() for name, value in named.items() if value is not None}
        return {**checkpoint(), "config.json": json.dumps(config or BERT).encode(), **found}

    return make


@pytest.fixture
def pooling(files: Any, write: Any, tmp_path: Path, progress: Recorder) -> Callable[..., Pooling | None]:
    def of(config: Any = None, **documents: Any) -> Pooling | None:
        directory = write(files(config, **documents))
        found = resolve(str(directory), tmp_path / "cache", progress, check=check_known)
        planned = resolve(str(directory), tmp_path / "cache", progress, weights=False, check=check_known)
        check_model(found)
        assert found.pooling == planned.pooling
        return found.pooling

    return of


def test_all_that_the_files_say(pooling: Any) -> None:
    found = pooling(config_sentence_transformers_json=PROMPTS, sentence_bert_config_json={"max_seq_length": 100})
    assert found == Pooling("mean", True, 100, TEXTS, "", SOURCE)
    assert (
        pooling(config_sentence_transformers_json={**PROMPTS, "default_prompt_name": "query"}).default_prompt == "query"
    )


@pytest.mark.parametrize(
    ("mode", "method"),
    [
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_lasttoken": True, "include_prompt": True}, "last"),
        ({"pooling_mode": "lasttoken"}, "last"),
    ],
)
def test_the_ways_of_pooling(pooling: Any, mode: Any, method: str) -> None:
    assert pooling(**{"1_Pooling__config_json": mode}).method == method


def test_without_normalize_vectors_stay_as_they_are(pooling: Any) -> None:
    assert not pooling(modules_json=MODULES[:2]).normalized


def test_a_plain_encoder_is_taken_as_sentence_transformers_does(pooling: Any) -> None:
    found = pooling(modules_json=None, **{"1_Pooling__config_json": None})
    assert (found.method, found.normalized, found.source) == ("mean", False, "default of sentence-transformers")


def test_robertas_positions_begin_after_the_padding_id(pooling: Any) -> None:
    roberta = {**BERT, "architectures": ["XLMRobertaModel"], "max_position_embeddings": 130, "pad_token_id": 1}
    assert pooling(roberta).max_length == 128


def test_a_tokenizers_own_limit_counts(pooling: Any) -> None:
    assert pooling(tokenizer_config_json={"model_max_length": 64}).max_length == 64
    assert pooling(tokenizer_config_json={"model_max_length": 10**30}).max_length == 128


def test_one_label_makes_a_reranker(pooling: Any) -> None:
    scorer = {**BERT, "architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    assert pooling(scorer, modules_json=None) == Pooling("score", False, 128, source="config.json")


def test_a_decoder_is_an_embedding_model_only_where_its_modules_say_so(pooling: Any, checkpoint: Any) -> None:
    qwen = {**json.loads(checkpoint()["config.json"]), "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}
    assert pooling(qwen, modules_json=None) is None
    assert pooling(qwen, **{"1_Pooling__config_json": {"pooling_mode_lasttoken": True}}).method == "last"


@pytest.mark.parametrize(
    ("changes", "documents", "named"),
    [
        ({}, {"1_Pooling__config_json": {"pooling_mode_max_tokens": True}}, "pooling_mode_max_tokens"),
        (
            {},
            {"1_Pooling__config_json": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}},
            "pooling_mode_cls_token and pooling_mode_mean_tokens",
        ),
        ({}, {"1_Pooling__config_json": {"pooling_mode_cls_token": True, "include_prompt": False}}, "include_prompt"),
        (
            {},
            {"modules_json": [*MODULES[:2], {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]},
            "Dense",
        ),
        ({}, {"modules_json": [MODULES[0], {**MODULES[1], "path": "3_Pooling"}]}, "3_Pooling"),
        ({}, {"sentence_bert_config_json": {"max_seq_length": 64, "do_lower_case": True}}, "do_lower_case"),
        ({"position_embedding_type": "relative_key"}, {}, "position_embedding_type = 'relative_key'"),
        ({"is_decoder": True}, {}, "is_decoder = True"),
        ({"rope_theta": 1e4}, {}, "rope_theta = 10000.0"),
        ({"attention_twist": 2}, {}, "attention_twist = 2"),
        ({"architectures": ["BertForSequenceClassification"]}, {}, "one label, and this has 2"),
        ({"architectures": ["BertForMaskedLM"]}, {"modules_json": None}, "fills gaps"),
        ({"architectures": ["DistilBertModel"]}, {}, "DistilBertModel is not supported"),
        ({**_LLAMA, "architectures": ["LlamaForCausalLM"]}, {}, "LlamaForCausalLM is not supported"),
    ],
)
def test_what_would_change_the_vectors_is_refused_by_name(
    pooling: Any, changes: Any, documents: Any, named: str
) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        pooling({**BERT, **changes}, **documents)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({"architectures": ["RobertaModel"], "model_type": "roberta", "pad_token_id": 1}, 126),
        ({"architectures": ["XLMRobertaModel"], "model_type": "xlm-roberta", "pad_token_id": 3}, 124),
        ({"architectures": ["MPNetModel"], "model_type": "mpnet"}, 126),
        ({"architectures": ["DistilBertModel"], "model_type": "distilbert"}, 128),
        ({"architectures": ["OfTomorrowForSequenceClassification"]}, 128),
    ],
)
def test_encoders_that_nothing_serves_are_described_too(
    files: Any, write: Any, tmp_path: Path, progress: Recorder, config: Any, length: int
) -> None:
    directory = write(files({**BERT, **config}, modules_json=None))
    found = resolve(str(directory), tmp_path / "cache", progress, weights=False).pooling
    assert found is not None
    assert found.max_length == length


@pytest.mark.parametrize("padding", [-1, "0", 127, True, 10**30])
def test_a_padding_id_that_leaves_no_positions_is_named(
    files: Any, write: Any, tmp_path: Path, progress: Recorder, padding: Any
) -> None:
    directory = write(files({**BERT, "architectures": ["RobertaModel"], "pad_token_id": padding}, modules_json=None))
    with pytest.raises(DamagedModelError, match="pad_token_id"):
        resolve(str(directory), tmp_path / "cache", progress, weights=False)


@pytest.mark.parametrize(
    "documents",
    [
        {"modules_json": {"a": 1}},
        {"1_Pooling__config_json": None},
        {"config_sentence_transformers_json": {"prompts": ["x"]}},
        {"config_sentence_transformers_json": {"default_prompt_name": "song"}},
    ],
)
def test_damaged_files_are_named(pooling: Any, documents: Any) -> None:
    with pytest.raises(DamagedModelError, match=r"json|Pooling"):
        pooling(**documents)


def test_the_pooling_is_fetched_from_its_folder_and_found_again(
    hub: HubServer, files: Any, tmp_path: Path, progress: Recorder
) -> None:
    made = files()
    hub.add_repository("org/tiny-bert", {**made, "onnx/config.json": b"{}", "2_Normalize/README.md": b""})
    model = resolve("org/tiny-bert", tmp_path, progress)
    assert model.pooling == Pooling("mean", True, 128, source=SOURCE)
    assert model.files == tuple(sorted(made))
    assert model.directory is not None
    before = hub.count("GET", "/resolve/")
    assert resolve("org/tiny-bert", tmp_path, progress, offline=True) == model
    assert hub.count("GET", "/resolve/") == before
    (model.directory / "1_Pooling" / "config.json").resolve().unlink()
    with pytest.raises(StokerError):
        resolve("org/tiny-bert", tmp_path, progress, offline=True)
    assert resolve("org/tiny-bert", tmp_path, progress) == model


def test_planning_from_the_hub_knows_the_pooling_without_weights(
    hub: HubServer, files: Any, tmp_path: Path, progress: Recorder
) -> None:
    hub.add_repository("org/tiny-bert", files())
    planned = resolve("org/tiny-bert", tmp_path, progress, weights=False)
    assert planned.pooling == Pooling("mean", True, 128, source=SOURCE)
    assert planned.directory is None


def test_another_pooling_is_another_revision(files: Any, write: Any, tmp_path: Path, progress: Recorder) -> None:
    first = resolve(str(write(files())), tmp_path, progress)
    second = resolve(
        str(write(files(**{"1_Pooling__config_json": {"pooling_mode_cls_token": True}}))), tmp_path, progress
    )
    assert first.revision != second.revision

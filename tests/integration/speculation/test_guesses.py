"""Speculative decoding in the `openvino` kind: what is told to clients is what it is without."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.engine_settings import engine_settings
from tokenizers import Tokenizer

from stoker.build.child import Lines
from stoker.build.jobs import Job
from stoker.errors import UsageError
from stoker.kinds.openvino.build.worker import build_job
from stoker.kinds.openvino.runtime.guessing import goes_beside
from stoker.kinds.openvino.runtime.paged import PagedRuntime
from stoker.launch.generation import EBNF_GRAMMAR, Generation, Guide, RequestRefusedError
from stoker.launch.stub.runtime import RunningSequence
from stoker.plan.types import Chosen
from stoker.progress import Silent
from stoker.resolve.local import DEMO_DIRECTORY, DEMO_DRAFT_DIRECTORY, DEMO_HEAD_DIRECTORY, resolve_directory
from stoker.resolve.model import Model
from stoker.resolve.vocabularies import check_same_tokenizer

PLACES = ("France", "Japan", "Italy", "Spain", "Peru", "Kenya", "Egypt", "India", "Norway", "Chile")
QUESTIONS = ("What is the capital of {}?", "Tell me a story about {}.", "Count to five in {}.", "Spell the word {}.")
CHATS = tuple(f"<|user|>{question.format(place)}<|end|><|assistant|>" for place in PLACES for question in QUESTIONS)
NAME = Guide(EBNF_GRAMMAR, 'root ::= "{\\"name\\":\\"" [a-z]{3,9} "\\",\\"n\\":" [0-9]{1,3} "}"')


def model_in(directory: Path, name: str, cache: Path) -> Model:
    return resolve_directory(directory, name, name, cache, Silent(), weights=True, check=lambda _: None)


def built(folder: Path, method: str, guesser: Path, **given: Any) -> Path:
    """The demo model, in f32 unless stated, with what guesses its tokens."""
    model, draft = (model_in(place, place.name, folder / "models") for place in (DEMO_DIRECTORY, guesser))
    chosen = engine_settings("", folder, engine="openvino", speculative=method, draft="guesser", **given).chosen
    record = build_job(Job(model, chosen, str(folder), draft=draft), Lines(io.StringIO()))
    of_draft, whole = record["draft"], record["graph_bytes"]
    assert isinstance(of_draft, dict)
    assert isinstance(whole, int)
    assert of_draft["graph_bytes"] < whole / 3
    return folder


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("engine"), "draft", DEMO_DRAFT_DIRECTORY)


@pytest.fixture(scope="module")
def headed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("headed"), "eagle3", DEMO_HEAD_DIRECTORY)


class Engine:
    """A runtime that answers some requests at a time, and counts the steps that gave tokens."""

    def __init__(self, directory: Path, method: str, **given: Any) -> None:
        given = {"kv_blocks": 128, "max_seq_len": 2048, "threads": 2, "speculative": method, **given}
        self.method = method
        self.runtime = PagedRuntime(engine_settings("", directory, **given))
        self.steps = 0

    def answers(self, generations: Sequence[Generation], at_once: int = 4) -> list[tuple[list[int], list[float]]]:
        found: list[tuple[list[int], list[float]]] = [([], []) for _ in generations]
        waiting = list(enumerate(generations))
        running: dict[int, RunningSequence] = {}
        while waiting or running:
            while waiting and len(running) < at_once:
                number, generation = waiting.pop(0)
                running[number] = self.runtime.add(generation)
            self.runtime.step()
            for number, sequence in list(running.items()):
                output = sequence.read()
                assert not output.refused
                self.steps += bool(output.ids)
                found[number][0].extend(output.ids)
                found[number][1].extend(output.log_probs)
                if output.over:
                    del running[number]
        return found


def engine_of(directory: Path, method: str, **given: Any) -> Iterator[Engine]:
    engine = Engine(directory, method, **given)
    yield engine
    engine.runtime.close()


@pytest.fixture(scope="module")
def plain(engine: Path) -> Iterator[Engine]:
    yield from engine_of(engine, "off")


@pytest.fixture(scope="module", params=["lookup", "draft", "eagle3"])
def guessing(engine: Path, headed: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    yield from engine_of(headed if request.param == "eagle3" else engine, request.param)


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(DEMO_DIRECTORY / "tokenizer.json"))
    return [tokenizer.encode(chat).ids for chat in CHATS]


def generations(prompts: Sequence[Sequence[int]], tokens: int = 32, **given: Any) -> list[Generation]:
    return [Generation(str(number), ids, tokens, end_ids=(6, 2), **given) for number, ids in enumerate(prompts)]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"log_probs": True, "frequency_penalty": 0.4, "presence_penalty": 0.3, "repetition_penalty": 1.2},
        {"temperature": 0.9, "top_p": 0.95, "top_k": 50, "min_p": 0.02, "seed": 11},
    ],
    ids=["greedy", "penalties and log probabilities", "a seed"],
)
def test_the_tokens_are_those_without(plain, guessing, prompts, given):
    asked = generations(prompts[: None if not given else 16], **given)
    before, began = plain.answers(asked), guessing.steps
    found = guessing.answers(asked)
    assert [ids for ids, _ in found] == [ids for ids, _ in before]
    if not goes_beside(guessing.method, asked[0]):
        assert guessing.steps - began < sum(len(ids) for ids, _ in found)
    for (_, values), (_, expected) in zip(found, before, strict=True):
        assert values == pytest.approx(expected, abs=1e-3)


def test_a_long_prompt_among_running_sequences_gives_no_token_twice(plain, guessing, prompts):
    """GenAI's draft reads a prompt in pieces of another length than the model does, where it is cut."""
    long = [(prompts[number] * 12)[: 200 + 7 * number] for number in range(8)]
    asked = generations([each for pair in zip(prompts[20:28], long, strict=True) for each in pair], 24)
    assert [ids for ids, _ in guessing.answers(asked, 2)] == [ids for ids, _ in plain.answers(asked, 2)]


def test_sampled_tokens_are_distributed_as_without(plain, guessing, prompts):
    """Two samples of 300 texts of three tokens each with seeds of their own. For equal distributions the statistic
    follows chi-squared, whose mean is the degrees of freedom and whose variance is twice that: five deviations away
    would be a wrong rule of acceptance, which shifts probabilities by several percent."""
    counts = []
    for engine, first in ((plain, 1), (guessing, 5001)):
        asked = [
            Generation(str(seed), prompts[1], 3, end_ids=(6, 2), temperature=1.2, seed=seed)
            for seed in range(first, first + 300)
        ]
        counts.append(Counter(ids[-1] for ids, _ in engine.answers(asked, at_once=16)))
    assert chi_squared_excess(*counts) < 5


def chi_squared_excess(one: Counter[int], other: Counter[int]) -> float:
    """Standard deviations above the mean; what is rare counts together."""
    common = [token for token, number in (one + other).items() if number >= 10]
    pairs = [(one[token], other[token]) for token in common]
    rest = (one.total() - sum(a for a, _ in pairs), other.total() - sum(b for _, b in pairs))
    pairs += [rest] if sum(rest) else []
    statistic = sum((a - b) ** 2 / (a + b) for a, b in pairs)
    freedom = len(pairs) - 1
    return (statistic - freedom) / (2 * freedom) ** 0.5


def test_a_wrong_distribution_would_show():
    assert chi_squared_excess(Counter({1: 200, 2: 200}), Counter({1: 205, 2: 195})) < 5
    assert chi_squared_excess(Counter({1: 200, 2: 200}), Counter({1: 260, 2: 140})) > 5


def test_a_form_is_kept_where_guesses_are_looked_up(engine, plain, prompts):
    asked = generations(prompts[:4], guide=NAME)
    for lookup in engine_of(engine, "lookup"):
        assert [ids for ids, _ in lookup.answers(asked)] == [ids for ids, _ in plain.answers(asked)]
    tokenizer = Tokenizer.from_file(str(DEMO_DIRECTORY / "tokenizer.json"))
    assert json.loads(tokenizer.decode(plain.answers(asked)[0][0])).keys() == {"name", "n"}


def test_a_form_is_refused_where_a_draft_guesses(engine, prompts):
    for drafted in engine_of(engine, "draft"):
        with pytest.raises(RequestRefusedError, match="guided decoding is not available"):
            drafted.runtime.add(generations(prompts[:1], guide=NAME)[0])


def test_a_prompt_of_one_token_is_answered(plain, guessing):
    """GenAI's heads guess only after a second token."""
    asked = generations([[1]], 8)
    assert [ids for ids, _ in guessing.answers(asked)] == [ids for ids, _ in plain.answers(asked)]


def test_least_lengths_are_kept_beside_the_guesses(plain, guessing, prompts):
    asked = generations(prompts[:2], min_tokens=20)
    found = guessing.answers(asked)
    assert all(len(ids) >= 20 for ids, _ in found)
    assert [ids for ids, _ in found] == [ids for ids, _ in plain.answers(asked)]


def test_a_step_with_a_head_leaves_no_thread_at_work(headed, prompts, monkeypatch):
    """GenAI's own goes on after it, and reads what the next step changes."""
    engine = Engine(headed, "eagle3")
    engine.answers(generations(prompts))
    seen, before, step = set[str](), threads(), engine.runtime.step

    def watched() -> bool:
        moved = step()
        seen.update(threads() - before)
        return moved

    monkeypatch.setattr(engine.runtime, "step", watched)
    engine.answers(generations(prompts))
    assert seen <= threads()  # what TBB started stays
    engine.runtime.close()


def threads() -> set[str]:
    return {path.name for path in Path("/proc/self/task").iterdir()}


@pytest.mark.parametrize("method", ["lookup", "draft", "eagle3"])
def test_a_cache_too_small_for_all_gives_no_wrong_token(engine, headed, plain, prompts, method):
    """GenAI would take sequences out of a full cache, and go on with wrong tokens when they come back."""
    asked = generations(prompts[:10], 64)
    small = Engine(headed if method == "eagle3" else engine, method, kv_blocks=1)
    assert [ids for ids, _ in small.answers(asked, 8)] == [ids for ids, _ in plain.answers(asked)]
    small.runtime.close()


def test_a_draft_with_another_tokenizer_is_refused(tmp_path):
    model = model_in(DEMO_DIRECTORY, "demo", tmp_path)
    tokenizer = json.loads((DEMO_DIRECTORY / "tokenizer.json").read_text())
    first, second = list(tokenizer["model"]["vocab"])[300:302]
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    other = tmp_path / "other"
    other.mkdir()
    for path in DEMO_DRAFT_DIRECTORY.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(UsageError, match="cannot draft for demo"):
        check_same_tokenizer(model, model_in(other, "other", tmp_path))
    check_same_tokenizer(model, model_in(DEMO_DRAFT_DIRECTORY, "demo-draft", tmp_path))


def test_chosen_without_the_fields_is_read_as_off(engine):
    document = vars(engine_settings("", engine).chosen)
    older = {name: value for name, value in document.items() if name not in ("speculative", "draft")}
    assert (Chosen(**older).speculative, Chosen(**older).draft) == ("off", "")

import pytest
from tests.unit.bench.figures import load, measured

from stoker.bench.statistics import Round, Sample, baseline_of, percentile, ratios, spread, summarise


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, 0.0),
        ([7.0], 0.99, 7.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        ([1.0, 2.0, 3.0], 0.5, 2.0),
        (list(map(float, range(1, 101))), 0.99, 99.0),
        (list(map(float, range(1, 17))), 0.99, 16.0),
    ],
)
def test_a_percentile_is_a_value_that_was_seen(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_time_between_tokens_leaves_the_first_out() -> None:
    assert Sample(first=1.0, last=3.0, longest_gap=1.5, tokens=5).between_tokens == 0.5
    assert Sample(first=1.0, last=1.0, longest_gap=0.0, tokens=1).between_tokens is None


def test_a_load_is_the_median_of_its_rounds_and_the_spread_of_all_its_requests() -> None:
    def one_round(seconds: float, first: float) -> Round:
        samples = (Sample(first, seconds, 0.5, 11), Sample(first * 2, seconds, 0.25, 11))
        return Round(samples, seconds, client_seconds=0.1)

    found = summarise(2, 64, [one_round(2.0, 0.1), one_round(1.0, 0.2), one_round(4.0, 0.3)])
    assert found.round_tokens_per_second == (11.0, 22.0, 5.5)
    assert found.tokens_per_second == 11.0
    assert found.first_token == spread([0.1, 0.2, 0.2, 0.4, 0.3, 0.6])
    assert (found.first_token.p50, found.first_token.p99) == (0.2, 0.6)
    assert found.longest_gap.p99 == 0.5
    assert found.client_share == pytest.approx(0.3 / 7)
    assert (found.streams, found.shared_prefix) == (2, 64)


def test_answers_of_one_token_have_no_time_between_tokens() -> None:
    found = summarise(1, 0, [Round((Sample(0.1, 0.1, 0.0, 1),), 0.1, 0.0)])
    assert found.between_tokens.p50 == 0.0


def test_ratios_are_to_torch_under_the_same_load() -> None:
    ours = measured(
        "openvino", "int4", load(1, 50.0, first=0.1), load(16, 300.0, between=0.01), load(1, 60.0, shared=64)
    )
    torch = measured("torch", "bf16", load(1, 10.0), load(16, 100.0))
    found = {(each.streams, each.shared_prefix): each for each in ratios([ours, torch], torch)}
    assert set(found) == {(1, 0), (16, 0)}
    assert found[1, 0].tokens_per_second == 5.0
    assert found[1, 0].first_token == 0.5
    assert found[16, 0].between_tokens == pytest.approx(0.2)


def test_without_torch_there_are_no_ratios() -> None:
    ours = measured("openvino", "int4", load(1, 50.0))
    assert ratios([ours], baseline_of([ours], {"torch"})) == ()

from __future__ import annotations

from stoker.launch.stub.pacing import ALWAYS_SINGLE, MOST, AskingBudget, Pacer
from stoker.launch.warm_up import warm_up_rounds


def pacer(step: float, response: float) -> Pacer:
    paced = Pacer()
    for _ in range(200):
        paced.stepped(step)
        paced.sent(1, response)
    return paced


def test_slow_steps_send_every_token_at_once():
    assert pacer(step=0.06, response=1e-4).interval(running=16, responses=16) == 1


def test_fast_steps_gather_tokens_once_many_run():
    fast = pacer(step=0.004, response=1e-4)
    assert fast.interval(ALWAYS_SINGLE, ALWAYS_SINGLE) == 1
    assert 1 < fast.interval(6, 6) < fast.interval(100, 100) == MOST


def test_before_anything_was_measured_every_token_is_sent():
    assert Pacer().interval(100, 100) == 1


def test_after_a_while_all_requests_are_asked_about():
    assert AskingBudget().allowance(1.0, 16) == 16
    assert AskingBudget().allowance(1e-6, 16) == 0


def test_asking_takes_no_more_than_its_share_of_the_time():
    budget, asked = AskingBudget(), 0
    for _ in range(1000):
        allowance = budget.allowance(0.001, 16)
        budget.spent(allowance, allowance * 1e-4)
        asked += allowance
    assert 90 <= asked <= 105  # a hundredth of one second, 0.1 ms each


def test_warm_up_covers_a_whole_chunk_and_several_streams():
    alone, together = warm_up_rounds(max_num_tokens=256, longest_sequence=4096, max_batch_size=16)
    assert alone == (256,)
    assert len(together) == 8


def test_the_whole_chunk_is_left_out_where_it_is_known_to_fit():
    whole = warm_up_rounds(max_num_tokens=256, longest_sequence=4096, max_batch_size=16)
    assert warm_up_rounds(max_num_tokens=256, longest_sequence=4096, max_batch_size=16, fits=True) == whole[1:]


def test_warm_up_stays_within_small_limits():
    for lengths in warm_up_rounds(max_num_tokens=256, longest_sequence=16, max_batch_size=1):
        assert len(lengths) == 1
        assert 1 <= lengths[0] <= 12

"""Which replica takes a request: a pure choice by tokens that wait, cached beginnings and running sequences."""

import random

import pytest

from stoker.launch.routing import HASHED_BLOCKS, Load, Prefixes, Router, block_hashes

BLOCK = 16


def prompt(seed: int, length: int) -> list[int]:
    return [random.Random(seed).randrange(1000) for _ in range(length)]


@pytest.fixture
def router():
    return Router(replicas=3, blocks=64, block_tokens=BLOCK)


def idle(count: int = 3) -> dict[int, Load]:
    return {number: Load() for number in range(count)}


def test_the_fewest_tokens_that_wait_win(router):
    loads = {0: Load(2, 300), 1: Load(2, 100), 2: Load(2, 200)}
    assert router.choose(prompt(1, 50), loads).replica == 1


def test_of_equal_queues_the_one_with_fewer_sequences(router):
    assert router.choose(prompt(1, 50), {0: Load(3), 1: Load(2), 2: Load(3)}).replica == 1


def test_equal_replicas_take_turns(router):
    assert [router.choose(prompt(seed, 5), idle()).replica for seed in range(6)] == [0, 1, 2, 0, 1, 2]


def test_the_next_turn_of_a_conversation_goes_where_the_first_was(router):
    first = prompt(1, 100)
    home = router.choose(first, idle())
    assert home.tokens == 100
    router.choose(prompt(2, 100), idle())
    again = router.choose([*first, *prompt(3, 40)], idle())
    assert again.replica == home.replica
    assert again.tokens == 140 - 100 // BLOCK * BLOCK


def test_affinity_never_makes_a_request_wait_for_more_tokens_than_it_saves(router):
    first = prompt(1, 100)
    home = router.choose(first, idle()).replica
    held = 99 // BLOCK * BLOCK
    for waiting, expected in ((held - 1, True), (held + 1, False)):
        loads = {**idle(), home: Load(0, waiting)}
        assert (router_with(first, home).choose(first, loads).replica == home) is expected


def router_with(first, home):
    made = Router(replicas=3, blocks=64, block_tokens=BLOCK)
    made.choose(first, {home: Load()})
    return made


def test_a_busier_replica_does_not_get_what_it_holds(router):
    first = prompt(1, 100)
    home = router.choose(first, idle()).replica
    assert router.choose(first, {**idle(), home: Load(1)}).replica == home
    busy = dict.fromkeys(range(3), Load(8))
    assert router_with(first, home).choose(first, {**busy, home: Load(10)}).replica == home
    assert router_with(first, home).choose(first, {**busy, home: Load(11)}).replica != home
    assert router_with(first, home).choose(first, {**idle(), home: Load(2)}).replica != home


def test_only_replicas_that_take_requests_are_chosen(router):
    first = prompt(1, 100)
    router.choose(first, {2: Load()})
    assert router.choose(first, {0: Load(9, 900), 1: Load(9, 900)}).replica in (0, 1)


def test_a_replica_that_was_started_anew_holds_nothing(router):
    first = prompt(1, 100)
    home = router.choose(first, idle()).replica
    router.forget(home)
    assert router.choose(first, idle()).tokens == 100


def test_without_a_cache_there_is_no_affinity():
    router = Router(replicas=2)
    assert [router.choose([1, 2, 3], idle(2)).replica for _ in range(4)] == [0, 1, 0, 1]


def test_a_block_is_known_by_all_before_it():
    ids = prompt(1, 64)
    assert block_hashes(ids, BLOCK)[:2] == block_hashes(ids[:40], BLOCK)[:2]
    other = [ids[0] + 1, *ids[1:]]
    assert not set(block_hashes(ids, BLOCK)) & set(block_hashes(other, BLOCK))


def test_what_an_adapter_made_is_of_no_use_to_another():
    ids = prompt(1, 64)
    assert not set(block_hashes(ids, BLOCK)) & set(block_hashes(ids, BLOCK, adapter=1))


def test_the_last_token_is_read_in_any_case():
    assert len(block_hashes(prompt(1, 32), BLOCK)) == 1
    assert len(block_hashes(prompt(1, 33), BLOCK)) == 2
    assert block_hashes([], BLOCK) == []
    assert len(block_hashes(prompt(1, BLOCK * (HASHED_BLOCKS + 9)), BLOCK)) == HASHED_BLOCKS


def test_no_more_is_remembered_than_the_cache_has_blocks():
    prefixes = Prefixes(blocks=4)
    prefixes.add([1, 2, 3])
    prefixes.add([4, 5])
    assert (prefixes.held([1, 2, 3]), prefixes.held([4, 5])) == (2, 2)  # the end of the older one went first


def test_a_beginning_that_all_share_does_not_gather_all_requests_at_one(router):
    shared, loads = prompt(1, 320), {number: [0, 0] for number in range(3)}
    for seed in range(30):
        now = {number: Load(*load) for number, load in loads.items()}
        loads[router.choose([*shared, *prompt(seed + 2, 20)], now).replica][0] += 1
    assert max(load[0] for load in loads.values()) - min(load[0] for load in loads.values()) <= 2


class Simulated:
    """Conversations of 32 clients over two replicas whose caches hold three quarters of them all, in steps: each step
    some answers end, and their clients ask again."""

    def __init__(self, router: Router, seed: int = 0) -> None:
        self.router, self.chance = router, random.Random(seed)
        self.caches = [Prefixes(768) for _ in range(2)]
        self.running: list[list[int]] = [[], []]
        self.blocks = self.held = 0
        self.given = [0, 0]
        shared = self.tokens(64)
        self.histories = [list(shared) for _ in range(32)]

    def tokens(self, count: int) -> list[int]:
        return [self.chance.randrange(1000) for _ in range(count)]

    def ask(self, client: int) -> None:
        history = self.histories[client]
        if len(history) > 600:
            del history[64:]
        history += self.tokens(48)
        loads = {number: Load(len(running)) for number, running in enumerate(self.running)}
        chosen = self.router.choose(history, loads).replica
        hashes = block_hashes(history, BLOCK)
        self.blocks += len(hashes)
        self.held += self.caches[chosen].held(hashes)
        self.caches[chosen].add(hashes)
        self.given[chosen] += 1
        self.running[chosen].append(client)

    def run(self, steps: int) -> float:
        """The share of prompt blocks that a cache held."""
        idle = set(range(32))
        for _ in range(steps):
            for client in sorted(client for client in idle if self.chance.random() < 0.5):
                self.ask(client)
                idle.discard(client)
            for running in self.running:
                for client in [client for client in running if self.chance.random() < 0.3]:
                    running.remove(client)
                    self.histories[client] += self.tokens(16)
                    idle.add(client)
        return self.held / self.blocks


def test_conversations_find_their_beginnings_again_and_the_load_stays_even():
    without = Simulated(Router(2)).run(300)
    simulated = Simulated(Router(2, 768, BLOCK))
    share = simulated.run(300)
    assert share > without + 0.05
    assert max(simulated.given) / sum(simulated.given) < 0.55

"""What a benchmark is asked for, and what it finds: the types that `stoker bench --json` prints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """The same for every case. In each of `rounds`, each of `streams` clients at once sends `requests` requests, one
    after the other. Prompts are random token ids, of which the first `shared_prefixes` are the same in all of a load.
    Answers are `output_tokens` long whatever the model says: greedy, its end token ignored.
    """

    prompt_tokens: int
    output_tokens: int
    streams: tuple[int, ...]
    shared_prefixes: tuple[int, ...]
    rounds: int
    requests: int


def named(kind: str, precision: str, speculative: str) -> str:
    own = "" if speculative == "off" else f" {speculative}"
    return f"{kind} {precision}{own}"


@dataclass(frozen=True)
class Case:
    """One engine kind at one precision, by the profile that the planner took for it, with or without guesses:
    `speculative` as the setting has it."""

    kind: str
    precision: str
    profile: str
    max_seq_len: int
    max_batch_size: int
    speculative: str = "off"

    @property
    def name(self) -> str:
        return named(self.kind, self.precision, self.speculative)


@dataclass(frozen=True)
class NotRun:
    """`precision` is empty where none was asked for. `failed`: it was planned, but serving it failed."""

    kind: str
    precision: str
    reason: str
    failed: bool = False


@dataclass(frozen=True)
class Phase:
    name: str
    seconds: float


@dataclass(frozen=True)
class Start:
    """From the command line to ready, and the time in each phase of /v1/health/startup."""

    seconds: float
    phases: tuple[Phase, ...]

    def of(self, name: str) -> float:
        return sum(phase.seconds for phase in self.phases if phase.name == name)


@dataclass(frozen=True)
class Spread:
    """Seconds, over all requests of all rounds."""

    p50: float
    p99: float


@dataclass(frozen=True)
class Load:
    """`tokens_per_second` is the median of `round_tokens_per_second`. `first_token`: from the request sent to the first
    event with text. `between_tokens`: a request's time from its first to its last event, by token. `longest_gap`: a
    request's longest wait between two events. `client_share`: the client's processor time over the load's time.
    `accepted`: guessed tokens that the model kept, for each step of a sequence since the server started.
    """

    streams: int
    shared_prefix: int
    tokens_per_second: float
    round_tokens_per_second: tuple[float, ...]
    first_token: Spread
    between_tokens: Spread
    longest_gap: Spread
    client_share: float
    accepted: float = 0.0


@dataclass(frozen=True)
class Memory:
    """Bytes. `engine_peak`: the largest resident size that the process with the engine had, files it maps included;
    `server_peak`: the sum over all of the server's processes. `gpu`: what was taken on the plan's GPUs, 0 without any.
    """

    engine_peak: int
    server_peak: int
    gpu: int


@dataclass(frozen=True)
class Measured:
    """`cold_start` is with an empty engine store, None where the engine was there already; `build_seconds` is its phase
    `building`."""

    kind: str
    precision: str
    profile: str
    max_seq_len: int
    max_batch_size: int
    cold_start: Start | None
    build_seconds: float | None
    warm_start: Start
    memory: Memory
    loads: tuple[Load, ...]
    speculative: str = "off"

    @property
    def name(self) -> str:
        return named(self.kind, self.precision, self.speculative)


@dataclass(frozen=True)
class Ratio:
    """A load's figures over those of the baseline under the same load: above 1 is more tokens, below 1 is less time."""

    kind: str
    precision: str
    streams: int
    shared_prefix: int
    tokens_per_second: float
    first_token: float
    between_tokens: float
    speculative: str = "off"


@dataclass(frozen=True)
class Report:
    """`baseline` names the case that `ratios` are over; empty, with no ratios, where no baseline was measured."""

    stoker: str
    model: str
    machine: str
    workload: Workload
    measured: tuple[Measured, ...]
    baseline: str
    ratios: tuple[Ratio, ...]
    not_run: tuple[NotRun, ...]

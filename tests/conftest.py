"""What the programs under test inherit from the process that runs the tests, and what tests leave behind in it."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest

# No test fails for the time that it took: a busy machine is not a fault.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


# What tests tell fakes that run in an engine's processes, which inherit no unknown variable.
_TOLD = (
    *("FAKE_NVML", "FAKE_TENSORRTLLM_RANKS", "FAKE_TENSORRTLLM_STEP", "FAKE_TENSORRTLLM_LORAS"),
    *("FAKE_TENSORRT_LLM_FAIL", "FAKE_TENSORRT_LLM_LOG", "FAKE_TENSORRT_LLM_SM", "FAKE_TENSORRT_LLM_STEP"),
    *("RECORDED_CONNECTIONS", "SHORT_OF_MEMORY"),
)
os.environ["STOKER_ENGINE_ENVIRONMENT"] = ",".join(_TOLD)


def pytest_configure() -> None:
    """Ctrl-C reaches them also where the suite runs in a shell's background, whose children ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_stale_log_handlers() -> Iterator[None]:
    """A command that ran in this process has set up logging to an output that pytest closes with the test."""
    before = set(logging.getLogger().handlers)
    yield
    for handler in set(logging.getLogger().handlers) - before:
        if type(handler) is logging.StreamHandler:
            logging.getLogger().removeHandler(handler)

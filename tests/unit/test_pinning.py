"""Processes that are kept to some CPUs, with what they start."""

import os
import signal
import subprocess
import sys

import pytest

from stoker.pinning import ANYWHERE, Pinning
from stoker.tethered import tethered

SHOW = "import os; print(sorted(os.sched_getaffinity(0)))"


@pytest.mark.parametrize("pinning", [ANYWHERE, Pinning((0, 3)), Pinning((), 1), Pinning((7,), 0)])
def test_its_text_is_read_back(pinning):
    assert Pinning.of(str(pinning)) == pinning


@pytest.mark.parametrize("last", [True, False])
def test_a_command_and_its_children_stay_where_they_are_put(last):
    usable = sorted(os.sched_getaffinity(0))
    chosen = usable[-1:] if last else usable[:1]
    again = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SHOW!r}], check=True)"
    command = tethered([sys.executable, "-c", again], signal.SIGKILL, pinning=Pinning(tuple(chosen), 0))
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == str(chosen)


def test_cpus_that_are_gone_are_no_error():
    command = tethered([sys.executable, "-c", SHOW], signal.SIGKILL, pinning=Pinning((4095,), 900))
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == str(sorted(os.sched_getaffinity(0)))

"""What began within has ended after it, unless it stays."""

from __future__ import annotations

import threading
import time

from stoker.kinds.openvino.runtime.late_threads import threads_ended


def test_a_thread_that_is_late_is_waited_for() -> None:
    with threads_ended(600):
        thread = threading.Thread(target=time.sleep, args=(0.05,))
        thread.start()
    assert not thread.is_alive()


def test_a_thread_that_stays_is_not_waited_for_for_ever() -> None:
    end = threading.Event()
    with threads_ended(0.01):
        thread = threading.Thread(target=end.wait)
        thread.start()
    assert thread.is_alive()
    end.set()
    thread.join()


def test_threads_that_were_there_are_not_waited_for() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        with threads_ended(600):
            pass
        assert thread.is_alive()
    finally:
        end.set()
        thread.join()

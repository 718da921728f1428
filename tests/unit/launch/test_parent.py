"""A stub's lifeline, where a launcher has closed it."""

from __future__ import annotations

import os
from pathlib import Path

from stoker.launch.stub.parent import _hang_on


def test_files_that_have_the_lifelines_numbers_since_stay_open(tmp_path: Path) -> None:
    others = [os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in ("one", "two")]
    _hang_on(*others)
    for other in others:
        os.close(other)

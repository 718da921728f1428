"""The warning of a server that others reach without a key, and owners that no hint changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.cli.exposed import exposure_warning
from stoker.probe.checks.storage import may_be_given
from stoker.settings.layers import load_settings


@pytest.mark.parametrize(
    ("flags", "environ", "warned"),
    [
        ({"host": "0.0.0.0"}, {}, True),
        ({"host": "192.0.2.1"}, {}, True),
        ({"host": "::"}, {}, True),
        ({}, {"STOKER_HOST": "0.0.0.0"}, True),
        ({}, {"STOKER_HOST": "::"}, False),
        ({"host": "0.0.0.0"}, {"STOKER_API_KEY": "k"}, False),
        ({"host": "0.0.0.0", "api-key-file": "keys"}, {}, False),
        ({"host": "127.0.0.2"}, {}, False),
        ({"host": "localhost"}, {}, False),
        ({}, {}, False),
    ],
)
def test_who_listens_to_others_without_a_key_is_warned(
    flags: dict[str, str | None], environ: dict[str, str], warned: bool
) -> None:
    assert bool(exposure_warning(load_settings(flags, environ))) == warned


def test_only_a_directory_of_the_users_is_worth_another_owner(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert may_be_given(tmp_path)
    assert not may_be_given(tmp_path / "file")
    assert not any(may_be_given(Path(place)) for place in ("/", "/proc", "/proc/self/fd", "/sys", "/etc", "/tmp"))

"""What the user set, as arguments for a server elsewhere: in a container here, or where a manifest is applied."""

from __future__ import annotations

from collections.abc import Mapping

from stoker.errors import UsageError
from stoker.redaction import redacted
from stoker.settings.layers import Settings
from stoker.settings.spec import SETTINGS

_OF_BOTH = {
    "model": "it is the first argument by itself",
    "cache": "the images say where, and a volume is mounted there",
    "config": "what it sets is passed on, setting by setting",
}
_OF_A_FLEET = {
    "node-rank": "what starts the servers gives each its own",
    "leader": "the same",
    "dynamo": "the images have no ai-dynamo",
}
_OF_ADAPTERS = dict.fromkeys(
    ("lora", "lora-source", "lora-refresh"),
    "adapters may be directories of this machine: mount them where the server runs, and name them there",
)
_OF_THIS_MACHINE = "a file of this machine: mount it where the manifest is applied, and name it there"

# Settings of `serve` that are no arguments of a server elsewhere, by command, and why.
NOT_PASSED_ON: Mapping[str, Mapping[str, str]] = {
    "up": {
        **_OF_BOTH,
        **_OF_A_FLEET,
        **_OF_ADAPTERS,
        "nodes": "a container engine starts one machine's servers",
        "host": "the container's port is published there",
        "port": "the container's port is published as this",
        "management-host": "the container's management port is published there",
        "api-key": "it is passed on as a variable, which no process list shows",
    },
    "manifest": {
        **_OF_BOTH,
        **_OF_A_FLEET,
        **_OF_ADAPTERS,
        "host": "the images listen on all addresses of the container",
        "port": "it is the port that a host publishes",
        "api-key": "a manifest must not contain a secret: it says where the server gets the variable from",
        **dict.fromkeys(("api-key-file", "tls-cert", "tls-key", "tls-client-ca"), _OF_THIS_MACHINE),
        **dict.fromkeys(("calibration", "public-key", "private-key"), _OF_THIS_MACHINE),
        "tune": "it measures for minutes before the first start, which probes do not wait for: run `stoker tune` there",
        "response-store": "in memory, it is more than was planned; in a directory, the manifest has no volume for it",
        "management-port": "what may reach it differs from place to place: publish it there",
        "management-host": "the same",
    },
}


def given_flags(settings: Settings, command: str, instead: Mapping[str, str | None] = {}) -> tuple[str, ...]:
    """For the settings that `command` passes on; with other values, or none, where `instead` says so."""
    of_both = [one.name for one in SETTINGS if {command, "serve"} <= set(one.applies_to)]
    names = [name for name in of_both if name not in NOT_PASSED_ON[command]]
    values = [(name, instead.get(name, settings[name].value)) for name in names if settings.is_given(name)]
    flags = tuple(
        f"--{name}" if value is True else f"--{name}={_text(value)}"
        for name, value in values
        if value is not False and value is not None
    )
    if command == "manifest":
        _check_for_passwords(flags)
    return flags


def _check_for_passwords(flags: tuple[str, ...]) -> None:
    for flag in flags:
        if redacted(flag) != flag:
            name = flag.partition("=")[0].removeprefix("--")
            raise UsageError(
                f"{name} contains a password",
                why="a manifest must not contain a secret",
                remedy=f"leave it out, and give the server STOKER_{name.upper().replace('-', '_')} from a secret",
            )


def _text(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)

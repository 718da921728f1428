"""What the user set reaches the server elsewhere as flags that mean the same there."""

from stoker.deploy.given import given_flags
from stoker.settings.layers import load_settings

GIVEN = {
    "model": "demo",
    "port": "9000",
    "max-seq-len": "2k",
    "offline": "true",
    "drain-timeout": "90",
    "remotes": "s3://one/two, file:///three",
    "cache-limit": "500g",
}


def test_only_what_the_user_set_is_passed_on_and_nothing_of_this_host():
    settings = load_settings(GIVEN, {"STOKER_PRECISION": "int4", "STOKER_HOST": "0.0.0.0", "STOKER_CACHE": "/x"})
    names = {flag.split("=")[0] for flag in given_flags(settings, "up")}
    assert names == {*("--max-seq-len", "--offline", "--drain-timeout", "--remotes", "--cache-limit", "--precision")}
    assert given_flags(load_settings({}, {}), "up") == ()


def test_secrets_are_no_arguments():
    settings = load_settings({}, {"STOKER_API_KEY": "sk-secret"})
    assert given_flags(settings, "up") == ()


def test_flags_read_back_to_the_same_values():
    settings = load_settings(GIVEN, {})
    pairs = (flag.removeprefix("--").partition("=") for flag in given_flags(settings, "manifest"))
    again = load_settings({name: value or "true" for name, _, value in pairs}, {})
    for name in ("max-seq-len", "offline", "drain-timeout", "remotes", "cache-limit"):
        assert again[name].value == settings[name].value


def test_what_is_pinned_is_not_said_twice():
    assert given_flags(load_settings({"max-seq-len": "2k"}, {}), "manifest", {"max-seq-len": None}) == ()

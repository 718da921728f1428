from __future__ import annotations

import json
import logging

import pytest

from stoker.errors import StokerError, UsageError
from stoker.logs import JsonFormatter, TextFormatter
from stoker.redaction import redacted
from stoker.remote_address import check_address


@pytest.mark.parametrize(
    "text",
    [
        *("https://me:sesame@host/path", "oci://me:sesame@host/a", "http://sesame@host", "s3://k:sesame@bucket/x"),
        *("see https://me:sesame@a/b and ftp://u:sesame@c", "https://me:p@ss:sesame@host/x"),
        *("https://host/x?sig=sesame", "https://host/x?a=1&X-Amz-Signature=sesame&b=2", "/x?api_key=sesame"),
        *("https://h/?access_token=sesame#top", "https://h/?X-Amz-Credential=sesame", "https://h/?PASSWORD=sesame"),
    ],
)
def test_what_gives_access_is_not_shown(text: str) -> None:
    assert "sesame" not in redacted(text)
    assert "***" in redacted(text)
    assert "sesame" not in str(StokerError(text, why=text, remedy=text))
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", (text,), None)
    assert "sesame" not in TextFormatter("%(message)s").format(record)
    assert "sesame" not in json.loads(JsonFormatter().format(record))["message"]


@pytest.mark.parametrize(
    "text",
    [
        *("https://host:8000/path@v1", "hf://org/name@main", "mail me@here", "oci://localhost:5000/a/b"),
        *("https://host/x?list=1&page=2", "a key=value b", "precision int8: default", "--max-tokens=7"),
    ],
)
def test_everything_else_is(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    "address",
    [
        *("oci://me:sesame@registry/team/engines", "oci://sesame@registry/x", "s3://me:sesame@bucket/x"),
        *("hf://me:sesame@org/name", "file://me:sesame@host/path", "ftp://me:sesame@host/x", "https://me:sesame@[::1"),
        "https://me:sesame@host:port/x",
    ],
)
def test_a_password_where_it_is_not_used_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_address(address)
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        *("oci://Registry/UPPER", "oci://registry/a//b", "oci://registry/a?x=1", "oci://-bad/x", "oci://a b/x"),
        *("oci://registry:port/x", "oci://registry:1:2/x", "https://[::1", "oci:///x", "hf://org", "s3://"),
    ],
)
def test_what_is_no_address_is_a_usage_error(address: str) -> None:
    with pytest.raises(UsageError):
        check_address(address)


@pytest.mark.parametrize(
    "address",
    [
        *("oci://registry/x", "oci://127.0.0.1:5000/team/engines", "oci://[::1]:5000/x", "oci://ghcr.io/a/b_c/d-e.f"),
        *("https://me:sesame@host/x", "http://host", "s3://bucket/prefix", "hf://org/name@v1/folder", "file:///a b"),
    ],
)
def test_addresses(address: str) -> None:
    check_address(address)

"""The documents say what the code does."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import msgspec
import pytest

from stoker.serve.http.app import INFERENCE_PATHS, OTHER_PATHS
from stoker.serve.http.errors import CODES
from stoker.serve.request.requests import ChatRequest, CompletionRequest

DOCS = Path(__file__).parents[3] / "docs"
API = (DOCS / "api.md").read_text()


def test_the_metrics_are_documented_as_they_are() -> None:
    page = runpy.run_path(str(DOCS.parent / "tools" / "metrics_page.py"))
    assert (DOCS / "metrics.md").read_text() == page["document"](), "run make docs"


def test_what_becomes_of_others_flags_and_fields_is_documented_as_it_is() -> None:
    page = runpy.run_path(str(DOCS.parent / "tools" / "dropin_page.py"))["document"]()
    assert (DOCS / "dropin.md").read_text() == page, "run python tools/write_docs.py"


@pytest.mark.parametrize("request_type", [ChatRequest, CompletionRequest])
def test_every_parameter_is_in_the_table_and_none_besides(request_type: type[msgspec.Struct]) -> None:
    start = API.index("## Parameters")
    rows = re.findall(r"^\| (`.*?) \|", API[start : API.index("## Streams")], re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert set(request_type.__struct_fields__) <= documented
    assert documented <= {*ChatRequest.__struct_fields__, *CompletionRequest.__struct_fields__}


def test_every_endpoint_and_error_code_is_documented() -> None:
    for path in (*INFERENCE_PATHS, *OTHER_PATHS):
        assert f" {path}`" in API
    assert re.findall(r"^\| `(\w+)` \| (\d{3}: .*) \|$", API, re.MULTILINE) == list(CODES.items())

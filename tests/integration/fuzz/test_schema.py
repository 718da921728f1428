"""schemathesis over our own OpenAPI document: no 5xx, no status or content type that is not documented."""

from __future__ import annotations

import contextlib
from typing import Any

import hypothesis
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
IN_CI = 400
OF_A_GET = 10
MODES: tuple[GenerationMode, ...] = (GenerationMode("positive"), GenerationMode("negative"))


def test_every_answer_is_documented_and_no_fault(url: str, cases: int) -> None:
    operations = operations_of(url)
    with_body = [operation for operation in operations if operation.method == "post"]
    share = -(-(cases or IN_CI) // (2 * len(with_body)))
    tried = 0
    for operation in operations:
        count = share if operation in with_body else OF_A_GET
        for mode in MODES:
            tried += attempts(operation, mode, count, url)
    print(f"{tried} cases over {len(operations)} operations")
    assert tried >= (cases or IN_CI)


def test_vectors_and_scores_are_documented_too(pooled: tuple[str, tuple[str, ...]], cases: int) -> None:
    url, own = pooled
    for operation in operations_of(url):
        if operation.path in own:
            for mode in MODES:
                assert attempts(operation, mode, cases // 20 or OF_A_GET, url)


def operations_of(url: str) -> list[APIOperation[Any, Any, Any, Any]]:
    """Of its OpenAPI document, each of which schemathesis understands."""
    operations = []
    for result in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
        assert isinstance(result, Ok), result
        operations.append(result.ok())
    return operations


def attempts(operation, mode: GenerationMode, count: int, url: str) -> int:
    """How many were made: fewer than `count` where there is nothing to vary."""
    tried = 0

    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def attempt(case) -> None:
        nonlocal tried
        tried += 1
        case.validate_response(case.call(base_url=url, timeout=60), checks=CHECKS)

    with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # nothing can be wrong where nothing is taken
        attempt()
    return tried

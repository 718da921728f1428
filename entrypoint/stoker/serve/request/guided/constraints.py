"""The many ways in which clients ask for a form, and the grammar of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from stoker.launch.generation import Guide
from stoker.serve.http.errors import ApiError, invalid
from stoker.serve.request.guided.checks import check_texts
from stoker.serve.request.guided.ebnf import parse_ebnf
from stoker.serve.request.guided.grammar import Grammar, GuideError, Text, choice
from stoker.serve.request.guided.json_schema import any_object, schema_grammar
from stoker.serve.request.guided.notation import guide
from stoker.serve.request.guided.regex import followable_regex
from stoker.serve.request.lanes import Lane
from stoker.serve.request.requests import ChatRequest, Parameters, ResponseFormat
from stoker.serve.request.sampling import Context, check_guides

Constraint = tuple[str, Callable[[], Grammar]]


async def guide_of(request: Parameters, context: Context) -> Guide | None:
    """ApiError, 400, that names the parameter, for a form that is asked for twice or cannot be kept to.

    Off the event loop: a large schema takes tens of milliseconds.
    """
    constraint = constraint_of(request)
    if constraint is None:
        return None
    check_guides(constraint[0], context)
    return await compiled(*constraint)


_LANE = Lane("guides", large=False)


def constraint_of(request: Parameters) -> Constraint | None:
    """The parameter that asks for a form, and how to make its grammar."""
    constraints = [*_extensions(request), *_response_format(request)]
    if not constraints:
        return None
    if len(constraints) > 1:
        raise invalid(
            f"'{constraints[0][0]}' and '{constraints[1][0]}' both say what the text must look like.", constraints[1][0]
        )
    if request.ignore_eos:
        raise invalid("A text of a given form ends by itself; ignore_eos contradicts it.", "ignore_eos")
    return constraints[0]


async def compiled(param: str, made: Callable[[], Grammar]) -> Guide:
    """As `guided`, beside the event loop: one at a time, and of several clients each in turn."""
    return await _LANE.run(guided, param, made)


def guided(param: str, made: Callable[[], Grammar]) -> Guide:
    try:
        return guide(made())
    except GuideError as error:
        raise refused(param, str(error)) from error
    except RecursionError as error:
        raise refused(param, "it is nested too deep") from error
    except OverflowError as error:
        raise refused(param, "a number in it is too large") from error


def refused(param: str, why: str) -> ApiError:
    return invalid(f"Invalid '{param}': {why}."[:500], param, "unsupported_guide")


def _extensions(request: Parameters) -> list[Constraint]:
    """guided_json and its like: at the top, in `nvext`, or as vLLM's `structured_outputs`."""
    found = []
    for prefix, holder in (("", request), ("nvext.", request.nvext)):
        for kind, make in _MAKERS.items():
            value = getattr(holder, f"guided_{kind}", None)
            if value is not None:
                found.append((f"{prefix}guided_{kind}", _later(make, value)))
    for kind, make in _MAKERS.items():
        value = getattr(request.structured_outputs, kind, None)
        if value is not None:
            found.append((f"structured_outputs.{kind}", _later(make, value)))
    return found


def _response_format(request: Parameters) -> list[Constraint]:
    wanted = request.response_format if isinstance(request, ChatRequest) else None
    if wanted is None or wanted.type == "text":
        return []
    if wanted.type == "json_object":
        return [("response_format", any_object)]
    return [("response_format.json_schema.schema", _later(schema_grammar, _schema(wanted)))]


def _schema(wanted: ResponseFormat) -> object:
    if wanted.json_schema is None:
        param = "response_format.json_schema"
        raise invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
    return {} if wanted.json_schema.schema is None else wanted.json_schema.schema


def _later(make: Callable[[object], Grammar], value: object) -> Callable[[], Grammar]:
    return lambda: make(value)


def _json(value: object) -> Grammar:
    """A schema, as an object or as JSON in a string."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError) as error:
            raise GuideError("it is not JSON") from error
    return schema_grammar(value)


def _choice(values: list[str]) -> Grammar:
    if not values:
        raise GuideError("it has no choices")
    check_texts(values, "it")
    return Grammar(choice([Text(value) for value in values]), {})


_MAKERS: dict[str, Callable[[Any], Grammar]] = {
    "json": _json,
    "regex": lambda value: Grammar(followable_regex(value), {}),
    "choice": _choice,
    "grammar": parse_ebnf,
}

"""The body of a request, from JSON to a value of its type; what does not fit the type is an ApiError that names it.

A field that is null is as if it were absent, at any depth, whether the type knows it or not. Others that the type does
not know are passed over, or refused where the server is set so (stoker.serve.http.ignored). Values that belong to the
client alone (JSON schemas, arguments of tools and templates) keep their nulls: there they may mean something.
"""

from __future__ import annotations

import asyncio
import re
from functools import cache
from typing import TypeVar

import msgspec
from msgspec import inspect

from stoker.serve.http.errors import ApiError, invalid
from stoker.serve.http.ignored import ignore_unknown

_AT = re.compile(r"^(?P<complaint>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_FIELD = re.compile(r"(?P<kind>unknown|missing required) field `(?P<name>.*)`$", re.DOTALL)
_SHOWN = 200

_SMALL = 64 << 10  # bytes: about a millisecond
# Looking at an object's fields takes some microseconds. No client has so many that need it.
MOST_OBJECTS = 50_000

Body = TypeVar("Body", bound=msgspec.Struct)


async def read(body: bytes, kind: type[Body]) -> Body:
    """What `decoded` gives; a large body does not hold up the event loop."""
    return decoded(body, kind) if len(body) <= _SMALL else await asyncio.to_thread(decoded, body, kind)


def decoded(body: bytes, kind: type[Body]) -> Body:
    """Checked by the type alone. Raises ApiError, 400, naming the parameter."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError:
        return _without_nulls(body, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _not_json(error) from error


def _without_nulls(body: bytes, kind: type[Body]) -> Body:
    """The slow way, for a body that does not fit as it is."""
    try:
        pruned = _Pruning().pruned(msgspec.json.decode(body), _shape(kind), "")
        return msgspec.convert(pruned, type=kind)
    except msgspec.ValidationError as error:
        raise _translated(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _not_json(error) from error


class _Pruning:
    """Of one body: how many objects there were so far."""

    def __init__(self) -> None:
        self._objects = 0

    def pruned(self, value: object, shape: inspect.Type, where: str) -> object:
        """Objects whose fields the type declares, without their nulls and unknown fields."""
        if isinstance(value, list):
            item = _item_of(shape)
            if item is None:
                return value
            return [self.pruned(each, item, f"{where}[{index}]") for index, each in enumerate(value)]
        if not isinstance(value, dict):
            return value
        struct = _struct_of(value, shape)
        return value if struct is None else self._object(value, struct, where)

    def _object(self, value: dict[str, object], struct: inspect.StructType, where: str) -> dict[str, object]:
        self._objects += 1
        if self._objects > MOST_OBJECTS:
            text = f"More than {MOST_OBJECTS} objects in a body with fields that are null or unknown."
            raise invalid(text, where[:_SHOWN] or None)
        known, fields = {}, _fields(struct.cls)
        for name, each in value.items():
            place = f"{where}.{name}" if where else name
            if each is not None and name in fields:
                known[name] = self.pruned(each, fields[name], place)
            elif each is not None and name != struct.tag_field:
                ignore_unknown(place)
        return known | ({struct.tag_field: struct.tag} if struct.tag_field else {})


def _alternatives(shape: inspect.Type) -> tuple[inspect.Type, ...]:
    return shape.types if isinstance(shape, inspect.UnionType) else (shape,)


def _item_of(shape: inspect.Type) -> inspect.Type | None:
    lists = [each.item_type for each in _alternatives(shape) if isinstance(each, inspect.ListType)]
    return lists[0] if lists else None


def _struct_of(value: dict[str, object], shape: inspect.Type) -> inspect.StructType | None:
    """Of several, the one whose tag the value has."""
    structs = [each for each in _alternatives(shape) if isinstance(each, inspect.StructType)]
    tagged = [each for each in structs if each.tag_field is None or value.get(each.tag_field) == each.tag]
    return tagged[0] if tagged else None


@cache
def _shape(cls: type) -> inspect.Type:
    return inspect.type_info(cls)  # of a chat request takes milliseconds


@cache
def _fields(cls: type) -> dict[str, inspect.Type]:
    struct = _shape(cls)
    assert isinstance(struct, inspect.StructType)
    return {field.encode_name: field.type for field in struct.fields}


def _not_json(error: Exception) -> ApiError:
    return invalid(f"The body is not valid JSON: {error}", code="invalid_json")


def _translated(complaint: str) -> ApiError:
    """`Expected `float` <= 2.0 - at `$.temperature`` becomes an error whose parameter is temperature."""
    match = _AT.match(complaint)
    text, path = (match["complaint"], match["path"] or "") if match else (complaint, "")
    field = _FIELD.search(text)
    if field is None:
        code = "invalid_type" if "got `" in text else "invalid_value"
        where = f"'{path}'" if path else "the body"
        return invalid(f"Invalid value for {where}: {text}."[:_SHOWN], path or None, code)
    param = f"{path}.{field['name']}" if path else field["name"]
    param = param[:_SHOWN]
    if field["kind"] == "unknown":
        return invalid(f"Unrecognized request argument supplied: {param}", param, "unknown_parameter")
    return invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")

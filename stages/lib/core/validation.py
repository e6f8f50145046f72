"""Describe a pydantic validation error in one line."""

import reprlib
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")

_MISSING = ("missing", "missing_argument")


def describe_error(error: ValidationError, value: Any) -> str:
    """Return the first complaint about ``value`` as ``field: what it is, what was expected``.

    An unknown field comes before a missing one: it is often the same one, misspelt.
    """
    complaints = error.errors()
    first = next((one for one in complaints if one["type"] in _UNKNOWN), complaints[0])
    field = _path(first["loc"], value)
    if first["type"] in _UNKNOWN:
        return f"{field}: unknown"
    if first["type"] in _MISSING:
        return f"{field}: missing"
    if first["type"].startswith("union_tag"):
        context = first.get("ctx", {})
        key = context["discriminator"].strip("'")
        return f"{field}.{key}: {context.get('tag')!r}: expected {context.get('expected_tags')}"
    said = first["msg"].removeprefix("Value error, ")
    if isinstance(first["input"], dict):
        return ".".join(part for part in (field, said) if part)
    return f"{field}: {reprlib.repr(first['input'])}: {said}"


def _path(location: Sequence[int | str], value: Any) -> str:
    """Return a dotted path without the tags that pydantic adds for the kinds of a union."""
    parts = []
    for position, part in enumerate(location):
        is_last = position == len(location) - 1
        if isinstance(value, dict) and part not in value and not is_last:
            continue
        parts.append(str(part))
        if isinstance(value, dict | list) and not is_last:
            value = value[part]  # type: ignore[index]
    return ".".join(parts)

"""Describe invalid values in one line: the key, the value, and what was expected."""

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MISSING = ("missing", "missing_argument", "union_tag_not_found")

# What was expected, by pydantic's error type, to be filled with the error's context. Other
# types keep pydantic's own message.
_EXPECTED = {
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "finite_number": "a finite number",
    "literal_error": "{expected}",
    "union_tag_invalid": "{expected_tags}",
    "string_too_short": "text of {min_length} or more characters",
    "string_pattern_mismatch": "text that matches {pattern}",
    "too_short": "{min_length} or more items, not {actual_length}",
    "too_long": "{max_length} or fewer items, not {actual_length}",
}

# Keys at least this similar count as one misspelled. With less, any two keys of a group do.
_SIMILARITY = 0.8


def describe_error(error: ValidationError, value: Any, kind: type | None = None) -> str:
    """Return the first problem with ``value`` as ``KEY: VALUE: expected WHAT``.

    An unknown key comes before a missing one: it is often the same key, misspelled. If ``kind``,
    the type that ``value`` was checked against, is given, the nearest known key is named.
    """
    problems = error.errors()
    first = next((problem for problem in problems if problem["type"] in _UNKNOWN), problems[0])
    key = _path(first, value)
    if first["type"] in _UNKNOWN:
        names = [] if kind is None else _names_beside(first, kind)
        group = key.rpartition(".")[0]
        return unknown_key(key, [f"{group}.{name}" if group else name for name in names])
    if first["type"] in _MISSING:
        return f"{key}: missing"
    context = first.get("ctx", {})
    if first["type"] == "value_error":
        message = str(context["error"])
        # A validator of a whole group names the key inside it in its message.
        if isinstance(first["input"], dict) and not message.startswith("expected"):
            return ".".join(part for part in (key, message) if part)
        return f"{key}: {reprlib.repr(first['input'])}: {message}"
    # A union of simple types reports one problem for each of them.
    branches = [
        problem
        for problem in problems
        if problem["loc"][:-1] == first["loc"][:-1] and _path(problem, value) == key
    ]
    return f"{key}: {reprlib.repr(context.get('tag', first['input']))}: {_expected(branches)}"


def unknown_key(key: str, keys: Iterable[str]) -> str:
    """Return ``KEY: unknown key``, with the most similar of the known ``keys`` if there is one."""
    nearest = get_close_matches(key, keys, n=1, cutoff=_SIMILARITY)
    return f"{key}: unknown key" + "".join(f"; did you mean {name}?" for name in nearest)


def _expected(problems: Sequence[ErrorDetails]) -> str:
    plain = [problem for problem in problems if problem["type"] in _EXPECTED]
    if not plain:
        return problems[0]["msg"]
    texts = (_EXPECTED[problem["type"]].format(**problem.get("ctx", {})) for problem in plain)
    return f"expected {' or '.join(dict.fromkeys(texts))}"


def _path(problem: ErrorDetails, value: Any) -> str:
    """Return the dotted path of a problem's key.

    pydantic adds to a location the tags of unions, which are no keys of ``value``.
    """
    *groups, last = problem["loc"] or ("",)
    parts = []
    for part in groups:
        if isinstance(value, list) or (isinstance(value, dict) and part in value):
            parts.append(part)
            value = value[part]  # type: ignore[index]
    is_absent_key = problem["type"] in (*_UNKNOWN, *_MISSING)
    if is_absent_key or isinstance(value, list) or (isinstance(value, dict) and last in value):
        parts.append(last)
    if problem["type"].startswith("union_tag"):
        parts.append(problem.get("ctx", {})["discriminator"].strip("'"))
    return ".".join(map(str, parts))


def _names_beside(problem: ErrorDetails, kind: type) -> Iterable[str]:
    """Return the names that ``kind`` has in the group that a problem's key is in."""
    schema = TypeAdapter(kind).json_schema()
    group = schema
    for part in problem["loc"][:-1]:
        group = _member(_resolve(group, schema), part)
    return _resolve(group, schema).get("properties", {})


def _member(group: Mapping[str, Any], part: int | str) -> Mapping[str, Any]:
    """Return the JSON schema of the named member of a union, list, mapping or object."""
    if "discriminator" in group:
        return {"$ref": group["discriminator"]["mapping"][part]}
    if "items" in group:
        return group["items"]
    patterns = [*group.get("patternProperties", {}).values(), group.get("additionalProperties")]
    return group.get("properties", {}).get(part) or patterns[0]


def _resolve(group: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow references, and for a value that may be null take the other branch."""
    for branch in group.get("anyOf", []):
        if branch != {"type": "null"}:
            return _resolve(branch, schema)
    if "$ref" in group:
        return _resolve(schema["$defs"][group["$ref"].rpartition("/")[2]], schema)
    return group

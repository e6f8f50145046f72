"""Write programs from the calculator annotations in GSM8K's solutions (Cobbe et al. 2021).

An annotation such as ``<<48/2=24>>`` is a calculation and its stated result. Each becomes a line of
Python; a number that is the stated result of an earlier line becomes that line's variable. The
sandbox later checks that the program prints the answer (``stages.lib.formats.read``).
"""

import ast
import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from stages.lib.grading.numbers import parse_number, tidy

_ANNOTATION = re.compile(r"<<([^<>]*)>>")
# An annotation, or an equation in plain text, which may have an annotation after its sign.
_AMOUNT = r"[$(]{0,4}[-+]?\$?(?:\d[\d,]*+(?:\.\d++)?|\.\d++)%?\){0,4}"
_EQUATION = re.compile(
    r"<<(?P<annotation>[^<>]*)>>|(?P<plain>(?<![\w.)])(?<!\d,)"
    rf"{_AMOUNT}(?:\s?[-+*/×÷x]\s?{_AMOUNT}){{1,30}}"
    rf"\s?=\s?\$?\s?(?:<<[^<>]*>>|{_AMOUNT}(?![\w(]|\s*[-+*/×÷=])))"
)
# Replacements, in order, that turn an annotation's spelling into Python.
_SPELLINGS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), ""),
    (re.compile(r"[$€£¢_<>\s]"), ""),
    (re.compile(r"[×·•]|(?<=[\d)])[xX](?=[\d(.])"), "*"),
    (re.compile(r"[÷:]|//"), "/"),
    (re.compile(r"(?<![\d.])0+(?=\d)"), ""),
    (re.compile(r"(?<=[\d.)])[A-Za-z]+"), ""),
    (re.compile(r"(\d*\.?\d+)%of(?=[\d(.])|(\d*\.?\d+)%(?=\d)"), r"(\1\2/100)*"),
    (re.compile(r"(\d*\.?\d+)%"), r"(\1/100)"),
    (re.compile(r"(?<=[\d)])\("), "*("),
    (re.compile(r"\)(?=[\d.])"), ")*"),
)
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_TOLERANCE = Fraction(1, 10**6)
_MAX_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class _Step:
    """A calculation, the result that the annotation states, and that result's decimals."""

    tree: ast.expr
    stated: Fraction
    decimals: int


def annotated_program(solution: str, answer: str) -> str:
    """Return a program of a solution's annotations that should print ``answer``, or "".

    Lines compute exactly what the annotations say. If that does not lead to the answer but
    results rounded as the annotations state them do (``<<100/7=14>>``), lines round as well.
    If the annotations do not lead there at all, equations in the text (``20/4 = 5``) count too.
    The program ends with the last line that gives the answer. There is no program if no
    calculation gives the answer or if an annotation is not a calculation.
    """
    target = parse_number(answer)
    text = tidy(solution)
    annotated = [_step(annotation) for annotation in _ANNOTATION.findall(text)]
    if target is None or None in annotated:
        return ""
    equations = [_step(match["annotation"] or match["plain"]) for match in _EQUATION.finditer(text)]
    for candidates in (annotated, equations):
        steps = [step for step in candidates if step is not None]
        for rounds in (False, True):
            if program := _program(steps, target, rounds=rounds):
                return program
    return ""


def _program(steps: Sequence[_Step], target: Fraction, *, rounds: bool) -> str:
    lines, values = _lines(steps, rounds=rounds)
    ends = [
        number
        for number, (step, value) in enumerate(zip(steps, values, strict=True), start=1)
        if isinstance(step.tree, ast.BinOp) and abs(value - target) <= _TOLERANCE
    ]
    if not ends:
        return ""
    body = [f"step{number} = {line}" for number, line in enumerate(lines[: ends[-1]], start=1)]
    imports = ["import math"] if any("math." in line for line in body) else []
    return "\n".join([*imports, *body, f"print(step{ends[-1]})"])


def _step(text: str) -> _Step | None:
    """Return the calculation of an annotation, or None if it is not one."""
    first, *_, last = text.split("=") if "=" in text else (text, "")
    tree, result = _parse(first), _parse(last)
    try:
        if tree is None or result is None:
            return None
        _value(tree, ())  # raises ValueError unless it is a calculation
        decimals = len(re.sub(r"[^\d.]", "", last).partition(".")[2])
        return _Step(tree, _value(result, ()), decimals)
    except (ValueError, ZeroDivisionError):
        return None


def _parse(text: str) -> ast.expr | None:
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    if not text or len(text) > _MAX_CHARACTERS:
        return None
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return None


def _lines(steps: Sequence[_Step], *, rounds: bool) -> tuple[list[str], list[Fraction]]:
    """Return the right side of each step's line, and its exact value."""
    lines: list[str] = []
    values: list[Fraction] = []
    latest: dict[Fraction, int] = {}
    for step in steps:
        # A fresh tree, which ``_Reuse`` may change.
        tree = _Reuse(latest).visit(ast.parse(ast.unparse(step.tree), mode="eval").body)
        line, value = ast.unparse(tree), _value(tree, values)
        if rounds and value != step.stated:
            line, value = _round(line, value, step)
        lines.append(line)
        values.append(value)
        latest[step.stated] = len(values)
    return lines, values


def _round(line: str, value: Fraction, step: _Step) -> tuple[str, Fraction]:
    """Return the line rounded, down or up as needed, to the stated result, else unchanged."""
    rounded = f"round({line}, {step.decimals})" if step.decimals else f"round({line})"
    ways = (
        (rounded, round(value, step.decimals)),
        (f"math.floor({line})", Fraction(math.floor(value))),
        (f"math.ceil({line})", Fraction(math.ceil(value))),
    )
    return next((way for way in ways if way[1] == step.stated), (line, value))


class _Reuse(ast.NodeTransformer):
    """Replaces numbers that are a step's stated result with its variable.

    ``latest`` maps a result to the number, from 1, of the last step that states it.
    """

    def __init__(self, latest: dict[Fraction, int]) -> None:
        self.latest = latest

    def visit_Constant(self, node: ast.Constant) -> ast.expr:  # noqa: N802
        step = self.latest.get(_number(node))
        return node if step is None else ast.Name(f"step{step}")


def _value(tree: ast.expr, values: Sequence[Fraction]) -> Fraction:
    """Return the exact value of a calculation. Raises ValueError for any other expression."""
    match tree:
        case ast.Constant():
            return _number(tree)
        case ast.Name(id=name):
            return values[int(name.removeprefix("step")) - 1] if values else _refuse(tree)
        case ast.UnaryOp(op=ast.UAdd(), operand=inner):
            return _value(inner, values)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_value(inner, values)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, values), _value(right, values))
    return _refuse(tree)


def _number(node: ast.Constant) -> Fraction:
    if type(node.value) not in (int, float):
        return _refuse(node)
    return Fraction(repr(node.value))


def _refuse(tree: ast.expr) -> Fraction:
    raise ValueError(f"calculation: {ast.unparse(tree)!r}: expected numbers, + - * / and brackets")

"""Programs made of the calculator annotations in GSM8K's solutions (Cobbe et al. 2021).

An annotation such as ``<<48/2=24>>`` is a calculation and its stated result. Each becomes
a line of Python; a number that is the stated result of an earlier line becomes that
line's variable. Whether the program answers the problem is for the sandbox to say
(``stages.lib.formats.read``): here it is only written where it should.
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
# An equation in plain text; one with an annotation has that behind its sign.
_AMOUNT = r"[$(]{0,4}[-+]?\$?(?:\d[\d,]*+(?:\.\d++)?|\.\d++)%?\){0,4}"
_EQUATION = re.compile(
    r"<<(?P<annotation>[^<>]*)>>|(?P<plain>(?<![\w.)])(?<!\d,)"
    rf"{_AMOUNT}(?:\s?[-+*/×÷x]\s?{_AMOUNT}){{1,30}}"
    rf"\s?=\s?\$?\s?(?:<<[^<>]*>>|{_AMOUNT}(?![\w(]|\s*[-+*/×÷=])))"
)
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
_CLOSE = Fraction(1, 10**6)
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class _Step:
    """A calculation, the result that the annotation states for it, and the decimals of that."""

    tree: ast.expr
    stated: Fraction
    places: int


def annotated_program(solution: str, answer: str) -> str:
    """Return a program made of a solution's annotations that should print ``answer``, or "".

    Lines compute exactly what the annotations say. Where only results rounded as the
    annotations state them lead to the answer (``<<100/7=14>>``), lines round as well.
    Where the annotations do not lead there, equations in the text (``20/4 = 5``) count too.
    What is behind the line with the answer is left out. There is no program without a
    calculation that comes to the answer, or with an annotation that is no calculation.
    """
    wanted = parse_number(answer)
    text = tidy(solution)
    annotated = [_step(one) for one in _ANNOTATION.findall(text)]
    if wanted is None or None in annotated:
        return ""
    equations = [_step(one[1] or one[2]) for one in _EQUATION.finditer(text)]
    for steps in (annotated, equations):
        known = [step for step in steps if step is not None]
        for rounds in (False, True):
            if program := _program(known, wanted, rounds=rounds):
                return program
    return ""


def _program(steps: Sequence[_Step], wanted: Fraction, *, rounds: bool) -> str:
    lines, values = _written(steps, rounds=rounds)
    ends = [
        place
        for place, (step, value) in enumerate(zip(steps, values, strict=True), start=1)
        if isinstance(step.tree, ast.BinOp) and abs(value - wanted) <= _CLOSE
    ]
    if not ends:
        return ""
    body = [f"step{number} = {line}" for number, line in enumerate(lines[: ends[-1]], start=1)]
    imported = ["import math"] if any("math." in line for line in body) else []
    return "\n".join([*imported, *body, f"print(step{ends[-1]})"])


def _step(text: str) -> _Step | None:
    """Return the calculation of an annotation, or None if it is none."""
    first, *_, last = text.split("=") if "=" in text else (text, "")
    tree, result = _parsed(first), _parsed(last)
    try:
        if tree is None or result is None:
            return None
        _value(tree, ())
        places = len(re.sub(r"[^\d.]", "", last).partition(".")[2])
        return _Step(tree, _value(result, ()), places)
    except (ValueError, ZeroDivisionError):
        return None


def _parsed(text: str) -> ast.expr | None:
    spelled = text
    for pattern, replacement in _SPELLINGS:
        spelled = pattern.sub(replacement, spelled)
    if not spelled or len(spelled) > _LONGEST:
        return None
    try:
        return ast.parse(spelled, mode="eval").body
    except SyntaxError:
        return None


def _written(steps: Sequence[_Step], *, rounds: bool) -> tuple[list[str], list[Fraction]]:
    """Return the right side of each step's line, and its exact value."""
    lines: list[str] = []
    values: list[Fraction] = []
    latest: dict[Fraction, int] = {}
    for step in steps:
        tree = _Reuse(latest).visit(ast.parse(ast.unparse(step.tree), mode="eval").body)
        line, value = ast.unparse(tree), _value(tree, values)
        if rounds and value != step.stated:
            line, value = _rounded(line, value, step)
        lines.append(line)
        values.append(value)
        latest[step.stated] = len(values)
    return lines, values


def _rounded(line: str, value: Fraction, step: _Step) -> tuple[str, Fraction]:
    """Return the line that rounds to the stated result, if one of three ways does."""
    ways = (
        (
            f"round({line}, {step.places})" if step.places else f"round({line})",
            round(value, step.places),
        ),
        (f"math.floor({line})", Fraction(math.floor(value))),
        (f"math.ceil({line})", Fraction(math.ceil(value))),
    )
    return next((way for way in ways if way[1] == step.stated), (line, value))


class _Reuse(ast.NodeTransformer):
    """Puts variables for numbers that are the result of a step: ``latest`` counts from 1."""

    def __init__(self, latest: dict[Fraction, int]) -> None:
        self.latest = latest

    def visit_Constant(self, node: ast.Constant) -> ast.expr:  # noqa: N802
        step = self.latest.get(_number(node))
        return node if step is None else ast.Name(f"step{step}")


def _value(tree: ast.expr, values: Sequence[Fraction]) -> Fraction:
    """Return the exact value of a calculation; raises ValueError if it is anything else."""
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

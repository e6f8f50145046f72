r"""Extraction of the final answer from a text.

A mark announces a final answer: "the answer is X", "answer: X", "#### X" or ``\boxed{X}``. The last
mark counts, whatever its form, unless the text retracts the answer afterwards ("Wait, ..."). A mark
with nothing after it is ignored; a box that is never closed is a mark without an answer.
"""

import re
from dataclasses import dataclass

from stages.lib.grading.numbers import first_number, last_numeral, read_numeral, tidy

WINDOW = 4000
"""Characters after a mark that are searched for its answer."""

_NOUN = r"(?:ans(?:we(?:rs?)?)?|(?:correct|right|best|closest)\s+(?:option|choice))"

_SPOKEN = re.compile(
    # The first letters of all nouns: at other positions the search gives up at once.
    r"(?=[acrb])\b(?<!check our )(?<!check the )(?<!verify our )(?<!verify the )"
    rf"{_NOUN}\b"
    r"(?:\s+(?:to|of|for)\b[^.:\n]{0,80}?)?[*_)]*+"
    r"(?:\s+(?:is|are|was|(?:would|should|must|will)\s+be|equals?)\b:?|(?P<head>\s*[:：=]))"
    r"(?!\s*(?:not|wrong|incorrect|correct|right|verified|reasonable|clear|obvious"
    r"|positive|negative)\b)",
    re.IGNORECASE,
)

# Four hashes also open a heading: "#### Step 2", "#### 1. First".
_HASHES = re.compile(r"####\s*+(?=[^A-Za-z#\s]|[A-Za-z]\b)(?![0-9]+[.)]\s+[A-Za-z])")

_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*")

_RETRACTION = re.compile(
    r"(?:[.,!?;:)}$\]\n]|\A)[\s(*]{0,8}(?:but\s+|oh,?\s+)?(?:no,|(?:wait|hmm+|actually|oops|sorry"
    r"|correction|on second thought|scratch that"
    r"|let me (?:redo|re-?calculate|recompute|reconsider|rethink|correct|fix|try)"
    r"|(?:that|this)(?:['’]s| is| was) (?:wrong|incorrect|a mistake|not (?:right|correct))"
    r"|i made (?:a|an) (?:mistake|error))\b)",
    re.IGNORECASE,
)

_FORMULA = re.compile(
    r"\$\$([^$]+)\$\$|\\\[((?:[^\\]|\\[^\[\]])++)\\\]|\\\(((?:[^\\]|\\[^()])++)\\\)"
    r"|(?<![\\$])\$([^$\n]*[^$\s])\$"
)

_PROSE = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{2,}\s+[A-Za-z]{2,}")

_LINK = re.compile(r"[\s$]{0,8}(?:[,;]|,?\s?\b(?:and|or)\b)[\s$]{0,8}(?:[A-Za-z]\s?=\s?)?")

_CLAUSE_END = re.compile(r"(?<!Rs)(?<!No)[.?](?=\s|$)|;(?=\s)|(?<!:)(?<!:\n)\n")

_REASON = re.compile(r"\b(?:because|since|as|given|where|which)\b")

_ARITHMETIC = re.compile(r"(?:\\[A-Za-z]+|[^A-Za-z]|[A-Za-z](?![A-Za-z])|\bor\b|\bto\b)+")

_TOKEN = re.compile(r"[^\s${}\\]+")

# A backslash takes the next character with it, so that the brace in ``\\{`` counts.
_BRACE = re.compile(r"\\.|[{}]")

_LEAD = " \t\r\n:*_=`>"


@dataclass(frozen=True, slots=True)
class _MarkedAnswer:
    """The answer at a mark, which ends at ``end`` in the text, and whether it is in math mode."""

    answer: str
    end: int
    is_formula: bool


def find_number(text: str) -> str:
    """Return the final number of a text in its canonical spelling, or "" if there is none.

    An expression or words in the position of a number are returned unchanged.
    """
    marked = _last_marked(text)
    if marked is None:
        return _last_number(text)
    if _is_retracted(text, marked):
        return _last_number(text[marked.end :])
    formula = marked.answer if marked.is_formula else _formula_in(marked.answer)
    return _number_in_clause(marked.answer) if formula is None else number_in_formula(formula)


def find_expression(text: str) -> str:
    """Return the final expression of a text, or "" if there is none.

    Formulas or boxes joined by "and", "or" or a comma are returned as one list.
    """
    marked = _last_marked(text)
    if marked is not None and not _is_retracted(text, marked):
        formula = marked.answer if marked.is_formula else _formula_in(marked.answer)
        return marked.answer.strip() if formula is None else formula
    rest = text if marked is None else text[marked.end :]
    formulas = [match for match in _FORMULA.finditer(rest) if not _is_money(match)]
    return _inside(formulas[-1]) if formulas else _last_number(rest)


def find_marked_answer(text: str) -> tuple[str | None, str]:
    """Return the answer at the last mark, and the text to search if there is none.

    The answer is None without a mark, or if it is retracted. The text to search is the
    whole text without a mark, else the text after the answer.
    """
    marked = _last_marked(text)
    if marked is None:
        return None, text
    return (None if _is_retracted(text, marked) else marked.answer), text[marked.end :]


def number_in_formula(formula: str) -> str:
    """Return the number on the right of a formula (``x = 3 + 4 = 7``), else its right side.

    Of ``22/7 ≈ 3.14`` the exact side counts. A list of equations is returned unchanged.
    """
    if formula.count("=") > 1 and re.search(r"[,;]|\\text", formula):
        return formula.strip()
    exact, *rounded = re.split(r"\\approx|≈", formula, maxsplit=1)
    side = exact.rpartition("=")[2]
    if rounded and not re.search(r"[0-9]", side):
        side = rounded[0]
    numeral = read_numeral(side)
    return side.strip() if numeral is None else str(numeral)


def _number_in_clause(clause: str) -> str:
    tidied = tidy(clause)
    # "12 because 3*4 = 12": numbers in a reason are no part of the answer.
    digit = re.search(r"[0-9]", tidied)
    reason = _REASON.search(tidied, digit.start()) if digit else None
    statement = tidied[: reason.start()] if reason else tidied
    side = re.split(r"\\approx|≈", statement.rpartition("=")[2])[0]
    number = first_number(side)
    if number is None:
        return clause.strip()
    if number.numeral is not None:
        return str(number.numeral)
    # The number is part of an expression, which is the answer: "2^10".
    runs = (run for run in _ARITHMETIC.finditer(side) if run.end() > number.start)
    return next(runs)[0].strip(" .,:")


def _last_number(text: str) -> str:
    numeral = last_numeral(tidy(text))
    return "" if numeral is None else str(numeral)


def _last_marked(text: str) -> _MarkedAnswer | None:
    readers = ((_SPOKEN, _read_spoken), (_HASHES, _read_clause), (_BOX, _read_box))
    marks = [(match, read) for pattern, read in readers for match in pattern.finditer(text)]
    for match, read in sorted(marks, key=lambda mark: mark[0].start(), reverse=True):
        marked = read(text, match)
        if marked is not None:
            return marked
    return None


def _is_retracted(text: str, marked: _MarkedAnswer) -> bool:
    return _RETRACTION.search(text, marked.end) is not None


def _read_spoken(text: str, mark: re.Match[str]) -> _MarkedAnswer | None:
    marked = _read_clause(text, mark)
    if marked is None or mark["head"] is None or marked.is_formula:
        return marked
    # "Answer: He runs 3*3 = 9 sprints ..." opens a solution, it does not close one.
    opens_solution = _PROSE.match(marked.answer) and re.search(r"[0-9]", marked.answer)
    return None if opens_solution and text[marked.end :].strip(" .\n") else marked


def _read_clause(text: str, mark: re.Match[str]) -> _MarkedAnswer | None:
    window = text[mark.end() : mark.end() + WINDOW]
    start = len(window) - len(window.lstrip(_LEAD))
    if start == len(window):
        return None
    formula = _FORMULA.match(window, start)
    if formula is not None and not _is_money(formula):
        answer, end = _join_linked(window, formula)
        return _MarkedAnswer(answer, mark.end() + end, True)
    stops = (_CLAUSE_END.search(window, start), _RETRACTION.search(window, start + 1))
    end = min((stop.start() for stop in stops if stop), default=len(window))
    return _MarkedAnswer(window[start:end], mark.end() + end, False)


def _join_linked(window: str, formula: re.Match[str]) -> tuple[str, int]:
    """Return a formula with those linked to it as a list, and where the last one ends."""
    parts, end = [_inside(formula)], formula.end()
    while link := _LINK.match(window, end):
        following = _FORMULA.match(window, len(window[: link.end()].rstrip("$")))
        if following is None or _is_money(following):
            break
        parts.append(_inside(following))
        end = following.end()
    return ", ".join(parts), end


def _read_box(text: str, mark: re.Match[str]) -> _MarkedAnswer | None:
    # ``\boxed 5`` is valid LaTeX; other text without braces is no box.
    if not text.startswith("{", mark.end()):
        token = _TOKEN.match(text, mark.end())
        if token is None or read_numeral(token[0]) is None:
            return None
        return _MarkedAnswer(token[0].rstrip(".,"), token.end(), True)
    end = _closing_brace(text, mark.end())
    if end is None:
        return _MarkedAnswer("", len(text), True)
    inside = text[mark.end() + 1 : end].strip()
    if not inside:
        return None
    answer = _prepend(_box_before(text, mark.start()), inside)
    return _MarkedAnswer(answer, end + 1, True)


def _box_before(text: str, start: int) -> str:
    """Return the contents of the boxes linked to the one at ``start``, before it, or ""."""
    window = text[max(0, start - WINDOW) : start]
    boxes = list(_BOX.finditer(window))
    if not boxes or not window.startswith("{", boxes[-1].end()):
        return ""
    end = _closing_brace(window, boxes[-1].end())
    if end is None or _LINK.fullmatch(window, end + 1) is None:
        return ""
    inside = window[boxes[-1].end() + 1 : end].strip()
    return _prepend(_box_before(window, boxes[-1].start()), inside)


def _prepend(before: str, inside: str) -> str:
    # The same answer twice, "$\boxed{1}$ and $\boxed{1}$", is one answer.
    return inside if before in ("", inside) else f"{before}, {inside}"


def _closing_brace(text: str, opening: int) -> int | None:
    """Return the index of the brace that closes the one at ``opening``, None without one.

    Escaped braces, which are printed and need not pair, do not count.
    """
    depth = 0
    for match in _BRACE.finditer(text, opening):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    return None


def _formula_in(clause: str) -> str | None:
    """Return the first formula of a clause if no number stands before it."""
    match = _FORMULA.search(clause)
    if match is None or _is_money(match) or re.search(r"[0-9]", clause[: match.start()]):
        return None
    return _join_linked(clause, match)[0]


def _inside(formula: re.Match[str]) -> str:
    return next(part for part in formula.groups() if part is not None).strip()


def _is_money(formula: re.Match[str]) -> bool:
    """Return whether a match is prose between two prices: "$5 and then $6"."""
    dollars = formula[4]
    return dollars is not None and bool(_PROSE.search(dollars))


def last_boxed(text: str) -> str:
    r"""Return the content of the last ``\boxed{...}``.

    Raises ValueError if there is no box or the last one never closes.
    """
    _, box, rest = text.rpartition("\\boxed{")
    end = _closing_brace("{" + rest, 0) if box else None
    if end is None:
        raise ValueError(f"solution: {text[-40:]!r}: expected a closed \\boxed{{...}}")
    return rest[: end - 1]

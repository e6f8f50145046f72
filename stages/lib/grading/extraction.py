r"""Where a text gives its final answer.

An answer is final where the text says so: "the answer is X", "answer: X",
"#### X" or ``\boxed{X}``. The last of these marks decides, whatever its form,
unless the text takes that answer back ("Wait, ..."). A mark with nothing behind
it is none; a box that is never closed is a mark without an answer.
"""

import re
from dataclasses import dataclass

from stages.lib.grading.numbers import first_number, last_numeral, read_numeral, tidy

WINDOW = 4000
"""Characters behind a mark in which its answer is looked for."""


_NOUN = r"(?:ans(?:we(?:rs?)?)?|(?:correct|right|best|closest)\s+(?:option|choice))"

_SPOKEN = re.compile(
    # The letters that a noun begins with come first: elsewhere nothing more is tried.
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

_TAKEN_BACK = re.compile(
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

_LEAD = " \t\r\n:*_=`>"


@dataclass(frozen=True, slots=True)
class _Claim:
    """What stands at a mark, up to ``end`` in the text; ``formula`` if it is in math mode."""

    answer: str
    end: int
    formula: bool


def find_number(text: str) -> str:
    """Return the final number of a text in its one spelling, or "" if it gives none.

    An expression or words that stand in the place of a number come back as they are.
    """
    claim = _final_claim(text)
    if claim is None:
        return _last_number(text)
    if _taken_back(text, claim):
        return _last_number(text[claim.end :])
    formula = claim.answer if claim.formula else _formula_in(claim.answer)
    return _claimed_number(claim.answer) if formula is None else number_in_formula(formula)


def find_expression(text: str) -> str:
    """Return the final expression of a text, or "" if it gives none.

    Formulas or boxes linked by "and", "or" or a comma make one list.
    """
    claim = _final_claim(text)
    if claim is not None and not _taken_back(text, claim):
        formula = claim.answer if claim.formula else _formula_in(claim.answer)
        return claim.answer.strip() if formula is None else formula
    rest = text if claim is None else text[claim.end :]
    formulas = [match for match in _FORMULA.finditer(rest) if not _is_money(match)]
    return _inside(formulas[-1]) if formulas else _last_number(rest)


def find_claim(text: str) -> tuple[str | None, str]:
    """Return what stands at the final mark, and the text that is left to search.

    The first is None without a mark or with an answer taken back; the second
    then begins behind that answer.
    """
    claim = _final_claim(text)
    if claim is None:
        return None, text
    return (None if _taken_back(text, claim) else claim.answer), text[claim.end :]


def number_in_formula(formula: str) -> str:
    """Return the number that a formula comes to (``x = 3 + 4 = 7``), or the formula.

    Of ``22/7 ≈ 3.14`` the exact side counts. Several equations stay as they are.
    """
    if formula.count("=") > 1 and re.search(r"[,;]|\\text", formula):
        return formula.strip()
    exact, *rounded = re.split(r"\\approx|≈", formula, maxsplit=1)
    side = exact.rpartition("=")[2]
    if rounded and not re.search(r"[0-9]", side):
        side = rounded[0]
    numeral = read_numeral(side)
    return side.strip() if numeral is None else str(numeral)


def _claimed_number(clause: str) -> str:
    tidied = tidy(clause)
    reason = _REASON.search(tidied, _place_of_digit(tidied))
    stated = tidied[: reason.start()] if reason else tidied
    side = re.split(r"\\approx|≈", stated.rpartition("=")[2])[0]
    found = first_number(side)
    if found is None:
        return clause.strip()
    if found.numeral is not None:
        return str(found.numeral)
    runs = (run for run in _ARITHMETIC.finditer(side) if run.end() > found.start)
    return next(runs)[0].strip(" .,:")


def _place_of_digit(text: str) -> int:
    digit = re.search(r"[0-9]", text)
    return digit.start() if digit else len(text)


def _last_number(text: str) -> str:
    numeral = last_numeral(tidy(text))
    return "" if numeral is None else str(numeral)


def _final_claim(text: str) -> _Claim | None:
    readers = ((_SPOKEN, _read_spoken), (_HASHES, _read_clause), (_BOX, _read_box))
    marks = [(match, read) for pattern, read in readers for match in pattern.finditer(text)]
    for match, read in sorted(marks, key=lambda mark: mark[0].start(), reverse=True):
        claim = read(text, match)
        if claim is not None:
            return claim
    return None


def _taken_back(text: str, claim: _Claim) -> bool:
    return _TAKEN_BACK.search(text, claim.end) is not None


def _read_spoken(text: str, mark: re.Match[str]) -> _Claim | None:
    claim = _read_clause(text, mark)
    if claim is None or mark["head"] is None or claim.formula:
        return claim
    # "Answer: He runs 3*3 = 9 sprints ..." opens a solution, it does not close one.
    heads_solution = _PROSE.match(claim.answer) and re.search(r"[0-9]", claim.answer)
    return None if heads_solution and text[claim.end :].strip(" .\n") else claim


def _read_clause(text: str, mark: re.Match[str]) -> _Claim | None:
    window = text[mark.end() : mark.end() + WINDOW]
    start = len(window) - len(window.lstrip(_LEAD))
    if start == len(window):
        return None
    formula = _FORMULA.match(window, start)
    if formula is not None and not _is_money(formula):
        answer, end = _linked(window, formula)
        return _Claim(answer, mark.end() + end, True)
    ends = [found.start() for found in (_CLAUSE_END.search(window, start),) if found]
    ends += [found.start() for found in (_TAKEN_BACK.search(window, start + 1),) if found]
    end = min(ends, default=len(window))
    return _Claim(window[start:end], mark.end() + end, False)


def _linked(window: str, formula: re.Match[str]) -> tuple[str, int]:
    parts, end = [_inside(formula)], formula.end()
    while link := _LINK.match(window, end):
        following = _FORMULA.match(window, len(window[: link.end()].rstrip("$")))
        if following is None or _is_money(following):
            break
        parts.append(_inside(following))
        end = following.end()
    return ", ".join(parts), end


def _read_box(text: str, mark: re.Match[str]) -> _Claim | None:
    if not text.startswith("{", mark.end()):
        token = re.compile(r"[^\s${}\\]+").match(text, mark.end())
        if token is None or read_numeral(token[0]) is None:
            return None
        return _Claim(token[0].rstrip(".,"), token.end(), True)
    end = _closing_brace(text, mark.end())
    if end is None:
        return _Claim("", len(text), True)
    inside = text[mark.end() + 1 : end].strip()
    if not inside:
        return None
    before = _box_before(text, mark.start())
    return _Claim(f"{before}, {inside}" if before not in ("", inside) else inside, end + 1, True)


def _box_before(text: str, start: int) -> str:
    """Return the content of a box that a link joins to the one at ``start``, or ""."""
    window = text[max(0, start - WINDOW) : start]
    boxes = list(_BOX.finditer(window))
    if not boxes or not window.startswith("{", boxes[-1].end()):
        return ""
    end = _closing_brace(window, boxes[-1].end())
    if end is None or _LINK.fullmatch(window, end + 1) is None:
        return ""
    inside = window[boxes[-1].end() + 1 : end].strip()
    earlier = _box_before(window, boxes[-1].start())
    return f"{earlier}, {inside}" if earlier not in ("", inside) else inside


def _closing_brace(text: str, opening: int) -> int | None:
    depth = 0
    for brace in re.compile(r"(?<!\\)[{}]").finditer(text, opening):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    return None


def _formula_in(clause: str) -> str | None:
    """Return the first formula of a clause if no number stands before it."""
    match = _FORMULA.search(clause)
    if match is None or _is_money(match) or re.search(r"[0-9]", clause[: match.start()]):
        return None
    return _linked(clause, match)[0]


def _inside(formula: re.Match[str]) -> str:
    return next(part for part in formula.groups() if part is not None).strip()


def _is_money(formula: re.Match[str]) -> bool:
    """Tell "$5 and then $" from a formula."""
    dollars = formula[4]
    return dollars is not None and bool(_PROSE.search(dollars))


def last_boxed(text: str) -> str:
    r"""Return what the last ``\boxed{...}`` holds, up to its own closing brace.

    Escaped braces, which are printed and need not pair, do not count. Raises
    ValueError if there is no box or it never closes.
    """
    _, box, rest = text.rpartition("\\boxed{")
    depth = 1
    for match in re.finditer(r"\\.|[{}]", rest):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if box and depth == 0:
            return rest[: match.start()]
    raise ValueError(f"solution: {text[-40:]!r}: expected a closed \\boxed{{...}}")

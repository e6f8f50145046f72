"""Mathematical equality of two expressions, decided by Math-Verify within resource limits.

Math-Verify limits itself with ``signal.alarm``. That works only in the main thread, counts wall
time (so the outcome depends on the load), and does not interrupt a step of SymPy that runs in C.
Here Math-Verify runs in a child process. The system ends the child when a comparison has used up
its processor time or memory; the next comparison starts another child, which takes 0.4 s.
"""

import atexit
import json
import logging
import os
import re
import resource
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Literal

Equality = Literal["equal", "different", "unreadable", "failed"]

CPU_SECONDS = 2.0
"""Processor time per comparison: ten times that of the slowest pair of answers in MATH."""

MEMORY_BYTES = 2 << 30
"""Address space of the child."""

MAX_CHARACTERS = 1000
"""Longest expression that is compared; the longest answer in MATH has 159 characters."""

MAX_TEXT = 10_000
"""Characters at the end of a text in which Math-Verify looks for an answer."""

# SymPy's output to LaTeX. A function's parentheses may contain one more pair.
_ARGUMENT = r"\s*\(((?:[^()]|\([^()]*\))*)\)"
_SYMPY_TO_LATEX: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"\bsqrt{_ARGUMENT}"), r"\\sqrt{\1}"),
    (re.compile(rf"\bexp{_ARGUMENT}"), r"e^{\1}"),
    (re.compile(r"\b(sin|cos|tan|log|ln|pi)\b"), r"\\\1 "),
    (re.compile(r"\boo\b"), r"\\infty "),
    (re.compile(r"\bI\b"), "i"),
)
_LAST_POWER = re.compile(r"(.*)\*\*\s*(\([^()]*\)|-?[\w.]+(?:\^\{[^{}]*\})?)", re.DOTALL)


def compare(candidate: str, reference: str) -> Equality:
    """Compare a candidate, in LaTeX or as SymPy prints it, with the reference.

    ``unreadable``: one of them is not mathematics. ``failed``: the comparison used up its processor
    time or memory, or ended in an error. Raises RuntimeError if Math-Verify cannot be started.
    """
    if max(len(candidate), len(reference)) > MAX_CHARACTERS:
        return "unreadable"
    return _comparer(os.getpid()).compare(_latex(candidate), _latex(reference))


class Comparer:
    """A child process that compares, started at the first comparison and after each death."""

    def __init__(self, owner: int) -> None:
        """``owner`` is the process that may end the child; a fork of it may not."""
        self._owner = owner
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None

    def compare(self, candidate: str, reference: str) -> Equality:
        """Compare two expressions in LaTeX."""
        return self._ask([candidate, reference])

    def verify(self, text: str, reference: str, letters: str = "") -> Equality:
        """Compare the answer that Math-Verify finds in a text, and the reference.

        ``letters`` name the options of a multiple-choice problem.
        """
        return self._ask([text[-MAX_TEXT:], reference, letters])

    def _ask(self, request: list[str]) -> Equality:
        with self._lock:
            process = self._process or self._start()
            reply = _exchange(process, json.dumps(request))
            if reply:
                return json.loads(reply)
            self._process = None
            process.communicate()
            return "failed"

    def close(self) -> None:
        """End the child."""
        if self._process is not None and os.getpid() == self._owner:
            self._process.communicate()

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", str(Path(__file__).resolve())]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        if not _exchange(process, json.dumps(["1", "1"])):
            raise RuntimeError(f"Math-Verify did not start: {command} ended with {process.wait()}")
        self._process = process
        return process


@cache
def _comparer(process_id: int) -> Comparer:
    """Return the comparer of a process: a fork must not share the pipes of its parent."""
    comparer = Comparer(process_id)
    atexit.register(comparer.close)
    return comparer


def _exchange(process: subprocess.Popen[str], line: str) -> str:
    """Send one line and return the reply, "" if the process has ended."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the child has no pipes")
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return ""
    return process.stdout.readline()


def _latex(expression: str) -> str:
    text = expression.replace("\\!", "").replace("$", "").replace("\n", " ").strip(" .,")
    if "\\" not in text:
        for pattern, replacement in _SYMPY_TO_LATEX:
            text = pattern.sub(replacement, text)
    # ``a**b**c`` is right-associative: replace from the last power on.
    n_replaced = 1
    while n_replaced:
        text, n_replaced = _LAST_POWER.subn(r"\1^{\2}", text)
    return text


def _serve() -> None:
    """Answer each line, the JSON list of a request, until the input ends.

    An error ends the process, which the caller reads as "failed". No state outlives it.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    logging.disable(logging.CRITICAL)
    # Before the timer: the import is not a part of a comparison.
    import math_verify  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        # The signal's default action ends the process, even within a step in C.
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        equality = _equality(*request) if len(request) == 2 else _verdict(*request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps(equality) + "\n")
        sys.stdout.flush()


def _equality(candidate: str, reference: str) -> Equality:
    from math_verify import parse, verify

    sides = [parse(f"${side}$", parsing_timeout=0) for side in (reference, candidate)]
    # Without a mathematical reading, only the text itself is returned.
    if any(all(isinstance(reading, str) for reading in side) for side in sides):
        return "unreadable"
    is_equal = verify(sides[0], sides[1], timeout_seconds=0, raise_on_error=True)
    return "equal" if is_equal else "different"


def _verdict(text: str, reference: str, letters: str) -> Equality:
    from math_verify import (
        ExprExtractionConfig,
        LatexExtractionConfig,
        StringExtractionConfig,
        parse,
        verify,
    )

    targets = [LatexExtractionConfig(), ExprExtractionConfig()]
    if letters:
        targets = [StringExtractionConfig(strings=tuple(letters))]
    found = parse(text, targets, parsing_timeout=0)
    expected = parse(reference if letters else f"${reference}$", targets, parsing_timeout=0)
    if not found:
        return "unreadable"
    is_equal = verify(expected, found, timeout_seconds=0, raise_on_error=True)
    return "equal" if is_equal else "different"


if __name__ == "__main__":
    _serve()

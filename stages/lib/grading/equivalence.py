"""Mathematical equality of two expressions, decided by Math-Verify within a bound.

Math-Verify stops itself by ``signal.alarm``: only in the main thread, after a
span of wall time (so that the verdict depends on the load), and not at all
while a single step of SymPy runs in C. Here it runs in a child process, which
the system ends when a comparison has used up its processor time or memory; the
next comparison starts another. The child takes 0.4 s to start.
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

Equality = Literal["equal", "different", "unreadable", "timeout"]

SECONDS = 2.0
"""Processor time of one comparison: ten times that of the slowest pair of MATH's answers."""

MEMORY = 2 << 30
"""Bytes that the child may take."""

LONGEST = 1000
"""Characters of an expression that are still read; the longest answer of MATH has 159."""

# What SymPy prints, in LaTeX. One pair of parentheses may stand within a function's.
_INNER = r"\s*\(((?:[^()]|\([^()]*\))*)\)"
_PRINTED: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"\bsqrt{_INNER}"), r"\\sqrt{\1}"),
    (re.compile(rf"\bexp{_INNER}"), r"e^{\1}"),
    (re.compile(r"\b(sin|cos|tan|log|ln|pi)\b"), r"\\\1 "),
    (re.compile(r"\boo\b"), r"\\infty "),
    (re.compile(r"\bI\b"), "i"),
)
_LAST_POWER = re.compile(r"(.*)\*\*\s*(\([^()]*\)|-?[\w.]+(?:\^\{[^{}]*\})?)", re.DOTALL)


def compare(candidate: str, reference: str) -> Equality:
    """Tell whether a candidate, in LaTeX or as SymPy prints it, equals the reference.

    ``unreadable``: one of them is not mathematics, or Math-Verify failed on the
    pair. ``timeout``: the comparison was ended for its processor time. Raises
    RuntimeError if Math-Verify cannot be started.
    """
    if max(len(candidate), len(reference)) > LONGEST:
        return "unreadable"
    return _child(os.getpid()).ask(_latex(candidate), _latex(reference))


class _Child:
    """A process that answers comparisons, started when first asked and after each that died."""

    def __init__(self, owner: int) -> None:
        self._owner = owner
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, candidate: str, reference: str) -> Equality:
        with self._lock:
            process = self._process or self._start()
            question = json.dumps([candidate, reference])
            reply = _exchange(process, question)
            if reply:
                return json.loads(reply)
            self._process = None
            process.communicate()
            return "timeout" if process.returncode == -signal.SIGPROF else "unreadable"

    def close(self) -> None:
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
def _child(process_id: int) -> _Child:
    """Return the child of this process: a fork must not share its parent's pipes."""
    child = _Child(process_id)
    atexit.register(child.close)
    return child


def _exchange(process: subprocess.Popen[str], question: str) -> str:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the child has no pipes")
    try:
        process.stdin.write(question + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return ""
    return process.stdout.readline()


def _latex(expression: str) -> str:
    text = expression.replace("\\!", "").replace("$", "").replace("\n", " ").strip(" .,")
    if "\\" not in text:
        for pattern, replacement in _PRINTED:
            text = pattern.sub(replacement, text)
    powers = 1
    while powers:
        text, powers = _LAST_POWER.subn(r"\1^{\2}", text)
    return text


def _serve() -> None:
    """Answer one JSON list of candidate and reference a line until the input ends.

    An error ends the process: it stands for "unreadable", and no state outlives it.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        candidate, reference = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        outcome = _outcome(candidate, reference)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()


def _outcome(candidate: str, reference: str) -> Equality:
    from math_verify import parse, verify

    sides = [parse(f"${side}$", parsing_timeout=0) for side in (reference, candidate)]
    if any(all(isinstance(reading, str) for reading in side) for side in sides):
        return "unreadable"
    same = verify(sides[0], sides[1], timeout_seconds=0, raise_on_error=True)
    return "equal" if same else "different"


if __name__ == "__main__":
    _serve()

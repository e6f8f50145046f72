"""Programs run in the sandbox: honest ones give their answer, others a status and an error."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from stages.lib.sandbox import pool
from stages.lib.sandbox.pool import PROGRAM_CHARACTERS, run_programs
from stages.lib.sandbox.worker import OUTPUT_BYTES
from tests.lib.sandbox.conftest import KeepLayers, Run
from tests.lib.sandbox.test_hostile import needs_main_layers

HONEST_PROGRAMS = [
    ("a=48\nb=a/2\nprint(a+b)", "72.0\n"),
    ("from sympy import *\nx = symbols('x')\nprint(solve(x**2 - 5*x + 6, x))", "[2, 3]\n"),
    ("import sympy as s\nx = s.Symbol('x')\nprint(s.integrate(s.sin(x), (x, 0, s.pi)))", "2\n"),
    ("from sympy.ntheory import factorint\nprint(factorint(360))", "{2: 3, 3: 2, 5: 1}\n"),
    ("from sympy import Matrix\nprint(Matrix([[2, 1], [1, 3]]).det())", "5\n"),
    ("import numpy as np\nprint(np.linalg.solve([[2, 0], [0, 4]], [2, 2]))", "[1.  0.5]\n"),
    ("import numpy as np\nprint(np.roots([1, -3, 2]).tolist())", "[2.0, 1.0]\n"),
    # numpy, scipy and pandas bring BLAS libraries that start threads unless they are limited.
    (
        "from scipy.optimize import brentq\nprint(f'{brentq(lambda x: x*x-2, 0, 2):.6f}')",
        "1.414214\n",
    ),
    ("from scipy.linalg import det\nprint(det([[2.0, 0.0], [0.0, 4.0]]))", "8.0\n"),
    ("import pandas as pd\nprint(pd.Series([1, 2, 4]).sum())", "7\n"),
    ("n = __import__('num' + 'py')\nprint(n.linalg.det(n.eye(9)))", "1.0\n"),
    ("o = __import__('sci' + 'py.special')\nprint(o.special.comb(5, 2, exact=True))", "10\n"),
    ("s = __import__('sym' + 'py')\nprint(s.Rational(3, 6))", "1/2\n"),
    ("from fractions import Fraction as F\nprint(F(1, 3) + F(1, 6))", "1/2\n"),
    ("from decimal import Decimal\nprint(Decimal('0.1') + Decimal('0.2'))", "0.3\n"),
    ("import math\nprint(math.comb(52, 5), math.gcd(12, 18))", "2598960 6\n"),
    ("from datetime import date\nprint((date(2024, 3, 1) - date(2024, 2, 1)).days)", "29\n"),
    ("from itertools import permutations as p\nprint(len(set(p('AABB'))))", "6\n"),
    ("from collections import Counter\nprint(Counter('abca').most_common(1))", "[('a', 2)]\n"),
    ("import random\nrandom.seed(1)\nprint(0 <= random.random() < 1)", "True\n"),
    ("import statistics\nprint(statistics.median([3, 1, 2]))", "2\n"),
    ("def f(n): return n * f(n - 1) if n else 1\nprint(f(20))", "2432902008176640000\n"),
    ("def main(): print(5)\nif __name__ == '__main__': main()", "5\n"),
    ("import sys\nprint('π ≈ 3')\nsys.exit()", "π ≈ 3\n"),
    ("import warnings\nwarnings.warn('careful')\nprint(1)", "1\n"),
    ("open('a', 'w').write('7')\nprint(open('a').read())", "7\n"),
    ("import os\nprint(os.listdir())", "[]\n"),
    ("import atexit\natexit.register(print, 'last')\nprint('first')", "first\nlast\n"),
    ("import pickle\nclass A: x = 3\nprint(pickle.loads(pickle.dumps(A())).x)", "3\n"),
    ("import os\nos.write(1, b'\\xff')", "\ufffd"),
    (f"print('x' * {OUTPUT_BYTES - 1})", "x" * (OUTPUT_BYTES - 1) + "\n"),
    ("", ""),
]


def test_honest_programs(run: Run) -> None:
    results = run(*(text for text, _ in HONEST_PROGRAMS))
    outcomes = [(result.status, result.stdout, result.error) for result in results]
    assert outcomes == [("ok", printed, "") for _, printed in HONEST_PROGRAMS]


FAILING_PROGRAMS = [
    ("print(1)\n1 / 0", "crashed", "1\n", r"line 2, in <module>\n    1 / 0\n.*\nZeroDivisionError"),
    ("x = = 1", "crashed", "", "SyntaxError: invalid syntax$"),
    ("raise SystemExit(3)", "crashed", "", "^exit status 3$"),
    ("raise SystemExit('no answer')", "crashed", "", "^no answer$"),
    ("import sys\nsys.stderr.write('late')\nsys.exit(1)", "crashed", "", "^late$"),
    ("import ctypes\nctypes.string_at(0)", "crashed", "", r"^killed by signal 11 \(Segm.*\)$"),
    (f"print('x' * {OUTPUT_BYTES})", "crashed", "x" * OUTPUT_BYTES, "printed more than 65536"),
    ("open('/etc/passwd')", "refused", "", "Permission denied: '/etc/passwd'$"),
    ("try: open('/etc/passwd')\nexcept OSError: 1 / 0", "refused", "", "ZeroDivisionError"),
    (
        "#" * (PROGRAM_CHARACTERS + 1),
        "refused",
        "",
        "^a text of 100001 .*: expected at most 100000$",
    ),
    ("print('\ud800')", "refused", "", "surrogates not allowed$"),
]


ENDLESS_PROGRAM = "print(1, flush=True)\nwhile True: pass"


@needs_main_layers
def test_failing_programs(run: Run) -> None:
    results = run(*(text for text, *_ in FAILING_PROGRAMS))
    for (_, status, stdout, error), result in zip(FAILING_PROGRAMS, results, strict=True):
        assert (result.status, result.stdout) == (status, stdout)
        assert re.search(error, result.error, re.DOTALL), result.error


def test_a_program_that_does_not_end(run: Run) -> None:
    (result,) = run(ENDLESS_PROGRAM, timeout_s=1)
    assert (result.status, result.stdout, result.error) == ("timeout", "1\n", "it ran too long")


def test_a_program_starts_clean(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTILE_SECRET", "secret")
    inspect = """
        import os, sys
        def is_open(fd):
            try: return os.fstat(fd) is not None
            except OSError: return False
        print(sys.flags.safe_path, sys.flags.no_user_site, dict(os.environ), end=" ")
        print([fd for fd in range(999) if is_open(fd)])
        print(sys.argv, sys.stdin.read(), os.listdir(), "here" in globals())
        here = open("here", "w")
    """
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    first, second = run(*[dedent(inspect)] * 2)
    os.close(read_end)
    os.close(write_end)
    assert first.stdout == second.stdout == "True 1 {} [0, 1, 2]\n['program.py']  [] False\n"


def test_results_keep_their_order(run: Run) -> None:
    finished: list[int] = []
    texts = [f"import time; time.sleep({(5 - i) / 20}); print({i})" for i in range(6)]
    results = run(*texts, workers=2, on_progress=finished.append)
    assert [result.stdout for result in results] == [f"{i}\n" for i in range(6)]
    assert finished == [0, 3, 3]
    assert run() == []


def test_without_a_number_of_workers_there_is_one_for_each_core(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    start = pool._start
    monkeypatch.setattr(pool, "_start", lambda config: started.append(config) or start(config))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3, 5})
    results = run(*(f"print({i})" for i in range(7)), workers=None)
    assert [result.stdout for result in results] == [f"{i}\n" for i in range(7)]
    assert len(started) == 3


@pytest.mark.parametrize(
    "limit", [{"timeout_s": 0.0}, {"timeout_s": float("inf")}, {"memory_mb": -1}, {"workers": 0}]
)
def test_limits_must_be_positive(limit: dict[str, float], run: Run) -> None:
    [(name, value)] = limit.items()
    with pytest.raises(ValueError, match=f"^{name}: {value}: expected a positive number$"):
        run("print(1)", **limit)


@needs_main_layers
def test_a_missing_layer_is_warned_of_once(temporary: Path, keep_layers: KeepLayers) -> None:
    keep_layers("landlock", "seccomp")
    message = "^programs run without namespaces: missing on this machine$"
    with pytest.warns(RuntimeWarning, match=message) as warnings:
        for _ in range(2):
            run_programs(["1", "2"], timeout_s=10, memory_mb=256, workers=2)
    assert len(warnings) == 1


def test_without_any_layer_programs_are_refused(run: Run, keep_layers: KeepLayers) -> None:
    keep_layers()
    with pytest.raises(OSError, match="offers none of landlock, seccomp, namespaces"):
        run("print(1)")
    assert run("print(1)", allow_unprotected=True)[0].stdout == "1\n"


def test_a_worker_that_cannot_start(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_START_WORKER", "raise SystemExit('no libraries')")
    with pytest.raises(OSError, match="a program worker did not start: no libraries"):
        run("print(1)")


def test_a_layer_that_cannot_be_entered(run: Run, patch_workers: Callable[..., None]) -> None:
    patch_workers("confinement.build_ruleset = lambda *_: 77")
    with pytest.raises(OSError, match=r"(?s)failed at print\(6 \* 7\): crashed .*Bad file desc"):
        run("print(1)")

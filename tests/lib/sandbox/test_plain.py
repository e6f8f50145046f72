"""Plain programs share a fork; no program can tell, and none that could is plain."""

import ast
import re
from collections.abc import Callable

import pytest

from stages.lib.sandbox import plain, pool
from stages.lib.sandbox.pool import ProgramResult
from tests.lib.sandbox.conftest import Run
from tests.lib.sandbox.test_pool import FAILING_PROGRAMS, HONEST_PROGRAMS

PLAIN = [
    "",
    "a = 48\nb = a / 2\nprint(f'{a + b:.2f}')",
    "import math\nprint(math.sqrt(2), math.comb(5, 2))",
    "import math as m\nfrom math import floor, pi as p\nprint(m.e, floor(p))",
    "from math import *\nprint(gcd(12, 18))",
    "def f(n: int, *rest, step=1) -> int:\n    return n * f(n - step) if n else 1\nprint(f(20))",
    "total: float = 0\nfor i in range(5):\n    if i % 2: continue\n    total += i\nprint(total)",
    "x = [1, 2]\nx.append(3)\nx[0], *y = x\nprint(x, y, {'a': 1}.get('b', 2), {3} | {4}, x[::2])",
    "print(max((i for i in range(9) if (j := i) < 4), key=lambda i: -i), [*map(str, (1, 2))])",
    "i = 0\nwhile True:\n    i += 1\n    if i > 9: break\nprint(i, 'a,b'.split(','), sep='; ')",
    "def main():\n    global z\n    z = 5\nif __name__ == '__main__':\n    main()\nprint(z)",
    "sum = 3\nprint(sum)",
    "print(0.1 + 0.2, 10 ** 30, 7 // 2, -7 % 3, True and not None, 1 < 2 < 3, 2 in {1: 2})",
]

# Each would leave something behind, reach another program, or reach what ends or changes the fork.
NOT_PLAIN = [
    "import os",
    "import math, sys",
    "from math.x import y",
    "from . import math",
    "import math as print_\nmath.pi = 3",
    "from math import __loader__",
    "import math\nprint(math.__loader__)",
    "print(().__class__)",
    "print('{0.__class__}'.format(1))",
    "print(print.__self__)",
    "print(__builtins__)",
    "__builtins__ = {}",
    "__name__ = 'x'",
    "def __builtins__(): pass",
    "import math as __builtins__",
    "from math import floor as open",
    "lambda __builtins__: 0",
    "exec('import os')",
    "eval('1')",
    "open('x')",
    "getattr(1, 'real')",
    "globals()",
    "type(1)",
    "input()",
    "exit()",
    "def open(): pass",
    "class A: pass",
    "@print\ndef f(): pass",
    "try: pass\nfinally: print(1)",
    "def f():\n    yield 1",
    "def f():\n    del x",
    "import math\ndel math.pi",
    "import math\nmath.pi += 1",
    "import math\nfor math.pi in [3]: pass",
    "import math\n(math.pi, x) = 1, 2",
    "with x: pass",
    "raise ValueError",
    "async def f(): pass",
    "assert True",
]


def is_plain(text: str) -> bool:
    return all(map(plain._is_plain, ast.walk(ast.parse(text))))


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_plain(text: str) -> None:
    assert is_plain(text)


@pytest.mark.parametrize("text", NOT_PLAIN)
def test_what_is_not_plain(text: str) -> None:
    assert not is_plain(text)


def outcomes(results: list[ProgramResult]) -> list[tuple[str, str, str]]:
    # An object without a name of its own prints its address, which differs from run to run.
    return [
        (result.status, re.sub("0x[0-9a-f]+", "0x", result.stdout), result.error)
        for result in results
    ]


def test_every_program_ends_as_in_a_fork_of_its_own(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [*PLAIN, *NOT_PLAIN, *(text for text, *_ in (*HONEST_PROGRAMS, *FAILING_PROGRAMS))]
    texts += [
        "print(1 / 0)",
        "print(x)",
        "def f(): return f()\nf()",
        "print('x' * 10 ** 12)",
        "print(10 ** 10000)",
        "print('\\ud800')",
        "print(1, file=2)",
        "print({'b', 'a', 'd', 'c'})",
    ]
    together = run(*texts, workers=2)
    monkeypatch.setattr(pool, "_BATCH", 1)
    assert outcomes(run(*texts, workers=2)) == outcomes(together)


def test_a_program_sees_nothing_of_those_before_it(run: Run) -> None:
    writers = ["sum = len = 5", "import math\nmath = 3", "def print(*_): return 1\nprint(2)"]
    reader = "import math\nprint(sum([1, 2]), len('abc'), math.floor(2.5))"
    assert [result.stdout for result in run(*writers, reader)] == ["", "", "", "3 3 2\n"]


def test_one_that_does_not_end_takes_no_other_with_it(run: Run) -> None:
    texts = ["print(1)", "while True: pass", "print(3)", "print('x' * 70_000)", "print(5)"]
    results = run(*texts, timeout_s=1)
    statuses = [result.status for result in results]
    assert statuses == ["ok", "timeout", "ok", "crashed", "ok"]
    assert [results[i].stdout for i in (0, 2, 4)] == ["1\n", "3\n", "5\n"]


def test_none_gets_more_time_than_by_itself(run: Run, patch_workers: Callable[..., None]) -> None:
    patch_workers("from stages.lib.sandbox import worker", "worker._PLAIN_S = 60")
    long = "x = 0\nfor i in range(10 ** 9): x += i\nprint(x)"
    statuses = [result.status for result in run("print(1)", long, timeout_s=1)]
    assert statuses == ["ok", "timeout"]


def test_plain_programs_share_a_fork(run: Run, patch_workers: Callable[..., None]) -> None:
    # A worker that cannot fork for one program alone still runs plain ones.
    patch_workers(
        "from stages.lib.sandbox import worker",
        "alone = worker._run",
        "worker._run = lambda text, *rest: alone('print(0)' if '+' in text else text, *rest)",
    )
    assert [result.stdout for result in run("print(1 + 1)", "print(1 + 2)")] == ["2\n", "3\n"]
    assert [result.stdout for result in run("print(1 + 1)")] == ["0\n"]

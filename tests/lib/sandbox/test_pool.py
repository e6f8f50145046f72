"""The sandbox: honest programs give their answer, hostile ones do no harm."""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Template
from textwrap import dedent
from threading import Thread

import pytest

from stages.lib.sandbox import confinement, landlock, pool, seccomp
from stages.lib.sandbox.pool import PROGRAM_CHARACTERS, ProgramResult, run_programs
from stages.lib.sandbox.worker import OUTPUT_BYTES
from tests.lib.sandbox.hostile import HOSTILE, Hostile

SECRET = "do-not-tell-4711"
CONTENT = "as it was"
HONEST = "from fractions import Fraction\nprint(Fraction(1, 3) + Fraction(1, 6))"
HONEST_WITH_LIBRARIES = "from sympy import Rational\nprint(Rational(1, 3) + Rational(1, 6))"
ROOT = Path(__file__).resolve().parents[2]

Run = Callable[..., list[ProgramResult]]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where scratch folders are made; its path is in every worker's command line."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def run(temporary: Path) -> Run:
    def run_one_by_one(*programs: str, **changes: object) -> list[ProgramResult]:
        settings = {"timeout_s": 10.0, "memory_mb": 256, "workers": 1} | changes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return run_programs(programs, **settings)  # pyright: ignore[reportArgumentType]

    return run_one_by_one


WITHOUT = {
    "landlock": "s._build_ruleset = lambda *given: None",
    "seccomp": "s._build_filter = lambda **given: None",
    "namespaces": "s._enter_namespaces = lambda *given: False",
}


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let workers find no other layers than these."""
    start = pool._START_WORKER

    def keep(*layers: str) -> None:
        lacks = [WITHOUT[layer] for layer in confinement.LAYERS if layer not in layers]
        patch = "; ".join(["from stages.lib import sandbox as s", *lacks, "serve(sys"])
        monkeypatch.setattr(pool, "_START_WORKER", start.replace("serve(sys", patch))
        pool._warn_of.cache_clear()

    return keep


def lacks_a_main_layer() -> bool:
    ruleset = landlock.build_ruleset([], Path("/"))
    if ruleset is not None:
        os.close(ruleset)
    return ruleset is None or seccomp.build_filter(may_write=True) is None


needs_main_layers = pytest.mark.skipif(
    lacks_a_main_layer(), reason="what is forbidden here depends on Landlock and libseccomp"
)


def living(marker: Path) -> list[int]:
    """Return the processes that have a path in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if bytes(marker) in command:
            found.append(int(entry.name))
    return found


def wait_until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


class World:
    """Listeners, files and processes that programs could harm, and the eye that sees it."""

    def __init__(self, folder: Path, programs: list[Hostile]) -> None:
        self.folder = folder
        (folder / "secret").write_text(SECRET)
        self._heard: list[bytes] = []
        self._listeners = [
            listening(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            listening(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            listening(socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "socket")),
            listening(socket.AF_UNIX, socket.SOCK_STREAM, f"\0hostile-{os.urandom(8).hex()}"),
        ]
        for listener in self._listeners:
            Thread(target=self._listen, args=(listener,), daemon=True).start()
        self._victims: dict[str, subprocess.Popen[bytes]] = {}
        self._names: dict[str, dict[str, str]] = {}
        for number, each in enumerate(programs):
            home = folder / str(number)
            home.mkdir()
            (home / "target").write_text(CONTENT)
            if "$victim" in each.program:
                self._victims[each.name] = subprocess.Popen(["sleep", "600"], env={"A": SECRET})
            self._names[each.name] = self._name(each, home, number)
        self._before = {each.name: self._look(each) for each in programs}

    def _name(self, each: Hostile, home: Path, number: int) -> dict[str, str]:
        tcp, udp, unix, abstract = (listener.getsockname() for listener in self._listeners)
        victim = self._victims.get(each.name)
        return {
            "name": f"said-by-{number}.",
            "tcp": str(tcp[1]),
            "udp": str(udp[1]),
            "unix": unix,
            "abstract": abstract[1:].decode(),
            "folder": str(self.folder),
            "secret": str(self.folder / "secret"),
            "target": str(home / "target"),
            "absent": str(home / "absent"),
            "shared": f"hostile-{os.getpid()}-{number}",
            "key": str(os.getpid() * 1000 + number),
            "victim": str(victim.pid) if victim else "",
        }

    def text(self, each: Hostile) -> str:
        """Return the program with the names of this world in it."""
        return Template(each.program).substitute(self._names[each.name])

    def _listen(self, listener: socket.socket) -> None:
        while True:
            if listener.type == socket.SOCK_DGRAM:
                self._heard.append(listener.recv(1000))
                continue
            caller, _ = listener.accept()
            with caller:
                self._heard.append(caller.recv(1000))

    def hear_out(self) -> None:
        """Return when all that was said so far has been heard."""
        for number, listener in enumerate(self._listeners):
            with socket.socket(listener.family, listener.type) as own:
                own.connect(listener.getsockname())
                own.send(b"<%d>" % number)
            assert wait_until(lambda end=b"<%d>" % number: end in b"".join(self._heard))

    def _look(self, each: Hostile) -> dict[str, object]:
        names = self._names[each.name]
        target, victim = Path(names["target"]), self._victims.get(each.name)
        there = target.stat() if target.exists() else None
        seen: dict[str, object] = {
            "absent": os.path.lexists(names["absent"]),
            "shared": Path("/dev/shm", names["shared"]).exists(),
            "key": f" {names['key']} " in Path("/proc/sysvipc/shm").read_text(),
            "content": there and target.read_text(),
            "inode": there and (there.st_mode, there.st_mtime, there.st_nlink),
            "attributes": there and os.listxattr(target),
        }
        if victim is not None:
            alive = victim.poll() is None
            seen["alive"] = alive
            seen["running"] = alive and process_state(victim.pid) in "RSD"
            seen["limit"] = alive and resource.prlimit(victim.pid, resource.RLIMIT_NOFILE)
            seen["priority"] = alive and os.getpriority(os.PRIO_PROCESS, victim.pid)
        return seen

    def harm(self, each: Hostile, result: ProgramResult) -> set[str]:
        """Return what this program did that it must not; ``hear_out`` comes first."""
        before, now = self._before[each.name], self._look(each)
        harm = {what for what in before if before[what] != now[what]}
        if self._names[each.name]["name"].encode() in b"".join(self._heard):
            harm.add("heard")
        if SECRET in result.stdout + result.error:
            harm.add("secret")
        return harm

    def close(self) -> None:
        """Put away what the programs and this world left."""
        for listener in self._listeners:
            listener.close()
        for victim in self._victims.values():
            victim.kill()
            victim.wait()
        for names in self._names.values():
            Path("/dev/shm", names["shared"]).unlink(missing_ok=True)


def listening(family: int, kind: int, address: object) -> socket.socket:
    listener = socket.socket(family, kind)
    listener.bind(address)  # pyright: ignore[reportArgumentType]
    if kind == socket.SOCK_STREAM:
        listener.listen()
    return listener


def process_state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., World]]:
    monkeypatch.setenv("HOSTILE_SECRET", SECRET)
    made: list[World] = []

    def make(programs: list[Hostile]) -> World:
        folder = tmp_path / f"world{len(made)}"
        folder.mkdir()
        made.append(World(folder, programs))
        return made[-1]

    yield make
    for each in made:
        each.close()


@needs_main_layers
@pytest.mark.parametrize("layers", [confinement.LAYERS, ("landlock", "seccomp")], ids="-".join)
def test_hostile(
    layers: tuple[str, ...],
    world: Callable[..., World],
    run: Run,
    only: Callable[..., None],
    temporary: Path,
    subtests: pytest.Subtests,
) -> None:
    """With all layers, and with those that an ordinary container leaves."""
    only(*layers)
    table = [each for each in HOSTILE if layers == confinement.LAYERS or each.ends != "timeout"]
    here = world(table)
    texts = [text for each in table for text in followed(here.text(each))]
    results = run(*texts, timeout_s=1.5)
    here.hear_out()
    for each, result, after in zip(table, results[::2], results[1::2], strict=True):
        with subtests.test(each.name):
            assert result.status in each.ends.split(), result
            assert here.harm(each, result) == set()
            assert each.says in (None, result.stdout)
            assert (after.status, after.stdout) == ("ok", "1/2\n")
    assert living(temporary) == []
    assert list(temporary.iterdir()) == []


# What each layer cannot prevent alone; with none, every program of the table does its harm.
DO_HARM = [each for each in HOSTILE if each.works_bare]
LEAKS = {
    (): {each.name for each in DO_HARM},
    ("landlock",): {"udp", "unix socket", "chmod", "utime", "limits of a stranger"},
    ("seccomp",): {"secret file", "secret by mapping"},
    ("namespaces",): {"secret file", "secret by mapping", "unix socket"},
}


@pytest.mark.parametrize("layers", LEAKS, ids="-".join)
def test_each_layer_alone(
    layers: tuple[str, ...], world: Callable[..., World], run: Run, only: Callable[..., None]
) -> None:
    only(*layers)
    here = world(DO_HARM)
    try:
        results = run(*map(here.text, DO_HARM), allow_unprotected=not layers)
    except OSError as error:
        pytest.skip(str(error))
    here.hear_out()
    harmful = {
        each.name for each, got in zip(DO_HARM, results, strict=True) if here.harm(each, got)
    }
    assert harmful == LEAKS[layers]


def followed(text: str) -> tuple[str, str]:
    """Return a program and an honest one that the same worker runs next."""
    libraries = "sympy" in text or "numpy" in text
    return text, HONEST_WITH_LIBRARIES if libraries else HONEST


HONEST_PROGRAMS = [
    ("a=48\nb=a/2\nprint(a+b)", "72.0\n"),
    ("from sympy import *\nx = symbols('x')\nprint(solve(x**2 - 5*x + 6, x))", "[2, 3]\n"),
    ("import sympy as s\nx = s.Symbol('x')\nprint(s.integrate(s.sin(x), (x, 0, s.pi)))", "2\n"),
    ("from sympy.ntheory import factorint\nprint(factorint(360))", "{2: 3, 3: 2, 5: 1}\n"),
    ("from sympy import Matrix\nprint(Matrix([[2, 1], [1, 3]]).det())", "5\n"),
    ("import numpy as np\nprint(np.linalg.solve([[2, 0], [0, 4]], [2, 2]))", "[1.  0.5]\n"),
    ("import numpy as np\nprint(np.roots([1, -3, 2]).tolist())", "[2.0, 1.0]\n"),
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
    answers = [(each.status, each.stdout, each.error) for each in results]
    assert answers == [("ok", printed, "") for _, printed in HONEST_PROGRAMS]


FAILING_PROGRAMS = [
    ("print(1)\n1 / 0", "crashed", "1\n", r"line 2, in <module>\n    1 / 0\n.*\nZeroDivisionError"),
    ("x = = 1", "crashed", "", "SyntaxError: invalid syntax$"),
    ("raise SystemExit(3)", "crashed", "", "^exit status 3$"),
    ("raise SystemExit('no answer')", "crashed", "", "^no answer$"),
    ("import sys\nsys.stderr.write('late')\nsys.exit(1)", "crashed", "", "^late$"),
    ("import ctypes\nctypes.string_at(0)", "crashed", "", r"^killed by signal 11 \(Segm.*\)$"),
    (f"print('x' * {OUTPUT_BYTES})", "crashed", "x" * OUTPUT_BYTES, "printed more than 65536"),
    ("print(1, flush=True)\nwhile True: pass", "timeout", "1\n", "^it ran too long$"),
    ("open('/etc/passwd')", "refused", "", "Permission denied: '/etc/passwd'$"),
    ("try: open('/etc/passwd')\nexcept OSError: 1 / 0", "refused", "", "ZeroDivisionError"),
    (
        "#" * (PROGRAM_CHARACTERS + 1),
        "refused",
        "",
        "^a text of 100001 characters: expected at most 100000$",
    ),
    ("print('\ud800')", "refused", "", "surrogates not allowed$"),
]


@needs_main_layers
def test_failing_programs(run: Run) -> None:
    results = run(*(text for text, *_ in FAILING_PROGRAMS), timeout_s=1)
    for (_, status, stdout, error), got in zip(FAILING_PROGRAMS, results, strict=True):
        assert (got.status, got.stdout) == (status, stdout)
        assert re.search(error, got.error, re.DOTALL), got.error


def test_a_program_starts_clean(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTILE_SECRET", SECRET)
    look = """
        import os, sys
        def is_open(fd):
            try: return os.fstat(fd) is not None
            except OSError: return False
        print(sys.flags.safe_path, sys.flags.no_user_site, dict(os.environ), end=" ")
        print([fd for fd in range(999) if is_open(fd)])
        print(sys.argv, sys.stdin.read(), os.listdir(), "here" in globals())
        here = open("here", "w")
    """
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    first, second = run(*[dedent(look)] * 2)
    os.close(ours)
    os.close(theirs)
    assert first.stdout == second.stdout == "True 1 {} [0, 1, 2]\n['program.py']  [] False\n"


def test_results_keep_their_order(run: Run) -> None:
    done: list[int] = []
    texts = [f"import time; time.sleep({(5 - i) / 20}); print({i})" for i in range(6)]
    results = run(*texts, workers=2, progress=done.append)
    assert [each.stdout for each in results] == [f"{i}\n" for i in range(6)]
    assert done == [0, 1, 1, 1, 1, 1, 1]
    assert run() == []


@pytest.mark.parametrize(
    "wrong", [{"timeout_s": 0.0}, {"timeout_s": float("inf")}, {"memory_mb": -1}, {"workers": 0}]
)
def test_limits_must_be_positive(wrong: dict[str, float], run: Run) -> None:
    [(name, value)] = wrong.items()
    with pytest.raises(ValueError, match=f"^{name}: {value}: expected a positive number$"):
        run("print(1)", **wrong)


@needs_main_layers
def test_a_missing_layer_is_warned_of_once(temporary: Path, only: Callable[..., None]) -> None:
    only("landlock", "seccomp")
    with pytest.warns(RuntimeWarning, match="^programs run without namespaces, missing here$") as w:
        for _ in range(2):
            run_programs(["1", "2"], timeout_s=10, memory_mb=256, workers=2)
    assert len(w) == 1


def test_without_any_layer_programs_are_refused(run: Run, only: Callable[..., None]) -> None:
    only()
    with pytest.raises(OSError, match="offers none of landlock, seccomp, namespaces"):
        run("print(1)")
    assert run("print(1)", allow_unprotected=True)[0].stdout == "1\n"


def test_a_worker_that_cannot_start(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_START_WORKER", "raise SystemExit('no libraries')")
    with pytest.raises(OSError, match="a program worker did not start: no libraries"):
        run("print(1)")


def test_a_layer_that_cannot_be_entered(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = "from stages.lib import sandbox as s; s._build_ruleset = lambda *given: 77; serve(sys"
    start = pool._START_WORKER.replace("serve(sys", broken)
    monkeypatch.setattr(pool, "_START_WORKER", start)
    with pytest.raises(OSError, match=r"(?s)failed at print\(6 \* 7\): crashed .*Bad file desc"):
        run("print(1)")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_lost(
    number: int, run: Run, only: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    only()
    monkeypatch.setattr(pool, "_GRACE_S", 0.3)
    attack = f"import os, time; os.kill(os.getppid(), {number}); time.sleep(9)"
    lost, after = run(attack, HONEST, timeout_s=1, allow_unprotected=True)
    assert (lost.status, lost.error) == ("crashed", "its worker was lost, twice")
    assert after.stdout == "1/2\n"


DAEMON = """
import os, time
ours, theirs = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(theirs, b"it runs")
        time.sleep(600)
    os._exit(0)
print(os.read(ours, 99).decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="without seccomp only root may have more processes")
@pytest.mark.parametrize("layers", [("namespaces",), ("landlock",)])
def test_daemons_end_with_their_program(
    layers: tuple[str, ...], run: Run, only: Callable[..., None], temporary: Path
) -> None:
    only(*layers)
    alive: list[int] = []

    def count(done: int) -> None:
        alive.append(len(living(temporary)))

    try:
        _, daemon, _ = run(HONEST, DAEMON, HONEST, progress=count)
    except OSError as error:
        pytest.skip(str(error))
    assert daemon.stdout == "it runs\n"
    assert alive[1:] == alive[1:2] * 3
    assert living(temporary) == []


CALLER = """
import sys, tempfile
from pathlib import Path
sys.path.insert(0, sys.argv[1])
tempfile.tempdir = sys.argv[2]
from stages.lib.programs import run_programs
results = run_programs(sys.argv[3:], timeout_s=60, memory_mb=256, workers=1)
for each in results: print(each.status, repr(each.stdout))
"""


def test_nothing_outlives_a_killed_caller(temporary: Path) -> None:
    endless = "open('begun', 'w').close()\nwhile True: pass"
    command = [sys.executable, "-c", CALLER, str(ROOT), str(temporary), endless]
    with subprocess.Popen(command) as caller:
        assert wait_until(lambda: list(temporary.rglob("begun")) != [])
        caller.kill()
    assert wait_until(lambda: living(temporary) == [])


ORDINARY = """
set -e
if [ -n "$CLOSED" ]; then
    mount --make-rprivate /
    for folder in $NEEDED; do
        mkdir -p "$ASIDE$folder"
        mount --bind "$folder" "$ASIDE$folder"
    done
    mount -t tmpfs -o mode=755 none "$CLOSED"
    for folder in $NEEDED; do
        mkdir -p "$folder"
        mount --bind "$ASIDE$folder" "$folder"
    done
fi
echo ready
exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps -all "$@"
"""


@needs_main_layers
@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests ran as an ordinary user")
def test_an_ordinary_user(tmp_path: Path) -> None:
    """Where only root may enter the interpreter's folder, it is shown elsewhere first."""
    needed = {Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), ROOT}
    ways = [folder for path in needed for folder in path.parents]
    closed = [way for way in sorted(ways) if not way.stat().st_mode & 0o001]
    inside = [str(path) for path in needed if closed and path.is_relative_to(closed[0])]
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chown(folder, 65534, 65534)
        programs = [HONEST, "print(open('/etc/passwd').read())", "import os; os.fork()", HONEST]
        command = [sys.executable, "-c", CALLER, str(ROOT), folder, *programs]
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", ORDINARY, "sh", *command],
            env={
                "PATH": os.environ["PATH"],
                "CLOSED": str(closed[0]) if closed else "",
                "NEEDED": " ".join(inside),
                "ASIDE": str(tmp_path),
            },
            capture_output=True,
            text=True,
        )
        if not done.stdout.startswith("ready"):
            pytest.skip(f"nobody cannot reach the interpreter: {done.stderr}")
        assert done.stdout.splitlines()[1:] == [
            r"ok '1/2\n'",
            "refused ''",
            "refused ''",
            r"ok '1/2\n'",
        ]
        assert living(Path(folder)) == []
        assert list(Path(folder).iterdir()) == []

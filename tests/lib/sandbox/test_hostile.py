"""Hostile programs do no harm, whichever layers this machine offers, and leave no process."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages.lib.sandbox import landlock, pool, seccomp
from stages.lib.sandbox.confinement import LAYERS
from tests.lib.sandbox.conftest import KeepLayers, Run
from tests.lib.sandbox.hostile import HOSTILE, Hostile
from tests.lib.sandbox.world import SECRET, World, living, wait_until

HONEST = "from fractions import Fraction\nprint(Fraction(1, 3) + Fraction(1, 6))"
HONEST_WITH_LIBRARIES = "from sympy import Rational\nprint(Rational(1, 3) + Rational(1, 6))"
ROOT = Path(__file__).resolve().parents[3]


def lacks_a_main_layer() -> bool:
    ruleset = landlock.build_ruleset([], Path("/"))
    if ruleset is not None:
        os.close(ruleset)
    return ruleset is None or seccomp.build_filter(may_write=True) is None


needs_main_layers = pytest.mark.skipif(lacks_a_main_layer(), reason="needs Landlock and libseccomp")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., World]]:
    monkeypatch.setenv("HOSTILE_SECRET", SECRET)
    worlds: list[World] = []

    def make(programs: list[Hostile]) -> World:
        folder = tmp_path / f"world{len(worlds)}"
        folder.mkdir()
        worlds.append(World(folder, programs))
        return worlds[-1]

    yield make
    for opened in worlds:
        opened.close()


def with_honest(text: str) -> tuple[str, str]:
    """Return a program and an honest one that the same worker runs next."""
    libraries = "sympy" in text or "numpy" in text
    return text, HONEST_WITH_LIBRARIES if libraries else HONEST


ENDLESS = [program for program in HOSTILE if program.statuses == "timeout"]
FINITE = [program for program in HOSTILE if program.statuses != "timeout"]


@needs_main_layers
@pytest.mark.parametrize(
    ("layers", "programs", "timeout_s"),
    [
        pytest.param(LAYERS, ENDLESS, 0.7, id="endless"),
        pytest.param(LAYERS, FINITE, 1.5, id="all layers"),
        pytest.param(("landlock", "seccomp"), FINITE, 1.5, id="layers of a container"),
    ],
)
def test_hostile(
    layers: tuple[str, ...],
    programs: list[Hostile],
    timeout_s: float,
    world: Callable[..., World],
    run: Run,
    keep_layers: KeepLayers,
    temporary: Path,
    subtests: pytest.Subtests,
) -> None:
    keep_layers(*layers)
    targets = world(programs)
    texts = [text for program in programs for text in with_honest(targets.text(program))]
    results = run(*texts, timeout_s=timeout_s)
    targets.drain()
    for program, result, honest in zip(programs, results[::2], results[1::2], strict=True):
        with subtests.test(program.name):
            assert result.status in program.statuses.split(), result
            assert targets.harm(program, result) == set()
            assert program.stdout in (None, result.stdout)
            assert (honest.status, honest.stdout) == ("ok", "1/2\n")
    assert living(temporary) == []
    assert list(temporary.iterdir()) == []


# What each layer cannot prevent alone. With none, every harmful program does its harm.
HARMFUL = [program for program in HOSTILE if program.harmful]
LEAKS = {
    (): {program.name for program in HARMFUL},
    ("landlock",): {"udp", "unix socket", "chmod", "utime", "limits of a stranger"},
    ("seccomp",): {"secret file", "secret by mapping"},
    ("namespaces",): {"secret file", "secret by mapping", "unix socket"},
}


@pytest.mark.parametrize("layers", LEAKS, ids="-".join)
def test_each_layer_alone(
    layers: tuple[str, ...], world: Callable[..., World], run: Run, keep_layers: KeepLayers
) -> None:
    keep_layers(*layers)
    targets = world(HARMFUL)
    try:
        results = run(*map(targets.text, HARMFUL), allow_unprotected=not layers)
    except OSError as error:
        pytest.skip(str(error))
    targets.drain()
    pairs = zip(HARMFUL, results, strict=True)
    assert {program.name for program, got in pairs if targets.harm(program, got)} == LEAKS[layers]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_lost(
    number: int, run: Run, keep_layers: KeepLayers, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_layers()
    monkeypatch.setattr(pool, "_GRACE_S", 0.3)
    attack = f"import os, time; os.kill(os.getppid(), {number}); time.sleep(9)"
    lost, after = run(attack, HONEST, timeout_s=0.2, allow_unprotected=True)
    assert (lost.status, lost.error) == ("crashed", "its worker was lost, twice")
    assert after.stdout == "1/2\n"


DAEMON = """
import os, time
read_end, write_end = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(write_end, b"it runs")
        time.sleep(600)
    os._exit(0)
print(os.read(read_end, 99).decode())
"""


@needs_root  # without seccomp, only root may have more processes
@pytest.mark.parametrize("layers", [("namespaces",), ("landlock",)])
def test_daemons_end_with_their_program(
    layers: tuple[str, ...],
    run: Run,
    keep_layers: KeepLayers,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep_layers(*layers)
    monkeypatch.setattr(pool, "_BATCH", 1)  # to look after each program
    alive: list[int] = []
    try:
        _, daemon, _ = run(
            HONEST, DAEMON, HONEST, on_progress=lambda _: alive.append(len(living(temporary)))
        )
    except OSError as error:
        pytest.skip(str(error))
    assert daemon.stdout == "it runs\n"
    assert alive[1:] == alive[1:2] * 3
    assert living(temporary) == []


CALLER = """
import sys, tempfile
sys.path.insert(0, sys.argv[1])
tempfile.tempdir = sys.argv[2]
from stages.lib.sandbox.pool import run_programs
results = run_programs(sys.argv[3:], timeout_s=60, memory_mb=256, workers=1)
for result in results: print(result.status, repr(result.stdout))
"""


def test_nothing_outlives_a_killed_caller(temporary: Path) -> None:
    endless = "open('begun', 'w').close()\nwhile True: pass"
    command = [sys.executable, "-c", CALLER, str(ROOT), str(temporary), endless]
    with subprocess.Popen(command) as caller:
        assert wait_until(lambda: list(temporary.rglob("begun")) != [])
        caller.kill()
    assert wait_until(lambda: living(temporary) == [])


AS_NOBODY = """
set -e
if [ -n "$CLOSED" ]; then
    mount --make-rprivate /
    for folder in $NEEDED; do
        mkdir -p "$COPIES$folder"
        mount --bind "$folder" "$COPIES$folder"
    done
    mount -t tmpfs -o mode=755 none "$CLOSED"
    for folder in $NEEDED; do
        mkdir -p "$folder"
        mount --bind "$COPIES$folder" "$folder"
    done
fi
echo ready
exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps -all "$@"
"""


@needs_main_layers
@needs_root  # as an ordinary user, the other tests show the same
def test_an_ordinary_user(tmp_path: Path) -> None:
    """Folders that only root may enter are hidden behind open ones first."""
    needed = {Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), ROOT}
    parents = [folder for path in needed for folder in path.parents]
    closed = [folder for folder in sorted(parents) if not folder.stat().st_mode & 0o001]
    inside = [str(path) for path in needed if closed and path.is_relative_to(closed[0])]
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chown(folder, 65534, 65534)
        programs = [HONEST, "print(open('/etc/passwd').read())", "import os; os.fork()", HONEST]
        command = [sys.executable, "-c", CALLER, str(ROOT), folder, *programs]
        outcome = subprocess.run(
            ["unshare", "--mount", "sh", "-c", AS_NOBODY, "sh", *command],
            env={
                "PATH": os.environ["PATH"],
                "CLOSED": str(closed[0]) if closed else "",
                "NEEDED": " ".join(inside),
                "COPIES": str(tmp_path),
            },
            capture_output=True,
            text=True,
        )
        if not outcome.stdout.startswith("ready"):
            pytest.skip(f"nobody cannot reach the interpreter: {outcome.stderr}")
        honest, refused = r"ok '1/2\n'", "refused ''"
        assert outcome.stdout.splitlines()[1:] == [honest, refused, refused, honest]
        assert living(Path(folder)) == []
        assert list(Path(folder).iterdir()) == []

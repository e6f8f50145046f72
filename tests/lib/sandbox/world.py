"""Listeners, files and processes that hostile programs could harm, and the check for harm."""

import os
import resource
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from string import Template
from threading import Thread

from stages.lib.sandbox.pool import ProgramResult
from tests.lib.sandbox.hostile import Hostile

SECRET = "do-not-tell-4711"
CONTENT = "as it was"


def living(marker: Path) -> list[int]:
    """Return the processes that have a path in their command line."""
    processes = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if bytes(marker) in command:
            processes.append(int(entry.name))
    return processes


def wait_until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


class World:
    """Targets for hostile programs in a folder, and their state before the programs ran."""

    def __init__(self, folder: Path, programs: list[Hostile]) -> None:
        self.folder = folder
        (folder / "secret").write_text(SECRET)
        self._received: list[bytes] = []
        self._listeners = [
            listen(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            listen(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            listen(socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "socket")),
            listen(socket.AF_UNIX, socket.SOCK_STREAM, f"\0hostile-{os.urandom(8).hex()}"),
        ]
        for listener in self._listeners:
            Thread(target=self._receive, args=(listener,), daemon=True).start()
        self._victims: dict[str, subprocess.Popen[bytes]] = {}
        self._names: dict[str, dict[str, str]] = {}
        for number, program in enumerate(programs):
            home = folder / str(number)
            home.mkdir()
            (home / "target").write_text(CONTENT)
            if "$victim" in program.program:
                self._victims[program.name] = subprocess.Popen(["sleep", "600"], env={"A": SECRET})
            self._names[program.name] = self._name(program, home, number)
        self._before = {program.name: self._state(program) for program in programs}

    def _name(self, program: Hostile, home: Path, number: int) -> dict[str, str]:
        tcp, udp, unix, abstract = (listener.getsockname() for listener in self._listeners)
        victim = self._victims.get(program.name)
        return {
            "name": f"sent-by-{number}.",
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

    def text(self, program: Hostile) -> str:
        """Return the program with the names of this world in it."""
        return Template(program.program).substitute(self._names[program.name])

    def _receive(self, listener: socket.socket) -> None:
        while True:
            if listener.type == socket.SOCK_DGRAM:
                self._received.append(listener.recv(1000))
                continue
            connection, _ = listener.accept()
            with connection:
                self._received.append(connection.recv(1000))

    def drain(self) -> None:
        """Return when all that was sent so far has been received."""
        for number, listener in enumerate(self._listeners):
            with socket.socket(listener.family, listener.type) as own:
                own.connect(listener.getsockname())
                own.send(b"<%d>" % number)
            assert wait_until(lambda end=b"<%d>" % number: end in b"".join(self._received))

    def _state(self, program: Hostile) -> dict[str, object]:
        names = self._names[program.name]
        target, victim = Path(names["target"]), self._victims.get(program.name)
        status = target.stat() if target.exists() else None
        state: dict[str, object] = {
            "absent": os.path.lexists(names["absent"]),
            "shared": Path("/dev/shm", names["shared"]).exists(),
            "key": f" {names['key']} " in Path("/proc/sysvipc/shm").read_text(),
            "content": status and target.read_text(),
            "inode": status and (status.st_mode, status.st_mtime, status.st_nlink),
            "attributes": status and os.listxattr(target),
        }
        if victim is not None:
            alive = victim.poll() is None
            state["alive"] = alive
            state["running"] = alive and process_state(victim.pid) in "RSD"
            state["limit"] = alive and resource.prlimit(victim.pid, resource.RLIMIT_NOFILE)
            state["priority"] = alive and os.getpriority(os.PRIO_PROCESS, victim.pid)
        return state

    def harm(self, program: Hostile, result: ProgramResult) -> set[str]:
        """Return the forbidden effects of a program; call ``drain`` before."""
        before, after = self._before[program.name], self._state(program)
        harm = {name for name in before if before[name] != after[name]}
        if self._names[program.name]["name"].encode() in b"".join(self._received):
            harm.add("received")
        if SECRET in result.stdout + result.error:
            harm.add("secret")
        return harm

    def close(self) -> None:
        """Remove what the programs and this world left."""
        for listener in self._listeners:
            listener.close()
        for victim in self._victims.values():
            victim.kill()
            victim.wait()
        for names in self._names.values():
            Path("/dev/shm", names["shared"]).unlink(missing_ok=True)


def listen(family: int, kind: int, address: object) -> socket.socket:
    listener = socket.socket(family, kind)
    listener.bind(address)  # pyright: ignore[reportArgumentType]
    if kind == socket.SOCK_STREAM:
        listener.listen()
    return listener


def process_state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]

"""Hostile programs with their allowed endings, and the harm that must not have happened.

``$tcp``, ``$udp``, ``$unix`` and ``$abstract`` are addresses with listeners. ``$target`` is
a file that must stay as it is, ``$secret`` a file that must not be read, ``$absent`` a path
where nothing may appear. ``$victim`` is a process that must stay as it is; its environment
holds the secret. ``$key`` and ``$shared`` name shared memory.
"""

import platform
from dataclasses import dataclass, replace
from textwrap import dedent

LIBC = "import ctypes; libc = ctypes.CDLL(None, use_errno=True)"


@dataclass(frozen=True)
class Hostile:
    """A program, its allowed statuses (words), its exact output where that shows the failure.

    ``harmful``: it does harm when no layer of the sandbox is active.
    """

    name: str
    program: str
    statuses: str
    stdout: str | None = None
    harmful: bool = False


def hostile(
    name: str, program: str, statuses: str = "refused", stdout: str | None = None
) -> Hostile:
    return Hostile(name, dedent(program).strip() + "\n", statuses, stdout)


def harmful(name: str, program: str, statuses: str = "refused") -> Hostile:
    return replace(hostile(name, program, statuses), harmful=True)


def raw_call(name: str, expression: str) -> Hostile:
    return hostile(name, f"{LIBC}\nprint({expression})", "ok", "-1\n")


NETWORK = [
    harmful(
        "tcp", 'import socket; socket.create_connection(("127.0.0.1", $tcp)).sendall(b"$name")'
    ),
    harmful(
        "udp",
        """
        import socket
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"$name", ("127.0.0.1", $udp))
        """,
    ),
    harmful(
        "unix socket",
        """
        import socket
        way = socket.socket(socket.AF_UNIX)
        way.connect("$unix")
        way.sendall(b"$name")
        """,
    ),
    harmful(
        "abstract unix socket",
        r"""
        import socket
        way = socket.socket(socket.AF_UNIX)
        way.connect("\0$abstract")
        way.sendall(b"$name")
        """,
    ),
    harmful(
        "http",
        'import urllib.request as u; u.urlopen("http://127.0.0.1:$tcp/$name".replace(" ", "-"))',
    ),
    hostile("server", 'import socket; socket.create_server(("127.0.0.1", 0)); print("serves")'),
    hostile("netlink", "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)"),
    hostile("asyncio", "import asyncio\nasync def main(): print(1)\nasyncio.run(main())"),
    raw_call("raw socket call", "libc.socket(2, 1, 0)"),
]

FILES = [
    harmful("overwrite", 'open("$target", "w").write("gone")'),
    harmful("append", 'open("$target", "a").write("more")'),
    harmful("update", 'open("$target", "r+").write("x")'),
    harmful("delete", 'import os; os.remove("$target")'),
    harmful("rename", 'import os; os.rename("$target", "$absent")'),
    harmful("chmod", 'import os; os.chmod("$target", 0o777)'),
    harmful("truncate", 'import os; os.truncate("$target", 0)'),
    harmful("truncate by open", 'import os; os.open("$target", os.O_RDONLY | os.O_TRUNC)'),
    harmful("utime", 'import os; os.utime("$target", (1, 1))'),
    harmful("hard link", 'import os; os.link("$target", "mine"); open("mine", "w").write("gone")'),
    harmful(
        "symbolic link", 'import os; os.symlink("$target", "mine"); open("mine", "w").write("gone")'
    ),
    harmful(
        "replace",
        'import os; open("mine", "w").write("gone"); os.replace("mine", "$target")',
        "refused crashed",
    ),
    hostile("remove the folder", 'import os, shutil; shutil.rmtree(os.path.dirname("$target"))'),
    harmful("create", 'open("$absent", "w").write("here")'),
    harmful("make a folder", 'import os; os.mkdir("$absent")'),
    harmful("make a pipe", 'import os; os.mkfifo("$absent")'),
    hostile(
        "listening socket file", 'import socket; socket.socket(socket.AF_UNIX).bind("$absent")'
    ),
    harmful("numpy file", 'import numpy as np; np.ones(3).tofile("$absent")'),
    harmful("database", 'import sqlite3; sqlite3.connect("$absent")', "crashed"),
    hostile(
        "write into a library",
        """
        import numpy, pathlib
        pathlib.Path(numpy.__file__).with_name("hostile.py").write_text("1")
        """,
    ),
    hostile("folder in the scratch folder", 'import os; os.mkdir("mine")'),
    raw_call("raw creat call", 'libc.creat(b"$absent", 0o644)'),
    raw_call("raw chmod call", 'libc.chmod(b"$target", 0o777)'),
    raw_call("raw setxattr call", 'libc.setxattr(b"$target", b"user.a", b"b", 1, 0)'),
]

READING = [
    harmful("secret file", 'print(open("$secret").read())'),
    hostile("user table", 'print(open("/etc/passwd").read())'),
    hostile("list a folder", 'import os; print(os.listdir("$folder"))'),
    hostile("secret by hard link", 'import os; os.link("$secret", "it"); print(open("it").read())'),
    harmful(
        "secret by mapping",
        """
        import mmap, os
        print(mmap.mmap(os.open("$secret", os.O_RDONLY), 0, prot=mmap.PROT_READ)[:])
        """,
    ),
    hostile("environment", "import os; print(dict(os.environ))", "ok", "{}\n"),
    hostile(
        "environment in C",
        f"{LIBC}; libc.getenv.restype = ctypes.c_char_p\n"
        'print(libc.getenv(b"HOSTILE_SECRET"), libc.getenv(b"PATH"))',
        "ok",
        "None None\n",
    ),
    hostile("own environment file", 'print(open("/proc/self/environ").read())'),
    hostile("a stranger's environment", 'print(open("/proc/$victim/environ").read())'),
    hostile("a stranger's memory", 'open("/proc/$victim/mem", "rb").read(1)'),
    hostile("processes", 'import os; print(os.listdir("/proc"))'),
    raw_call("attach as a debugger", "libc.ptrace(16, $victim, 0, 0)"),
    raw_call("process_vm_readv", "libc.process_vm_readv($victim, None, 0, None, 0, 0)"),
    raw_call("pidfd_open", "libc.syscall(434, $victim, 0)"),
]

PROCESSES = [
    hostile("subprocess", 'import subprocess; subprocess.run(["touch", "$absent"])'),
    hostile("shell", "import os; os.system(\"touch '$absent'\")", "ok"),
    harmful("exec", 'import os; os.execv("/bin/touch", ["touch", "$absent"])'),
    hostile("posix_spawn", 'import os; os.posix_spawn("/bin/touch", ["touch", "$absent"], {})'),
    hostile(
        "exec of a file of its own",
        """
        import os
        open("run", "w").write("#!/bin/sh\\ntouch '$absent'\\n")
        os.execv("/bin/sh", ["sh", "run"])
        """,
    ),
    hostile("fork", "import os; print(os.fork())"),
    hostile("fork bomb", "import os\nwhile True: os.fork()"),
    hostile(
        "patient fork bomb",
        """
        import os
        while True:
            try: os.fork()
            except OSError: pass
        """,
        "timeout",
    ),
    hostile(
        "daemon",
        """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                open("$absent", "w")
                time.sleep(600)
        """,
    ),
    hostile(
        "multiprocessing",
        "import multiprocessing as m\nif __name__ == '__main__': print(m.Pool(2).map(abs, [1]))",
    ),
    raw_call("fork in C", "libc.fork()"),
    raw_call("raw clone3 call", "libc.syscall(435, 0, 0)"),
    hostile("pseudo terminal", "import pty; pty.fork()", "refused crashed"),
    hostile(
        "thread bomb",
        """
        import threading, time
        threading.stack_size(32768)
        while True: threading.Thread(target=time.sleep, args=(600,)).start()
        """,
    ),
    hostile(
        "thread left behind",
        "import threading, time; threading.Thread(target=time.sleep, args=(600,)).start()",
    ),
    hostile("exit in a thread", "import sys, threading; threading.Thread(target=sys.exit).start()"),
    hostile(
        "thread pool",
        """
        from concurrent.futures import ThreadPoolExecutor
        print(list(ThreadPoolExecutor(2).map(abs, [1])))
        """,
    ),
]

SIGNALS = [
    harmful("kill a stranger", "import os; os.kill($victim, 15)"),
    harmful("stop a stranger", "import os; os.kill($victim, 19)"),
    hostile("kill the worker", "import os; os.kill(os.getppid(), 9)"),
    hostile("kill the first process", "import os; os.kill(1, 9)"),
    hostile("kill the group", "import os; os.killpg(0, 9)"),
    hostile("kill everyone", "import os; os.kill(-1, 9)"),
    hostile("kill itself", "import os; os.kill(os.getpid(), 9)"),
    hostile(
        "signal by owning a pipe",
        """
        import fcntl, os
        fcntl.fcntl(1, fcntl.F_SETOWN, $victim)
        """,
    ),
    harmful(
        "limits of a stranger",
        "import resource; resource.prlimit($victim, resource.RLIMIT_NOFILE, (0, 0))",
    ),
    hostile("priority of a stranger", "import os; os.setpriority(os.PRIO_PROCESS, $victim, 19)"),
    hostile(
        "alarm",
        "import signal, time; signal.setitimer(signal.ITIMER_REAL, 0.1); time.sleep(30)",
        "crashed",
    ),
]

FORGING = [
    hostile(
        "forge on every descriptor",
        r"""
        import json, os, struct
        answer = json.dumps(["ok", "forged", "", 0.0]).encode()
        for fd in (0, *range(3, 300)):
            try: os.write(fd, struct.pack("!i", len(answer)) + answer)
            except OSError: pass
        raise SystemExit(3)
        """,
        "crashed",
        "",
    ),
    hostile(
        "forge through the worker's frames",
        """
        import sys
        frame, sent = sys._getframe(), 0
        while frame:
            for value in list(frame.f_locals.values()):
                if hasattr(value, "send_bytes"):
                    sent += 1
                    value.send_bytes(b'["ok", "forged", "", 0.0]')
            frame = frame.f_back
        raise SystemExit(sent)
        """,
        "crashed",
        "",
    ),
    hostile(
        "forge through found objects",
        """
        import gc
        from multiprocessing.connection import Connection
        for thing in gc.get_objects():
            if isinstance(thing, Connection): thing.send_bytes(b'["ok", "forged", "", 0.0]')
        raise SystemExit(3)
        """,
        "crashed",
        "",
    ),
    hostile(
        "return into the worker",
        """
        import os, sys
        stay = lambda code: None
        os._exit = sys.modules["stages.lib.sandbox.program"]._exit = stay
        """,
        "crashed refused",
    ),
    hostile("print a result", 'print(\'["ok", "forged"]\'); raise SystemExit(4)', "crashed"),
    hostile("close every descriptor", "import os; os.closerange(0, 99); print(1)", "crashed", ""),
    hostile(
        "close its output and go on", "import os, time; os.close(1); time.sleep(60)", "timeout"
    ),
    hostile("leave at once", 'import os; os.write(1, b"5\\n"); os._exit(0)', "ok", "5\n"),
    hostile("leave with a sentence", 'import sys; sys.exit("no")', "crashed", ""),
    hostile("break its output", "import sys; sys.stdout = None", "ok", ""),
    hostile(
        "output that raises",
        "import sys\nclass E:\n def flush(self): 1 / 0\nsys.stdout = E()",
        "crashed",
    ),
    hostile(
        "read its input", "import sys; print(repr(sys.stdin.read())); input()", "crashed", "''\n"
    ),
]

EXCESS = [
    hostile("endless loop", "while True: pass", "timeout"),
    hostile("endless sleep", "import time; time.sleep(600)", "timeout"),
    hostile(
        "deaf to signals",
        """
        import signal
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        while True: pass
        """,
        "timeout",
    ),
    hostile("endless work in C", "10 ** 10 ** 9", "timeout"),
    hostile("endless exit", "import atexit\n@atexit.register\ndef f():\n while 1: 1", "timeout"),
    hostile(
        "endless catching",
        "while True:\n try:\n  while True: raise KeyboardInterrupt\n except BaseException: pass",
        "timeout",
    ),
    hostile("endless output", "while True: print('x' * 1000)", "crashed"),
    hostile("endless complaints", "import sys\nwhile 1: sys.stderr.write('x' * 1000)", "crashed"),
    # Where the first touch of a page is slow, its time runs out before its memory.
    hostile("memory by lists", "a = []\nwhile True: a.append([0] * 1000)", "crashed timeout"),
    hostile("memory by bytes", "a = bytearray(10 ** 12)", "crashed"),
    hostile("memory by numpy", "import numpy; numpy.ones((10 ** 6, 10 ** 6))", "crashed"),
    hostile("memory by text", "a = 'x'\nwhile True: a += a", "crashed"),
    hostile(
        "memory that is shared",
        "import mmap\na = []\nwhile 1: a.append(mmap.mmap(-1, 2**24))",
        "crashed",
    ),
    hostile("memory in a file of none", 'import os; os.memfd_create("a")'),
    hostile(
        "many files",
        """
        for i in range(10 ** 9):
            with open(f"{i}", "wb") as f: f.write(bytes(2 ** 20))
        """,
        "crashed",
    ),
    hostile("one large file", 'open("a", "wb").write(bytes(2 ** 25))', "crashed"),
    hostile("many descriptors", "import os\nwhile True: os.pipe()", "crashed"),
    hostile("deep recursion", "def f(): f()\nf()", "crashed"),
    hostile(
        "deeper recursion",
        "import sys\nsys.setrecursionlimit(10 ** 9)\nf = lambda n: sorted([n], key=f)\nf(1)",
        "crashed",
    ),
    hostile("deep nesting", "(" * 5000 + ")" * 5000, "crashed"),
    hostile("crash in C", "import ctypes; ctypes.string_at(0)", "crashed"),
    hostile("abort", "import os; os.abort()", "crashed refused"),
    hostile(
        "more for itself", "import resource as r; r.setrlimit(r.RLIMIT_AS, (-1, -1))", "crashed"
    ),
    hostile(
        "error that fails to print",
        "class E(Exception):\n def __str__(self): raise E\nraise E",
        "crashed",
    ),
    hostile("error about itself", "e = ValueError(); e.__cause__ = e\nraise e", "crashed"),
    hostile("no text", "print(1)\n\0", "crashed"),
    hostile("no Python", "The answer is 5", "crashed", ""),
]

KERNEL = [
    raw_call("namespace of its own", "libc.unshare(0x10000000)"),
    raw_call("mount", 'libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)'),
    raw_call("chroot", 'libc.chroot(b".")'),
    raw_call("io_uring", "libc.syscall(425, 1, ctypes.create_string_buffer(120))"),
    raw_call("bpf", "libc.syscall(321, 0, ctypes.create_string_buffer(120), 120)"),
    raw_call("prctl", "libc.prctl(4, 1, 0, 0, 0)"),
    raw_call("shared memory of System V", "libc.shmget($key, 4096, 0o1666)"),
    harmful(
        "shared memory",
        """
        from multiprocessing import shared_memory, resource_tracker
        resource_tracker.register = lambda *names: None
        shared_memory.SharedMemory("$shared", create=True, size=10)
        """,
    ),
    hostile("another user", "import os; os.setuid(12345)"),
]

FOREIGN_CALL = r"""
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=7)
code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20; int 0x80; ret
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))())
"""
if platform.machine() == "x86_64":
    KERNEL.append(hostile("call of a foreign architecture", FOREIGN_CALL))

HOSTILE = [*NETWORK, *FILES, *READING, *PROCESSES, *SIGNALS, *FORGING, *EXCESS, *KERNEL]

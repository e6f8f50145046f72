"""A process that ends with its parent."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from tests.conftest import REPOSITORY

PARENT = """
import os
import time
from multiprocessing import get_context
from stages.lib.runtime.child_process import end_with_parent

def sleep(watched):
    if watched:
        end_with_parent()
    os.write(1, b"ready\\n")  # whole, whoever else writes
    time.sleep(60)

if __name__ == "__main__":
    spawn = get_context("spawn")
    children = [spawn.Process(target=sleep, args=(watched,)) for watched in (True, False)]
    for child in children:
        child.start()
    os.write(1, f"{children[0].pid} {children[1].pid}\\n".encode())
    time.sleep(60)
"""


def test_a_process_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        lines = [parent.stdout.readline() for _ in range(3)]
        (pids,) = (line.split() for line in lines if line != "ready\n")
        watched, unwatched = (psutil.Process(int(pid)) for pid in pids)
        parent.kill()
        parent.wait()
        _, alive = psutil.wait_procs([watched], timeout=30)
        assert not alive
        assert unwatched.is_running()
        unwatched.kill()

"""A process that ends with its parent."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from tests.small import REPOSITORY

PARENT = """
import time
from pathlib import Path
from multiprocessing import get_context
from stages.lib.orphans import end_with_parent

def sleep(watched):
    if watched:
        end_with_parent()
    print("ready", flush=True)
    time.sleep(60)

if __name__ == "__main__":
    children = [get_context("spawn").Process(target=sleep, args=(one,)) for one in (True, False)]
    for child in children:
        child.start()
    print(*(child.pid for child in children), flush=True)
    time.sleep(60)
"""


def test_a_process_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    seen = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=seen) as parent:
        assert parent.stdout is not None
        said = [parent.stdout.readline() for _ in range(3)]
        watched, unwatched = (
            psutil.Process(int(pid)) for line in said if line != "ready\n" for pid in line.split()
        )
        parent.kill()
        parent.wait()
        _, alive = psutil.wait_procs([watched], timeout=30)
        assert not alive
        assert unwatched.is_running()
        unwatched.kill()

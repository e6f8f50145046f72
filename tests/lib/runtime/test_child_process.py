"""A process that ends with its parent."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from tests.conftest import REPOSITORY

PARENT = """
import os
import subprocess
import sys
import time
from stages.lib.runtime import child_process

sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
watched = child_process.start(sleep, os.environ)
unwatched = subprocess.Popen(sleep)
print(watched.pid, unwatched.pid, flush=True)
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
        pids = parent.stdout.readline().split()
        watched, unwatched = (psutil.Process(int(pid)) for pid in pids)
        parent.kill()
        parent.wait()
        _, alive = psutil.wait_procs([watched], timeout=30)
        assert not alive
        assert unwatched.is_running()
        unwatched.kill()

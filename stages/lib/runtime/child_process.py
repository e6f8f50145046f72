"""Child processes that end with their parent."""

import os
from multiprocessing import parent_process
from threading import Thread


def end_with_parent() -> None:
    """End this process at once, whatever it is doing, as soon as its parent has ended."""
    parent = parent_process()
    if parent is None:
        raise RuntimeError("end_with_parent: expected a process that multiprocessing started")

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()

"""``make verify`` names the files of DVC's cache that are damaged."""

import subprocess
from hashlib import md5
from pathlib import Path

from tests.mini import REPOSITORY


def verify(folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["make", "--file", REPOSITORY / "Makefile", "--directory", folder, "verify"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_file_whose_bytes_have_changed_is_named(tmp_path: Path) -> None:
    cache = tmp_path / ".dvc/cache/files/md5"
    stored = []
    for content, ending in [(b"table", ""), (b"[]", ".dir")]:
        oid = md5(content).hexdigest()
        path = cache / oid[:2] / f"{oid[2:]}{ending}"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        stored.append(path)
    assert verify(tmp_path).returncode == 0
    stored[1].write_bytes(b"[ ]")
    process = verify(tmp_path)
    assert process.returncode != 0
    assert f"{stored[1].relative_to(cache)}: FAILED" in process.stdout
    assert stored[0].name not in process.stdout

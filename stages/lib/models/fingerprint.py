"""Hash a model folder, and save a model so that no half-written folder is ever read."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from stages.lib.core.files import atomic_replace, file_sha256
from stages.lib.models.loading import existing_model

FINGERPRINT_FILE = "model_fingerprint.txt"


@contextmanager
def save_atomically(out: Path) -> Iterator[Path]:
    """Yield a folder to save a model in, which takes the place of ``out`` at the end.

    Its model_fingerprint is kept in it: who reads the model later notices a changed byte.
    """
    with atomic_replace(out) as aside:
        yield aside
        (aside / FINGERPRINT_FILE).write_text(model_fingerprint(aside) + "\n", encoding="utf-8")


def model_fingerprint(folder: Path) -> str:
    """Return 16 hexadecimal digits that identify a model folder's weights and tokenizer.

    Raises ValueError if they are not those that ``save_atomically`` kept in the folder.
    """
    parts = [
        f"{path.name}={file_sha256(path)}"
        for path in sorted(existing_model(folder).iterdir())
        if path.suffix in (".safetensors", ".json", ".jinja")
    ]
    found = sha256("\n".join(parts).encode()).hexdigest()[:16]
    kept = folder / FINGERPRINT_FILE
    if kept.exists() and (expected := kept.read_text(encoding="utf-8").strip()) != found:
        raise ValueError(
            f"{folder}: damaged: its model_fingerprint is {found}, expected {expected}"
        )
    return found

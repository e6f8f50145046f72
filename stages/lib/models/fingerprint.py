"""Hash a model folder, and save a model whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from stages.lib.core.files import atomic_replace, file_sha256
from stages.lib.models.folder import existing_model

FINGERPRINT_FILE = "fingerprint.txt"


def model_fingerprint(folder: Path) -> str:
    """Return 16 hexadecimal digits that identify a model folder's weights and tokenizer.

    Raises ValueError if they differ from those that ``save_atomically`` wrote in the folder.
    """
    parts = [
        f"{path.name}={file_sha256(path)}"
        for path in sorted(existing_model(folder).iterdir())
        if path.suffix in (".safetensors", ".json", ".jinja")
    ]
    fingerprint = sha256("\n".join(parts).encode()).hexdigest()[:16]
    saved = folder / FINGERPRINT_FILE
    if saved.exists() and (expected := saved.read_text(encoding="utf-8").strip()) != fingerprint:
        raise ValueError(
            f"{folder}: damaged: its fingerprint is {fingerprint}, expected {expected}"
        )
    return fingerprint


@contextmanager
def save_atomically(out: Path) -> Iterator[Path]:
    """Yield a folder to save a model in; it replaces ``out`` at the end.

    The model's fingerprint is saved with it, so that readers notice a changed byte.
    """
    with atomic_replace(out) as tmp:
        yield tmp
        (tmp / FINGERPRINT_FILE).write_text(model_fingerprint(tmp) + "\n", encoding="utf-8")

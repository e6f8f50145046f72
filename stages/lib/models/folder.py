"""Model folders: whether one holds a whole model, and how large it is."""

from pathlib import Path

WEIGHTS_PATTERN = "*.safetensors"
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
# PEFT's files, and the folder inside a merged model that keeps its adapter.
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_FOLDER = "adapter"


def existing_model(folder: Path) -> Path:
    """Return a folder that holds a whole model.

    Raises ValueError naming it if it has pickles only or is an adapter without its model, and
    FileNotFoundError if there is no model.
    """
    if any(folder.glob(WEIGHTS_PATTERN)):
        # transformers would load the adapter's base model, at whatever commit it is now.
        if (folder / ADAPTER_CONFIG).exists():
            raise ValueError(
                f"{folder}: an adapter: expected a whole model, without {ADAPTER_CONFIG}"
            )
        return folder
    pickles = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLES)
    if pickles:
        raise ValueError(
            f"{folder}: weights as pickles, which can run code ({pickles[0]}): expected "
            f"{WEIGHTS_PATTERN}"
        )
    raise FileNotFoundError(f"{folder}: no model here (expected a folder with {WEIGHTS_PATTERN})")


def weight_bytes(folder: Path) -> int:
    """Return the size of a model folder's weight files in bytes."""
    return sum(path.stat().st_size for path in existing_model(folder).glob(WEIGHTS_PATTERN))

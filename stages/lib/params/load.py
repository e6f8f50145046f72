"""Read and check params.yaml."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from stages.lib.core.paths import PARAMS
from stages.lib.core.validation import describe_error
from stages.lib.params.root import Params


def load_params(path: Path = PARAMS) -> Params:
    """Read and check the whole parameter file.

    Raises ValueError with the key's full path, the value, and what was expected.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    return parse_params(raw, where=str(path))


def parse_params(raw: Any, *, where: str) -> Params:
    """Check the content of a parameter file; ``where`` names its origin in errors."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise ValueError(f"{where}: {describe_error(error, raw, Params)}") from error

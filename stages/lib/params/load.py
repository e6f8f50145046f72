"""Read and check params.yaml."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from stages.lib.core.paths import PARAMS
from stages.lib.core.validation import describe_error
from stages.lib.params.root import Params

Group = TypeVar("Group", bound=BaseModel)


def load_params(path: Path = PARAMS) -> Params:
    """Read and check the whole parameter file.

    Raises ValueError with the key's full path, the value, and what was expected.
    """
    return load_group(path, Params)


def load_group(path: Path, group: type[Group]) -> Group:
    """Read and check a YAML file, as ``load_params`` does."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    return _checked(raw, group, where=str(path))


def parse_params(raw: Any, *, where: str) -> Params:
    """Check the content of a parameter file; ``where`` names its origin in errors."""
    return _checked(raw, Params, where=where)


def _checked(raw: Any, group: type[Group], *, where: str) -> Group:
    try:
        return group.model_validate(raw)
    except ValidationError as error:
        raise ValueError(f"{where}: {describe_error(error, raw, group)}") from error

"""What dvc.yaml declares, stage by stage."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from stages.lib.params.root import Params

PIPELINE: dict[str, Any] = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
SCRIPTS = sorted(path.stem for path in Path("stages").glob("*.py") if path.stem != "__init__")


def declared(stage: str) -> dict[str, Any]:
    """Return the entry of a stage, or of each stage that it stands for."""
    return PIPELINE[stage].get("do", PIPELINE[stage])


def tracks(stage: str, group: str, field: str) -> bool:
    """Return whether a stage depends on a field of a group of parameters."""
    if "params.yaml" in declared(stage)["deps"]:
        return True
    paths = [path.split(".") for path in declared(stage).get("params", [])]
    return any(path in ([group], [group, field]) or path[:2] == [group, field] for path in paths)


@cache
def group_of(params_class: type) -> str | None:
    """Return the group of parameters that a class declares, if it declares a whole one."""
    for name, field in Params.model_fields.items():
        if field.annotation is params_class:
            return name
    return None

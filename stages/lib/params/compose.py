"""The parameters as Hydra composes them from ``conf/``, without a file in between."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError


def compose(overrides: Sequence[str], conf: Path) -> dict[str, Any]:
    """Return the parameters of ``conf``/config.yaml with overrides such as ``recipe=grpo``.

    ``dvc exp run -S`` composes them in the same way. Raises ValueError, in one line, for an
    override that is none, a recipe or a key that is not there, and a value that nobody set.
    """
    try:
        with initialize_config_dir(str(conf.resolve()), version_base=None):
            config = hydra_compose("config", overrides=list(overrides))
        found = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingConfigException as error:
        raise ValueError(f"overrides: {_missing(error)}") from error
    except HydraException as error:
        raise ValueError(f"overrides: {str(error).splitlines()[0]}") from error
    except OmegaConfBaseException as error:
        raise ValueError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    except YAMLError as error:
        raise ValueError(f"{conf}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise TypeError(f"{type(found)}: expected a mapping")
    return {str(key): value for key, value in found.items()}


def _missing(error: MissingConfigException) -> str:
    if error.missing_cfg_file is None or not error.options:
        return " ".join(str(error).split())
    group, _, name = error.missing_cfg_file.rpartition("/")
    return f"{group}: '{name}': expected one of {sorted(error.options)}"

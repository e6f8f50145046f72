"""Compose the parameters from ``conf/`` with Hydra, as ``dvc exp run -S`` does."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    ConfigTypeError,
    InterpolationKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)
from yaml import YAMLError

from stages.lib.core.validation import unknown_key


def compose(overrides: Sequence[str], conf: Path) -> dict[str, Any]:
    """Return the parameters of ``conf``/config.yaml with overrides such as ``recipe=grpo``.

    Raises ValueError, in one line, for a malformed override, an unknown recipe or key, a mapping
    in place of a list or the reverse, and a value that neither the recipe nor an override sets.
    """
    try:
        return _compose(overrides, conf)
    except MissingConfigException as error:
        raise ValueError(f"overrides: {_missing_file(error)}") from error
    except OverrideParseException as error:
        raise ValueError(f"overrides: {error.override!r}: expected KEY=VALUE") from error
    except HydraException as error:
        cause = error.__cause__
        if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
            keys = _known_keys(overrides, conf)
            raise ValueError(unknown_key(cause.full_key, keys)) from error
        message = str(error).splitlines()[0]
        if deleted := re.match(r"Could not delete from config\. '(.*)' does not exist", message):
            raise ValueError(unknown_key(deleted[1], _known_keys(overrides, conf))) from error
        if ambiguous := re.match(r"Ambiguous value for argument '(.*?)=(.*)'", message):
            key, value = ambiguous.groups()
            raise ValueError(f"{key}: {value}: expected one value or a [list]") from error
        if isinstance(cause, ConfigTypeError) and message.startswith("Error merging override "):
            expected = "a list" if cause.object_type is list else "a mapping"
            value = message.partition("=")[2]
            raise ValueError(f"{cause.full_key}: {value}: expected {expected}") from error
        raise ValueError(f"overrides: {message}") from error
    except InterpolationKeyError as error:
        name = str(error).split("'")[1]
        raise ValueError(f"{error.full_key}: ${{{name}}}: expected a key that exists") from error
    except MissingMandatoryValue as error:
        raise ValueError(f"{error.full_key}: ???: expected a value") from error
    except OmegaConfBaseException as error:
        raise ValueError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    except YAMLError as error:
        raise ValueError(f"{conf}: not YAML: {' '.join(str(error).split())}") from error


def _compose(overrides: Sequence[str], conf: Path, *, complete: bool = True) -> dict[str, Any]:
    with initialize_config_dir(str(conf.resolve()), version_base=None):
        config = hydra_compose("config", overrides=list(overrides))
    # Always a mapping: Hydra accepts no other config.
    return OmegaConf.to_container(config, resolve=complete, throw_on_missing=complete)  # type: ignore[return-value]


def _missing_file(error: MissingConfigException) -> str:
    if error.missing_cfg_file is None or not error.options:
        return " ".join(str(error).split())
    group, _, name = error.missing_cfg_file.rpartition("/")
    return f"{group}: '{name}': expected one of {sorted(error.options)}"


def _known_keys(overrides: Sequence[str], conf: Path) -> list[str]:
    """Return all keys of the composition of the chosen recipe and size, and ``recipe`` itself."""
    groups = [folder.name for folder in conf.iterdir() if folder.is_dir()]
    choices = [text for text in overrides if text.partition("=")[0] in groups]
    return [*groups, *_dotted_keys(_compose(choices, conf, complete=False))]


def _dotted_keys(group: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in group.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _dotted_keys(value, f"{prefix}{key}.")

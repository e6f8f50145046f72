"""Parse the name of a model from elsewhere, one string:

- ``package:PACKAGE/FILE.gguf#sha256=HEX``  a GGUF file that an installed package carries
- ``file:PATH.gguf#sha256=HEX``             a local GGUF file
- ``folder:PATH``                           a local folder that transformers loads
- ``hub:ORG/NAME@COMMIT``                   a model of the Hugging Face Hub
"""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_FORMS = (
    "package:PACKAGE/FILE.gguf#sha256=HEX, file:PATH.gguf#sha256=HEX, "
    "folder:PATH or hub:ORG/NAME@COMMIT"
)


@dataclass(frozen=True)
class ModelSource:
    """Where a model is: ``location`` is a file, a folder or a repository of the Hub."""

    kind: Literal["gguf", "folder", "hub"]
    location: str
    sha256: str = ""
    revision: str = ""


def parse_source(text: str) -> ModelSource:
    """Parse a model's name. Raises ValueError if it has none of the forms above."""
    if match := re.fullmatch(r"package:(\w+)/([^#]+\.gguf)#sha256=([0-9a-f]{64})", text):
        return ModelSource("gguf", str(_package_folder(match[1]) / match[2]), sha256=match[3])
    if match := re.fullmatch(r"file:([^#]+\.gguf)#sha256=([0-9a-f]{64})", text):
        return ModelSource("gguf", match[1], sha256=match[2])
    if match := re.fullmatch(r"folder:(.+)", text):
        return ModelSource("folder", match[1])
    if match := re.fullmatch(r"hub:([\w.-]+/[\w.-]+)@([0-9a-f]{40})", text):
        return ModelSource("hub", match[1], revision=match[2])
    raise ValueError(f"expected {_FORMS}")


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"package {package!r} is not installed")
    return Path(spec.submodule_search_locations[0])

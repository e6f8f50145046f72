"""The benchmarks' files in the repository of the SDAT authors, and the command that copies them.

Those that the Hub has come from there (``stages.lib.provenance.hub``).
"""

import shlex
from pathlib import Path, PurePosixPath

_REPOSITORY = "https://github.com/tongyx361/sample-difficulty-adaptive-tuning"
_COMMIT = "4682faaf8cfaa8015920f5c0e904cccdc6924a76"
_FOLDER = "eval-datasets"

# As their eval-model.py names them.
_FILES = {
    "aqua": "AQuA/AQuA.json",
    "sat": "sat/sat.json",
    "mmlu_mathematics": "mmlu/mathematics.json",
    "mmlu_physics": "mmlu/physics.json",
    "mmlu_chemistry": "mmlu/chemistry.json",
    "mmlu_biology": "mmlu/biology.json",
    "svamp": "SVAMP/SVAMP.json",
    "numglue": "numglue/numglue.json",
    "deepmind": "deepmind/deepmind.json",
    "simuleq": "simuleq/simuleq.json",
}


def download_command(benchmark: str, path: str) -> str:
    """Return the shell command that brings a benchmark's file to ``path``.

    It brings all benchmarks at once where ``path`` ends as in the authors' repository and its
    folder does not exist: ``dvc get`` would copy into one that does. Not ``dvc import``: git
    ignores ``data/``, where DVC refuses to put the file that would track an import.
    """
    file, target = PurePosixPath(_FILES[benchmark]), Path(path)
    folder = target.parent.parent
    if target.parts[-2:] == file.parts and not folder.exists():
        source, target = _FOLDER, folder
    else:
        source = f"{_FOLDER}/{file}"
    return f"dvc get {_REPOSITORY} {source} --rev {_COMMIT} -o {shlex.quote(str(target))}"

"""Check ``params.yaml`` before any other stage runs.

Writes ``data/params.ok``, whose content never changes: a change of parameters re-runs this check,
and then only the stages that use the changed parameters.

Packages, GPUs and drivers that this machine lacks are named, and the run goes on: the stages that
need them may have run elsewhere, so that nothing is left to do for them here.

    python -m stages.check

``python -m tools.estimate`` checks a composition without running it, and estimates its cost; with
``--here`` it refuses what this machine lacks.
"""

from stages.lib.core.files import write_text
from stages.lib.core.paths import PARAMS_OK
from stages.lib.params.load import load_params
from stages.lib.runtime import console
from stages.lib.runtime.machine import find_lacks, this_machine


def main() -> None:
    """Check the parameters."""
    params = load_params()
    for line in find_lacks(params, this_machine()):
        console.log_line(f"check: {line}")
    write_text(PARAMS_OK, "valid\n")


if __name__ == "__main__":
    console.run_stage("check", main, timed=False)

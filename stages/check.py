"""Check ``params.yaml`` before any other stage runs.

Writes ``data/params.ok``, whose content never changes: a change of parameters re-runs this check,
and then only the stages that use the changed parameters.

    python -m stages.check

``python -m tools.estimate`` checks a composition without running it, and estimates its cost.
"""

from stages.lib.core.files import write_text
from stages.lib.core.paths import PARAMS_OK
from stages.lib.params.load import load_params
from stages.lib.runtime import console


def main() -> None:
    """Check the parameters."""
    load_params()
    write_text(PARAMS_OK, "valid\n")


if __name__ == "__main__":
    console.run_stage("check", main, timed=False)

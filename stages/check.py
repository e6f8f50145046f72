"""Check the parameters before anything else runs.

Reads ``params.yaml`` whole; writes ``data/params.ok``, whose content never changes: a
change of parameters re-runs this check, and after it only the stages it concerns.

    python -m stages.check
"""

from stages.lib import console, params
from stages.lib.files import write_text
from stages.lib.paths import PARAMS_OK


def main() -> None:
    """Check the parameters."""
    params.load()
    write_text(PARAMS_OK, "valid\n")


if __name__ == "__main__":
    console.run("check", main, timed=False)

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
    check_quantized(params.load())
    write_text(PARAMS_OK, "valid\n")


def check_quantized(wanted: params.Params) -> None:
    """Raise ValueError if a quantized model could not be set beside its original."""
    evaluated = wanted.evaluate.models
    for name, made in wanted.quantize.models.items():
        if name not in evaluated:
            continue
        if made.parent not in evaluated:
            raise ValueError(
                f"evaluate.models: {name}: expected its parent {made.parent} to be evaluated too"
            )
        if min(evaluated[name]) != min(evaluated[made.parent]):
            raise ValueError(
                f"evaluate.models.{name}: {evaluated[name]}: expected to begin with as many "
                f"examples as its parent's, {evaluated[made.parent]}"
            )


if __name__ == "__main__":
    console.run("check", main, timed=False)

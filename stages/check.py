"""Check the parameters before anything else runs, or a composition without running it.

Reads ``params.yaml`` whole; writes ``data/params.ok``, whose content never changes: a
change of parameters re-runs this check, and after it only the stages it concerns.

    python -m stages.check

With overrides, as ``dvc exp run -S`` takes them, nothing is written: the composition is
checked against the schema, its files, commits and licenses, and what it would cost is shown.
Exit status 1 says that it is not valid, or needs more memory than a GPU has.

    python -m stages.check recipe=grpo size=mini train.steps=20 --gpu-gib 80
"""

import argparse
import sys
from collections.abc import Sequence

from stages.lib.core.files import write_text
from stages.lib.core.paths import CONF, PARAMS_OK
from stages.lib.costs import forecast, table
from stages.lib.params import compose
from stages.lib.params.base_model import parse_base
from stages.lib.params.load import load_params, parse_params
from stages.lib.provenance import catalog, origins
from stages.lib.runtime import console

# What a stage's memory depends on, beside the model.
MEMORY_HINTS = {
    "sample": "a smaller model or more engine.tensor_parallel",
    "train": "more train.micro_batches, train.launch or adapters",
    "grpo": "more grpo.micro_batches or adapters",
    "quantize": "a smaller quantize.calibration",
    "evaluate": "a smaller model or more engine.tensor_parallel",
}


def main() -> None:
    """Check the parameters."""
    load_params()
    write_text(PARAMS_OK, "valid\n")


def estimate(overrides: Sequence[str], gpu_gib: float) -> None:
    """Check a composition and show what it would cost.

    Raises ValueError if it is not valid, or needs more than ``gpu_gib`` of a GPU.
    """
    wanted = parse_params(compose.compose(overrides, CONF), where=" ".join(overrides))
    found = list(origins.all_of(wanted.model.base, wanted.prepare))
    at = found[0].files
    shape = catalog.shape_of(parse_base(wanted.model.base), at.folder() if at else None)
    lines = [] if shape is None else forecast.forecast(wanted, shape, gpu_gib)
    sys.stdout.write(table.show(wanted, found, shape, lines) + "\n")
    for line in lines:
        if line.gpu_gib > gpu_gib:
            raise ValueError(
                f"{line.stage} {line.item}: {line.gpu_gib:.1f} GiB of a GPU: expected at most "
                f"{gpu_gib:g} (--gpu-gib); {MEMORY_HINTS[line.stage]} would need less"
            )


def _command() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.check")
    parser.add_argument("overrides", nargs="+", metavar="KEY=VALUE")
    parser.add_argument("--gpu-gib", type=float, default=80.0, help="memory of each GPU")
    asked = parser.parse_intermixed_args()
    try:
        estimate(asked.overrides, asked.gpu_gib)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"check: {' '.join(str(error).split())}\n")
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1:]:
        _command()
    else:
        console.run_stage("check", main, timed=False)

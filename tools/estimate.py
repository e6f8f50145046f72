"""Check a composition of parameters and estimate what it would cost, without running anything.

Takes overrides as ``dvc exp run -S`` does. Checks the composition against the schema, and its
files, commits and licenses; prints the tokens, GPU memory and disk of every stage. Exits with
status 1 if the composition is not valid or needs more memory than a GPU has.

    python -m tools.estimate recipe=grpo size=mini train.steps=20 --gpu-gib 80
"""

import argparse
import sys
from collections.abc import Sequence

from stages.lib.core.paths import CONF
from stages.lib.costs.forecast import estimate_stages
from stages.lib.costs.table import format_report
from stages.lib.params.base_model import parse_base
from stages.lib.params.compose import compose
from stages.lib.params.load import parse_params
from stages.lib.provenance.catalog import find_shape
from stages.lib.provenance.origins import locate_all

# What to change if a stage needs more memory than a GPU has, beside the model.
MEMORY_HINTS = {
    "sample": "a smaller model or more engine.tensor_parallel",
    "train": "more train.micro_batches, train.launch or adapters",
    "replay": "more train.micro_batches, train.launch or adapters",
    "grpo": "more grpo.micro_batches or adapters",
    "quantize": "a smaller quantize.calibration",
    "evaluate": "a smaller model or more engine.tensor_parallel",
}


def estimate(overrides: Sequence[str], gpu_gib: float) -> None:
    """Check a composition and print what it would cost.

    Raises ValueError if it is not valid, or if a stage needs more than ``gpu_gib`` on one GPU.
    """
    params = parse_params(compose(overrides, CONF), where=" ".join(overrides))
    sources = list(locate_all(params.model.base, params.prepare))
    shape = find_shape(parse_base(params.model.base))
    costs = [] if shape is None else estimate_stages(params, shape, gpu_gib)
    sys.stdout.write(format_report(params, sources, shape, costs) + "\n")
    for cost in costs:
        if cost.gpu_gib > gpu_gib:
            raise ValueError(
                f"{cost.stage} {cost.item}: {cost.gpu_gib:.1f} GiB of a GPU: expected at most "
                f"{gpu_gib:g} (--gpu-gib); {MEMORY_HINTS[cost.stage]} would need less"
            )


def main() -> None:
    """Parse the arguments and print the estimate, or an error in one line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.estimate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="+", metavar="KEY=VALUE", help="as after dvc exp run -S")
    parser.add_argument("--gpu-gib", type=float, default=80.0, help="memory of each GPU")
    arguments = parser.parse_intermixed_args()
    try:
        estimate(arguments.overrides, arguments.gpu_gib)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"estimate: {' '.join(str(error).split())}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()

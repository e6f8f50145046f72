"""Execution of model-written programs under the limits of params.yaml."""

import warnings
from collections.abc import Iterable

from stages.lib.params.sampling import SandboxLimits
from stages.lib.runtime import console
from stages.lib.sandbox.pool import ProgramResult, run_programs


def run_distinct(programs: Iterable[str], limits: SandboxLimits) -> dict[str, ProgramResult]:
    """Run each distinct program once, with a progress bar, and return the results by program.

    Layers of the sandbox that are missing are named on the terminal.
    """
    distinct = list(dict.fromkeys(programs))
    if not distinct:
        return {}
    with (
        warnings.catch_warnings(record=True) as missing_layers,
        console.progress_bar(total=len(distinct), desc="run programs", unit="program") as progress,
    ):
        results = run_programs(distinct, **limits.model_dump(), on_progress=progress.update)
    for warning in missing_layers:
        console.log_line(str(warning.message))
    return dict(zip(distinct, results, strict=True))

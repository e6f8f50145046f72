"""Execution of model-written programs under the limits of params.yaml."""

import warnings
from collections.abc import Callable, Iterable, Sequence

from stages.lib.params.sampling import SandboxLimits
from stages.lib.runtime import console
from stages.lib.sandbox.pool import ProgramResult, run_programs


def run_with_limits(
    programs: Sequence[str],
    limits: SandboxLimits,
    *,
    on_progress: Callable[[int], object] = lambda _: None,
) -> list[ProgramResult]:
    """Run each program in the sandbox and return the results in order.

    ``on_progress`` is called with the number of programs that just finished. Warnings and
    errors are those of ``run_programs``.
    """
    return run_programs(
        programs,
        timeout_s=limits.timeout_s,
        memory_mb=limits.memory_mb,
        workers=limits.workers,
        allow_unprotected=limits.allow_unprotected,
        on_progress=on_progress,
    )


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
        results = run_with_limits(distinct, limits, on_progress=progress.update)
    for warning in missing_layers:
        console.log_line(str(warning.message))
    return dict(zip(distinct, results, strict=True))

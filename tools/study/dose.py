"""The dose curve: two arms of the study at several numbers of steps, and what they trained on."""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.lib.core.settings import overlay
from stages.lib.params.root import Params
from tools.study.blocks import Block
from tools.study.endpoints import cells_of, compare, outcomes
from tools.study.spec import STRATA, Study


def dose_rows(study: Study, params: Params, blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """Return a row per number of steps and stratum: the accuracy of both arms, the difference.

    ``params`` are those of the dose recipe. It has each arm of the study several times: the arms
    of one strategy differ in their steps alone. Raises ValueError for a number of steps that
    one of the two does not have.
    """
    baseline, candidate = (doses_of(params, name) for name in (study.baseline, study.candidate))
    if sorted(baseline) != sorted(candidate):
        raise ValueError(
            f"{study.dose.recipe}: steps of {study.candidate}: {sorted(candidate)}: expected "
            f"{sorted(baseline)}, as of {study.baseline}"
        )
    rows = []
    for steps in sorted(baseline):
        pair = candidate[steps], baseline[steps]
        for stratum in STRATA:
            means = {
                name: outcomes(study, blocks, system, stratum).mean(axis=1)
                for name, system in zip((study.candidate, study.baseline), pair, strict=True)
            }
            rows.append(
                {"steps": steps, "tokens": steps * params.train.tokens_per_step}
                | {"stratum": stratum, "runs": len(blocks)}
                | {name: round(float(by_run.mean()), 4) for name, by_run in means.items()}
                | compare(study, blocks, *pair, stratum).interval()
                | {
                    f"{name}_runs": " ".join(f"{value:.4f}" for value in by_run)
                    for name, by_run in means.items()
                }
            )
    return rows


def manipulation_rows(
    study: Study, params: Params, blocks: Sequence[Block]
) -> list[dict[str, Any]]:
    """Return how many examples each arm took of a hard cell, for one of an easy cell.

    A row has one seed and one number of steps. Blocks without examples are left out.
    """
    arms = {name: doses_of(params, name) for name in (study.candidate, study.baseline)}
    return [
        {"seed": block.seed, "steps": steps}
        | {
            name: round(_hard_to_easy(study, blocks, block.examples[systems[steps]]), 2)
            for name, systems in arms.items()
        }
        for block in blocks
        if block.examples
        for steps in sorted(arms[study.candidate])
    ]


def _hard_to_easy(study: Study, blocks: Sequence[Block], examples: Mapping[str, int]) -> float:
    hard, easy = (
        sum(examples[cell] for cell in cells) / len(cells)
        for cells in (cells_of(study, blocks, stratum) for stratum in STRATA)
    )
    return hard / easy


def doses_of(params: Params, arm: str) -> dict[int, str]:
    """Return the arms with the strategy of ``arm``, by their steps."""
    arms = params.weigh.arms
    return {
        overlay(params.train, other.train).steps: name
        for name, other in arms.items()
        if other.strategy == arms[arm].strategy
    }

"""The next point of a search, by Optuna's tree-structured Parzen estimator (TPE).

The study lives in memory only and is made anew from the trials so far. Its seed depends
on their number, so a search that was killed and taken up asks for the same points as one
that was not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from tools.sweep.spec import Choices, Parameter, Search, Values


def next_point(wanted: Search, tried: Sequence[tuple[Values, float | None]]) -> Values:
    """Return the values to try after those of ``tried``, each with its score or None (failed)."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spaces = {path: _space(one) for path, one in wanted.parameters.items()}
    study = optuna.create_study(
        direction=wanted.score.direction, sampler=TPESampler(seed=wanted.seed + len(tried))
    )
    for values, score in tried:
        study.add_trial(
            create_trial(
                state=TrialState.FAIL if score is None else TrialState.COMPLETE,
                value=score,
                params={path: _code(wanted.parameters[path], values[path]) for path in spaces},
                distributions=spaces,
            )
        )
    return _decoded(wanted.parameters, study.ask(spaces).params)


def _space(one: Parameter) -> BaseDistribution:
    if isinstance(one, Choices):
        # By number: Optuna takes no mappings.
        return CategoricalDistribution(range(len(one.choices)))
    if isinstance(one.low, int) and isinstance(one.high, int):
        return IntDistribution(one.low, one.high, log=one.log)
    return FloatDistribution(one.low, one.high, log=one.log)


def _code(one: Parameter, value: Any) -> Any:
    return one.choices.index(value) if isinstance(one, Choices) else value


def _decoded(parameters: Mapping[str, Parameter], codes: Mapping[str, Any]) -> Values:
    return {
        path: one.choices[codes[path]] if isinstance(one, Choices) else codes[path]
        for path, one in parameters.items()
    }

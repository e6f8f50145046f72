"""The next point of a search, by Optuna's tree-structured Parzen estimator (TPE)."""

from collections.abc import Sequence
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

from tools.sweep.spec import Parameter, Sweep, Values


def next_point(search: Sweep, history: Sequence[tuple[Values, float | None]]) -> Values:
    """Return the values to try after ``history``: points with their scores (None: failed)."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spaces = {path: _space(parameter) for path, parameter in search.parameters.items()}
    # The study is rebuilt for every point, with a seed that depends on the number of trials:
    # a search that was killed and resumed asks for the same points as one that was not.
    seed = (search.seed or 0) + len(history)
    study = optuna.create_study(direction=search.score.direction, sampler=TPESampler(seed=seed))
    for values, score in history:
        study.add_trial(
            create_trial(
                state=TrialState.FAIL if score is None else TrialState.COMPLETE,
                value=score,
                params={path: _encode(search.parameters[path], values[path]) for path in spaces},
                distributions=spaces,
            )
        )
    codes = study.ask(spaces).params
    return {
        path: codes[path] if parameter.choices is None else parameter.choices[codes[path]]
        for path, parameter in search.parameters.items()
    }


def _space(parameter: Parameter) -> BaseDistribution:
    if parameter.choices is not None:
        # Indices, because Optuna takes no mappings.
        return CategoricalDistribution(range(len(parameter.choices)))
    low, high = parameter.examples
    whole = isinstance(low, int) and isinstance(high, int)
    return (IntDistribution if whole else FloatDistribution)(low, high, log=parameter.log)


def _encode(parameter: Parameter, value: Any) -> Any:
    return value if parameter.choices is None else parameter.choices.index(value)

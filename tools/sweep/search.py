"""The next point of a search, by Optuna's tree-structured Parzen estimator (TPE)."""

from collections.abc import Sequence

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial

from tools.sweep.spec import Range, Sweep, Values


def next_point(search: Sweep, history: Sequence[tuple[Values, float | None]]) -> Values:
    """Return the values to try after ``history``: points with their scores (None: failed)."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Indices of choices, because Optuna takes no mappings.
    spaces: dict[str, BaseDistribution] = {
        path: CategoricalDistribution(range(len(choices)))
        for path, choices in search.choices.items()
    }
    spaces |= {path: _range(bounds) for path, bounds in search.ranges.items()}
    # The study is rebuilt for every point, with a seed that depends on the number of trials:
    # a search that was killed and resumed asks for the same points as one that was not.
    sampler = optuna.samplers.TPESampler(seed=(search.seed or 0) + len(history))
    study = optuna.create_study(direction=search.score.direction, sampler=sampler)
    for values, score in history:
        codes = {path: choices.index(values[path]) for path, choices in search.choices.items()}
        state = TrialState.FAIL if score is None else TrialState.COMPLETE
        study.add_trial(
            create_trial(state=state, value=score, params={**values, **codes}, distributions=spaces)
        )
    point = study.ask(spaces).params
    return point | {path: choices[point[path]] for path, choices in search.choices.items()}


def _range(bounds: Range) -> BaseDistribution:
    whole = isinstance(bounds.low, int) and isinstance(bounds.high, int)
    kind = IntDistribution if whole else FloatDistribution
    return kind(bounds.low, bounds.high, log=bounds.log)  # type: ignore[arg-type]

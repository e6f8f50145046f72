"""Generate what a store is missing."""

from collections.abc import Callable, Sequence
from functools import cache

from stages.lib.core.schema import Generation
from stages.lib.generations.requests import Backend, Request, Sampling
from stages.lib.generations.store import Key, Store
from stages.lib.params.sampling import EngineConfig as Settings
from stages.lib.runtime.console import progress_bar


def generate_missing(
    store: Store,
    requests: Sequence[Request],
    *,
    model: str,
    sampling: Sampling,
    settings: Settings,
    load: Callable[[], Backend],
    doing: str,
    more: Callable[[Sequence[Generation]], Sequence[Request]] | None = None,
) -> None:
    """Make every generation that ``requests`` ask for and the store lacks.

    ``model`` identifies the weights. ``load`` is called only if something is missing.
    ``more`` is called with the rows that answer ``requests``, whether made now or found,
    and may ask for a further round, and so on until it asks for nothing. Raises
    ValueError if a prompt with its answer is longer than ``settings.max_model_len`` tokens.
    """
    pool = cache(load)
    asked: list[Key] = []
    while requests:
        _check_lengths(requests, settings.max_model_len)
        keys = [request.key(model, sampling) for request in requests]
        _generate_round(store, requests, keys, sampling, settings.batch_size, pool, doing)
        asked += keys
        requests = more(list(store.found(keys))) if more else []
    store.compact(asked)


def _generate_round(
    store: Store,
    requests: Sequence[Request],
    keys: Sequence[Key],
    sampling: Sampling,
    batch_size: int,
    pool: Callable[[], Backend],
    doing: str,
) -> None:
    """Make the generations of a round that the store lacks.

    Batches are cut from the whole round, done or not, so that their make-up, and with it
    the rounding of sums, does not depend on what is there already.
    """
    missing = store.missing(keys)
    if not missing:
        return
    cut = [
        range(start, min(start + batch_size, len(requests)))
        for start in range(0, len(requests), batch_size)
    ]
    left = [[i for i in batch if keys[i] in missing] for batch in cut]
    wanted = [batch for batch in left if batch]
    loaded = pool()
    with progress_bar(total=len(requests), doing=doing, unit="generation") as progress:
        progress.update(len(requests) - len(missing))
        batches = [[requests[i] for i in batch] for batch in wanted]
        for number, answers in loaded.answers(batches, sampling, progress.update):
            rows = zip(wanted[number], answers, strict=True)
            store.append([_row(keys[i], *answer) for i, answer in rows])


def _row(key: Key, text: str, finish_reason: str, n_tokens: int) -> Generation:
    problem_id, model, prompting, shots, index, prompt_sha = key
    return Generation(
        problem_id=problem_id,
        model=model,
        prompting=prompting,
        shots=shots,
        index=index,
        text=text,
        finish_reason=finish_reason,
        n_tokens=n_tokens,
        prompt_sha=prompt_sha,
    )


def _check_lengths(requests: Sequence[Request], limit: int) -> None:
    for request in requests:
        length = len(request.prompt) + request.max_tokens
        if length > limit:
            raise ValueError(
                f"engine.max_model_len: {limit}: problem {request.problem_id} needs {length} "
                f"({len(request.prompt)} prompt tokens and {request.max_tokens} to generate)"
            )

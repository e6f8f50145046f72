"""Generate the texts that a store lacks."""

from collections.abc import Callable, Sequence
from functools import cache

from stages.lib.core.schema import Generation
from stages.lib.generations.requests import Backend, GeneratedText, Request, Sampling
from stages.lib.generations.store import Key, Store
from stages.lib.params.sampling import EngineConfig
from stages.lib.runtime.console import progress_bar


def generate_missing(
    store: Store,
    requests: Sequence[Request],
    *,
    model: str,
    sampling: Sampling,
    settings: EngineConfig,
    load: Callable[[], Backend],
    desc: str,
    next_round: Callable[[Sequence[Generation]], Sequence[Request]] | None = None,
) -> None:
    """Generate texts for all ``requests`` that the store has no generation of.

    ``model`` identifies the weights. ``load`` is called only if something is missing.
    ``next_round`` gets the generations of a round, new ones and those from the store alike,
    and returns the requests of the next round; an empty round ends the run. At the end the
    store holds the generations of all rounds and no others. Raises ValueError if a prompt
    and its answer together are longer than ``settings.max_model_len`` tokens.
    """
    # All rounds share one backend.
    backend = cache(load)
    all_keys: list[Key] = []
    while requests:
        _check_lengths(requests, settings.max_model_len)
        keys = [request.key(model, sampling) for request in requests]
        _generate_round(store, requests, keys, sampling, settings, backend, desc)
        all_keys += keys
        requests = next_round(list(store.get(keys))) if next_round else []
    store.compact(all_keys)


def _generate_round(
    store: Store,
    requests: Sequence[Request],
    keys: Sequence[Key],
    sampling: Sampling,
    settings: EngineConfig,
    load: Callable[[], Backend],
    desc: str,
) -> None:
    """Generate the texts of one round that the store lacks."""
    missing = store.missing(keys)
    if not missing:
        return
    order = range(len(requests)) if settings.queue == "batch" else by_prompt(requests)
    # Batches are cut from the whole round, and only then lose the requests that the store has.
    # So a request has the same neighbors, and its sums the same rounding, wherever an earlier
    # run stopped.
    starts = range(0, len(requests), settings.batch_size)
    whole = [order[start : start + settings.batch_size] for start in starts]
    reduced = [[i for i in batch if keys[i] in missing] for batch in whole]
    batches = [batch for batch in reduced if batch]
    backend = load()
    with progress_bar(total=len(requests), desc=desc, unit="generation") as progress:
        progress.update(len(requests) - len(missing))
        request_batches = [[requests[i] for i in batch] for batch in batches]
        for number, texts in backend.generate_batches(request_batches, sampling, progress.update):
            pairs = zip(batches[number], texts, strict=True)
            store.append([_row(keys[i], text) for i, text in pairs])


def by_prompt(requests: Sequence[Request]) -> list[int]:
    """Return the indices of requests, those with the same prompt one after the other.

    Prompts come in the order of their first requests. So the prefix cache still holds a prompt
    when its next sample begins.
    """
    first: dict[tuple[int, ...], int] = {}
    for i, request in enumerate(requests):
        first.setdefault(request.prompt, i)
    return sorted(range(len(requests)), key=lambda i: first[requests[i].prompt])


def _row(key: Key, generated: GeneratedText) -> Generation:
    problem_id, model, prompting, shots, index, prompt_sha = key
    return Generation(
        problem_id=problem_id,
        model=model,
        prompting=prompting,
        shots=shots,
        index=index,
        text=generated.text,
        finish_reason=generated.finish_reason,
        n_tokens=generated.n_tokens,
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

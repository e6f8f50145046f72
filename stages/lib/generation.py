"""Generation with vLLM; beside ``stages.lib.cpu_kernels`` the only module that imports it.

The engine runs in the process that makes it and is seeded anew, its prefix cache emptied,
for every batch: a batch's text then depends on the batch alone, not on which engine answers
it, so a run that was killed and taken up again writes what an uninterrupted one would have
written.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import torch

from stages.lib.console import bar
from stages.lib.devices import cores, dealt
from stages.lib.memory import keep_freed_memory
from stages.lib.params.sampling import Engine as Settings
from stages.lib.records import Generation, Prompting
from stages.lib.store import Key, Store

# Read when vLLM is imported: no core kept back, no second process to talk to, and no 8-bit
# activations with 4-bit weights, which would measure more than the weights.
os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_INT4_W4A8", "0")

from vllm import EngineArgs, LLMEngine, RequestOutput, SamplingParams, TokensPrompt  # noqa: E402

# Text, finish reason and number of tokens.
Answer = tuple[str, str, int]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn (temperature 0 is greedy), and the texts that end an answer."""

    temperature: float
    top_p: float
    seed: int
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """One generation to make: sample ``index`` of a problem's prompt, as token ids."""

    problem_id: str
    prompting: Prompting
    shots: int
    index: int
    prompt: tuple[int, ...]
    max_tokens: int

    def key(self, model: str, sampling: Sampling) -> Key:
        """Return the key of the row that answers this request."""
        said = repr((self.prompt, self.max_tokens, sampling)).encode()
        digest = sha256(said).hexdigest()[:16]
        return (self.problem_id, model, self.prompting, self.shots, self.index, digest)

    def seed(self, sampling: Sampling) -> int:
        """Return the seed of this request's own noise, which no other request changes."""
        said = (self.problem_id, self.prompting, self.shots, self.index, sampling.seed)
        return int.from_bytes(sha256(repr(said).encode()).digest()[:4], "big")


class Pool(Protocol):
    """What answers batches: an engine, or several that share them."""

    def answers(
        self,
        batches: Sequence[Sequence[Request]],
        sampling: Sampling,
        done: Callable[[int], object],
    ) -> Iterator[tuple[int, list[Answer]]]:
        """Yield each batch's number and its answers, in order of the requests, when it is done.

        Batches come in any order. ``done`` is called with numbers of finished requests.
        """
        ...


class Engine:
    """A loaded model that answers batches of requests."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Load a model folder. Raises ValueError naming it if vLLM cannot."""
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(settings.kv_cache_gib)
        keep_freed_memory()
        self._vllm = LLMEngine.from_engine_args(
            EngineArgs(
                model=str(folder),
                max_model_len=settings.max_model_len,
                max_num_seqs=settings.max_num_seqs,
                block_size=settings.block_size,
                enforce_eager=not torch.cuda.is_available(),
                **_kernels(settings.tensor_parallel),
                **_ranks(settings.tensor_parallel),
                disable_log_stats=True,
                seed=0,
            )
        )

    def answer(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        done: Callable[[int], object],
        *,
        ignore_eos: bool = False,
    ) -> list[Answer]:
        """Return text, finish reason and token count per request, in order.

        ``done`` is called with the number of requests that just finished.
        """
        self._vllm.reset_prefix_cache()
        for number, request in enumerate(requests):
            self._vllm.add_request(
                str(number),
                TokensPrompt(prompt_token_ids=list(request.prompt)),
                SamplingParams(
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    stop=list(sampling.stop),
                    max_tokens=request.max_tokens,
                    ignore_eos=ignore_eos,
                    seed=request.seed(sampling),
                ),
            )
        answers: dict[int, Answer] = {}
        while self._vllm.has_unfinished_requests():
            for output in self._vllm.step():
                if isinstance(output, RequestOutput) and output.finished:
                    first = output.outputs[0]
                    reason = first.finish_reason or "unknown"
                    answers[int(output.request_id)] = (first.text, reason, len(first.token_ids))
                    done(1)
        return [answers[number] for number in range(len(requests))]

    def answers(
        self,
        batches: Sequence[Sequence[Request]],
        sampling: Sampling,
        done: Callable[[int], object],
    ) -> Iterator[tuple[int, list[Answer]]]:
        """Answer one batch after the other: a pool of one."""
        for number, batch in enumerate(batches):
            yield number, self.answer(batch, sampling, done)


def fill(
    store: Store,
    requests: Sequence[Request],
    *,
    model: str,
    sampling: Sampling,
    settings: Settings,
    load: Callable[[], Pool],
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
        _make_missing(store, requests, keys, sampling, settings.batch_size, pool, doing)
        asked += keys
        requests = more(list(store.found(keys))) if more else []
    store.compact(asked)


def _make_missing(
    store: Store,
    requests: Sequence[Request],
    keys: Sequence[Key],
    sampling: Sampling,
    batch_size: int,
    pool: Callable[[], Pool],
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
    with bar(total=len(requests), doing=doing, unit="generation") as progress:
        progress.update(len(requests) - len(missing))
        batches = [[requests[i] for i in batch] for batch in wanted]
        for number, answers in loaded.answers(batches, sampling, progress.update):
            rows = zip(wanted[number], answers, strict=True)
            store.append([_row(keys[i], *answer) for i, answer in rows])


def _ranks(count: int) -> dict[str, Any]:
    """Return what splits a model among ``count`` GPUs, or processes where there is none."""
    if count == 1:
        return {}
    if not torch.cuda.is_available():
        # By itself vLLM gives each rank a NUMA node, and refuses where there are fewer.
        bound = "|".join(",".join(map(str, one)) for one in dealt(cores(), count))
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", bound)
    return {"tensor_parallel_size": count, "distributed_executor_backend": "mp"}


def _kernels(ranks: int) -> dict[str, Any]:
    if torch.cuda.is_available():
        return {}
    if ranks > 1:  # processes of vLLM's own, which know no kernels of ours
        return {"enable_chunked_prefill": False}
    from stages.lib.cpu_kernels import PRIORITY

    # vLLM's kernel for 4-bit weights uses AMX without asking the kernel of the system, which
    # ends the process where oneDNN, which asks, had no product of that size before.
    torch.cpu._init_amx()

    # Of a prompt in chunks vLLM turns the random state back, which it cannot on a CPU.
    return {"ir_op_priority": PRIORITY, "enable_chunked_prefill": False}


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

"""Generation with vLLM, which only this module and ``cpu_kernels`` import.

The engine runs in the process that makes it and is seeded anew, its prefix cache emptied,
for every batch: a batch's text then depends on the batch alone, not on which engine answers
it, so a run that was killed and taken up again writes what an uninterrupted one would have
written.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from vllm import EngineArgs, LLMEngine, RequestOutput, SamplingParams, TokensPrompt  # noqa: E402

from stages.lib.generations.requests import GeneratedText, Request, Sampling
from stages.lib.params.sampling import EngineConfig as Settings
from stages.lib.runtime.devices import cores, partition
from stages.lib.runtime.malloc import keep_freed_memory

# Read when vLLM is imported: no core kept back, no second process to talk to, and no 8-bit
# activations with 4-bit weights, which would measure more than the weights.
os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")

os.environ.setdefault("VLLM_CPU_INT4_W4A8", "0")


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
    ) -> list[GeneratedText]:
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
        answers: dict[int, GeneratedText] = {}
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
    ) -> Iterator[tuple[int, list[GeneratedText]]]:
        """Answer one batch after the other: a pool of one."""
        for number, batch in enumerate(batches):
            yield number, self.answer(batch, sampling, done)


def _ranks(count: int) -> dict[str, Any]:
    """Return what splits a model among ``count`` GPUs, or processes where there is none."""
    if count == 1:
        return {}
    if not torch.cuda.is_available():
        # By itself vLLM gives each rank a NUMA node, and refuses where there are fewer.
        bound = "|".join(",".join(map(str, one)) for one in partition(cores(), count))
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", bound)
    return {"tensor_parallel_size": count, "distributed_executor_backend": "mp"}


def _kernels(ranks: int) -> dict[str, Any]:
    if torch.cuda.is_available():
        return {}
    if ranks > 1:  # processes of vLLM's own, which know no kernels of ours
        return {"enable_chunked_prefill": False}
    from stages.lib.inference.cpu_kernels import PRIORITY

    # vLLM's kernel for 4-bit weights uses AMX without asking the kernel of the system, which
    # ends the process where oneDNN, which asks, had no product of that size before.
    torch.cpu._init_amx()

    # Of a prompt in chunks vLLM turns the random state back, which it cannot on a CPU.
    return {"ir_op_priority": PRIORITY, "enable_chunked_prefill": False}

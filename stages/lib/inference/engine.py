"""Text generation with vLLM; only this module, ``cpu_kernels`` and ``sampler`` import it.

The engine runs in the process that creates it. Every batch starts with new seeds and an empty
prefix cache, so its texts depend on the batch alone and not on which engine generates them: a
run that was killed and resumed writes what an uninterrupted one would have written.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from stages.lib.generations.requests import GeneratedText, Request, Sampling
from stages.lib.models.precision import compute_dtype
from stages.lib.params.sampling import EngineConfig
from stages.lib.runtime.devices import cores, partition
from stages.lib.runtime.malloc import keep_freed_memory

# vLLM reads these when it is imported: use every core, start no second process, and no 8-bit
# activations with 4-bit weights, which would measure more than the weights.
os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_INT4_W4A8", "0")

from vllm import EngineArgs, LLMEngine, RequestOutput, SamplingParams, TokensPrompt  # noqa: E402

from stages.lib.inference.sampler import InverseTransform, sampling_params  # noqa: E402


class Engine:
    """A loaded model that generates texts for batches of requests."""

    def __init__(self, folder: Path, config: EngineConfig) -> None:
        """Load a model folder. Raises ValueError naming it if vLLM cannot."""
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(config.kv_cache_gib)
        keep_freed_memory()
        kernels = _kernel_args(config.tensor_parallel)
        self._draws_tokens = "logits_processors" in kernels
        self._vllm = LLMEngine.from_engine_args(
            EngineArgs(
                model=str(folder),
                dtype=compute_dtype(),  # pyright: ignore[reportArgumentType]
                max_model_len=config.max_model_len,
                max_num_seqs=config.max_num_seqs,
                block_size=config.block_size,
                enforce_eager=not torch.cuda.is_available(),
                **kernels,
                **_parallel_args(config.tensor_parallel),
                disable_log_stats=True,
                seed=0,
            )
        )

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        on_progress: Callable[[int], object],
        *,
        ignore_eos: bool = False,
    ) -> list[GeneratedText]:
        """Generate one batch, and return the texts in the order of the requests.

        ``on_progress`` is called with the number of requests that just finished.
        """
        self._vllm.reset_prefix_cache()
        for number, request in enumerate(requests):
            self._vllm.add_request(
                str(number),
                TokensPrompt(prompt_token_ids=list(request.prompt)),
                SamplingParams(
                    stop=list(sampling.stop),
                    max_tokens=request.max_tokens,
                    ignore_eos=ignore_eos,
                    **self._sampling_args(sampling, request.seed(sampling)),
                ),
            )
        texts: dict[int, GeneratedText] = {}
        while self._vllm.has_unfinished_requests():
            # Requests finish in any order; vLLM returns the number that was given above.
            for output in self._vllm.step():
                if isinstance(output, RequestOutput) and output.finished:
                    first = output.outputs[0]
                    texts[int(output.request_id)] = GeneratedText(
                        first.text, first.finish_reason or "unknown", len(first.token_ids)
                    )
                    on_progress(1)
        return [texts[number] for number in range(len(requests))]

    def _sampling_args(self, sampling: Sampling, seed: int) -> dict[str, Any]:
        """Return the arguments that choose the next token: for our sampler where it can."""
        if self._draws_tokens and sampling.temperature > 0 and sampling.top_p == 1:
            return sampling_params(sampling.temperature, seed)
        return {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": seed}

    def generate_batches(
        self,
        batches: Sequence[Sequence[Request]],
        sampling: Sampling,
        on_progress: Callable[[int], object],
    ) -> Iterator[tuple[int, list[GeneratedText]]]:
        """Generate one batch after the other; see ``Backend``."""
        for number, batch in enumerate(batches):
            yield number, self.generate(batch, sampling, on_progress)


def _parallel_args(ranks: int) -> dict[str, Any]:
    """Return vLLM's arguments that split a model over GPUs, or over processes without a GPU."""
    if ranks == 1:
        return {}
    if not torch.cuda.is_available():
        # By default vLLM gives each rank a NUMA node, and fails where there are fewer.
        cpus = partition(cores(), ranks)
        binding = "|".join(",".join(map(str, part)) for part in cpus)
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", binding)
    return {"tensor_parallel_size": ranks, "distributed_executor_backend": "mp"}


def _kernel_args(ranks: int) -> dict[str, Any]:
    """Return vLLM's arguments that CPUs need; none on a GPU."""
    if torch.cuda.is_available():
        return {}
    # For a prompt in chunks vLLM resets the random state, which it cannot do on a CPU.
    args: dict[str, Any] = {"enable_chunked_prefill": False}
    if ranks > 1:  # vLLM's own processes do not import our kernels
        return args
    from stages.lib.inference.cpu_kernels import PRIORITY

    # vLLM's kernel for 4-bit weights uses AMX without asking the operating system for it, which
    # ends the process, unless oneDNN, which asks, has multiplied matrices of that size before.
    torch.cpu._init_amx()
    return args | {"ir_op_priority": PRIORITY, "logits_processors": [InverseTransform]}

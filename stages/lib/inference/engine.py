"""Text generation with vLLM; only this module, ``cpu_kernels`` and ``sampler`` import it.

The engine runs in the process that creates it. With ``engine.queue: batch`` every batch starts
with new seeds and an empty prefix cache, and runs alone, so its texts depend on the batch alone
and not on which engine generates them: a run that was killed and resumed writes what an
uninterrupted one would have written. With ``rolling``, rounding depends on what else runs, unless
``engine.batch_invariant`` is set.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from stages.lib.generations.requests import GeneratedText, Request, Sampling
from stages.lib.inference.dequantize import needs_humming
from stages.lib.inference.queue import BatchQueue, FinishedBatch, run_batches
from stages.lib.models.precision import compute_dtype
from stages.lib.params.sampling import EngineConfig
from stages.lib.runtime.devices import cores, partition
from stages.lib.runtime.malloc import keep_freed_memory

# vLLM reads these when it is imported: use every core, start no second process, which would
# keep a GPU's memory if this one is killed, and no 8-bit activations with 4-bit weights, which
# would measure more than the weights.
os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_INT4_W4A8", "0")

from vllm import EngineArgs, LLMEngine, RequestOutput, SamplingParams, TokensPrompt  # noqa: E402
from vllm.platforms import current_platform  # noqa: E402
from vllm.sampling_params import RequestOutputKind  # noqa: E402
from vllm.usage.usage_lib import UsageContext  # noqa: E402

from stages.lib.inference.sampler import InverseTransform, sampling_params  # noqa: E402

# What vLLM asks of a GPU for batch-invariant kernels, times ten: the H100 has 9.0.
_INVARIANT_CAPABILITY = 90


class Engine:
    """A loaded model that generates texts for batches of requests."""

    def __init__(self, folder: Path, config: EngineConfig) -> None:
        """Load a model folder. Raises ValueError naming it if vLLM cannot."""
        _set_batch_invariance(config)
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(config.kv_cache_gib)
        keep_freed_memory()
        kernels = _kernel_args(config.tensor_parallel)
        self._draws_tokens = "logits_processors" in kernels
        args = EngineArgs(
            model=str(folder),
            dtype=compute_dtype(),  # pyright: ignore[reportArgumentType]
            max_model_len=config.max_model_len,
            max_num_seqs=config.max_num_seqs,
            block_size=config.block_size,
            quantization="humming" if needs_humming(folder) else None,
            enforce_eager=not torch.cuda.is_available(),
            **kernels,
            **_parallel_args(config.tensor_parallel),
            disable_log_stats=True,
            seed=0,
        )
        self._vllm = LLMEngine.from_engine_args(args, usage_context=_usage())
        self.queue = BatchQueue(self, self._limit(config))

    def _limit(self, config: EngineConfig) -> int:
        """Return at how many unfinished requests no further batch joins; see ``BatchQueue``."""
        if config.queue == "batch":
            return 1
        # As many as vLLM runs at a time, and a batch that waits: a step may finish many.
        return self._vllm.vllm_config.scheduler_config.max_num_seqs + config.batch_size

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, on_progress: Callable[[int], object]
    ) -> list[GeneratedText]:
        """Generate one batch, and return the texts in the order of the requests.

        ``on_progress`` is called with the number of requests that just finished.
        """
        ((_, texts),) = run_batches(self.queue, [requests], sampling, on_progress)
        return texts

    def generate_batches(
        self,
        batches: Sequence[Sequence[Request]],
        sampling: Sampling,
        on_progress: Callable[[int], object],
    ) -> Iterator[FinishedBatch]:
        """Generate the batches as ``engine.queue`` says; see ``Backend``."""
        return run_batches(self.queue, batches, sampling, on_progress)

    def add_request(self, name: str, request: Request, sampling: Sampling) -> None:
        """Add a request to those that run; see ``RequestRunner``."""
        self._vllm.add_request(
            name,
            TokensPrompt(prompt_token_ids=list(request.prompt)),
            SamplingParams(
                stop=list(sampling.stop),
                max_tokens=request.max_tokens,
                ignore_eos=request.ignore_eos,
                output_kind=RequestOutputKind.FINAL_ONLY,
                **self._sampling_args(sampling, request.seed(sampling)),
            ),
        )

    def step(self) -> Iterator[tuple[str, GeneratedText]]:
        """Generate a token of each running request; yield the finished ones."""
        for output in self._vllm.step():
            if isinstance(output, RequestOutput) and output.finished:
                first = output.outputs[0]
                yield (
                    output.request_id,
                    GeneratedText(
                        first.text, first.finish_reason or "unknown", len(first.token_ids)
                    ),
                )

    def abort_requests(self, names: Sequence[str]) -> None:
        """Forget requests that have not finished."""
        self._vllm.abort_request(list(names))

    def reset_prefix_cache(self) -> None:
        """Forget the prompts of earlier requests."""
        self._vllm.reset_prefix_cache()

    def _sampling_args(self, sampling: Sampling, seed: int) -> dict[str, Any]:
        """Return the arguments that choose the next token: for our sampler where it can."""
        if self._draws_tokens and sampling.temperature > 0 and sampling.top_p == 1:
            return sampling_params(sampling.temperature, seed)
        return {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": seed}


def _set_batch_invariance(config: EngineConfig) -> None:
    """Let vLLM choose its kernels; it reads the variable when it loads the model.

    Raises ValueError where vLLM has no batch-invariant kernels.
    """
    if config.batch_invariant and not current_platform.has_device_capability(_INVARIANT_CAPABILITY):
        raise ValueError(
            "engine.batch_invariant: true: expected false on this machine: vLLM has such kernels "
            "for NVIDIA GPUs of compute capability 9.0 (H100) and higher"
        )
    os.environ["VLLM_BATCH_INVARIANT"] = str(int(config.batch_invariant))


def _usage() -> UsageContext:
    """Return the use that vLLM takes its limits from, of tokens and of requests a step.

    On a GPU these are the limits for batch inference: on an H100 16,384 tokens and 1,024
    requests instead of 2,048 and 128. On a CPU they would change which prompts run together, and
    so the rounding.
    """
    return UsageContext.LLM_CLASS if torch.cuda.is_available() else UsageContext.ENGINE_CONTEXT


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

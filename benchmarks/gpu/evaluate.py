"""Evaluation of a 7B model on one GPU: bf16 and GPTQ's format with 4 and 8 bits.

Random weights of the shape of Qwen2.5-7B are rounded to nearest on GPTQ's grid, which is saved in
the same format. Each model generates with vLLM, and scores texts as the stage ``likelihood`` does,
each in a process of its own.

    python -m benchmarks.gpu.evaluate [generate | score FOLDER]
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.gpu import vllm_queue
from benchmarks.gpu.common import Result, device, random_examples
from benchmarks.report import run_module
from stages.lib.core.paths import CONF
from stages.lib.generations.requests import Sampling
from stages.lib.inference.dequantize import dequantize, load_quantized
from stages.lib.models.precision import compute_dtype
from stages.lib.params.compose import compose
from stages.lib.params.quantization import Quantize
from stages.lib.provenance.catalog import MODELS, Shape
from stages.lib.training.likelihood import negative_log_likelihoods

MODULE = "benchmarks.gpu.evaluate"
SHAPE = MODELS["Qwen/Qwen2.5-7B"].shape
PROMPTS, TOKENS, LONGEST = 512, 200_000, 1024
LEAST_RATE = 30_000


def generate(folder: Path, count: int = PROMPTS, vocabulary: int = SHAPE.vocabulary) -> Result:
    """Return the rate of vLLM, and the name of the kernels that it chose."""
    from stages.lib.inference.engine import Engine

    engine = Engine(folder, vllm_queue.engine_config("rolling"))
    requests = vllm_queue.make_requests(count, vocabulary)
    start = time.perf_counter()
    greedy = Sampling(temperature=0.0, top_p=1.0, seed=0)
    texts = engine.generate(requests, greedy, lambda _: None)
    seconds = time.perf_counter() - start
    rate = sum(text.n_tokens for text in texts) / seconds
    (kernels,) = engine._vllm.apply_model(kernel_names)  # noqa: SLF001
    return Result("generate", "", passed=True, figures={"rate": rate, "kernels": kernels})


def kernel_names(model: torch.nn.Module) -> list[str]:
    """Return the names of the kernels for quantized weights in a model of vLLM."""
    methods = [getattr(module, "quant_method", None) for module in model.modules()]
    kernels = [getattr(method, "kernel", None) for method in methods]
    return sorted({type(kernel).__name__ for kernel in kernels if kernel is not None})


def score(folder: Path, tokens: int = TOKENS, longest: int = LONGEST) -> Result:
    """Return the tokens per second of scoring, and the largest memory that it took."""
    model = dequantize(load_quantized(folder, str(device()))).to(compute_dtype())  # pyright: ignore[reportArgumentType]
    shape_of_texts = Shape(1, 1, 1, 1, 1, 1, model.config.vocab_size, tied=True)
    data = random_examples(shape_of_texts, tokens, longest=longest)
    examples = [data[i] for i in range(len(data))]
    negative_log_likelihoods(model, examples[:4], lambda _: None)
    start = time.perf_counter()
    negative_log_likelihoods(model, examples, lambda _: None)
    rate = sum(data.lengths) / (time.perf_counter() - start)
    gib = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None
    return Result("score", "", passed=True, figures={"rate": rate, "gib": gib})


def round_to_nearest(parent: Path, out: Path, bits: Any) -> None:
    """Write the model of ``parent`` on GPTQ's grid."""
    from stages.lib.quantization.gptq import quantize_gptq_or_rtn

    settings = Quantize.model_validate(compose([], CONF)["quantize"] | {"group_size": 128})
    quantize_gptq_or_rtn(
        parent, out, bits=bits, settings=settings, calibration=None, on_progress=lambda _: None
    )


def measure() -> Result:
    """Measure the three models."""
    figures: dict[str, Any] = {}
    with TemporaryDirectory() as name:
        folders = {"bf16": Path(name) / "bf16"}
        vllm_queue.save_model(SHAPE, folders["bf16"])
        for bits in (4, 8):
            folders[f"gptq{bits}"] = Path(name) / f"gptq{bits}"
            round_to_nearest(folders["bf16"], folders[f"gptq{bits}"], bits)
        for model, folder in folders.items():
            figures[model] = {
                part: run_module(MODULE, part, str(folder))["figures"]
                for part in ("generate", "score")
            }
    return judge(figures)


def judge(figures: dict[str, Any]) -> Result:
    """Return the result for the figures of each model."""
    packed = [figures[model]["generate"]["kernels"] for model in figures if model != "bf16"]
    return Result(
        "evaluate",
        f"no model runs out of memory; scoring at least {LEAST_RATE} tokens/s; Marlin's kernels "
        "for 4 and 8 bits",
        all(parts["score"]["rate"] >= LEAST_RATE for parts in figures.values())
        and all(names and all("Marlin" in name for name in names) for names in packed),
        figures,
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        part, folder = sys.argv[1:]
        ({"generate": generate, "score": score}[part])(Path(folder)).print_line()
    else:
        measure().print_line()

"""Export a model for CPUs without PyTorch, and compare it with vLLM: a command, not a stage.

Reads a model of ``data/models/`` and the benchmarks. Writes the model for ONNX Runtime GenAI to
``data/exports/<model>-<precision>/``, and a comparison with vLLM to
``reports/exports/<model>-<precision>.json``: size, speed, zero-shot accuracy on some benchmark
problems, and how often both give the same answer. The yardstick for this agreement is vLLM
itself with smaller batches. ``analyze`` adds the exports of evaluated models to
``reports/tables/quantization.csv``.

    python -m tools.export MODEL --precision fp32|int8|int4
"""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from stages.lib.core.files import write_json
from stages.lib.core.paths import EXPORT_REPORTS, EXPORTS, MODELS
from stages.lib.core.schema import Problem
from stages.lib.core.sequences import evenly_spaced
from stages.lib.generations.answers import read_benchmarks
from stages.lib.generations.requests import Request, Sampling
from stages.lib.inference.speed import engine_runner, measure_latency
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.models.folder import weight_bytes
from stages.lib.models.loading import load_tokenizer
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.prompts.templates import problem_prompt
from stages.lib.runtime import console
from tools.export import onnx
from tools.export.agreement import agreement, is_correct
from tools.export.runtime import Runtime

N_PROBLEMS = 50
SMALL_BATCH = 10

Benchmarks = dict[str, list[Problem]]


def main(name: str, precision: str) -> None:
    """Export a model and compare it with vLLM."""
    params = load_params()
    model, out = MODELS / name, EXPORTS / f"{name}-{precision}"
    onnx.check_exportable(model, precision)
    fingerprint = model_fingerprint(model)
    benchmarks = read_benchmarks(params.evaluate.max_tokens)
    problems, requests = select_problems(model, benchmarks, params)
    onnx.export(model, out, precision)
    # ONNX first: vLLM binds this process to its cores.
    texts, latency = run_onnx(out, requests, params)
    vllm_texts, small_batch_texts, vllm_latency = run_vllm(model, requests, params)
    correct, vllm_correct = is_correct(problems, texts), is_correct(problems, vllm_texts)
    write_json(
        EXPORT_REPORTS / f"{name}-{precision}.json",
        {
            "model": name,
            "fingerprint": fingerprint,
            "format": "ONNX Runtime GenAI",
            "precision": precision,
            "bits": onnx.BITS[precision],
            "problems": len(problems),
            "by_benchmark": count_by_benchmark(problems, correct, benchmarks),
            "exported": {"bytes": onnx.exported_bytes(out), "accuracy": fmean(correct)} | latency,
            "vllm": {"bytes": weight_bytes(model), "accuracy": fmean(vllm_correct)} | vllm_latency,
            "agreement": agreement(problems, texts, vllm_texts),
            "vllm_with_itself": agreement(problems, small_batch_texts, vllm_texts),
        },
    )


def select_problems(
    model: Path, benchmarks: Benchmarks, params: Params
) -> tuple[list[Problem], list[Request]]:
    """Return problems at even distances over the benchmarks, and their zero-shot requests."""
    everything = [(name, problem) for name, members in benchmarks.items() for problem in members]
    selected = evenly_spaced(everything, min(N_PROBLEMS, len(everything)))
    tokenizer = load_tokenizer(model)
    requests = [
        Request(
            problem.id,
            "cot",
            0,
            0,
            problem_prompt(tokenizer, params.prompts, problem, "cot", ()),
            params.evaluate.max_tokens[name],
        )
        for name, problem in selected
    ]
    return [problem for _, problem in selected], requests


def count_by_benchmark(
    problems: Sequence[Problem], correct: Sequence[bool], benchmarks: Benchmarks
) -> dict[str, dict[str, int]]:
    """Return the number of problems, and of correct answers, in each benchmark."""
    ids = [problem.id for problem in problems]
    correct_of = dict(zip(ids, correct, strict=True))
    answered = {
        name: [correct_of[problem.id] for problem in members if problem.id in correct_of]
        for name, members in benchmarks.items()
    }
    return {name: {"n": len(values), "right": sum(values)} for name, values in answered.items()}


def run_onnx(
    folder: Path, requests: Sequence[Request], params: Params
) -> tuple[list[str], dict[str, list[float]]]:
    """Return the exported model's answers and its latency."""
    runtime = Runtime(folder)
    texts = []
    with console.progress_bar(total=len(requests), desc="answer, ONNX", unit="problem") as progress:
        for request in requests:
            texts.append(
                runtime.generate_text(request.prompt, request.max_tokens, params.prompts.stop)
            )
            progress.update(1)
    prompt = requests[0].prompt
    return texts, measure_latency(
        lambda n: runtime.generate(prompt, n, ignore_eos=True), params.evaluate.speed
    )


def run_vllm(
    folder: Path, requests: Sequence[Request], params: Params
) -> tuple[list[str], list[str], dict[str, list[float]]]:
    """Return vLLM's answers in one batch, its answers in small batches, and its latency."""
    # Imported here: it takes many seconds, and a mistake is named before.
    from stages.lib.inference.engine import Engine

    engine = Engine(folder, params.engine)
    greedy = Sampling(temperature=0.0, top_p=1.0, seed=0, stop=tuple(params.prompts.stop))
    starts = range(0, len(requests), SMALL_BATCH)
    small_batches = [requests[start : start + SMALL_BATCH] for start in starts]
    with console.progress_bar(
        total=2 * len(requests), desc="answer, vLLM", unit="problem"
    ) as progress:
        texts, small_batch_texts = (
            [
                generated.text
                for batch in batches
                for generated in engine.generate(batch, greedy, progress.update)
            ]
            for batches in ([requests], small_batches)
        )
    latency = measure_latency(engine_runner(engine, requests[0].prompt), params.evaluate.speed)
    return texts, small_batch_texts, latency


def _arguments(parser: ArgumentParser) -> None:
    precisions = ", ".join(onnx.BITS)
    parser.add_argument("--precision", required=True, help=f"of the weights: {precisions}")


if __name__ == "__main__":
    console.run_stage("export", main, item="model", add_arguments=_arguments, timed=False)

"""Export a model for CPUs without PyTorch, and compare it with vLLM: a command, not a stage.

Reads a model of ``data/models/`` and the benchmarks. Writes ``data/exports/<model>-<precision>/``
for ONNX Runtime GenAI, and to ``reports/exports/<model>-<precision>.json`` its size and speed
beside vLLM's, how many benchmark problems its greedy answers solve, asked without in-context
examples, and how often these are those that the model itself gives in vLLM. How often vLLM
agrees with itself when it answers fewer problems at a time is the yardstick. ``analyze`` takes
the exports of evaluated models into ``reports/tables/quantization.csv``.

    python -m tools.export MODEL --precision fp32|int8|int4
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from stages.lib.core.files import write_json
from stages.lib.core.paths import EXPORT_REPORTS, EXPORTS, MODELS
from stages.lib.core.schema import Problem
from stages.lib.generations.answers import read_benchmarks
from stages.lib.generations.requests import Request, Sampling
from stages.lib.inference.engine import Engine
from stages.lib.inference.speed import engine_runner, measure_latency
from stages.lib.models import loading
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.prompts.templates import problem_prompt
from stages.lib.runtime import console
from tools.export import onnx
from tools.export.agreement import agreement, evenly_spaced, is_correct
from tools.export.runtime import Runtime

PROBLEMS = 50
FEWER = 10


def main(name: str, precision: str) -> None:
    """Export a model and compare."""
    wanted = load_params()
    model, out = MODELS / name, EXPORTS / f"{name}-{precision}"
    onnx.check(model, precision)
    problems, requests = asked(model, wanted)
    onnx.export(model, out, precision)
    # ONNX first: vLLM binds this process to its cores.
    texts, speeds = with_onnx(out, requests, wanted)
    together, apart, peers = with_vllm(model, requests, wanted)
    ours, theirs = (is_correct(problems, one) for one in (texts, together))
    write_json(
        EXPORT_REPORTS / f"{name}-{precision}.json",
        {
            "model": name,
            "fingerprint": model_fingerprint(model),
            "format": "ONNX Runtime GenAI",
            "precision": precision,
            "bits": onnx.BITS[precision],
            "problems": len(problems),
            "by_benchmark": by_benchmark(problems, ours, wanted),
            "exported": {"bytes": onnx.exported_bytes(out), "accuracy": fmean(ours)} | speeds,
            "vllm": {"bytes": loading.weight_bytes(model), "accuracy": fmean(theirs)} | peers,
            "agreement": agreement(problems, texts, together),
            "vllm_with_itself": agreement(problems, apart, together),
        },
    )


def asked(model: Path, wanted: Params) -> tuple[list[Problem], list[Request]]:
    """Return problems at even distances over the benchmarks, and what asks them."""
    limits = wanted.evaluate.max_tokens
    benchmarks = read_benchmarks(limits)
    limit_of = {one.id: limits[name] for name, those in benchmarks.items() for one in those}
    problems = evenly_spaced([one for those in benchmarks.values() for one in those], PROBLEMS)
    tokenizer = loading.load_tokenizer(model)
    prompts = [problem_prompt(tokenizer, wanted.prompts, one, "cot", ()) for one in problems]
    return problems, [
        Request(one.id, "cot", 0, 0, prompt, limit_of[one.id])
        for one, prompt in zip(problems, prompts, strict=True)
    ]


def by_benchmark(
    problems: Sequence[Problem], right: Sequence[bool], wanted: Params
) -> dict[str, dict[str, int]]:
    """Return how many problems of each benchmark were answered, and how many of them right."""
    was_right = {one.id: correct for one, correct in zip(problems, right, strict=True)}
    answered = {
        name: [was_right[one.id] for one in those if one.id in was_right]
        for name, those in read_benchmarks(wanted.evaluate.max_tokens).items()
    }
    return {name: {"n": len(those), "right": sum(those)} for name, those in answered.items()}


def with_onnx(
    folder: Path, requests: Sequence[Request], wanted: Params
) -> tuple[list[str], dict[str, list[float]]]:
    """Return the exported model's answers and its speed."""
    runtime = Runtime(folder)
    texts = []
    with console.progress_bar(
        total=len(requests), doing="answer, ONNX", unit="problem"
    ) as progress:
        for one in requests:
            texts.append(runtime.answer(one.prompt, one.max_tokens, wanted.prompts.stop))
            progress.update(1)
    prompt = requests[0].prompt
    return texts, measure_latency(
        lambda n: runtime.generate(prompt, n, ignore_eos=True), wanted.evaluate.speed
    )


def with_vllm(
    folder: Path, requests: Sequence[Request], wanted: Params
) -> tuple[list[str], list[str], dict[str, list[float]]]:
    """Return vLLM's answers to all problems together, to ``FEWER`` at a time, and its speed."""
    engine = Engine(folder, wanted.engine)
    greedy = Sampling(temperature=0.0, top_p=1.0, seed=0, stop=tuple(wanted.prompts.stop))
    fewer = [requests[start : start + FEWER] for start in range(0, len(requests), FEWER)]
    with console.progress_bar(
        total=2 * len(requests), doing="answer, vLLM", unit="problem"
    ) as progress:
        together, apart = (
            [text for batch in all_ for text, _, _ in engine.answer(batch, greedy, progress.update)]
            for all_ in ([requests], fewer)
        )
    return (
        together,
        apart,
        measure_latency(engine_runner(engine, requests[0].prompt), wanted.evaluate.speed),
    )


if __name__ == "__main__":
    console.run_stage("export", main, item="model", options=("precision",), timed=False)

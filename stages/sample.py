"""Let the base model answer every training problem ``sample.k`` times, few-shot.

Each of ``sample.prompting`` by itself: reasoning, or programs.

Reads the base model, the training problems and the demonstrations; writes raw
generations to ``data/samples/``. What is there already is not made again.

    python -m stages.sample
"""

from dataclasses import replace

from stages.lib import console, models, params
from stages.lib.generation import Engine, Request, Sampling, fill
from stages.lib.paths import DEMONSTRATIONS, MODELS, SAMPLES, TRAIN_PROBLEMS
from stages.lib.prompts import choose_demonstrations, problem_prompt
from stages.lib.records import Problem, read_parquet
from stages.lib.store import Store


def main() -> None:
    """Sample the base model."""
    settings = params.load()
    sample, prompts, engine = settings.sample, settings.prompts, settings.engine
    base = MODELS / "base"
    tokenizer = models.load_tokenizer(base)
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    pool = read_parquet(DEMONSTRATIONS, Problem)
    requests = []
    for prompting in sample.prompting:
        firsts = []
        for problem in problems:
            shown = choose_demonstrations(problem, pool, sample.shots)
            prompt = problem_prompt(tokenizer, prompts, problem, prompting, shown)
            limit = sample.max_tokens
            firsts.append(Request(problem.id, prompting, sample.shots, 0, prompt, limit))
        requests += [replace(first, index=index) for index in range(sample.k) for first in firsts]
    fill(
        Store(SAMPLES),
        requests,
        model=models.fingerprint(base),
        sampling=Sampling(sample.temperature, sample.top_p, sample.seed, tuple(prompts.stop)),
        settings=engine,
        load=lambda: Engine(base, engine),
        doing="sample",
    )


if __name__ == "__main__":
    console.run("sample", main)

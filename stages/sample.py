"""Let the base model answer every training problem ``sample.k`` times, few-shot, or not at all.

Each of ``sample.prompting`` by itself: reasoning, or programs. With ``sample.sequential``,
further rounds of k follow for the problems whose pass rate, by reasoning, is not known
well enough; the samples are graded in between to tell. Programs stay at k.

Reads the base model, the training problems and the demonstrations; writes raw
generations to ``data/samples/``. What is there already is not made again.

    python -m stages.sample
"""

from dataclasses import replace

from stages.lib import console, models, params
from stages.lib.engines import Engines
from stages.lib.generation import Request, Sampling, fill
from stages.lib.paths import DEMONSTRATIONS, MODELS, SAMPLES, TRAIN_PROBLEMS
from stages.lib.prompts import choose_demonstrations, problem_prompt
from stages.lib.records import Problem, Prompting, read_parquet
from stages.lib.sequential import Rounds
from stages.lib.store import Store


def main() -> None:
    """Sample the base model."""
    settings = params.load()
    sample, prompts = settings.sample, settings.prompts
    if not sample.k:
        Store(SAMPLES).compact([])
        return
    base = MODELS / "base"
    fingerprint = models.fingerprint(base)
    tokenizer = models.load_tokenizer(base)
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    pool = read_parquet(DEMONSTRATIONS, Problem)

    def first(problem: Problem, prompting: Prompting) -> Request:
        shown = choose_demonstrations(problem, pool, sample.shots, prompting)
        prompt = problem_prompt(tokenizer, prompts, problem, prompting, shown)
        return Request(problem.id, prompting, sample.shots, 0, prompt, sample.max_tokens)

    firsts = {way: [first(problem, way) for problem in problems] for way in sample.prompting}
    more = None
    if sample.sequential:
        more = Rounds(problems, firsts["cot"], k=sample.k, rule=sample.sequential)
    with Engines(lambda: base, settings.engine) as engines:
        fill(
            Store(SAMPLES),
            [
                replace(one, index=index)
                for way in sample.prompting
                for index in range(sample.k)
                for one in firsts[way]
            ],
            model=fingerprint,
            sampling=Sampling(sample.temperature, sample.top_p, sample.seed, tuple(prompts.stop)),
            settings=settings.engine,
            load=engines.pool,
            doing="sample",
            more=more,
        )


if __name__ == "__main__":
    console.run("sample", main)

"""Let the base model answer every training problem ``sample.k`` times, few-shot, or not at all.

Each of ``sample.prompting`` by itself: reasoning, or programs. With ``sample.sequential``,
further rounds of k follow for the problems whose pass rate, by reasoning, is not known
well enough; the samples are graded in between to tell. Programs stay at k.

Reads the base model, the training problems and the demonstrations; writes raw
generations to ``data/samples/``. What is there already is not made again.

    python -m stages.sample
"""

from dataclasses import replace

from stages.lib.core.paths import DEMONSTRATIONS, MODELS, SAMPLES, TRAIN_PROBLEMS
from stages.lib.core.schema import Problem, Prompting
from stages.lib.core.tables import read_parquet
from stages.lib.difficulty.sequential import SequentialSampler
from stages.lib.generations.complete import generate_missing
from stages.lib.generations.requests import Request, Sampling
from stages.lib.generations.store import Store
from stages.lib.inference.pool import EnginePool
from stages.lib.models import loading
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.params.load import load_params
from stages.lib.prompts.few_shot import choose_demonstrations
from stages.lib.prompts.templates import problem_prompt
from stages.lib.runtime import console


def main() -> None:
    """Sample the base model."""
    settings = load_params()
    sample, prompts = settings.sample, settings.prompts
    if not sample.k:
        Store(SAMPLES).compact([])
        return
    base = MODELS / "base"
    fingerprint = model_fingerprint(base)
    tokenizer = loading.load_tokenizer(base)
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    pool = read_parquet(DEMONSTRATIONS, Problem)

    def first(problem: Problem, prompting: Prompting) -> Request:
        shown = choose_demonstrations(problem, pool, sample.shots, prompting)
        prompt = problem_prompt(tokenizer, prompts, problem, prompting, shown)
        return Request(problem.id, prompting, sample.shots, 0, prompt, sample.max_tokens)

    firsts = {way: [first(problem, way) for problem in problems] for way in sample.prompting}
    more = None
    if sample.sequential:
        more = SequentialSampler(problems, firsts["cot"], k=sample.k, rule=sample.sequential)
    with EnginePool(lambda: base, settings.engine) as engines:
        generate_missing(
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
    console.run_stage("sample", main)

"""Sample more answers where the pass rate is too uncertain (``sample.sequential``).

Starts from ``data/samples/``: a problem whose posterior interval by CoT is still too wide gets
rounds of ``sample.k`` more CoT samples. Reads also the base model, the training problems and
the demonstrations; writes raw generations to ``data/resamples/``. Samples that are already
there are kept. Without ``sample.sequential`` the folder is empty.

    python -m stages.resample
"""

from stages.lib.core.paths import DEMONSTRATIONS, MODELS, RESAMPLES, SAMPLES, TRAIN_PROBLEMS
from stages.lib.core.schema import Problem
from stages.lib.core.tables import read_parquet
from stages.lib.generations.store import Store
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.params.sampling import Sequential
from stages.lib.runtime import console


def main() -> None:
    """Sample further rounds, if there are any."""
    params = load_params()
    if params.sample.k and params.sample.sequential:
        resample(params, params.sample.sequential)
    else:
        Store(RESAMPLES).compact([])


def resample(params: Params, rule: Sequential) -> None:
    """Sample rounds until no pass rate is too uncertain, or no problem may get more samples."""
    # Imported here: these load PyTorch, which most runs do not need.
    from stages.lib.difficulty.sequential import SequentialSampler
    from stages.lib.generations.complete import generate_missing
    from stages.lib.generations.requests import Request, Sampling
    from stages.lib.inference.pool import EnginePool
    from stages.lib.models.fingerprint import model_fingerprint
    from stages.lib.models.loading import load_tokenizer
    from stages.lib.prompts.few_shot import few_shot_prompt

    sample, base = params.sample, MODELS / "base"
    tokenizer = load_tokenizer(base)
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    pool = read_parquet(DEMONSTRATIONS, Problem)
    first = [
        Request(
            problem.id,
            "cot",
            sample.shots,
            0,
            few_shot_prompt(tokenizer, params.prompts, problem, "cot", pool, sample.shots),
            sample.max_tokens,
        )
        for problem in problems
    ]
    sampler = SequentialSampler(problems, first, k=sample.k, rule=rule)
    with EnginePool(base, params.engine) as engines:
        generate_missing(
            Store(RESAMPLES),
            # The sampler grades the first round and returns the requests of the second.
            sampler(list(Store(SAMPLES).rows())),
            model=model_fingerprint(base),
            sampling=Sampling(
                sample.temperature, sample.top_p, sample.seed, tuple(params.prompts.stop)
            ),
            settings=params.engine,
            load=engines.backend,
            desc="resample",
            next_round=sampler,
        )


if __name__ == "__main__":
    console.run_stage("resample", main)

"""Sample ``sample.k`` answers of the base model to every training problem.

There are k answers for each prompting of ``sample.prompting`` (CoT reasoning, programs), with
``sample.shots`` demonstrations in the prompt. Reads the base model, the training problems and
the demonstrations; writes raw generations to ``data/samples/``. Samples that are already there
are kept.

    python -m stages.sample
"""

from dataclasses import replace

from stages.lib.core.paths import DEMONSTRATIONS, MODELS, SAMPLES, TRAIN_PROBLEMS
from stages.lib.core.schema import Problem
from stages.lib.core.tables import read_parquet
from stages.lib.generations.complete import generate_missing
from stages.lib.generations.requests import Request, Sampling
from stages.lib.generations.store import Store
from stages.lib.inference.pool import EnginePool
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.models.loading import load_tokenizer
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.prompts.few_shot import few_shot_prompt
from stages.lib.runtime import console


def main() -> None:
    """Sample the base model."""
    params = load_params()
    sample = params.sample
    if not sample.k:
        Store(SAMPLES).compact([])
        return
    base = MODELS / "base"
    with EnginePool(base, params.engine) as engines:
        generate_missing(
            Store(SAMPLES),
            sample_requests(params),
            model=model_fingerprint(base),
            sampling=Sampling(
                sample.temperature, sample.top_p, sample.seed, tuple(params.prompts.stop)
            ),
            settings=params.engine,
            load=engines.backend,
            desc="sample",
        )


def sample_requests(params: Params) -> list[Request]:
    """Return all requests: by prompting, then by sample, then by problem."""
    sample = params.sample
    tokenizer = load_tokenizer(MODELS / "base")
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    pool = read_parquet(DEMONSTRATIONS, Problem)
    requests = []
    for prompting in sample.prompting:
        # All samples of a problem share its prompt.
        first = [
            Request(
                problem.id,
                prompting,
                sample.shots,
                0,
                few_shot_prompt(tokenizer, params.prompts, problem, prompting, pool, sample.shots),
                sample.max_tokens,
            )
            for problem in problems
        ]
        requests += [
            replace(request, index=index) for index in range(sample.k) for request in first
        ]
    return requests


if __name__ == "__main__":
    console.run_stage("sample", main)

"""Ask a model for the closest option where its answer matches none of a problem's options.

Reads a model of ``data/models/``, its answers of ``data/answers/<model>/``, greedy and sampled, and
the benchmarks;
writes raw generations to ``data/follow_ups/<model>/``. No model is loaded if there is nothing
to ask.

    python -m stages.follow_up MODEL
"""

from typing import NamedTuple

from stages.lib.core.paths import MODELS
from stages.lib.core.schema import Generation
from stages.lib.generations.answers import (
    answer_store,
    follow_up_store,
    read_benchmarks,
    sampled_store,
)
from stages.lib.grading.batch import grade_batch, submission, unmatched_answer
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.runtime import console


class FollowUp(NamedTuple):
    """A question to ask, the answer that it follows, and the longest reply in tokens."""

    question: str
    answer: Generation
    max_tokens: int


def main(name: str) -> None:
    """Ask a model the follow-up questions."""
    params = load_params()
    if follow_ups := follow_ups_of(name, params):
        ask(name, follow_ups, params)
    else:
        follow_up_store(name).compact([])


def follow_ups_of(name: str, params: Params) -> list[FollowUp]:
    """Return a question for each of a model's answers that matches none of the options."""
    max_tokens = params.evaluate.max_tokens
    with_options = {
        problem.id: (problem, max_tokens[benchmark])
        for benchmark, problems in read_benchmarks(max_tokens).items()
        for problem in problems
        if problem.kind == "choice"
    }
    if not with_options:
        return []
    # Imported here: it loads transformers.
    from stages.lib.prompts.templates import closest_option_question

    stores = answer_store(name), sampled_store(name)
    answers = [row for store in stores for row in store.rows() if row.problem_id in with_options]
    if not answers:
        raise FileNotFoundError(
            f"{stores[0].folder}: no answers to problems with options: expected those that "
            f"`python -m stages.evaluate {name}` writes"
        )
    submissions = [submission(with_options[row.problem_id][0], row) for row in answers]
    follow_ups = []
    for answer, submitted, graded in zip(
        answers, submissions, grade_batch(submissions, params.sandbox), strict=True
    ):
        unmatched = unmatched_answer(submitted, graded)
        if unmatched is not None:
            question = closest_option_question(unmatched, submitted.choices)
            follow_ups.append(FollowUp(question, answer, with_options[answer.problem_id][1]))
    return follow_ups


def ask(name: str, follow_ups: list[FollowUp], params: Params) -> None:
    """Generate the replies that are missing."""
    # Imported here: these load PyTorch, which a run without questions does not need.
    from stages.lib.generations.complete import generate_missing
    from stages.lib.generations.requests import Request, Sampling
    from stages.lib.inference.pool import EnginePool
    from stages.lib.models.fingerprint import model_fingerprint
    from stages.lib.models.loading import load_tokenizer
    from stages.lib.prompts.templates import question_prompt

    folder = MODELS / name
    tokenizer = load_tokenizer(folder)
    requests = [
        Request(
            answer.problem_id,
            answer.prompting,
            answer.shots,
            answer.index,
            question_prompt(tokenizer, params.prompts, question),
            max_tokens,
        )
        for question, answer, max_tokens in follow_ups
    ]
    with EnginePool(folder, params.engine) as engines:
        generate_missing(
            follow_up_store(name),
            requests,
            model=model_fingerprint(folder),
            sampling=Sampling(temperature=0.0, top_p=1.0, seed=0, stop=tuple(params.prompts.stop)),
            settings=params.engine,
            load=engines.backend,
            desc=f"follow up {name}",
        )


if __name__ == "__main__":
    console.run_stage("follow_up", main, item="name")

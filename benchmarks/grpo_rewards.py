"""Rewards of a policy on fixed problems: answers are sampled and rewarded as in training.

The reward of a step of GRPO depends on the few problems in its batch. These problems stay
the same: those that the runs may train on, and the held-out ladder.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

from stages.lib.core.paths import DIFFICULTY, EVAL_PROBLEMS, TRAIN_PROBLEMS
from stages.lib.core.schema import Difficulty, Problem, difficulty_by_problem
from stages.lib.core.tables import read_parquet
from stages.lib.params.grpo import Grpo
from stages.lib.params.root import Params

# Answers per problem: the training problems are few, so each gets more.
ANSWERS = {"asked": 8, "unseen": 2}
UNSEEN = EVAL_PROBLEMS / "ladder.parquet"


def fixed_problems() -> dict[str, list[Problem]]:
    """Return the problems by set: ``asked``, with pass rates between 0 and 1, and ``unseen``."""
    difficulties = difficulty_by_problem(read_parquet(DIFFICULTY, Difficulty), "cot")
    trained = [
        problem
        for problem in read_parquet(TRAIN_PROBLEMS, Problem)
        if 0 < difficulties[problem.id].pass_rate < 1
    ]
    return {"asked": trained, "unseen": read_parquet(UNSEEN, Problem)}


def rewards(model: Path, params: Params, seed: int) -> list[dict[str, Any]]:
    """Return the mean rewards of a model's answers to each of ``fixed_problems``.

    A row has the ``set``, ``problem_id`` and ``source`` of a problem, ``reward`` as weighted
    in training, and ``correct``, the share of correct answers. The engine runs in a separate
    process, which frees its memory.
    """
    # vLLM reads this at import; its log lines would clutter the output.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, model, params, seed).result()


def mean_reward(
    problem: Problem, answers: Sequence[tuple[str, bool]], settings: Grpo, stops: Sequence[str]
) -> dict[str, float]:
    """Return the mean ``reward`` of answers (text, ended) and the share of ``correct`` ones."""
    from stages.lib.generations.requests import truncate_at_stop
    from stages.lib.grpo.rewards import answer_reward, load_rewards, weighted_sum

    texts = [(truncate_at_stop(text, stops), ended) for text, ended in answers]
    rewards = load_rewards(settings.rewards)
    means = [
        fmean(reward.score(text, problem, ended=ended) for text, ended in texts)
        for reward in rewards
    ]
    correct = fmean(answer_reward(problem, text) for text, _ in texts)
    return {"reward": weighted_sum(rewards, means), "correct": correct}


def _measure(model: Path, params: Params, seed: int) -> list[dict[str, Any]]:
    from stages.lib.generations.requests import Request, Sampling
    from stages.lib.inference.engine import Engine
    from stages.lib.models.loading import load_tokenizer
    from stages.lib.prompts.templates import problem_prompt

    settings, tokenizer = params.grpo, load_tokenizer(model)
    problem_sets = fixed_problems()
    requests = [
        Request(
            problem.id,
            "cot",
            0,
            index,
            problem_prompt(tokenizer, params.prompts, problem, "cot", ()),
            settings.max_tokens,
        )
        for subset, problems in problem_sets.items()
        for problem in problems
        for index in range(ANSWERS[subset])
    ]
    # No stop texts: as in training, answers are truncated at them afterwards.
    sampling = Sampling(settings.temperature, top_p=1.0, seed=seed)
    answers = Engine(model, params.engine).generate(requests, sampling, lambda _: None)
    answers_by_id: defaultdict[str, list[tuple[str, bool]]] = defaultdict(list)
    for request, (text, reason, _) in zip(requests, answers, strict=True):
        answers_by_id[request.problem_id].append((text, reason == "stop"))
    return [
        {"set": subset, "problem_id": problem.id, "source": problem.source}
        | mean_reward(problem, answers_by_id[problem.id], settings, params.prompts.stop)
        for subset, problems in problem_sets.items()
        for problem in problems
    ]

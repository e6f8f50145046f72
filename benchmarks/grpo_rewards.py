"""What a policy earns on fixed problems: answers drawn as in training, rewarded as there.

The reward of a step of GRPO is that of the few problems it happens to ask. These problems
stay the same: those that the runs may ask, and the ladder's, which they never saw.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

from stages.lib.core.paths import DIFFICULTY, EVAL_PROBLEMS, TRAIN_PROBLEMS
from stages.lib.core.schema import Difficulty, Problem
from stages.lib.core.tables import read_parquet
from stages.lib.params.grpo import Grpo
from stages.lib.params.root import Params

# Answers to each problem: few are asked, so each of them more often.
ANSWERS = {"asked": 8, "unseen": 2}
UNSEEN = EVAL_PROBLEMS / "ladder.parquet"


def fixed_problems() -> dict[str, list[Problem]]:
    """Return the problems by set: ``asked``, which have a signal, and ``unseen``."""
    rates = {row.problem_id: row.pass_rate for row in read_parquet(DIFFICULTY, Difficulty)}
    asked = [one for one in read_parquet(TRAIN_PROBLEMS, Problem) if 0 < rates[one.id] < 1]
    return {"asked": asked, "unseen": read_parquet(UNSEEN, Problem)}


def rewards(model: Path, wanted: Params, seed: int) -> list[dict[str, Any]]:
    """Return the mean rewards of a model's answers to each of ``fixed_problems``.

    A row has the ``set``, ``problem_id`` and ``source`` of a problem, ``reward`` as the
    runs weigh it, and ``right``, the share of right answers. The engine is in a process
    of its own, which gives its memory back.
    """
    # Read when vLLM is imported, whose reports would stand around the line.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        return alone.submit(_measure, model, wanted, seed).result()


def mean_reward(
    problem: Problem, answers: Sequence[tuple[str, bool]], settings: Grpo, stops: Sequence[str]
) -> dict[str, float]:
    """Return the mean ``reward`` of answers, text and whether it ended, and how many are right."""
    from stages.lib.generations.requests import truncate_at_stop
    from stages.lib.grpo.rewards import answer_reward, format_reward

    texts = [(truncate_at_stop(text, stops), ended) for text, ended in answers]
    right = fmean(answer_reward(problem, text) for text, _ in texts)
    form = fmean(format_reward(text, ended=ended) for text, ended in texts)
    weights = settings.rewards
    return {"reward": weights.answer * right + weights.format * form, "right": right}


def _measure(model: Path, wanted: Params, seed: int) -> list[dict[str, Any]]:
    from stages.lib.generations.requests import Request, Sampling
    from stages.lib.inference.engine import Engine
    from stages.lib.models.loading import load_tokenizer
    from stages.lib.prompts.templates import question_prompt, user_message

    settings, tokenizer = wanted.grpo, load_tokenizer(model)
    problems = fixed_problems()
    requests = [
        Request(
            problem.id,
            "cot",
            0,
            index,
            question_prompt(tokenizer, wanted.prompts, user_message(problem.question, "cot")),
            settings.max_tokens,
        )
        for kind, ones in problems.items()
        for problem in ones
        for index in range(ANSWERS[kind])
    ]
    # As in training, a text that ends an answer is cut off afterwards.
    sampling = Sampling(settings.temperature, top_p=1.0, seed=seed)
    answers = Engine(model, wanted.engine).generate(requests, sampling, lambda _: None)
    given: Mapping[str, list[tuple[str, bool]]] = {one.problem_id: [] for one in requests}
    for request, (text, reason, _) in zip(requests, answers, strict=True):
        given[request.problem_id].append((text, reason == "stop"))
    return [
        {"set": kind, "problem_id": problem.id, "source": problem.source}
        | mean_reward(problem, given[problem.id], settings, wanted.prompts.stop)
        for kind, ones in problems.items()
        for problem in ones
    ]

"""What each arm costs, sampling and a frozen base model included."""

from pathlib import Path

import pytest

from stages.lib.core.files import write_json
from stages.lib.core.paths import CONF, METRICS, TIMINGS, TRAINING_LOGS
from stages.lib.params.compose import compose
from stages.lib.params.load import parse_params
from stages.lib.report.compute import compute_rows

RUN = {
    "epochs": 2.0,
    "examples": 60,
    "distinct_examples": 30,
    "max_repeats": 3,
    "supervised_tokens": 1000,
    "processed_tokens": 3000,
    "total": 10,
}


def test_sampling_counts_for_arms_that_follow_difficulty_and_the_base_for_those_that_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = parse_params(compose(["recipe=strategies"], CONF), where="test")
    monkeypatch.chdir(tmp_path)
    sampled = {"cot": {"generated_tokens": 400}, "pot": {"generated_tokens": 600}}
    write_json(METRICS / "difficulty.json", sampled)
    for stage, seconds in (("sample", 50.0), ("resample", 5.0)):
        write_json(TIMINGS / f"{stage}.json", {"seconds": seconds})
    for stage, names in (("train", params.weigh.arms), ("replay", params.weigh.replays)):
        for name in names:
            write_json(TRAINING_LOGS / f"{name}.json", RUN)
            write_json(TIMINGS / f"{stage}-{name}.json", {"seconds": 100.0})
    rows = {row["arm"]: row for row in compute_rows(params)}
    assert list(rows) == [*params.weigh.arms, *params.weigh.replays]
    costs = {name: (row["generated_tokens"], row["seconds"]) for name, row in rows.items()}
    sampling = {"adaptive", "control", "weight", "band", "band-control", "curriculum"}
    sampling |= {"dart-uniform", "dart-prop2diff"}
    for name, cost in costs.items():
        assert cost == ((1000, 155.0) if name in sampling else (0, 100.0)), name
    assert rows["uniform"]["flops"] == 10 * 6 * 3000
    assert rows["adaptive"]["flops"] == 10 * (6 * 3000 + 2 * 1000)
    assert rows["asft"]["flops"] == rows["prift"]["flops"] == 10 * (6 + 2) * 3000
    assert rows["focal"]["flops"] == rows["dealt"]["flops"] == rows["uniform"]["flops"]

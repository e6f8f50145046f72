"""What the registered study showed, in sentences: one for each outcome that it can have."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.lib.core.tables import read_csv
from stages.lib.report.numbers import percent

Row = Mapping[str, str]


def read_study(folder: Path, arms: Sequence[str]) -> dict[str, Any] | None:
    """Return the tables of a finished study with its sentences, or None.

    None if ``tools.study`` has written no tables there yet, or if the study compares others
    than ``arms``.
    """
    if not (folder / "endpoints.csv").exists():
        return None
    endpoints = read_csv(folder / "endpoints.csv")
    if not {row[side] for row in endpoints for side in ("first", "second")} <= set(arms):
        return None
    return {
        "blocks": int(endpoints[0]["blocks"]),
        "endpoints": endpoints,
        "arms": read_csv(folder / "arms.csv"),
        "result": result(endpoints),
        "meaning": meaning(endpoints),
        "dose": (folder / "dose.svg").exists(),
    }


def result(endpoints: Sequence[Row]) -> str:
    """Return the differences on hard and easy cells in one sentence."""
    hard, easy, _ = endpoints
    return (
        f"Over {hard['blocks']} runs of each arm, {hard['first']} minus {hard['second']} is "
        f"{_points(hard)} on hard cells and {_points(easy)} on easy ones."
    )


def meaning(endpoints: Sequence[Row]) -> str:
    """Return what the verdicts on the registered endpoints say.

    ``endpoints`` are the gain on hard cells, no loss on easy ones, and the gain over the control.
    """
    gain, safe, aimed = endpoints
    candidate, baseline, control = gain["first"], gain["second"], aimed["second"]
    margin = percent(-float(safe["bound"]))
    verdicts = (gain["verdict"], safe["verdict"])
    if "inconclusive" in verdicts:
        return f"With {gain['blocks']} runs the study is inconclusive, as registered."
    if verdicts == ("not met", "met"):
        return (
            f"No gain on hard cells is shown; on easy ones a loss of {margin} points or more is "
            "ruled out."
        )
    if verdicts == ("met", "not met"):
        return (
            f"{candidate} gains on hard cells, but a loss of {margin} points on easy ones is not "
            "ruled out: the study fails its second endpoint."
        )
    if verdicts == ("not met", "not met"):
        return "No gain on hard cells is shown, and a loss on easy ones is not ruled out."
    gained = (
        f"{candidate} gains on hard cells over {baseline}, without a loss of {margin} points on "
        "easy ones."
    )
    against = f"{candidate} minus {control} is {_points(aimed)} on hard cells"
    if aimed["verdict"] == "met":
        return f"{gained} {against}: it matters which cells get more, not only that some do."
    return (
        f"{gained} {against}: it is not shown that it matters which cells get more, and not "
        "only that some do."
    )


def _points(row: Row) -> str:
    low, high = percent(float(row["low"])), percent(float(row["high"]))
    return f"{percent(float(row['difference']))} points ({low} to {high})"

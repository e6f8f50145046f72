"""The page: its tables and figures, and that model-written text stays text."""

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from stages.lib.analysis.answer_modes import ANSWER_MODES
from stages.lib.analysis.speeds import SPEEDS
from stages.lib.core.schema import PROMPTINGS, STATUSES, Generation, Prompting
from stages.lib.report.webpage import Figure, browser_data, pack, render
from stages.lib.report.webpage_tables import Table, study_table, webpage_tables
from tests.rows import make_generation, make_problem, make_record

SYSTEMS = ["base", "tuned"]
ATTACK = '</script><script>alert("x")</script><img src="http://evil" onerror=alert(1)><!--'
SVG = '<svg xmlns="http://www.w3.org/2000/svg"/>'


PROBLEMS = {"ladder": [make_problem("a"), make_problem("b")], "gsm8k": [make_problem("c")]}
KEYS: list[tuple[str, str, Prompting]] = [
    (system, name, prompting) for prompting in PROMPTINGS for name in "abc" for system in SYSTEMS
]
MISSING = float("nan")


def answer(key: tuple[str, str, Prompting], text: str = "1") -> tuple[str, Generation]:
    system, name, prompting = key
    cut = {"finish_reason": "length", "n_tokens": 7}
    return system, make_generation(name, prompting, text=f"{key} {text}", **cut)


def browser(limit: int = 3, text: str = "1", **changes: Any) -> dict[str, Any]:
    inputs: dict[str, Any] = {
        "answers": [answer(key, text) for key in KEYS],
        "records": [make_record(*key, status="refused", output="printed") for key in KEYS],
    }
    return browser_data(PROBLEMS, **inputs | changes, systems=SYSTEMS, limit=limit)


@pytest.fixture(scope="module")
def document() -> str:
    """Return the page with an attack in every answer."""
    return small_page()


def small_page(**changes: Any) -> str:
    return render(
        title="A <b>title</b>",
        benchmark="ladder",
        findings=[{"summary": "it helps", "details": ["By & by.", "More."]}],
        figures=[Figure("accuracy", "How well", SVG)],
        tables=small_tables(),
        browser=browser(text=ATTACK),
        **changes,
    )


def style_rows() -> list[dict[str, Any]]:
    """Return rows of a CoT and a PoT answer, and one without an interval of the length."""
    lengths = {"tokens": 40.25, "tokens_low": 38.0, "tokens_high": 42.5, "median_tokens": 31.0}
    cot = {"benchmark": "ladder", "system": "base", "n": 20, "prompting": "cot"} | lengths
    cot |= {"steps": 0.5, "steps_low": 0.3, "steps_high": 0.7}
    cot |= {"stated": 0.5, "stated_low": 0.3, "stated_high": 0.7}
    no_shares = {name: MISSING for name in cot if name.startswith("st")}
    pot = cot | {"prompting": "pot"} | no_shares
    return [cot, pot, cot | {"tokens_low": MISSING, "tokens_high": MISSING}]


def small_tables() -> list[Table]:
    benchmarks = ("gsm8k", "ladder")
    accuracy = [
        {"benchmark": benchmark, "system": system, "answer_mode": mode, "n": 20}
        | {"accuracy": share, "low": 0.01, "high": 0.9}
        for benchmark in benchmarks
        for system, share in (("tuned", 0.125), ("base", 0.05))
        for mode in ANSWER_MODES
    ]
    pair = {"first": "tuned", "second": "base", "answer_mode": "pot", "n": 20}
    comparisons = [
        pair
        | {"benchmark": benchmark, "p_holm": 0.0004, "discordant": 0.2}
        | {"difference": difference, "low": difference - 0.05, "high": difference + 0.05}
        for benchmark, difference in (("gsm8k", -0.075), ("ladder", 0.0), ("ladder", 0.075))
    ]
    statuses = [
        {"benchmark": benchmark, "system": system, "prompting": prompting}
        | dict.fromkeys((*STATUSES, "cut"), 3)
        | {"follow_up": 0, "first_option": 0}
        for benchmark in benchmarks
        for system in SYSTEMS
        for prompting in PROMPTINGS
    ]
    sizes = {"bits": 16, "bytes": 269_060_000, "perplexity": 4.70006}
    models = [
        {"model": "base"} | sizes | dict(zip(SPEEDS, (811.5, 31.04, 40.0), strict=True)),
        {"model": "base-q3"} | sizes | dict.fromkeys(SPEEDS, MISSING),
    ]
    return webpage_tables(
        accuracy=accuracy,
        styles=style_rows(),
        sampled=[],
        comparisons=comparisons,
        statuses=statuses,
        models=models,
        benchmarks=["ladder", "gsm8k"],
        systems=SYSTEMS,
        level=0.95,
        batch=32,
    )


class Links(HTMLParser):
    """Collects what a document could load, and its elements."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.elements: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.targets += [value or "" for name, value in attrs if name in ("src", "href")]


def unpacked(document: str) -> Any:
    packed = re.search(r'<script type="text/plain" id="packed">([^<]*)</script>', document)
    assert packed
    return json.loads(gzip.decompress(base64.b64decode(packed[1])))


def test_every_answer_is_beside_its_grade() -> None:
    problems = browser(limit=2)["problems"]
    assert [problem["benchmark"] for problem in problems] == ["ladder", "ladder"]
    assert [problem["question"] for problem in problems] == ["What is a?", "What is b?"]
    assert problems[1]["answers"]["pot"][1] == {
        "text": "('tuned', 'b', 'pot') 1",
        "output": "printed",
        "status": "refused",
        "extracted": "1",
        "finish": "length",
        "tokens": 7,
    }


def test_the_limit_counts_over_all_benchmarks() -> None:
    problems = browser(limit=3)["problems"]
    assert [problem["benchmark"] for problem in problems] == ["ladder", "ladder", "gsm8k"]


@pytest.mark.parametrize("missing", ["answers", "records"])
def test_an_answer_without_grade_is_refused(missing: str) -> None:
    rows = {
        "answers": [answer(key) for key in KEYS[:-1]],
        "records": [make_record(*key) for key in KEYS[:-1]],
    }
    with pytest.raises(ValueError, match="'tuned', 'c', 'pot'.*expected an answer"):
        browser(**{missing: rows[missing]})


def test_packing_is_reversible_and_has_no_date() -> None:
    value = {"text": "‖ é \x00 </script>"}
    packed = base64.b64decode(pack(value))
    assert json.loads(gzip.decompress(packed)) == value
    assert packed[4:8] == bytes(4)


def test_what_a_model_wrote_is_only_in_the_packed_part(document: str) -> None:
    assert "alert(" not in document
    assert "evil" not in document
    assert ATTACK in unpacked(document)["problems"][0]["answers"]["cot"][0]["text"]
    assert Links(document).elements.count("script") == 2
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", document)


def test_the_page_asks_no_host_for_anything(document: str) -> None:
    targets = Links(document).targets
    assert targets
    assert [target for target in targets if not target.startswith(("#", "data:"))] == []
    assert not re.search(r"fetch\(|XMLHttpRequest|@import|url\(", document)
    assert "default-src 'none'" in document


def test_text_is_escaped(document: str) -> None:
    assert "A &lt;b&gt;title&lt;/b&gt;" in document
    assert "By &amp; by." in document
    assert "On ladder, it helps." in document
    assert "<b>" not in document


def test_a_figure_is_inside_with_its_caption(document: str) -> None:
    source = next(url for url in Links(document).targets if url.startswith("data:image"))
    assert base64.b64decode(source.partition(",")[2]).decode() == SVG
    assert 'alt="How well"' in document


def test_a_study_is_the_first_finding() -> None:
    study = {"design": "Each of 10.", "result": "Over 10 runs `it` gains.", "meaning": "It & more."}
    text = small_page(study=study)
    first = text.index("The registered study. Over 10 runs <code>it</code> gains.")
    assert (
        first < text.index("It &amp; more.") < text.index("Each of 10.") < text.index("it helps.")
    )


def test_a_study_has_a_table_of_its_arms() -> None:
    row = {"system": "uniform", "stratum": "hard", "mean": "0.289", "low": "0.26", "high": "0.31"}
    table = study_table({"blocks": 3, "arms": [row | {"run_sd": sd} for sd in ("0.02", "")]})
    first, second = ([(cell.text, cell.note) for cell in row] for row in table.rows)
    assert first == [("uniform", ""), ("hard", ""), ("28.9", "26.0–31.0"), ("2.0", "")]
    assert second[-1] == ("–", "")


def test_every_column_can_be_sorted(document: str) -> None:
    n_headings = Links(document).elements.count("th")
    sortable = re.findall(r'<th scope="col" aria-sort="none"><button type="button">', document)
    assert len(sortable) == n_headings == sum(len(table.columns) for table in small_tables())


def test_tables_follow_the_order_of_systems_and_benchmarks() -> None:
    accuracy = small_tables()[0]
    assert [cell.text for cell in accuracy.rows[0]][:4] == ["base", "ladder", "20", "5.0"]
    assert [cell.text for cell in accuracy.rows[1]][:4] == ["tuned", "ladder", "20", "12.5"]
    assert accuracy.rows[1][3].value == 0.125
    assert accuracy.rows[1][3].note == "1.0–90.0"


def test_a_table_reads_comparisons_as_the_sentences_do() -> None:
    table = small_tables()[1]
    # One answer mode in all rows is in the caption.
    assert table.caption.endswith("; answer mode: PoT")
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["tuned − base", "ladder", "0.0", "< 0.001", "not shown to differ"],
        ["tuned − base", "ladder", "7.5", "< 0.001", "tuned better"],
        ["tuned − base", "gsm8k", "−7.5", "< 0.001", "base better"],
    ]


def test_styles_have_lengths_and_shares() -> None:
    table = small_tables()[4]
    first = list(table.columns).index("Prompting")
    rows = [[(cell.text, cell.note) for cell in row[first:]] for row in table.rows]
    share = ("50.0", "30.0–70.0")
    assert rows[0] == [("CoT", ""), ("40.3", "38.0–42.5"), ("31", ""), share, share]
    assert rows[1][3:] == [("–", ""), ("–", "")]
    assert rows[2][1] == ("40.3", "")


def test_models_have_size_perplexity_and_speed() -> None:
    table = small_tables()[3]
    assert table.columns[4:6] == ["Tokens/s, batch of 32", "Tokens/s, batch of 1"]
    rows = [[cell.text for cell in row] for row in table.rows]
    assert rows[0] == ["base", "16", "269", "4.700", "812", "31.0", "40"]
    assert rows[1] == ["base-q3", "16", "269", "4.700", "no kernel", "no kernel", "no kernel"]

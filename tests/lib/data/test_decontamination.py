"""Shared runs of words, counted by hand."""

import tracemalloc

import pytest

from stages.lib.data.decontamination import OverlappingPair, find_overlaps
from stages.lib.data.ladder import RUNGS, sample_ladder

ALPHABET = "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november"
THIRTEEN = " ".join(ALPHABET.split()[:13])
TWELVE = " ".join(ALPHABET.split()[:12])


@pytest.mark.parametrize(
    ("training", "evaluation", "n", "overlap"),
    [
        pytest.param(f"one {THIRTEEN} two", f"{THIRTEEN} three", 13, True, id="13 words shared"),
        pytest.param(f"one {TWELVE} two", f"{TWELVE} three four", 13, False, id="12 words shared"),
        pytest.param(f"one {TWELVE} two", f"{TWELVE} three four", 12, True, id="shorter run"),
        pytest.param("a b. C, d", "A b c (D) e", 4, True, id="case and punctuation"),
        pytest.param("it's 1,000 now", "It’s 1000 now", 3, True, id="writing of one word"),
        pytest.param("it's now", "it is now", 2, False, id="an apostrophe joins one word"),
        pytest.param("a b c d", "b a c d", 4, False, id="other order"),
        pytest.param("buy 3 red hats", "buy 4 red hats", 4, False, id="other number"),
        pytest.param("a b c", "a b c d", 4, False, id="short against long"),
        pytest.param("What is 3 + 4?", "what is 3+4", 8, True, id="short, the same"),
        pytest.param("What is 3 + 4?", "What is 3 * 4?", 8, False, id="short, other sign"),
        pytest.param("What is 3 + 4?", "What is 3 + 5?", 8, False, id="short, other number"),
    ],
)
def test_plain_words(training: str, evaluation: str, n: int, overlap: bool) -> None:
    overlaps = find_overlaps([training], [evaluation], n=n, mask_numbers=False)
    assert bool(overlaps) == overlap


@pytest.mark.parametrize(
    ("training", "evaluation", "overlap"),
    [
        pytest.param("buy 3 red hats", "buy 1,250.5 red hats", True, id="same template"),
        pytest.param("buy 3 red hats", "buy 3 blue hats", False, id="other word"),
        pytest.param("buy 3 red hats", "buy three red hats", False, id="a word is no number"),
        pytest.param("3 + 4", "3 + 5", False, id="short texts keep their numbers"),
        pytest.param("3 + 4", "3 + 4", True, id="short, the same"),
    ],
)
def test_templates_without_their_numbers(training: str, evaluation: str, overlap: bool) -> None:
    overlaps = find_overlaps([training], [evaluation], n=4, mask_numbers=True)
    assert bool(overlaps) == overlap


def test_each_training_text_is_paired_once_with_the_first_evaluation_text() -> None:
    training = ["q r s", "x d e f a b c", "a b c", "e f g"]
    evaluation = ["a b c d", "d e f g", "a b c"]
    overlaps = find_overlaps(iter(training), evaluation, n=3, mask_numbers=False)
    assert overlaps == [
        OverlappingPair(1, 0, "a b c"),
        OverlappingPair(2, 0, "a b c"),
        OverlappingPair(3, 1, "e f g"),
    ]


@pytest.mark.parametrize(
    ("training", "evaluation", "words"),
    [
        pytest.param("q a b c d e r", "a b c d e f", "a b c d e", id="longer than the run"),
        pytest.param("q A, b; c", "s a b c", "a b c", id="to the end"),
        pytest.param("a b c q d e f", "d e f q a b c", "a b c", id="the first of two"),
        pytest.param("a b c a b c d", "a b c d", "a b c", id="the first of two places"),
        pytest.param("buy 3 red hats", "I buy 40 red cats", "buy N red", id="numbers"),
        pytest.param("3 + 4", "3+4", "3 + 4", id="short"),
    ],
)
def test_the_shared_words_are_returned(training: str, evaluation: str, words: str) -> None:
    overlaps = find_overlaps([training], [evaluation], n=3, mask_numbers=True)
    assert overlaps == [OverlappingPair(0, 0, words)]


def test_a_sign_is_no_word_of_a_longer_text() -> None:
    # The short text has as many words and signs as a run has words.
    assert find_overlaps(["N apples + pears"], ["3 apples pears"], n=4, mask_numbers=True) == []
    assert find_overlaps(["5 red + 3"], ["5 red 3 blue"], n=4, mask_numbers=False) == []


def test_texts_without_words_share_nothing() -> None:
    assert find_overlaps(["", "..."], ["", "?"], n=2, mask_numbers=False) == []


def test_ladder_problems_with_other_numbers_are_no_overlap() -> None:
    train = sample_ladder(list(RUNGS), per_rung=32, seed=2, part="train")
    evaluation = sample_ladder(list(RUNGS), per_rung=18, seed=2, part="test")
    questions = [problem.question for problem in train]
    held_out = [problem.question for problem in evaluation]
    assert find_overlaps(questions, held_out, n=8, mask_numbers=True) == []
    (overlap,) = find_overlaps(questions, questions[:1], n=8, mask_numbers=True)
    assert (overlap.training, overlap.evaluation) == (0, 0)


def test_a_short_text_of_many_signs_takes_memory_for_each_once() -> None:
    table = "a table " + "|-" * 2000
    tracemalloc.start()
    overlaps = find_overlaps([table], [table, "a list"], n=8, mask_numbers=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(overlap.training, overlap.evaluation) for overlap in overlaps] == [(0, 0)]
    # 4,000 signs; a copy of the rest from each of them on would take 64 MB.
    assert peak < 2_000_000

"""Which option a text names."""

import pytest

from stages.lib.grading.multiple_choice import find_option


@pytest.mark.parametrize(
    "text", ["The answer is either (A) or (B)", "The answer is option (A) and (C)."]
)
def test_an_answer_of_two_letters_names_no_option(text: str) -> None:
    assert find_option(text, ["1", "2", "3"])[1] == ""

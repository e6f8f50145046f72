"""Programs made of calculator annotations, run to see what they print."""

from contextlib import redirect_stdout
from io import StringIO
from math import isclose

import pytest

from stages.lib.formats.gsm8k_calculator import annotated_program


def printed(program: str) -> str:
    """Run a program, which holds nothing but arithmetic."""
    output = StringIO()
    with redirect_stdout(output):
        exec(program, {})
    return output.getvalue().strip()


def test_a_result_becomes_the_variable_that_later_lines_use() -> None:
    solution = (
        "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n"
        "Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May.\n"
    )
    assert annotated_program(solution, "72") == ("step1 = 48 / 2\nstep2 = 48 + step1\nprint(step2)")


CALCULATIONS = {
    "<<1,200*2=2,400>>": "2400",
    "$<<$12.50+$2=$14.50>>": "14.5",
    "<<.5*30=15>>": "15",
    "<<007*2=14>>": "14",
    "<<50*20%=10>>": "10",
    "<<20%50=10>>": "10",
    "<<3 x 4=12>>": "12",
    "<<6×2÷3=4>>": "4",
    "<<9−4=5>>": "5",
    "<<(3/4)*40=30>>": "30",
    "<<2(3+4)=14>>": "14",
    "<<5*2=10=10.00>>": "10",
    "<<+5+6=11>>": "11",
    "<<180//3=60>>": "60",
    "<<1/3=1/3>>": "1/3",
    "<<8*5=40hours>>": "40",
}


@pytest.mark.parametrize("solution", CALCULATIONS)
def test_ways_to_write_a_calculation(solution: str) -> None:
    above, _, below = CALCULATIONS[solution].partition("/")
    program = annotated_program(solution, CALCULATIONS[solution])
    assert isclose(float(printed(program)), float(above) / float(below or 1))


@pytest.mark.parametrize(
    ("solution", "answer", "program"),
    [
        # exact although the stated result is rounded
        ("<<10/3=3.33>> <<3.33*3=10>>", "10", "step1 = 10 / 3\nstep2 = step1 * 3\nprint(step2)"),
        # rounded where only that leads to the answer
        ("<<100/7=14>>", "14", "step1 = round(100 / 7)\nprint(step1)"),
        ("<<7/2=3>> <<3*2=6>>", "6", "import math\nstep1 = math.floor(7 / 2)\n"
         "step2 = step1 * 2\nprint(step2)"),
        ("<<10/4=3>>", "3", "import math\nstep1 = math.ceil(10 / 4)\nprint(step1)"),
        # the last line with the answer is printed, and nothing behind it is kept
        ("<<3*4=12>> A check: <<12/4=3>>", "12", "step1 = 3 * 4\nprint(step1)"),
        # the text has the calculation that leads to the answer
        ("<<4*5=20>>20 legs, so 20/4 = 5 dogs", "5",
         "step1 = 4 * 5\nstep2 = step1 / 4\nprint(step2)"),
        ("50 - 16 = <<34=34>>34 pages", "34", "step1 = 50 - 16\nprint(step1)"),
    ],
)  # fmt: skip
def test_the_line_that_comes_to_the_answer(solution: str, answer: str, program: str) -> None:
    assert annotated_program(solution, answer) == program
    assert isclose(float(printed(program)), float(answer))


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("No annotation.", "7"),
        ("<<3*4=12>>", "13"),
        ("<<12=12>>", "12"),
        ("<<3*+6=18>> <<18-6=12>> <<(=12>>", "12"),
        ("<<__import__('os').getpid()*0+12=12>>", "12"),
        ("<<2**100**100=12>>", "12"),
        ("<<1/0=12>>", "12"),
        ("<<True*12=12>>", "12"),
        ("<<6*2=12>>", r"\pi"),
        (f"<<{'1+' * 200}1=201>>", "201"),
    ],
)
def test_what_makes_no_program(solution: str, answer: str) -> None:
    assert annotated_program(solution, answer) == ""


@pytest.mark.parametrize("text", ["1", "1+", "1,", "(", "<<", "$1.1", "1*"])
def test_a_long_text_without_a_program_ends(text: str) -> None:
    assert annotated_program(text * 10_000, "5") == ""

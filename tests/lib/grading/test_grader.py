"""Grades of texts and programs. A comment names the issue of another grader with that case."""

import random
from typing import Any

import pytest

from stages.lib.core.schema import AnswerKind, Grade
from stages.lib.grading.grader import check_answer, extract_program, grade, grade_program
from stages.lib.sandbox.pool import ProgramResult

# Text, reference answer, status, extracted answer; of options, their texts come third.
Row = tuple[str, str, str, str]
ChoiceRow = tuple[str, str, list[str] | None, str, str]

ABC = ["10", "12", "15"]
CARS = ["a car", "a bicycle", "none of these"]
FOUR = ["1/18", "1/9", "23/90", "5/18"]

NUMBERS: list[Row] = [
    # --- marks of the final answer
    ("The answer is 42.", "42", "correct", "42"),
    ("The answer is 42", "41", "wrong", "42"),
    ("So the final answer is: 7 dogs.", "7", "correct", "7"),
    ("Answer: 18", "18", "correct", "18"),
    ("ANSWER:7", "7", "correct", "7"),
    ("answer = 2", "2", "correct", "2"),
    ("The answers are 5", "5", "correct", "5"),
    ("Our answer would be 12 cm.", "12", "correct", "12"),
    ("The answer should be 9", "9", "correct", "9"),
    ("The answer to the question is 8.", "8", "correct", "8"),
    ("He has 3+4=7 apples.\n#### 7", "7", "correct", "7"),
    ("####12", "12", "correct", "12"),
    ("#### $1,200", "1200", "correct", "1200"),
    (r"so it is \boxed{42}", "42", "correct", "42"),
    (r"so it is \fbox{42}", "42", "correct", "42"),
    (r"$\boxed 5$", "5", "correct", "5"),
    (r"\boxed{\boxed{5}}", "5", "correct", "5"),
    # lm-evaluation-harness #2552: a box in display math
    (r"Thus the answer is \[ \boxed{42} \]", "42", "correct", "42"),
    # Math-Verify #76: bold around the number
    ("905 = 905, consistent.\n\n✅ Final Answer: **73**", "73", "correct", "73"),
    ("**Answer: \\$18 per day.**", "18", "correct", "18"),
    ("**Final Answer:** 18", "18", "correct", "18"),
    ("**The answer is:** 18", "18", "correct", "18"),
    ("Answer:\n\n42", "42", "correct", "42"),
    ("The answer is as follows:\n\n42 apples", "42", "correct", "42"),
    ("The answer is given by 42", "42", "correct", "42"),
    # lm-evaluation-harness #3438: the first of several marks is not the last word
    ("#### 5\nNo more? I forgot one.\n#### 6", "6", "correct", "6"),
    # simple-evals #115: the first "Answer:" was taken
    ("Answer: 12\nThat ignores the tax.\nAnswer: 15", "15", "correct", "15"),
    ("Answer: 12\nThat ignores the tax.\nAnswer: 15", "12", "wrong", "15"),
    # inspect_ai #3910: prose behind an early mark
    ("Answer: this asks for apples.\nANSWER: 4", "4", "correct", "4"),
    (r"The answer is 5. So \boxed{6}", "6", "correct", "6"),
    (r"\boxed{6}. So the answer is 5.", "6", "wrong", "5"),
    (r"\boxed{6}" + "\n#### 7", "7", "correct", "7"),
    # verl #7274: more text behind the mark than a window holds
    ("#### 42\n" + "and this confirms it " * 400, "42", "correct", "42"),
    # lm-evaluation-harness #3477: the instruction is repeated, there is nothing in the box
    ("I mark my solution with \\boxed and get 12", "12", "correct", "12"),
    (r"The answer is 12. I put it in \boxed{}", "12", "correct", "12"),
    # a heading of level four is no GSM8K mark
    ("#### Step 2\nSo we get 30.", "30", "correct", "30"),
    ("#### 1. First\nSo we get 30.", "30", "correct", "30"),
    # a solution headed "Answer:" ends with its last number
    ("Answer: He runs 3*3=9 sprints.\nSo 9*60=540 meters.", "540", "correct", "540"),
    ("We check our answer: 3*4=12 and 5*2=10", "10", "correct", "10"),
    # --- answers that are retracted
    ("The answer is 12. Wait, I forgot 3. It is 15.", "15", "correct", "15"),
    ("The answer is 12. Wait, I forgot 3. It is 15.", "12", "wrong", "15"),
    ("The answer is 12. Wait, that ignores the tax", "12", "unparsed", ""),
    ("The answer is 12, no, it must be 15", "12", "wrong", "15"),
    ("The answer is 12. Hmm, let me see.", "12", "unparsed", ""),
    (r"\boxed{12}. Actually, that should be 13.", "12", "wrong", "13"),
    ("The answer is 12. Sorry, I made a mistake: 14", "14", "correct", "14"),
    ("The answer is 12. That is wrong.", "12", "unparsed", ""),
    ("The answer is 12. Let me recalculate: 5+8=13", "13", "correct", "13"),
    ("The answer is not 12, it is 15.", "15", "correct", "15"),
    ("The answer is 5. The answer is correct.", "5", "correct", "5"),
    ("The answer is 12. This waiter gets 3.", "12", "correct", "12"),
    # verl prime-envs #689: intermediate values must not count
    (r"First \boxed{3}. Then it doubles: \boxed{6}.", "3", "wrong", "6"),
    # Math-Verify #57: two mentions of one answer are not a list
    (r"It is \boxed{1}. The reason for \boxed{1} is clear.", "1", "correct", "1"),
    # Math-Verify #44: 840 twice became 840840
    (r"\boxed{840}.,but let me explain. **Final Answer** \boxed{840}", "840", "correct", "840"),
    (r"The sum is 2,552,004. So, \boxed{004}", "4", "correct", "4"),
    # --- notations
    ("It costs $1,234.50 in all", "1234.5", "correct", "1234.5"),
    # opencompass #2343: thousands separators
    ("Josh's profit is $200,000 - $130,000 = $70,000", "70000", "correct", "70000"),
    ("The answer is 1,234,567.", "1234567", "correct", "1234567"),
    # chembench #295: 10,000 was read as 10
    ("Answer: 10,000", "10", "wrong", "10000"),
    ("Answer: 10,000", "10000", "correct", "10000"),
    ("The answer is 12 345", "12345", "correct", "12345"),
    ("The answer is 12\u202f345,", "12345", "correct", "12345"),
    ("The answer is 1.234.567,89", "1234567.89", "correct", "1234567.89"),
    ("The answer is 1'000'000", "1000000", "correct", "1000000"),
    ("The answer is 1,00,000", "100000", "correct", "100000"),
    (r"The answer is $12{,}000$", "12000", "correct", "12000"),
    (r"The answer is $12\,000$", "12000", "correct", "12000"),
    # helm #4337 and omlx #3484: a comma alone was the last number
    ("The total is 72 clips, altogether.", "72", "correct", "72"),
    ("The answer is 72, in total, so she earns that.", "72", "correct", "72"),
    # proeval #19 and open-instruct #1530: signs
    ("From 2 it falls to -3.\n#### -3", "-3", "correct", "-3"),
    ("From 2 it falls to -3.\n#### -3", "3", "wrong", "-3"),
    ("The answer is −5", "-5", "correct", "-5"),
    ("The answer is – 5", "-5", "correct", "-5"),
    ("The answer is -$5.50", "-5.5", "correct", "-5.5"),
    ("The answer is $-5", "-5", "correct", "-5"),
    ("8 - 5", "5", "correct", "5"),
    ("COVID-19", "19", "correct", "19"),
    ("The answer is 50%", "50", "correct", "50%"),
    # hendrycks/math #21: 50% and 50\% and 50
    (r"\boxed{50\%}", "50", "correct", "50%"),
    ("The answer is 50", r"50\%", "correct", "50"),
    ("The answer is 0.5", "50%", "correct", "0.5"),
    ("The answer is 50 percent.", "50%", "correct", "50%"),
    ("The answer is 50%", "0.5", "wrong", "50%"),
    ("The answer is 0.5", "50", "wrong", "0.5"),
    ("The answer is 3/4", "0.75", "correct", "0.75"),
    ("The answer is 3 / 4 of it", "0.75", "correct", "0.75"),
    # Math-Verify #34 and #81: mixed numbers exposed their parts
    ("The answer is 1 1/4", "5/4", "correct", "1.25"),
    ("The answer is 2 2/3", "2", "wrong", "8/3"),
    ("The answer is 11 5/6.", "71/6", "correct", "71/6"),
    ("The answer is 1 and 1/2 hours", "1.5", "correct", "1.5"),
    ("The answer is 1½ hours", "1.5", "correct", "1.5"),
    (r"The answer is $2\frac{1}{2}$", "2.5", "correct", "2.5"),
    (r"The answer is $-\frac{3}{4}$", "-0.75", "correct", "-0.75"),
    # Math-Verify #35: braces of \frac are optional
    (r"The answer is $\frac12$", "0.5", "correct", "0.5"),
    (r"The answer is \dfrac{9}{7}", "9/7", "correct", "9/7"),
    ("The answer is 1.5e3", "1500", "correct", "1500"),
    (r"The answer is $3 \times 10^5$", "300000", "correct", "300000"),
    ("The answer is 3*10**5", "300000", "correct", "300000"),
    ("The answer is 2.5 × 10^{-3}", "0.0025", "correct", "0.0025"),
    ("The answer is .5", "0.5", "correct", "0.5"),
    ("The answer is 007.", "7", "correct", "7"),
    ("The answer is ４２", "42", "correct", "42"),
    # Math-Verify #37: \text around the number
    (r"\boxed{\text{13}}", "13", "correct", "13"),
    (r"\boxed{12 \text{ apples}}", "12", "correct", "12"),
    (r"\boxed{60^\circ}", "60", "correct", "60"),
    (r"\boxed{12 \text{ cm}^2}", "12", "correct", "12"),
    ("The answer is 12 km/h", "12", "correct", "12"),
    ("The answer is 12, twelve apples, because 3 times 4", "12", "correct", "12"),
    ("The answer is Rs. 360.", "360", "correct", "360"),
    ("The answer is 42!", "42", "correct", "42"),
    (r"\boxed{5!}", "120", "correct", "5!"),
    # ds4 #319: the first summand was graded
    ("Answer: m+n = 256+37 = 293", "293", "correct", "293"),
    ("Answer: 2*7 + 3*6 + 49 = 81", "2", "wrong", "81"),
    ("The answer is 12 because 3*4=12 and 5*2=10", "12", "correct", "12"),
    ("The answer is x = 5", "5", "correct", "5"),
    (r"\boxed{x = 5}", "5", "correct", "5"),
    (r"\boxed{x = 2, y = 3}", "3", "wrong", "x = 2, y = 3"),
    (r"The answer is $\frac{22}{7} \approx 3.14$", "22/7", "correct", "22/7"),
    (r"The answer is $x \approx 3.14$", "3.14", "correct", "3.14"),
    ("The answer is 2^10", "1024", "correct", "2^10"),
    ("The answer is 2^10", "2", "wrong", "2^10"),
    ("The answer is 3*4 apples", "3", "wrong", "3*4"),
    ("The answer is (11*q - 504)/3.", "3", "wrong", "(11*q - 504)/3"),
    ("The answer is 3x", "3", "wrong", "3x"),
    ("The answer is 5 or 6", "5", "wrong", "5 or 6"),
    # Math-Verify #14: 12:00 and 1:00 were equal
    ("The answer is 12:00", "12", "wrong", "12:00"),
    # Math-Verify #47: a subset passed for the whole list
    (r"\boxed{1331} and \boxed{1728}", "1728", "wrong", "1331, 1728"),
    # Math-Verify #41: $4\sqrt(2)$ passed for 4
    (r"The answer is $4\sqrt{2}$", "4", "wrong", r"4\sqrt{2}"),
    (r"The answer is $\sqrt{16}$", "4", "correct", r"\sqrt{16}"),
    ("The answer is 0.333333", "1/3", "correct", "0.333333"),
    ("The answer is 0.33", "1/3", "wrong", "0.33"),
    ("The answer is 5.000000000000002", "5", "correct", "5.000000000000002"),
    # prm800k #19 and Math-Verify #2: 33.3 is not 100/3
    ("The answer is 33.3", "100/3", "wrong", "33.3"),
    # Math-Verify #14: very small values
    ("The answer is 2e-9", "1e-9", "wrong", "0.000000002"),
    ("The answer is 5.5e-17", "0", "correct", "0.000000000000000055"),
    ("The value of (4/2)/(3/(-3)) is -2.", "-2", "correct", "-2"),
    # SkyThought #28: int() refuses more than 4300 digits
    ("The answer is " + "9" * 7945, "9", "unparsed", ("9" * 7945)[:1000]),
    # --- no answer
    ("", "5", "unparsed", ""),
    (" \n\t", "5", "unparsed", ""),
    ("I do not know.", "5", "unparsed", ""),
    ("The answer is unclear.", "5", "unparsed", "unclear"),
    ("So 3+4=7. The answer is", "7", "correct", "7"),
    (r"So 3+4=7. The answer is \boxed{1", "1", "unparsed", ""),
    (r"So 3+4=7. The answer is \boxed{1", "7", "unparsed", ""),
    ("H2O", "2", "unparsed", ""),
    ("1/0", "1", "unparsed", ""),
    ("The answer is 1/0", "1", "wrong", "1/0"),
    # --- long texts and costly expressions
    ("9" * 10**5, "9", "unparsed", ""),
    ("1,234" + ",567" * 250_000, "1", "unparsed", ""),
    ("The answer is 1e999999999", "1", "wrong", "1e999999999"),
    (r"\boxed{" * 10**5, "1", "unparsed", ""),
    ("\n" * 10**6, "1", "unparsed", ""),
    (r"\boxed{100000000!}", "1", "ungraded", "100000000!"),
]

EXPRESSIONS: list[Row] = [
    # --- marks of the final answer
    # inspect_evals #2220: \( and \[ are delimiters as $ is
    (r"The answer is \(\frac{1}{2}\).", r"\frac{1}{2}", "correct", r"\frac{1}{2}"),
    (r"The answer is \[\frac{1}{2}\]", r"\frac{1}{2}", "correct", r"\frac{1}{2}"),
    # --- answers that are retracted
    ("The answer is $x+1$. Wait, it is $x-1$.", "x+1", "wrong", "x-1"),
    # --- no answer
    ("", "x", "unparsed", ""),
    (r"It is $\frac{1", "1", "correct", "1"),
    # --- notations
    (r"\boxed{x+1}", "1+x", "correct", "x+1"),
    (r"\boxed{x+1}", "x-1", "wrong", "x+1"),
    (r"\boxed{7}", "7", "correct", "7"),
    (r"\boxed{7.0}", "7", "correct", "7.0"),
    (r"$\frac{x+2}{7}$ is what we want", r"\frac{x}{7}+\frac{2}{7}", "correct", r"\frac{x+2}{7}"),
    (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{\sqrt{2}}{2}", "correct", r"\frac{1}{\sqrt{2}}"),
    # Math-Verify #29: \sqrt without dollars
    (r"The answer is \sqrt{17}", r"\sqrt{17}", "correct", r"\sqrt{17}"),
    # Math-Verify #1: \frac{2}{3} and 2/3
    ("The answer is 2/3", r"\frac{2}{3}", "correct", "2/3"),
    ("The answer is 1.25", r"1\frac{1}{4}", "correct", "1.25"),
    (r"\boxed{2\pi}", r"2\pi", "correct", r"2\pi"),
    ("The answer is 2*pi", r"2\pi", "correct", "2*pi"),
    ("The answer is sqrt(2)/2", r"\frac{\sqrt{2}}{2}", "correct", "sqrt(2)/2"),
    ("The answer is (x+1)**2", "x^2+2x+1", "correct", "(x+1)**2"),
    # lm-evaluation-harness #4034: identical tuples and intervals scored 0
    (r"\boxed{(2,4)}", "(2,4)", "correct", "(2,4)"),
    (r"The domain is \boxed{[2,5)}", "[2,5)", "correct", "[2,5)"),
    (r"\boxed{(4,2)}", "(2,4)", "wrong", "(4,2)"),
    (
        r"\boxed{\left( 3, \frac{\pi}{2} \right)}",
        r"(3,\frac{\pi}{2})",
        "correct",
        r"\left( 3, \frac{\pi}{2} \right)",
    ),
    # lighteval #140: \frac followed by a space
    (
        r"\boxed{(-\infty,-\frac 12)\cup(-\frac 12,\infty)}",
        r"\left(-\infty,-\frac12\right)\cup\left(-\frac12,\infty\right)",
        "correct",
        r"(-\infty,-\frac 12)\cup(-\frac 12,\infty)",
    ),
    (
        r"\boxed{\begin{pmatrix}1\\2\end{pmatrix}}",
        r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}",
        "correct",
        r"\begin{pmatrix}1\\2\end{pmatrix}",
    ),
    (
        r"\boxed{\begin{pmatrix}1\\3\end{pmatrix}}",
        r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}",
        "wrong",
        r"\begin{pmatrix}1\\3\end{pmatrix}",
    ),
    # lm-evaluation-harness #3785: lists in another order, #3652: several boxes
    (r"\boxed{5,3}", "3,5", "correct", "5,3"),
    (r"$x = \boxed{3}$ or $x = \boxed{5}$", "3,5", "correct", "3, 5"),
    (r"\boxed{3}, \boxed{5}, \boxed{7}", "3,5,7", "correct", "3, 5, 7"),
    (r"\boxed{3}, \boxed{5}", "3,5,7", "wrong", "3, 5"),
    ("The answers are $3$ and $5$.", "3,5", "correct", "3, 5"),
    # Math-Verify #14: different lists and equations were equal
    (r"\boxed{n=1, 2, 3}", "n=2, 3, 4", "wrong", "n=1, 2, 3"),
    (r"\boxed{1 + \frac{1}{e}}", r"1 - \frac{1}{e}", "wrong", r"1 + \frac{1}{e}"),
    (r"\boxed{2021}", r"\pm 2021", "wrong", "2021"),
    (r"\boxed{x = 5}", "5", "correct", "x = 5"),
    # Math-Verify #60: only the right-hand sides were compared
    (r"\boxed{3x + 4y + 14=0}", "3x-y+13=0", "wrong", "3x + 4y + 14=0"),
    # Math-Verify #26: two forms of one line
    (
        r"\boxed{y = -\frac{1}{2}x + \frac{3}{4}}",
        "2x+4y-3=0",
        "correct",
        r"y = -\frac{1}{2}x + \frac{3}{4}",
    ),
    (r"\boxed{\text{odd}}", "odd", "correct", r"\text{odd}"),
    ("The answer is Odd.", r"\text{odd}", "correct", "Odd"),
    (r"\boxed{\text{even}}", r"\text{odd}", "wrong", r"\text{even}"),
    ("The answer is dod", r"\text{odd}", "wrong", "dod"),
    (r"\boxed{8}", r"8\text{ meals}", "correct", "8"),
    (r"\boxed{8 \text{ meals}}", "8", "correct", r"8 \text{ meals}"),
    (r"\boxed{3i}", "3", "wrong", "3i"),
    (r"\boxed{-20x}", "-20*x", "correct", "-20x"),
    (r"\boxed{5,\!525}", "5525", "correct", r"5,\!525"),
    (r"\boxed{11\tfrac{2}{3}}", r"\frac{35}{3}", "correct", r"11\tfrac{2}{3}"),
    (r"\boxed{\$18}", "18", "correct", r"\$18"),
    ("So $x=3$, thus $y=4$.", "4", "correct", "y=4"),
    ("It costs $5 and then $6 more", "6", "correct", "6"),
    (r"\boxed{2+2}", "4", "correct", "2+2"),
    # Math-Verify #70: the reference has no delimiters
    (r"\boxed{\frac{9}{7}}", r"\dfrac{9}{7}", "correct", r"\frac{9}{7}"),
    (r"\boxed{\frac{1}{}", "2", "unparsed", ""),
    (r"\boxed{\begin{oops}}", "2", "unparsed", r"\begin{oops}"),
    # --- long texts and costly expressions
    ("7" * 10**6, "7", "unparsed", ""),
    (r"\boxed{" + "{" * 10**5 + "1" + "}" * 10**5 + "}", "1", "unparsed", "{" * 1000),
    (r"\[" * 500_000, "1", "unparsed", ""),
]

OPTIONS: list[ChoiceRow] = [
    # --- answers that are retracted
    ("The answer is (B). Wait, that is too small. (C)", "B", ABC, "wrong", "C"),
    ("The answer is (B). Wait, that is too small.", "B", ABC, "unparsed", ""),
    # --- two letters name no option
    ("The answer is either (A) or (B)", "A", ABC, "unparsed", "either (A) or (B)"),
    ("The answer is option (A) and (C).", "A", ABC, "unparsed", "option (A) and (C)"),
    # --- no answer
    ("", "A", ABC, "unparsed", ""),
    # --- ways to name an option
    ("The answer is B.", "B", ABC, "correct", "B"),
    ("The answer is (B)", "B", ABC, "correct", "B"),
    ("The answer is C", "B", ABC, "wrong", "C"),
    ("The answer is option B: 12", "B", ABC, "correct", "B"),
    ("The correct option is (C).", "C", ABC, "correct", "C"),
    ("The best choice is A", "A", ABC, "correct", "A"),
    # Math-Verify #16 and lm-evaluation-harness #3643: a letter in a box
    (r"\boxed{B}", "B", ABC, "correct", "B"),
    (r"$\boxed{\textbf{(B)}\ 12}$", "B", ABC, "correct", "B"),
    (r"\boxed{\text{C}}", "C", ABC, "correct", "C"),
    # a line break is an escaped backslash, and its brace closes the box
    (r"\boxed{\text{(B)}\\}", "B", ABC, "correct", "B"),
    # NeMo-Skills #1526: letters in a boxed formula, then an explicit line
    (r"\boxed{\langle H\rangle \ll \Delta E}" + "\n**Answer: D**", "D", FOUR, "correct", "D"),
    (r"\boxed{E = mc^2}", "E", None, "unparsed", "E = mc^2"),
    # OPD-V #2: "Answer" begins with an A, "The" with a T
    ("Answer: **D**", "D", FOUR, "correct", "D"),
    ("I considered (A), but it is incorrect. Final answer: D.", "D", FOUR, "correct", "D"),
    ("The correct answer is d.", "D", FOUR, "correct", "D"),
    # omlx #3668: a letter mentioned after the answer, the pronoun I
    ("The answer is B. Note that A is a common distractor.", "B", ABC, "correct", "B"),
    ("ANSWER IS C. A is incorrect.", "C", ABC, "correct", "C"),
    ("The answer is C because I computed it.", "C", list("0123456789"), "correct", "C"),
    # lm-evaluation-harness #4188: the article is not option A
    ("The answer is B because a car moves.", "B", CARS, "correct", "B"),
    ("b", "B", ABC, "correct", "B"),
    ("b. 12", "B", ABC, "correct", "B"),
    # inspect_ai #2216: letters of words
    ("ANSWER: None of the above", "A", ABC, "unparsed", "None of the above"),
    ("ANSWER: Don't know", "D", FOUR, "unparsed", "Don't know"),
    ("ANSWER: None of these", "C", CARS, "correct", "None of these"),
    # inspect_ai #3910: lower case
    ("ANSWER: b", "B", ABC, "correct", "B"),
    # simple-evals #33: the mark repeated
    ("Answer:\n\nAnswer: C", "C", ABC, "correct", "C"),
    ("The answer is A and C", "A", ABC, "unparsed", "A and C"),
    ("The answer is (A) or (B)", "A", ABC, "unparsed", "(A) or (B)"),
    ("The answer is F", "A", ABC, "unparsed", "F"),
    ("The answer is a car.", "A", CARS, "correct", "a car"),
    ("The answer is A bicycle.", "B", CARS, "correct", "A bicycle"),
    ("The answer is A softball\nANSWER:A", "A", ["softball", "ball"], "correct", "A"),
    ("The answer is 12", "B", ABC, "correct", "12"),
    ("The answer is 12.0", "B", ABC, "correct", "12.0"),
    ("The answer is 13", "B", ABC, "unparsed", "13"),
    (r"The answer is $\frac{1}{9}$", "B", FOUR, "correct", r"\frac{1}{9}"),
    ("The answer is p = 12", "A", ["p = 12", "p = 4"], "correct", "p = 12"),
    ("The answer is 12, which is option (B).", "B", ABC, "correct", "B"),
    ("The answer is 5", "A", ["5", "5"], "unparsed", "5"),
    ("We get 12, so (B)", "B", ABC, "correct", "B"),
    ("It must be\nC", "C", ABC, "correct", "C"),
    ("Answer B is correct.", "B", ABC, "correct", "B"),
    ("13 + 12 = 25\nC is the answer.", "C", ABC, "correct", "C"),
    ("A thin one breaks. B is correct.", "B", ABC, "correct", "B"),
    ("The answe is C", "C", ABC, "correct", "C"),
    ("The answer is 'C'", "C", ABC, "correct", "C"),
    ("we get 180\nOption: C", "C", ABC, "correct", "C"),
    ("f = (g * B) / h, in a field (B).\nSo, the sum is 15.", "C", ABC, "correct", "15"),
    ("Not (A). Hence option C fits", "C", ABC, "correct", "C"),
    ("The options are (A) 10 (B) 12 (C) 15", "C", ABC, "unparsed", ""),
    ("I pick (B). The options were (A) 10 (B) 12 (C) 15", "B", ABC, "correct", "B"),
    ("A good question.", "A", ABC, "unparsed", ""),
    ("12", "B", ABC, "correct", "12"),
    ("A a car", "A", CARS, "correct", "A"),
    ("It is hot, so\nB a bicycle", "B", CARS, "correct", "B"),
    ("C", "C", ["~A", "~~C", "C v D"], "correct", "C"),
    # --- long texts and costly expressions
    ("answer to " * 10**5, "A", ABC, "unparsed", ""),
]


def cases(numbers: list[Row], expressions: list[Row], options: list[ChoiceRow]) -> list[Any]:
    """Return the parameters of a test, named by their text."""
    params = [
        (text, answer, kind, None, (status, extracted))
        for kind, rows in (("number", numbers), ("expression", expressions))
        for text, answer, status, extracted in rows
    ]
    params += [
        (text, answer, "choice", choices, (status, extracted))
        for text, answer, choices, status, extracted in options
    ]
    return [pytest.param(*param, id=ascii(param[0])[:60]) for param in params]


@pytest.mark.parametrize(
    ("text", "answer", "kind", "choices", "expected"), cases(NUMBERS, EXPRESSIONS, OPTIONS)
)
def test_text_is_graded(
    text: str, answer: str, kind: AnswerKind, choices: list[str] | None, expected: tuple[str, str]
) -> None:
    outcome = grade(text, answer=answer, kind=kind, choices=choices)
    assert (outcome.status, outcome.extracted) == expected


@pytest.mark.parametrize(
    ("text", "matched"),
    [("The answer is B", ""), ("The answer is 12", "B"), ("The answer is 13", ""), ("15", "C")],
)
def test_option_known_by_its_text_is_named(text: str, matched: str) -> None:
    assert grade(text, answer="A", kind="choice", choices=ABC).matched_option == matched


PRINTED_NUMBERS: list[Row] = [
    ("3\n", "3", "correct", "3"),
    ("step 1\nstep 2\n42\n\n", "42", "correct", "42"),
    ("[3]", "3", "correct", "3"),
    ("[3.00000000000000]", "3", "correct", "3"),
    ("{x: 3}", "3", "correct", "3"),
    ("[{x: 3}]", "3", "correct", "3"),
    ("{'x': 3}", "3", "correct", "3"),
    ("x = 3", "3", "correct", "3"),
    ("(3,)", "3", "correct", "3"),
    ("x 11\nm -5", "-5", "correct", "-5"),
    ("27/2", "13.5", "correct", "13.5"),
    ("0.30000000000000004", "0.3", "correct", "0.30000000000000004"),
    ("385000.00000000006", "385000", "correct", "385000.00000000006"),
    ("The answer is 5 apples", "5", "correct", "5"),
    ("Total cost: $1,200", "1200", "correct", "1200"),
    ("[3, 4]", "4", "wrong", "3, 4"),
    ("342 236", "342236", "wrong", "236"),
    ("None", "4", "unparsed", ""),
    ("nan", "4", "unparsed", ""),
    ("", "4", "unparsed", ""),
    ("\n \n", "4", "unparsed", ""),
]

PRINTED_EXPRESSIONS: list[Row] = [
    ("x**2 + 1", "x^2+1", "correct", "x**2 + 1"),
    ("[x**2 + 1]", "x^2+1", "correct", "[x**2 + 1]"),
    ("(x + 1)*(x - 1)", "x^2-1", "correct", "(x + 1)*(x - 1)"),
    ("3*sqrt(x + 1)/2", r"\frac{3\sqrt{x+1}}{2}", "correct", "3*sqrt(x + 1)/2"),
    ("x**(1/2)", r"\sqrt{x}", "correct", "x**(1/2)"),
    ("[3, 5]", "3,5", "correct", "3, 5"),
    ("{3, 5}", "5,3", "correct", "{3, 5}"),
    ("[3, 5]", "[3, 5]", "correct", "[3, 5]"),
    ("(1, 2)", "(1,2)", "correct", "(1, 2)"),
    ("(1, 2)", "(2,1)", "wrong", "(1, 2)"),
]

PRINTED_OPTIONS: list[ChoiceRow] = [
    ("B", "B", ABC, "correct", "B"),
    ("(C)", "B", ABC, "wrong", "C"),
    ("12.0", "B", ABC, "correct", "12.0"),
    ("13.3", "B", ABC, "unparsed", ""),
]


@pytest.mark.parametrize(
    ("printed", "answer", "kind", "choices", "expected"),
    cases(PRINTED_NUMBERS, PRINTED_EXPRESSIONS, PRINTED_OPTIONS),
)
def test_program_is_graded_by_what_it_printed(
    printed: str,
    answer: str,
    kind: AnswerKind,
    choices: list[str] | None,
    expected: tuple[str, str],
) -> None:
    result = ProgramResult("ok", printed, "", 0.1)
    outcome = grade_program(result, answer=answer, kind=kind, choices=choices)
    assert (outcome.status, outcome.extracted) == expected


@pytest.mark.parametrize("status", ["timeout", "crashed", "refused"])
def test_failed_program_keeps_its_status(status: str) -> None:
    result = ProgramResult(status, "4\n", "it failed", 1.0)  # pyright: ignore[reportArgumentType]
    assert grade_program(result, answer="4", kind="number") == Grade("", status)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("```python\nprint(1)\n```", "print(1)"),
        ("First\n```python\nprint(1)\n```\nbetter\n```python\nprint(2)\n```\n", "print(2)"),
        ("```python\nprint(1)\n```\n```output\n1\n```\n", "print(1)"),
        ("```python\nprint(1)\n```\n```\n1\n```\n", "print(1)"),
        ("```Python\nx = 1\nprint(x)\n```", "x = 1\nprint(x)"),
        ("```py\nprint(1)\n```", "print(1)"),
        ("```\nx = 1\nprint(x)\n```", "x = 1\nprint(x)"),
        ("```python\nif x:\n    print(1)\n```", "if x:\n    print(1)"),
        ("```python\nx = 1\nprint(x", "x = 1\nprint(x"),
        ("```python\nprint(1)\n```\nor\n```python\nprint(", "print(1)"),
        ("```json\n{}\n```", ""),
        ("x = 5\nprint(x)", "x = 5\nprint(x)"),
        ("import math\nprint(math.pi)\n", "import math\nprint(math.pi)"),
        ("# a comment\nprint(3 +", "# a comment\nprint(3 +"),
        # lm-evaluation-harness #3710: the prompt opened the fence
        ("x = 5\nprint(x)\n```\nThis prints 5.", "x = 5\nprint(x)"),
        ("x = 5\nprint(x)\n```\n```output\n5\n```", "x = 5\nprint(x)"),
        ("He has 5 apples. The answer is 5.", ""),
        ("", ""),
        ("``````", ""),
    ],
)
def test_program_is_found(text: str, program: str) -> None:
    assert extract_program(text) == program


@pytest.mark.parametrize(
    ("answer", "kind", "choices"),
    [
        ("70000", "number", None),
        ("-1,234.5", "number", None),
        ("50%", "number", None),
        (r"\frac{3}{4}", "number", None),
        ("B", "choice", ABC),
        ("e", "choice", None),
        ("7", "expression", None),
        (r"\text{odd}", "expression", None),
        (r"\left( 3, \frac{\pi}{2} \right)", "expression", None),
        (r"\frac{12}{5,\!525}", "expression", None),
        ("[3, 5]", "expression", None),
    ],
)
def test_reference_is_accepted(answer: str, kind: AnswerKind, choices: list[str] | None) -> None:
    check_answer(answer, kind, choices)


@pytest.mark.parametrize(
    ("answer", "kind", "choices", "message"),
    [
        ("twelve", "number", None, "answer: 'twelve': expected a number"),
        ("3, 4", "number", None, "expected a number"),
        ("D", "choice", ABC, "answer: 'D': expected a letter from A to C"),
        ("AB", "choice", ABC, "expected a letter"),
        (r"\frac{1}{", "expression", None, "expected a mathematical expression or a word"),
        ("", "expression", None, "expected a mathematical expression or a word"),
        ("x" * 2000 + "+1", "expression", None, "expected a mathematical expression or a word"),
    ],
)
def test_unusable_reference_is_refused(
    answer: str, kind: AnswerKind, choices: list[str] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_answer(answer, kind, choices)


PIECES = r"""
\boxed{ \frac{ \frac \sqrt{ } { $ $$ \( \) \[ \] \text{ \left( \right) \begin{pmatrix} \end{pmatrix}
\cup \infty \pi \cdot \times ^ _ = + - * / ** ! % , . : ; ( ) [ ] | & < > # #### ``` ` ' " ~ \ \\
0 1 2 10 37 1,234 3.14 .5 1e5 1/0 x y i e A B (A) (B) answer Answer: is wait, Wait not and or the
½ ² − – × √ π ° € 五 ４ ٣ é 😀
"""
BLANKS = ["\n", "\n\n", " ", "\u00a0", "\u200b", "\x00", "\ud800", "The answer is "]


def test_no_text_makes_grading_raise() -> None:
    rng = random.Random(7)
    pieces = PIECES.split() + BLANKS
    references: list[tuple[str, AnswerKind]] = [
        ("12", "number"),
        (r"\frac{x}{2}", "expression"),
        ("B", "choice"),
    ]
    seen = set()
    for number in range(400):
        text = "".join(
            rng.choice(pieces) if rng.random() < 0.9 else chr(rng.randrange(0x110000))
            for _ in range(rng.randint(1, 25))
        )
        answer, kind = references[number % 3]
        outcome = grade(text, answer=answer, kind=kind, choices=ABC)
        seen.add(outcome.status)
        extract_program(text)
        assert len(outcome.extracted) <= 1000
    assert {"correct", "wrong", "unparsed"} <= seen <= {"correct", "wrong", "unparsed", "ungraded"}

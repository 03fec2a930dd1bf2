r"""OpenR1-Math: worked solutions to learn from, seven mathematics benchmarks as the test (paper, Tables 2 and 5).

The paper trains on 50 000 random solutions and scores greedy pass@1 with the Qwen2.5-Math evaluation. It names
neither files nor prompts: the hub ids below are inferred from the benchmarks' names and their sizes in that
evaluation, the prompt is its chain-of-thought chat prompt. That evaluation compares formulas by computer algebra
where ours compares text and numbers (answers.py), so ours is the stricter one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import OFTError
from . import Example
from .answers import boxed, check_paired, same_answer, same_choice
from .hub import Row, held_out, load_rows

HUB = "open-r1/OpenR1-Math-220k"
FIELDS = ("problem", "generations", "messages")
SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."


@dataclass(frozen=True)
class Benchmark:
    """Where a benchmark lies and how a row becomes a question with its right answer in the target."""

    hub: str
    split: str
    config: str | None
    fields: tuple[str, ...]
    example: Callable[[Row], Example]
    is_right: Callable[[str | None, str], bool] = same_answer


def plain(row: Row) -> Example:
    return Example(row["question"].strip(), str(row["answer"]).strip(), SYSTEM)


def aqua(row: Row) -> Example:
    choices = " ".join(f"({option[0]}) {option[1:].lstrip(' ).')}" for option in row["options"])
    return Example(f"{row['question'].strip()}\nAnswer Choices: {choices}", row["correct"].strip(), SYSTEM)


def cmath(row: Row) -> Example:
    return Example(row["question"].strip(), str(row["golden"]).strip(), SYSTEM)


def olympiad(row: Row) -> Example:
    answers = row["final_answer"]
    return Example(row["question"].strip(), answers[0] if isinstance(answers, list) else str(answers), SYSTEM)


def sat(row: Row) -> Example:
    return Example(f"{row['Question'].strip()}\n{row['Possible Answers'].strip()}", row["Answer"].strip(), SYSTEM)


BENCHMARKS = {
    "amc23": Benchmark("math-ai/amc23", "test", None, ("question", "answer"), plain),
    "aqua": Benchmark("deepmind/aqua_rat", "test", "raw", ("question", "options", "correct"), aqua, same_choice),
    "cmath": Benchmark("weitianwen/cmath", "test", None, ("question", "golden"), cmath),
    "gaokao2023en": Benchmark("MARIO-Math-Reasoning/Gaokao2023-Math-En", "train", None, ("question", "answer"), plain),
    "minerva": Benchmark("math-ai/minervamath", "test", None, ("question", "answer"), plain),
    "olympiadbench": Benchmark(
        "Hothan/OlympiadBench", "train", "OE_TO_maths_en_COMP", ("question", "final_answer"), olympiad
    ),
    "sat_math": Benchmark(
        "mcaleste/sat_multiple_choice_math_may_23",
        "train",
        None,
        ("Question", "Possible Answers", "Answer"),
        sat,
        same_choice,
    ),
}


@dataclass(frozen=True)
class OpenR1:
    """Training on worked solutions; the test is one benchmark, or each in turn by `with_benchmark`.

    Raises:
        OFTError: unknown benchmark, or a size below 1.
    """

    samples: int = 50_000  # random solutions to train on
    dev: int = 100
    benchmark: str = "amc23"

    name = "openr1"
    form = "chat"
    metrics = ("pass_at_1",)
    max_new_tokens = 2048  # of a greedy answer, as the Qwen2.5-Math evaluation allows

    def __post_init__(self) -> None:
        if self.benchmark not in BENCHMARKS:
            raise OFTError(f"openr1: benchmark must be one of {', '.join(BENCHMARKS)}, not {self.benchmark!r}")
        for name in ("samples", "dev"):
            if getattr(self, name) < 1:
                raise OFTError(f"openr1: {name} must be at least 1, not {getattr(self, name)!r}")

    def with_benchmark(self, benchmark: str) -> OpenR1:
        return OpenR1(self.samples, self.dev, benchmark)

    def train_examples(self, seed: int) -> list[Example]:
        rows = held_out(load_rows(HUB, "train", "default", FIELDS), self.dev)[0]
        draw = random.Random(f"openr1, {seed}")
        return [example_of(row) for row in draw.sample(rows, min(self.samples, len(rows)))]

    def dev_examples(self, seed: int) -> list[Example]:
        return [example_of(row) for row in held_out(load_rows(HUB, "train", "default", FIELDS), self.dev)[1]]

    def test_examples(self, seed: int) -> list[Example]:
        chosen = BENCHMARKS[self.benchmark]
        return [chosen.example(row) for row in load_rows(chosen.hub, chosen.split, chosen.config, chosen.fields)]

    def score(self, examples: Sequence[Example], answers: Sequence[str]) -> dict[str, float]:
        check_paired(answers, examples)
        is_right = BENCHMARKS[self.benchmark].is_right
        right = [is_right(boxed(answer), e.target) for answer, e in zip(answers, examples, strict=True)]
        return {"pass_at_1": sum(right) / len(right)}


def example_of(row: Row) -> Example:
    """The problem and its worked solution: that of `messages`, which the data set's makers chose, else the first one.

    Raises:
        OFTError: the row has no solution.
    """
    solutions = [turn["content"] for turn in row["messages"] or [] if turn["role"] == "assistant"]
    solutions = solutions or list(row["generations"] or [])
    if not solutions or not solutions[0]:
        raise OFTError(f"the OpenR1 problem {row['problem'][:60]!r} has no solution")
    return Example(row["problem"].strip(), solutions[0].strip(), SYSTEM)

r"""Reading an answer out of what a model wrote, and comparing it with the right one.

Numbers come after `####` (GSM8K's format) and formulas in `\boxed{}` (the format of the mathematics benchmarks).
The comparison of formulas is a light one: it strips LaTeX that does not change a value and compares numbers as
numbers. It has no computer algebra, so `x+1` and `1+x` differ, and scores come out no higher than with one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from ..errors import OFTError

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
HASHES = re.compile(r"####\s*\$?\s*(-?\d[\d,]*(?:\.\d+)?)")


def number_after_hashes(text: str) -> Decimal | None:
    """The number of the first `#### N`, else the last whole number in the text, else None."""
    found = HASHES.search(text)
    if found:
        return Decimal(found[1].replace(",", ""))
    whole = [n for n in NUMBER.findall(text) if "." not in n]
    return Decimal(whole[-1].replace(",", "")) if whole else None


def exact_match(answers: Sequence[str], targets: Sequence[str]) -> float:
    """Share of answers whose number is the target's.

    Raises:
        OFTError: different lengths, none at all, or a target without a number.
    """
    check_paired(answers, targets)
    wanted = [number_after_hashes(target) for target in targets]
    if None in wanted:
        raise OFTError(f"the target {targets[wanted.index(None)][:60]!r} holds no number to compare with")
    return sum(number_after_hashes(a) == w for a, w in zip(answers, wanted, strict=True)) / len(wanted)


def check_paired(answers: Sequence[str], targets: Sequence[object]) -> None:
    if len(answers) != len(targets) or not answers:
        raise OFTError(f"there must be as many answers as targets and at least one, not {len(answers)}, {len(targets)}")


def boxed(text: str) -> str | None:
    r"""Contents of the last complete `\boxed{...}` or `\fbox{...}`, braces balanced; None if there is none."""
    for start in sorted((m.end() for m in re.finditer(r"\\f?box(?:ed)?\s*\{", text)), reverse=True):
        depth = 1
        for end in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0) if text[end - 1] != "\\" else 0
            if depth == 0:
                return text[start:end].strip()
    return None


def normalise(answer: str) -> str:
    r"""A formula without the LaTeX and punctuation that do not change its value.

    `\dfrac` becomes `\frac` and `\frac12` `\frac{1}{2}`; spacing, `\left`/`\right`, dollar signs, degrees, percent
    signs, `\text{ units}` after a value, thousands separators and a leading `x =` go.
    """
    s = answer.strip().rstrip(".").replace("\n", " ")
    s = re.sub(r"\\[dtc]frac", r"\\frac", s)
    s = re.sub(r"\\left(?![a-z])|\\right(?![a-z])|\\displaystyle|\\[,;:!> ]|\\q?quad", "", s)
    s = s.replace(r"\$", "").replace("$", "")
    s = re.sub(r"\^\s*(\{\s*)?\\circ(\s*\})?|\\degree|°|\\%|%", "", s)
    s = re.sub(r"(?<=.)\\(?:text|mathrm|mbox)\s*\{[^{}]*\}\s*(?:\^\s*\{?[23]\}?)?$", "", s)
    s = re.sub(r"\\(?:text|mathrm|mathbf|textbf|mbox)\s*\{([^{}]*)\}", r"\1", s)
    s = re.sub(r"^\s*[A-Za-z]\s*(?:=|\\in)\s*", "", s)
    s = re.sub(r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}", s)
    s = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", s)
    s = re.sub(r"\s+", "", s)
    return re.sub(r"(?<![\d.])\.(?=\d)", "0.", s)


def as_number(formula: str) -> Fraction | None:
    r"""Value of a normalised integer, decimal, `a/b` or `\frac{a}{b}`; None for anything else."""
    found = re.fullmatch(r"(-?)\\frac\{(-?\d{1,40})\}\{(-?\d{1,40})\}", formula)
    parts = (found[1] + found[2], found[3]) if found else None
    if parts is None and (found := re.fullmatch(r"(-?\d{1,40})/(-?\d{1,40})", formula)):
        parts = (found[1], found[2])
    if parts is not None:
        top, below = int(parts[0].replace("--", "")), int(parts[1])
        return Fraction(top, below) if below else None
    return Fraction(formula) if re.fullmatch(r"-?\d{1,40}(?:\.\d{1,40})?", formula) else None


def same_answer(answer: str | None, right: str) -> bool:
    """Whether two formulas agree after normalising, as text or as numbers (to 1e-4 of the right one)."""
    if answer is None:
        return False
    a, b = normalise(answer), normalise(right)
    if a == b:
        return True
    x, y = as_number(a), as_number(b)
    return x is not None and y is not None and abs(x - y) <= abs(y) / 10_000


def same_choice(answer: str | None, right: str) -> bool:
    """Whether a multiple-choice answer names the right letter: `C`, `(C)`, `C) 21`, `C. 21`."""
    found = re.match(r"\W*([A-Ea-e])(?![A-Za-z])", re.sub(r"\\(?:textbf|text|mathrm|mathbf)", "", answer or ""))
    return found is not None and found[1].upper() == right.strip().upper()

"""A model that is none: it reads its prompts, knows what it is asked for, and answers with a bias that is set.

For tests and rehearsals (`llm=fake`): the same prompts, parsing, loop and report as with a model, without one. Reports
call it a stand-in. It reads the paper's four phrasings, for targets of any number of outcomes, and the in-context
record.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from shared.llm.request import Request

from .errors import VRSError

Chances = dict[str, float]
SLOT = {"T": "Decision", "F": "Decision", "Yes": "Answer", "No": "Answer"}


def straight(p: float) -> float:
    return p


def leaning(p: float) -> float:
    """A coin that leans to 1 and shrinks towards the middle."""
    return 0.15 + 0.75 * p


@dataclass
class Oracle:
    """`bias` maps the true chance of a 1 (draw) or of accepting to the model's; `mass` is what the labels get together.

    With `forgets_m` it accepts with min(1, P/Q), as one of the paper's models seems to do.
    """

    bias: Callable[[float], float] = straight
    mass: float = 1.0
    forgets_m: bool = False

    def __call__(self, request: Request) -> Mapping[str, float] | str:
        """The distribution of the reply; one reply where a distribution would be too large to write down."""
        text = request.messages[-1].text
        if request.choices is not None:
            table = self.chances(request)
            return {choice: self.mass * table[choice.strip()] for choice in request.choices}
        if "<random_string>" in text:
            return self._string(text, request.draw)
        if "{" not in text:
            # no question of ours: the independence probe asks for a story
            return f"A story that begins with the number {random.Random(f'{text}/{request.draw}').random()}."
        if "Probability:" in text:
            return "\n".join(f"Result: {label} | Probability: {p}" for label, p in told(text).items())
        if "Python expression" in text:
            table = told(text)
            labels = [int(label) if label.isdigit() else label for label in table]
            return f"Output: random.choices({labels}, weights={list(table.values())})[0]"
        if many := re.search(r"Draw (\d+) values", text):
            table = self.chances(request)
            rng = random.Random(f"{text}/{request.draw}")
            return "Output: " + ", ".join(rng.choices(list(table), weights=list(table.values()), k=int(many[1])))
        checked = "Candidate: 1\nCheck: T\n" if "Candidate" in text else ""
        table = self.chances(request)
        return {f"Explanations: none.\n{checked}{SLOT.get(x, 'Output')}: {x}": p for x, p in table.items()}

    def chances(self, request: Request) -> Chances:
        """Label -> probability of the answer."""
        text = request.messages[-1].text
        if "Go on with the record" in text:
            ones = [int(d) for d in (request.prefix or "").split(",")[:-1]]
            return self._labelled({"0": 1 - sum(ones) / len(ones), "1": sum(ones) / len(ones)})
        if "Target distribution P:" in text:
            return self._judged(text)
        if "The question is whether" in text:
            return self._recognised(text)
        return self._labelled(told(text))

    def _judged(self, text: str) -> Chances:
        P, Q = (told(line) for line in re.findall(r"distribution [PQ]: (.*)\.\n", text))
        x = _found(r"drawn from Q: (\S+)", text)
        M = 1.0 if self.forgets_m else max(P[v] / Q[v] for v in P if P[v])
        accept = self.bias(min(1.0, P[x] / (M * Q[x])))
        return {"T": accept, "F": 1 - accept}

    def _recognised(self, text: str) -> Chances:
        draws = [int(d) for d in _found(r"drawn:\n\n([01, ]*)\n", text).split(",")]
        p = told(text)["1"]
        close = abs(sum(draws) / len(draws) - p) < 2.5 * math.sqrt(p * (1 - p) / len(draws)) + 1e-9
        return {"Yes": float(close), "No": float(not close)}

    def _labelled(self, truth: Chances) -> Chances:
        if len(truth) > 2:
            return truth
        one = "1" if "1" in truth else list(truth)[-1]
        p = self.bias(truth[one])
        return {label: p if label == one else 1 - p for label in truth}

    def _string(self, text: str, draw: int) -> str:
        rng = random.Random(f"{text}/{draw}")
        string = "".join(chr(rng.randrange(33, 127)) for _ in range(40))
        reply = f"<random_string>{string}</random_string>"
        if "<answer>" not in text:
            return reply
        table, u = told(text), (sum(map(ord, string)) % 100 + 0.5) / 100
        ends = list(accumulate(table.values()))
        place = next((i for i, end in enumerate(ends) if u < end), len(ends) - 1)
        return f"{reply}\n<answer>{list(table)[place]}</answer>"


def told(text: str) -> Chances:
    """Label -> probability, from "a sample from the set {…}, where the probability of … is …"."""
    found = re.search(r"the set \{([^}]*)\}(?:, where (.*))?", text)
    if found is None:
        raise VRSError("the stand-in for a model reads the phrasings P1, P0, P10 and P01 alone")
    labels = [label.strip() for label in found[1].split(",")]
    given = {label: float(p) for label, p in re.findall(r"probability of (\S+) is ([0-9.]*[0-9])", found[2] or "")}
    missing = [label for label in labels if label not in given]
    if len(missing) > 1:
        raise VRSError("the stand-in for a model reads the phrasings P1, P0, P10 and P01 alone")
    return {label: given.get(label, 1 - sum(given.values())) for label in labels}


def biased() -> Oracle:
    """The stand-in of `llm=fake`: it leans, and forgets M when it judges."""
    return Oracle(leaning, forgets_m=True)


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None
    return found[1]

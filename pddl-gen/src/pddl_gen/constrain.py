"""Staged constrained decoding: every sample is a correct, well-typed domain, whatever the model understands.

Each stage is context-free, and a later stage's grammar is made from what an earlier one wrote:

    1  header, types and predicates are read off the given problem; the model writes the names of the actions
    2  for each action, the model writes its parameters' types
    3  then its precondition and effect, in which an atom takes only parameters whose type its predicate allows

So rung 1 is bought without understanding, which is the point of showing it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .check import conjuncts
from .errors import PDDLGenError
from .parse import parse_problem
from .syntax import OBJECT, Atom, Not, Types

ACTIONS, PARAMETERS, LITERALS = 3, 4, 4
NAME = "[a-z][a-z]{1,9}(-[a-z]{2,9})?"


class Model(Protocol):
    """What writes: it is fed tokens and gives the logits (vocabulary,) of the next one."""

    def feed(self, tokens: Sequence[int]) -> np.ndarray: ...


@dataclass(frozen=True)
class Vocabulary:
    """What a problem tells of its domain."""

    domain: str
    types: tuple[str, ...]
    constants: tuple[str, ...]  # named in the problem without being declared there
    predicates: tuple[tuple[str, Types], ...]  # name, type of each argument

    @classmethod
    def of(cls, problem: str) -> Vocabulary:
        """Types of the objects, predicates of initial state and goal; a place with several types takes any object.

        Raises:
            PDDLGenError: no problem can be read.
        """
        parsed = parse_problem(problem).value
        if parsed is None:
            raise PDDLGenError("the problem cannot be read, so that no domain can be begun from it")
        kinds = {name: types[0] for name, types in parsed.objects.items()}
        constants: dict[str, None] = {}
        seen: dict[str, list[set[str]]] = {}
        atoms = list(parsed.init)
        for part in conjuncts(parsed.goal):
            inner = part.part if isinstance(part, Not) else part
            if isinstance(inner, Atom):
                atoms.append(inner)
        for atom in atoms:
            if atom.name == "=":
                continue
            places = seen.setdefault(atom.name, [set() for _ in atom.args])
            for place, arg in zip(places, atom.args, strict=False):
                place.add(kinds.get(arg, OBJECT))
                if arg not in kinds:
                    constants[arg] = None
        types = tuple(sorted(set(kinds.values()) - {OBJECT}))
        predicates = tuple(
            (name, tuple(next(iter(p)) if len(p) == 1 else OBJECT for p in places)) for name, places in seen.items()
        )
        return cls(parsed.domain or "domain", types, tuple(constants), predicates)

    def header(self) -> str:
        lines = [f"(define (domain {self.domain})", "  (:requirements :strips :typing :negative-preconditions)"]
        if self.types:
            lines.append(f"  (:types {' '.join(self.types)})")
        if self.constants:
            lines.append(f"  (:constants {' '.join(self.constants)} - object)")
        lines.append("  (:predicates")
        for name, types in self.predicates:
            args = " ".join(f"?a{i} - {t}" for i, t in enumerate(types, 1))
            lines.append(f"    ({name}{' ' if args else ''}{args})")
        return "\n".join(lines) + ")\n"

    def literals(self, params: Sequence[str]) -> list[str]:
        """The atoms over parameters ?x1 ... of these types."""
        found = []
        for name, types in self.predicates:
            options = [[f"?x{i}" for i, p in enumerate(params, 1) if t in (p, OBJECT)] for t in types]
            found += [f"({' '.join((name, *args))})" for args in itertools.product(*options)]
        return found


class Staged:
    """Writes domains with a model, a tokenizer of transformers and a grammar engine (llguidance)."""

    def __init__(self, tokenizer: Any, size: int | None = None) -> None:
        import llguidance.hf

        self.tokenizer = tokenizer
        self.guide = llguidance.hf.from_tokenizer(tokenizer, size)

    def domain(
        self, model: Model, prompt: str, problem: str, rng: np.random.Generator, temperature: float = 0.7
    ) -> str:
        """One domain for a Prob2Domain prompt."""
        about = Vocabulary.of(problem)
        text = about.header()
        logits = model.feed(self._tokens(f"{prompt}{text}  ; actions: "))

        def write(grammar: str) -> str:
            nonlocal logits
            out, logits = self._write(model, logits, grammar, rng, temperature)
            return out

        def force(words: str) -> None:
            nonlocal logits
            logits = model.feed(self._tokens(words))

        listed = write(f'start: NAME (" " NAME){{0,{ACTIONS - 1}}} "\\n"\nNAME: /{NAME}/\n').split()
        names = list(dict.fromkeys(listed))
        kinds = self._any(about.types or (OBJECT,))
        for name in names:
            begin = f"  (:action {name}\n    :parameters ("
            force(begin)
            pieces = f'"?x{PARAMETERS} - " KIND'
            for i in range(PARAMETERS - 1, 0, -1):
                pieces = f'"?x{i} - " KIND (" " {pieces})?'
            written = write(f'start: {pieces} ")"\nKIND: {kinds}\n')
            params = re.findall(r"- ([^\s)]+)", written)
            literals = about.literals(params)
            force("\n    :precondition (and")
            body = f"{begin}{written}\n    :precondition (and"
            if literals:
                atom = self._any(literals)
                many = f'start: (" " (ATOM | "(not " ATOM ")")){{1,{LITERALS}}} "\\n"\nATOM: {atom}\n'
                before = write(many).rstrip("\n")
                force(")\n    :effect (and")
                after = write(many).rstrip("\n")
                body += f"{before})\n    :effect (and{after}))\n"
            else:
                body += ")\n    :effect (and))\n"
            force("))\n")
            text += body
        return text + ")\n"

    def _write(
        self, model: Model, logits: np.ndarray, grammar: str, rng: np.random.Generator, temperature: float
    ) -> tuple[str, np.ndarray]:
        """Text that the grammar derives, token by token, and the logits after it."""
        from llguidance import LLMatcher

        matcher = LLMatcher(self.guide, LLMatcher.grammar_from_lark(grammar))
        if matcher.is_error():
            raise PDDLGenError(f"the grammar was refused: {matcher.get_error()}")
        tokens: list[int] = []
        while not matcher.is_stopped():
            mask = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
            allowed = np.flatnonzero(np.unpackbits(mask, bitorder="little")[: len(logits)])
            allowed = allowed[allowed != self.guide.eos_token] if len(allowed) > 1 else allowed
            if not len(allowed) or (len(allowed) == 1 and allowed[0] == self.guide.eos_token):
                break
            values = logits[allowed].astype(np.float64) / temperature
            weights = np.exp(values - values.max())
            token = int(rng.choice(allowed, p=weights / weights.sum()))
            matcher.consume_token(token)
            tokens.append(token)
            logits = model.feed([token])
        return self.tokenizer.decode(tokens), logits

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @staticmethod
    def _any(words: Sequence[str]) -> str:
        return " | ".join(f'"{w}"' for w in words)


class CausalLM:
    """A model of transformers that keeps its keys and values."""

    def __init__(self, lm: Any) -> None:
        self.lm, self.past = lm, None

    def feed(self, tokens: Sequence[int]) -> np.ndarray:
        import torch

        with torch.inference_mode():
            ids = torch.tensor([list(tokens)], device=self.lm.device)
            out = self.lm(input_ids=ids, past_key_values=self.past, use_cache=True, logits_to_keep=1)
        self.past = out.past_key_values
        return out.logits[0, -1].float().cpu().numpy()


class RandomModel:
    """A stub: logits drawn anew for every token."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.rng = size, np.random.default_rng(seed)

    def feed(self, tokens: Sequence[int]) -> np.ndarray:
        return self.rng.normal(size=self.size)

"""What a proof may contain: a gate on its tokens, before any Lean time is spent. Words in comments and strings are
free.

Policies are data files (`policies/*.json`) with a hash that goes into every fingerprint: `strict` for evaluation,
`lenient` lets a completion bring auxiliary lemmas, `paper` is the official rule (no gate) for comparison only.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

from ..errors import FormalMathError
from .lexer import Lexed, Token, deepest, depth_error, lex

POLICIES = ("strict", "lenient", "paper")
PROOF_BYTES = 256 << 10
NESTING = 512
# legal identifiers: refused only as the whole name or its last component
SOFT = frozenset(
    [
        "constant",
        "unsafeCast",
        "reduceBool",
        "ofReduceBool",
        "ofReduceNat",
        "reduceNat",
        "addDecl",
        "include",
        "omit",
        "trustCompiler",
        "seal",
        "unseal",
        "IO",
        "logInfo",
        "logWarning",
        "logError",
        "throwError",
        "trace",
        "hint",
        "stop",
        "evalExpr",
    ]
)
CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200e\u200f\ufeff")


@dataclass(frozen=True)
class Policy:
    """The rules of one policy file."""

    name: str
    auxiliary: bool
    axioms: frozenset[str] | None  # allowed ones; None for any
    require_axioms: bool
    refuse: frozenset[str]
    refuse_prefixes: tuple[str, ...]
    options: tuple[str, ...] | None
    source: str = ""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, 16 digits."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:16]


def load_policy(name: str) -> Policy:
    """A policy by name.

    Raises:
        FormalMathError: there is none of that name.
    """
    if name not in POLICIES:
        raise FormalMathError(f"policy must be one of {', '.join(POLICIES)}, not {name!r}")
    source = (files("formalmath") / "lean" / "policies" / f"{name}.json").read_text()
    data: Mapping[str, Any] = json.loads(source)
    return Policy(
        data["name"],
        data["auxiliary"],
        None if data["axioms"] is None else frozenset(data["axioms"]),
        data["require_axioms"],
        frozenset(data["refuse"]),
        tuple(data["refuse_prefixes"]),
        None if data["options"] is None else tuple(data["options"]),
        source,
    )


@dataclass(frozen=True)
class Refusal:
    """Why a proof is not sent to Lean: `verdict` is rejected, incomplete or error; `layer` names the check."""

    verdict: str
    layer: str
    reason: str


def gate(body: str, policy: Policy) -> Refusal | None:
    """The first reason to refuse a proof body, or None.

    Args:
        body: what follows `:= by`.
        policy: its rules.
    """
    if policy.name == "paper":
        return None
    if len(body.encode(errors="surrogatepass")) > PROOF_BYTES:
        return Refusal("rejected", "size", f"the proof is over {PROOF_BYTES >> 10} KiB")
    for character in body:
        if (
            character == "\0"
            or character in CONTROLS
            or (character < " " and character not in "\n\t\r")
            or "\ud800" <= character <= "\udfff"
        ):
            return Refusal("rejected", "characters", f"the proof holds the control character U+{ord(character):04X}")
    lexed = lex(body)
    if lexed.open:
        return Refusal("error", "syntax", f"the proof ends inside a {lexed.open}")
    doubtful = any(t.kind in ("char", "unknown") for t in lexed.tokens)  # then only Lean can tell
    if not doubtful and (unbalanced := depth_error(lexed.tokens)):
        return Refusal("error", "syntax", unbalanced)
    if deepest(lexed.tokens) > NESTING:
        return Refusal("rejected", "nesting", f"brackets are nested over {NESTING} deep")
    return words(lexed, policy)


def words(lexed: Lexed, policy: Policy) -> Refusal | None:
    tokens = lexed.tokens
    for place, token in enumerate(tokens):
        if token.kind == "str" and place and tokens[place - 1].text == "s!" and "{" in token.text:
            return Refusal("rejected", "token", "an interpolated string")
        if token.kind == "unknown":
            if token.text in CONTROLS or unicodedata.category(token.text[0]) in ("Cc", "Cf", "Co", "Cn"):
                return Refusal("rejected", "characters", f"the proof holds U+{ord(token.text[0]):04X}")
            continue
        if token.kind == "sym" and token.text[0] == "#" and token.text[1:2].isalpha():
            return Refusal("rejected", "token", f"the command `{token.text}`")
        if token.kind == "sym" and token.text == "@[":
            return Refusal("rejected", "token", "an attribute")
        if token.kind != "ident":
            continue
        if refusal := _word(token, policy):
            return refusal
        if token.text == "set_option" and (refusal := _option(tokens, place, policy)):
            return refusal
        if token.text == "open":
            if not _open_in(tokens, place):
                return Refusal("rejected", "token", "`open` that is not `open … in`")
            if tokens[place + 1].text == "private":
                return Refusal("rejected", "token", "`open private`")
    return None


def _word(token: Token, policy: Policy) -> Refusal | None:
    """Reserved words are refused wherever they stand in a name, other words as the whole name or its last component."""
    plain = token.text.replace("«", "").replace("»", "")
    if any(
        plain == p.rstrip(".") or plain.startswith(p if p.endswith(".") else p + ".") for p in policy.refuse_prefixes
    ):
        return Refusal("rejected", "token", f"the name `{token.text}`")
    components = plain.split(".")
    looked = components if len(components) == 1 else [c for c in components if c not in SOFT and c not in FIELDS]
    if len(components) > 1 and components[-1] in SOFT:
        looked = [*looked, components[-1]]
    hit = next((w for w in looked if w in policy.refuse), None)
    if hit is None:
        return None
    verdict = "incomplete" if hit in PLACEHOLDERS else "rejected"
    return Refusal(verdict, "token", f"the word `{token.text}`")


PLACEHOLDERS = frozenset(("sorry", "admit", "sorryAx", "exact?", "apply?", "rw?", "hint", "stop"))
# field names of honest lemmas, such as `List.prefix` or `h.end`
FIELDS = frozenset(
    [
        "prefix",
        "end",
        "section",
        "local",
        "def",
        "partial",
        "variable",
        "instance",
        "class",
        "structure",
        "infix",
        "private",
        "example",
    ]
)


def _option(tokens: list[Token], place: int, policy: Policy) -> Refusal | None:
    name = tokens[place + 1].text if place + 1 < len(tokens) else ""
    plain = name.replace("«", "").replace("»", "")
    allowed = policy.options or ()
    if any(plain == o or (o.endswith(".") and plain.startswith(o)) for o in allowed):
        return None
    return Refusal("rejected", "token", f"`set_option {name}`")


def _open_in(tokens: list[Token], place: int) -> bool:
    """Whether this `open` is a term's or tactic's `open A B in`."""
    for later in tokens[place + 1 :]:
        if later.text == "in":
            return True
        if later.kind != "ident" and later.text not in ("(", ")"):
            return False
    return False

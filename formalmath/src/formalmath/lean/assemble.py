"""From a completion to the file that Lean reads: the trusted statement word for word, then the proof, then a guard."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from .lexer import Lines, lex
from .policy import Policy, Refusal, gate
from .statement import Statement

FENCE = re.compile(r"^[ \t]*(?P<mark>`{3,}|~{3,})[ \t]*(?P<tag>[A-Za-z0-9_+-]*)[^\n]*$", re.MULTILINE)
LEAN_TAGS = frozenset(("", "lean", "lean4", "lean3"))
DECLARING = frozenset(("theorem", "lemma", "example", "def"))
COMPLETION_LIMIT = 4 << 20


@dataclass(frozen=True)
class Proof:
    """A proof body that passed the gate; `auxiliary` are lemmas that stand before the target (policy lenient)."""

    body: str
    auxiliary: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of the tokens: proofs that differ in blanks and comments alone are one proof.

        Indentation means something in Lean, so each line's first column is part of it.
        """
        return token_digest(f"{self.auxiliary}\n\x1f\n{self.body}")


def token_digest(text: str) -> str:
    lines = Lines(text)
    hasher, line = hashlib.sha256(), 0
    for token in lex(text).tokens:
        here, column = lines(token.start)
        hasher.update(f"{column if here != line else ''}\x1f{token.text}\x1e".encode(errors="surrogatepass"))
        line = here
    return hasher.hexdigest()


@dataclass(frozen=True)
class Assembled:
    """A whole file: `text` for one REPL command without its imports, and where the target and the body stand in it."""

    imports: str
    text: str
    target_line: int  # of the declared name, from 1
    body_line: int
    name: str  # fully qualified

    @property
    def whole(self) -> str:
        """Imports and text as one file."""
        return (
            f"{self.imports}{self.text}"
            if self.imports.endswith("\n") or not self.imports
            else f"{self.imports}\n{self.text}"
        )

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.whole.encode(errors="surrogatepass")).hexdigest()


def extract_proof(completion: str, st: Statement, policy: Policy, *, open_fence: bool = False) -> Proof | Refusal:
    """The proof in a model's answer, or why there is none that may be checked.

    Args:
        completion: what the model wrote.
        st: the trusted statement.
        policy: what a proof may contain.
        open_fence: the prompt ended inside a code fence that the completion continues.
    """
    if len(completion) > COMPLETION_LIMIT:
        return Refusal("rejected", "size", "the completion is too long")
    text = completion
    if "<think>" in text or "</think>" in text:
        _, closed, tail = text.rpartition("</think>")
        if not closed:
            return Refusal("incomplete", "extraction", "the thinking never ends")
        text = tail
    code = find_code(text, st, open_fence)
    body: str | Refusal
    body, auxiliary = proof_body(code, st, policy)
    if isinstance(body, Refusal):
        return body
    if refusal := gate(body, policy) or (gate(auxiliary, policy) if auxiliary else None):
        return refusal
    if not lex(body).tokens:
        return Refusal("incomplete", "extraction", "the proof is empty")
    return Proof(body, auxiliary)


def find_code(text: str, st: Statement, open_fence: bool) -> str:
    """The last Lean block that names the target or has `:= by`; else the text up to the first closing fence; else
    all."""
    blocks: list[str] = []
    opened: tuple[int, str, str] | None = None
    for fence in FENCE.finditer(text):
        if opened is None:
            if open_fence and not blocks and fence["tag"] == "":
                blocks.append(text[: fence.start()])
                continue
            opened = (fence.end(), fence["mark"], fence["tag"].lower())
        elif fence["tag"] == "" and fence["mark"][0] == opened[1][0]:
            if opened[2] in LEAN_TAGS:
                blocks.append(text[opened[0] + 1 : fence.start()])
            opened = None
    if opened is not None and opened[2] in LEAN_TAGS:
        blocks.append(text[opened[0] + 1 :])
    if open_fence and blocks and not any(st.name in b and ":= by" in b for b in blocks[1:]):
        return blocks[0]
    fitting = [b for b in blocks if (st.name and st.name in b) or ":= by" in b]
    if fitting:
        return fitting[-1]
    return blocks[-1] if blocks else text


def proof_body(code: str, st: Statement, policy: Policy) -> tuple[str | Refusal, str]:
    """What follows the restated target's `:=`, or the code itself where it restates nothing; and what stands before."""
    lexed = lex(code)
    tokens = lexed.tokens
    last = st.name.rpartition(".")[2]
    place = next(
        (
            i
            for i in range(len(tokens) - 2, -1, -1)
            if tokens[i].text in DECLARING and tokens[i + 1].text in (st.name, last)
        ),
        None,
    )
    if place is None:
        if policy.name != "paper" and any(t.text in ("theorem", "lemma", "import") for t in tokens[:1]):
            return Refusal(
                "rejected",
                "statement",
                f"the code declares `{tokens[1].text if len(tokens) > 1 else ''}`, not {st.name}",
            ), ""
        return code, ""
    wanted = [t.text for t in lex(st.signature).tokens]
    wanted = wanted[_keyword(wanted) :]
    given = [t.text for t in tokens[place : place + len(wanted)]]
    if policy.name != "paper":
        if given[1:] != wanted[1:] and given[1:-1] != wanted[1:-1]:
            return Refusal("rejected", "statement", "the statement was changed"), ""
        if given and given[0] != wanted[0] and {given[0], wanted[0]} != {"theorem", "lemma"}:
            return Refusal("rejected", "statement", "the statement was changed"), ""
    if given[-1:] == ["by"]:
        end = tokens[place + len(wanted) - 1].end
        body = code[end:]
    else:  # a term after `:=`
        end = tokens[place + len(wanted) - 2].end
        body = f" exact ({code[end:].strip()})\n"
    before = code[: tokens[place].start]
    auxiliary = auxiliary_lemmas(before, st)
    if auxiliary and not policy.auxiliary and policy.name != "paper":
        return Refusal("rejected", "statement", "declarations stand before the target"), ""
    return body, auxiliary


def _keyword(words: list[str]) -> int:
    return next((i for i, w in enumerate(words) if w in DECLARING), 0)


def auxiliary_lemmas(before: str, st: Statement) -> str:
    """What a completion puts before the target beyond the trusted header: imports, `open`, `set_option` are dropped."""
    trusted = {" ".join(t.text for t in lex(line).tokens) for line in st.text[: st.target_start].splitlines()}
    kept: list[str] = []
    for line in before.splitlines():
        words = [t.text for t in lex(line).tokens]
        if not words and not kept:
            continue
        if " ".join(words) in trusted or (
            words and words[0] in ("import", "open", "set_option", "noncomputable") and not kept
        ):
            continue
        kept.append(line)
    text = "\n".join(kept)
    return text if lex(text).tokens else ""


def assemble(st: Statement, proof: Proof) -> Assembled:
    """The file of a statement with a proof. The statement's own text stands in it verbatim.

    The body is followed by a newline, so that nothing appended later can fall into its last line; the gate has
    made sure that no comment or string is left open.
    """
    head = st.text[: st.imports_end]
    preamble = st.preamble
    auxiliary = f"{proof.auxiliary}\n\n" if proof.auxiliary else ""
    body = proof.body if proof.body[:1] in (" ", "\n", "\t") else f"\n  {proof.body}"
    text = f"{preamble}{auxiliary}{st.signature}{body}\n"
    lines = Lines(text)
    offset = len(preamble) + len(auxiliary)
    target_line, _ = lines(offset + st.target.name_at - st.target_start)
    body_line, _ = lines(offset + len(st.signature))
    return Assembled(canonical_imports(head), text, target_line, body_line, st.qualified_name)


def canonical_imports(head: str) -> str:
    """The import block, one import a line, sorted as written: the key by which workers are shared."""
    tokens = lex(head).tokens
    names = [tokens[i + 1].text for i in range(len(tokens) - 1) if tokens[i].text == "import"]
    return "\n".join(f"import {name}" for name in names)

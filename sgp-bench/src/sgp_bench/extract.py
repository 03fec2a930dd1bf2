"""Reading the answer's letter out of a reply.

`official` is the paper's own rule, the first match of (?i)Answer\\s*:\\s*([A-D]). It takes the D of "Answer: Define",
the a of "answer: an apple", and misses "**Answer:** B" and "\\boxed{B}". `strict` wants a letter that stands alone, on
the last line that says "Answer:", else the words of exactly one option there, else a reply that is a letter and nothing
more.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import SGPError
from .records import LETTERS, folded

MODES = ("official", "strict")
LONGEST = 100_000  # characters; of a longer reply the end is read, where answers stand
OFFICIAL = re.compile(r"(?i)Answer\s*:\s*([A-D])")
# what a large model is asked to say by the second extractor of the paper
OFFICIAL_LLM = re.compile(r"(?i)Extracted answer\s*:\s*([A-D])")
_LINE = re.compile(r"(?im)\banswer\b\s*(?:is)?\s*[:=]\s*(.*)$")
_ALONE = re.compile(r"(?i)^\W*(?:option|choice|letter)?\W*([A-D])(?![\w'’])")
_BOXED = re.compile(r"\\(?:boxed|text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
_THOUGHT = re.compile(r"(?is)<think>.*?(?:</think>|\Z)")


@dataclass(frozen=True, slots=True)
class Extraction:
    """The letter, or None, and the rule that found it."""

    letter: str | None
    rule: str


def extract_letter(reply: str, options: Sequence[str] = (), mode: str = "strict") -> Extraction:
    """The letter that a reply answers with. Total: any text gives an answer or None.

    Raises:
        SGPError: another mode.
    """
    if mode not in MODES:
        raise SGPError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    if mode == "official":
        match = OFFICIAL.search(reply)
        return Extraction(match.group(1).upper(), "official") if match else Extraction(None, "none")
    text = plain(reply)
    lines = [m.group(1) for m in _LINE.finditer(text) if m.group(1).strip()]
    lines += _line_after(text)
    if lines:
        return _on_line(lines[-1], options)
    last = text.strip().splitlines()[-1:] or [""]
    if re.fullmatch(r"(?i)\W*(?:the |my )?(?:answer|option|choice)?(?:\s+is)?\W*([A-D])\W*", last[0]):
        return Extraction(re.findall(r"(?i)\b([A-D])\b", last[0])[-1].upper(), "letter alone")
    if match := re.fullmatch(r"(?is)\W*([A-D])[).:]\s*(.{0,200})", text.strip()):
        letter = match.group(1).upper()
        if options and folded(match.group(2).strip(" .")) == folded(options[LETTERS.index(letter)]):
            return Extraction(letter, "option quoted")
    chosen = _named(text, options) if len(text) <= 400 else None
    return Extraction(chosen, "option text") if chosen else Extraction(None, "none")


def plain(reply: str) -> str:
    """Without reasoning blocks, markdown and LaTeX wrappers, wide letters and no-break spaces; of a long reply the end.

    Letters of other scripts stay what they are: a Cyrillic А is no A.
    """
    text = unicodedata.normalize("NFKC", reply[-LONGEST:])
    text = _THOUGHT.sub("", text)
    for _ in range(3):
        text = _BOXED.sub(r"\1", text)
    return re.sub(r"[*_`$#]+|\\[()\[\]]", "", text)


def _line_after(text: str) -> list[str]:
    """`Answer:` at the end of a line, with the letter on the next one."""
    found = re.findall(r"(?im)^\W*(?:final |the )?answer\b\s*:?\s*$\n+\s*(.+)$", text)
    return found[-1:] if re.search(r"(?im)^\W*(?:final |the )?answer\b\s*:?\s*$\n+\s*.+\s*\Z", text) else []


def _on_line(line: str, options: Sequence[str]) -> Extraction:
    if match := _ALONE.match(line):
        letter, rest = match.group(1), line[match.end() :]
        # "a red circle" is an article; "A, B" and "A or C" are two answers
        if letter == "a" and re.match(r"\s+\w", rest):
            pass
        elif re.match(r"\s*(?:,|/|or|and|&)\s*[A-D](?!\w)", rest):
            return Extraction(None, "several letters")
        else:
            return Extraction(letter.upper(), "answer line")
    chosen = _named(line, options)
    return Extraction(chosen, "option text") if chosen else Extraction(None, "none")


def _named(line: str, options: Sequence[str]) -> str | None:
    """The letter of the one option whose words stand on the line; the longest of those that hold one another."""
    text = folded(line)
    hits = [
        (letter, folded(option))
        for letter, option in zip(LETTERS, options, strict=False)
        if folded(option) and re.search(rf"(?<!\w){re.escape(folded(option))}(?!\w)", text)
    ]
    hits = [h for h in hits if not any(h is not o and h[1] in o[1] for o in hits)]
    return hits[0][0] if len(hits) == 1 else None


def extract_llm(reply: str) -> str | None:
    """The letter in the reply of a model that was asked to extract it (`extract.llm` in templates.toml)."""
    match = OFFICIAL_LLM.search(reply)
    return match.group(1).upper() if match else None

"""Reading a reply. Every function is total: any text gives a value or the reason why there is none.

A slot is a line that begins with one of the words output, decision and answer, then a colon, then one symbol. The last
such line counts. Two different symbols on it, or a reply without such a line that is not one bare symbol, make the
reply malformed; nothing is guessed. Full-width forms are read as plain ones, code fences are dropped, and marks of
emphasis, quotation and brackets around the label and the symbol are passed over.

The work is linear in the length of the reply, of which the last 64 Ki characters are read.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .errors import VRSError

LIMIT = 1 << 16  # characters
EMPTY, NO_SLOT, TWO_SYMBOLS, NO_NUMBER = "empty", "no slot", "two symbols", "no number"

KINDS: dict[str, dict[str, Any]] = {
    "bit": {"0": 0, "1": 1},
    "accept": {"T": True, "F": False, "accept": True, "reject": False},
    "yesno": {"Yes": True, "No": False},
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply says. `value` is None where it is malformed, and `reason` then says why."""

    value: Any = None
    reason: str | None = None

    @property
    def ok(self) -> bool:
        return self.reason is None


def parse_slot(text: str, kind: str | Sequence[str] = "bit") -> Reading:
    """The answer in the last well-formed slot of `text`.

    `kind` is "bit" (value 0 or 1), "accept" (T/F or accept/reject, value True or False), "yesno" (True or False),
    "number" (a float), or a sequence of labels, whose value is the place of the label.

    Raises:
        VRSError: an unknown kind, or labels that cannot be told apart. Never for the text.
    """
    lines, bare = _lines(text)
    if kind == "number":
        return _number(lines, bare)
    reader = _reader(kind if isinstance(kind, str) else tuple(kind))
    for line in reversed(lines):
        head = _HEAD.match(line)
        if head and reader.begins(line, head.end()):
            return reader.read(line[head.end() :])
    return reader.alone(bare)


def parse_sequence(text: str, labels: Sequence[str], most: int = 10_000) -> Reading:
    """The places of the labels in the list of the last slot (the line and what follows it), at most `most`.

    A reply without a slot is read whole if it is nothing but such a list.
    """
    lines, _ = _lines(text)
    reader = _reader(tuple(labels))
    for number in range(len(lines) - 1, -1, -1):
        if head := _HEAD.match(lines[number]):
            rest = [lines[number][head.end() :], *lines[number + 1 :]]
            found = reader.items(" ".join(rest))
            break
    else:
        found = reader.items(" ".join(lines))
    if found is None:
        return Reading(None, NO_SLOT if any(line.strip() for line in lines) else EMPTY)
    return Reading(found[:most])


def parse_verbalized(text: str, labels: Sequence[str]) -> Reading:
    """The weights of the labels in lines "Result: label | Probability: number", shape (len(labels),), summing to one.

    A label given twice has its weights added; lines that say anything else are passed over.
    """
    lines, _ = _lines(text)
    reader = _reader(tuple(labels))
    weights = [0.0] * len(labels)
    for line in lines:
        head, bar, tail = line.partition("|")
        label, number = _RESULT.match(head), _PROBABILITY.match(tail)
        if not (bar and label and number):
            continue
        result = reader.alone(head[label.end() :])
        weight = _float(number["number"])
        if result.ok and weight is not None and weight >= 0:
            weights[result.value] += weight / 100 if number["percent"] else weight
    total = math.fsum(weights)
    if not 0 < total < math.inf:
        return Reading(None, NO_SLOT if any(line.strip() for line in lines) else EMPTY)
    return Reading(tuple(w / total for w in weights))


def parse_tag(text: str, tag: str) -> Reading:
    """The text between the last <tag> and the </tag> after it."""
    text = text[-LIMIT:] if isinstance(text, str) else ""
    opening, closing = f"<{tag}>", f"</{tag}>"
    start = text.rfind(opening)
    end = text.find(closing, start + len(opening)) if start >= 0 else -1
    if end < 0:
        return Reading(None, NO_SLOT if text.strip() else EMPTY)
    inside = text[start + len(opening) : end].strip()
    return Reading(inside) if inside else Reading(None, EMPTY)


def parse_line(text: str) -> Reading:
    """What follows the last slot on its line, as it stands: the expression of the tool prompt."""
    lines, bare = _lines(text, plain=False)
    for line in reversed(lines):
        if (head := _HEAD.match(line)) and (rest := line[head.end() :].strip(" \t`*")):
            return Reading(rest)
    return (
        Reading(bare.strip("`")) if bare.strip("`") and "\n" not in bare else Reading(None, NO_SLOT if bare else EMPTY)
    )


# Marks that may stand around a label or a symbol. The counts are bounded, so that no line is scanned twice.
_MARKS = r"[\s\[\](){}<>*_`\"'“”‘’«»#$]{0,32}"
_HEAD = re.compile(rf"[-•]?{_MARKS}(?:final\s{{1,4}})?(?:output|decision|answer){_MARKS}:", re.IGNORECASE)
_RESULT = re.compile(rf"[-•]?{_MARKS}result{_MARKS}:", re.IGNORECASE)
_PROBABILITY = re.compile(
    rf"{_MARKS}probability{_MARKS}:{_MARKS}(?P<number>\d{{1,20}}(?:\.\d{{0,20}})?|\.\d{{1,20}})\s{{0,4}}(?P<percent>%?)",
    re.IGNORECASE,
)
_OPENING = re.compile(_MARKS)
_NUMBER = re.compile(r"[-+−]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:e[-+]?\d{1,4})?", re.IGNORECASE)
# A digit that belongs to a longer number (0.3, 1/2, 1:3, 1%) is no symbol; nor is a letter after an apostrophe (can't).
_BEFORE = r"(?<![\w.,/:'’⁄])"
_AFTER = r"(?![\w%]|[.,/:⁄'’]\w)"


class _Reader:
    """Finds the symbols of one kind of answer."""

    def __init__(self, values: dict[str, Any]) -> None:
        folded = {_plain(label).casefold(): value for label, value in values.items()}
        # labels that differ in case only are told apart by case
        self.fold = len(folded) == len(values)
        self.values = folded if self.fold else {_plain(label): value for label, value in values.items()}
        longest_first = sorted(self.values, key=len, reverse=True)
        self.symbol = re.compile(_BEFORE + "(?:" + "|".join(map(re.escape, longest_first)) + ")" + _AFTER)

    def begins(self, line: str, at: int) -> bool:
        """Whether a symbol follows place `at`, marks aside."""
        rest = self._case(line[at:])
        opening = _OPENING.match(rest)
        return self.symbol.match(rest, opening.end() if opening else 0) is not None

    def read(self, text: str) -> Reading:
        """The one value that the symbols in `text` stand for."""
        found = {self.values[m.group()] for m in self.symbol.finditer(self._case(text))}
        if not found:
            return Reading(None, NO_SLOT)
        return Reading(found.pop()) if len(found) == 1 else Reading(None, TWO_SYMBOLS)

    def alone(self, text: str) -> Reading:
        """The value of `text` if it is one symbol and marks."""
        if not text.strip():
            return Reading(None, EMPTY)
        text = self._case(text)
        start = _OPENING.match(text)
        found = self.symbol.match(text, start.end() if start else 0)
        if not found or text[found.end() :].strip(" \t\r\n[](){}<>*_`\"'“”‘’«».#$"):
            return Reading(None, NO_SLOT)
        return Reading(self.values[found.group()])

    def items(self, text: str) -> tuple[Any, ...] | None:
        """The values of a list of symbols; None where anything else stands between them."""
        values = []
        for item in _SEPARATORS.split(self._case(text)):
            if not (item := item.strip(" []()`*.\"'")):
                continue
            if item not in self.values:
                return None
            values.append(self.values[item])
        return tuple(values) or None

    def _case(self, text: str) -> str:
        return text.casefold() if self.fold else text


_SEPARATORS = re.compile(r"[,;\s]")


@lru_cache(maxsize=256)
def _reader(kind: str | tuple[str, ...]) -> _Reader:
    if isinstance(kind, str):
        if kind not in KINDS:
            raise VRSError(f"kind must be number, {', '.join(KINDS)} or a list of labels, not {kind!r}")
        return _Reader(KINDS[kind])
    if not kind or not all(isinstance(label, str) and label.strip() for label in kind):
        raise VRSError(f"the labels must be texts that are not empty, not {kind!r}")
    if len({_plain(label) for label in kind}) != len(kind):
        raise VRSError(f"the labels must be distinct, not {kind!r}")
    return _Reader({label: place for place, label in enumerate(kind)})


def _lines(text: Any, plain: bool = True) -> tuple[list[str], str]:
    """The lines of a reply without code fences, and the whole of it, "" where it was cut."""
    if not isinstance(text, str):
        return [], ""
    cut = len(text) > LIMIT
    if cut:
        # what is left of the line in which the cut fell might look like a slot
        text = text[-LIMIT:].partition("\n")[2]
    if plain:
        text = _plain(text)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("```", "~~~"))]
    return lines, "" if cut else "\n".join(lines).strip()


def _plain(text: str) -> str:
    """Compatibility forms replaced, character by character.

    unicodedata.normalize takes quadratic time on long runs of combining marks; single characters do not reorder, and a
    label goes through the same function, so both sides of a comparison agree.
    """
    if text.isascii():
        return text
    table = {ord(c): unicodedata.normalize("NFKD", c) for c in set(text) if ord(c) > 127}
    return text.translate(table)


def _number(lines: list[str], bare: str) -> Reading:
    for line in reversed(lines):
        if head := _HEAD.match(line):
            rest = line[head.end() :]
            opening = _OPENING.match(rest)
            found = _NUMBER.match(rest, opening.end() if opening else 0)
            if found and not re.match(r"[\w%/]", rest[found.end() :]):
                numbers = {_float(m.group()) for m in _NUMBER.finditer(rest)}
                if len(numbers) > 1:
                    return Reading(None, TWO_SYMBOLS)
                return _finite(found.group())
    if not bare:
        return Reading(None, EMPTY)
    return _finite(bare) if _NUMBER.fullmatch(bare) else Reading(None, NO_SLOT)


def _finite(text: str) -> Reading:
    value = _float(text)
    return Reading(value) if value is not None else Reading(None, NO_NUMBER)


def _float(text: str) -> float | None:
    try:
        value = float(text.replace("−", "-"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None

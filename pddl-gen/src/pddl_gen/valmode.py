"""VAL's verdict on a domain, without VAL: what its programs Parser and Validate of 2021-10-18 accept and reject.

The rules were measured on that version (commit 3c7a1f3) and are kept in the table of codes: `Parser` minds grammar,
`Validate` names and types, and some texts crash one of them, which counts as not passing.

    python -m pddl_gen.valmode FILE.jsonl

compares with recorded verdicts: a line each, with the fields `domain` and `val.passes`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .parse import parse_domain


@dataclass(frozen=True, slots=True)
class ValVerdict:
    """`passes` is the paper's criterion: no error by Parser, and Validate ends with 0."""

    passes: bool
    parser_errors: int
    validate_exit: int | str  # 0, 255 or "crash"
    reasons: tuple[str, ...]


def val_verdict(text: str) -> ValVerdict:
    """What VAL says of a domain."""
    found = [d for d in parse_domain(text, mode="val").diagnostics if d.val]
    parser = sum("P" in d.val for d in found)
    crash = any("X" in d.val for d in found)
    exit_code: int | str = "crash" if crash else 255 if any("V" in d.val for d in found) else 0
    return ValVerdict(not found, parser, exit_code, tuple(f"{d.code}: {d.message}" for d in found))


def agreement(path: Path) -> tuple[int, int, list[str]]:
    """(agreeing, all, what disagrees) for a file of recorded verdicts."""
    wrong, count = [], 0
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        count += 1
        ours = val_verdict(record["domain"])
        if ours.passes != record["val"]["passes"]:
            wrong.append(f"{record['id']}: VAL {record['val']['passes']}, here {ours.passes} {ours.reasons[:2]}")
    return count - len(wrong), count, wrong


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    if len(given) != 1 or not Path(given[0]).is_file():
        print("usage: python -m pddl_gen.valmode FILE.jsonl, an existing file of recorded verdicts", file=sys.stderr)
        return 2
    right, count, wrong = agreement(Path(given[0]))
    print("\n".join([*wrong, f"agrees with VAL on {right} of {count}"]))
    return int(right != count)


if __name__ == "__main__":
    sys.exit(main())

"""Recorded answers of a real Lean, replayed: what is not there is `unknown`, never guessed.

A record is a JSON line: the key (SHA-256 of fingerprint and assembled file), both raw answers, provenance (Lean,
Mathlib, REPL, date), and a digest over all of it. Records without provenance, or whose digest does not fit, are refused
at the door. Verdicts are judged anew from the raw answers, so a stricter policy can be tried on old recordings.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import FormalMathError
from .assemble import Assembled
from .policy import Policy
from .verdict import Authority, CheckRequest, CheckResult, Fingerprint, judge

PROVENANCE = ("lean", "mathlib", "repl", "date")


def record_key(provenance: Mapping[str, Any], file: Assembled) -> str:
    """SHA-256 of what decides an answer: Lean's versions and the file."""
    versions = [str(provenance.get(k, "")) for k in ("lean", "mathlib", "repl")]
    return hashlib.sha256(json.dumps([*versions, file.digest]).encode()).hexdigest()


def seal(record: Mapping[str, Any]) -> str:
    body = {k: v for k, v in record.items() if k != "digest"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


class Recorder:
    """Appends the answers of a live backend to a file; pass it as the backend's `record`."""

    def __init__(self, path: Path, fingerprint: Fingerprint):
        if not fingerprint.lean:
            raise FormalMathError("a recording needs to know which Lean answers: run `formalmath lean doctor`")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.provenance = {"lean": fingerprint.lean, "mathlib": fingerprint.mathlib, "repl": fingerprint.repl}

    def __call__(self, request: CheckRequest, answer: Mapping[str, Any], axioms: Mapping[str, Any] | None) -> None:
        provenance = {**self.provenance, "date": time.strftime("%Y-%m-%d")}
        record = {
            "key": record_key(provenance, request.file),
            "problem": request.problem_id,
            "file": asdict(request.file),
            "answer": answer,
            "axioms": axioms,
            "provenance": provenance,
        }
        record["digest"] = seal(record)
        with self.path.open("a") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


class ReplayBackend:
    """Answers from a recording, with authority `replay`.

    Raises:
        FormalMathError: the file cannot be read, or a record lacks its provenance or does not fit its digest.
    """

    authority: Authority = "replay"

    def __init__(self, path: str, policy: Policy):
        if not path:
            raise FormalMathError("lean.path must name a recording for lean=replay (lean.record of an earlier run)")
        self.policy = policy
        self.records: dict[str, dict[str, Any]] = {}
        self.provenance: Mapping[str, Any] = {}
        try:
            lines = Path(path).read_text().splitlines()
        except OSError as error:
            raise FormalMathError(f"cannot read the recording {path}: {error.strerror}") from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                self._add(line, f"{path}, line {number}")
        lean, mathlib, repl = (str(self.provenance.get(k, "")) for k in ("lean", "mathlib", "repl"))
        self.fingerprint = Fingerprint("replay", lean, mathlib, repl, policy=policy.digest)

    def _add(self, line: str, where: str) -> None:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            raise FormalMathError(f"{where} is not JSON") from None
        provenance = record.get("provenance") or {}
        if any(not provenance.get(k) for k in PROVENANCE):
            missing = next(k for k in PROVENANCE if not provenance.get(k))
            raise FormalMathError(f"{where}: the record does not say its {missing}, so it is no verdict")
        if record.get("digest") != seal(record):
            raise FormalMathError(f"{where}: the record was changed after it was made (its digest does not fit)")
        if record["key"] != record_key(provenance, Assembled(**record["file"])):
            raise FormalMathError(f"{where}: the record's key does not fit its file")
        if self.provenance and any(self.provenance[k] != provenance[k] for k in ("lean", "mathlib", "repl")):
            raise FormalMathError(f"{where}: records of two Leans in one recording")
        self.provenance = provenance
        self.records[record["key"]] = record

    async def check(self, items: Sequence[CheckRequest]) -> AsyncIterator[CheckResult]:
        for item in items:
            record = self.records.get(record_key(self.provenance, item.file))
            if record is None:
                yield CheckResult(*item.key, "unknown", "replay", "not in the recording")
                continue
            verdict, reason, axioms = judge(record["answer"], record["axioms"], item.file, self.policy)
            yield CheckResult(
                *item.key,
                verdict,
                "replay",
                reason,
                tuple(record["answer"].get("messages") or ()),
                axioms,
                raw_digest=item.file.digest,
            )

    async def close(self) -> None:
        pass

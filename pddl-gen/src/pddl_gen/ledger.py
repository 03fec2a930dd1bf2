"""Every call of a run, one JSON line each: what was asked, what came back, what it cost. A run is a pure function of
its settings and its ledger: on restart the ledger answers, and only what is missing is asked.

    {key, role, item, round, sample, model, params, messages_sha256, text, finish_reason, sum_logprob, n_tokens,
     usage {prompt, completion}, usd, seconds, source, error, prompt_version}

Lines are flushed one by one, so that a killed process loses none; the disk is synchronised every 64 lines.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shared.llm import LLM, Completion, Request
from shared.llm.key import canonical, digest, question

from .errors import PDDLGenError
from .prompts import VERSION

SYNC = 64
FINAL = ("refused", "too_long", "bad_request")  # failures that asking again does not mend


class Ledger:
    """The file of a run's calls.

    Args:
        path: JSON lines; None keeps the ledger in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.records: dict[str, dict[str, Any]] = {}
        self.notice = ""
        self.asked = 0  # calls made since it was opened
        self._unsynced = 0
        if path is not None and path.exists():
            self._read(path)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab") if path is not None else None

    def _read(self, path: Path) -> None:
        data = path.read_bytes()
        lines = data.split(b"\n")
        torn = lines.pop()
        if torn:
            self.notice = f"{path.name}: the last line was cut short and is dropped"
            with path.open("r+b") as file:
                file.truncate(len(data) - len(torn))
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                self.records[record["key"]] = record
            except (ValueError, KeyError, TypeError):
                raise PDDLGenError(f"{path}, line {number} is no ledger record: move the file away") from None

    def key(self, model: str, request: Request) -> str:
        return digest(canonical({"model": model, **question(request)}))

    def add(self, record: dict[str, Any]) -> None:
        self.records[record["key"]] = record
        self.asked += 1
        if self._file is not None:
            self._file.write(json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            self._file.flush()
            self._unsynced += 1
            if self._unsynced >= SYNC:
                self.sync()

    def sync(self) -> None:
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._unsynced = 0

    def close(self) -> None:
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None

    def totals(self) -> dict[str, Any]:
        """Calls, tokens, money and seconds, in all and by role; a sum is None where a part of it is not known."""
        roles: dict[str, list[dict[str, Any]]] = {}
        for record in self.records.values():
            roles.setdefault(record["role"], []).append(record)
        return {
            **_sums(list(self.records.values())),
            "by_role": {role: _sums(records) for role, records in sorted(roles.items())},
        }


def _sums(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    def total(values: list[Any]) -> Any:
        return None if not values or None in values else sum(values)

    return {
        "calls": len(records),
        "failed": sum(r["error"] is not None for r in records),
        "prompt_tokens": total([(r["usage"] or {}).get("prompt") for r in records if r["error"] is None]),
        "completion_tokens": total([(r["usage"] or {}).get("completion") for r in records if r["error"] is None]),
        "usd": total([r["usd"] for r in records]),
    }


def ask(llm: LLM, requests: Sequence[Request], ledger: Ledger) -> list[dict[str, Any]]:
    """The ledger's records of requests, in order; what is missing is asked, at most once for equal requests.

    Raises:
        shared.llm.Stopped: a budget is spent, or nothing can succeed; what came until then is in the ledger.
    """
    keys = [ledger.key(llm.model, r) for r in requests]

    def known(key: str) -> bool:
        record = ledger.records.get(key)
        return record is not None and (record["error"] is None or record["error"]["kind"] in FINAL)

    missing = {k: r for k, r in zip(keys, requests, strict=True) if not known(k)}
    waiting = list(missing.items())
    try:
        for place, result in llm.as_completed([r for _, r in waiting]):
            key, request = waiting[place]
            ledger.add(_record(key, llm.model, request, result))
    finally:
        ledger.sync()
    return [ledger.records[k] for k in keys]


def _record(key: str, model: str, request: Request, result: Any) -> dict[str, Any]:
    item, role, round_ = [*request.tag.split(" "), "", "", ""][:3]
    text = "\0".join(m.text for m in request.messages)
    record: dict[str, Any] = {
        "key": key,
        "role": role,
        "item": item,
        "round": int(round_) if round_.isdigit() else 0,
        "sample": request.draw,
        "model": model,
        "params": {k: v for k, v in asdict(request.sampling).items() if v not in (None, (), {})},
        "messages_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "prompt_version": VERSION,
        "text": None,
        "finish_reason": None,
        "sum_logprob": None,
        "n_tokens": None,
        "usage": None,
        "usd": result.cost,
        "seconds": None,
        "source": None,
        "error": None,
    }
    if isinstance(result, Completion):
        record |= {
            "text": result.text,
            "finish_reason": result.finish,
            "sum_logprob": sum(t.logprob for t in result.tokens) if result.tokens is not None else None,
            "n_tokens": len(result.tokens) if result.tokens is not None else result.usage.completion,
            "usage": {"prompt": result.usage.prompt, "completion": result.usage.completion},
            "seconds": round(result.latency_s, 3),
            "source": asdict(result.source),
        }
    else:
        record["error"] = {"kind": result.kind, "message": result.message}
    return record

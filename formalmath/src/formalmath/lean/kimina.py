"""A kimina-lean-server as backend: our own client of its two routes, as the published one does not import on 3.11.

`POST /api/check` takes `{"snippets": [{"id", "code"}], "timeout", "reuse"}`, the legacy `POST /verify` takes
`{"codes": [{"custom_id", "code"}], "timeout"}`; both give `{"results": [{id, time, error, response}]}`. The axioms are
asked for at the end of each snippet, and their message must stand at exactly that line. 429 and 5xx are tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx

from ..errors import FormalMathError
from .policy import Policy
from .verdict import Authority, CheckRequest, CheckResult, Fingerprint, is_failure_answer, judge

BATCH = 8
ATTEMPTS = 5


class Kimina:
    """The client. `lean.url` is the server's address, `lean.token` its key (from the environment by `token_env`).

    Raises:
        FormalMathError: no address, a wrong key, another Lean than `lean.version` asks for.
    """

    authority: Authority = "lean"

    def __init__(self, url: str, policy: Policy, lean: Mapping[str, Any] | None = None, transport: Any = None):
        lean = lean or {}
        if not url:
            raise FormalMathError("lean.url must be the address of a kimina-lean-server")
        self.policy, self.route = policy, str(lean.get("route") or "check")
        self.version = str(lean.get("version") or "")
        self.parallel, self.pause = int(lean.get("parallel") or 4), float(lean.get("pause", 1.0))
        headers = {"Authorization": f"Bearer {lean['token']}"} if lean.get("token") else {}
        self.client = httpx.AsyncClient(base_url=url, headers=headers, timeout=None, transport=transport)
        self.fingerprint = Fingerprint("lean", lean=self.version, repl="kimina", policy=policy.digest)
        self._greeted = False

    async def greet(self) -> None:
        """Asks the server for its Lean version once."""
        if self._greeted:
            return
        (result,) = await self._post([("version", "#eval Lean.versionString")], 60)
        messages = (result.get("response") or {}).get("messages") or []
        told = str(messages[0].get("data", "")).strip().strip('"') if messages else ""
        if self.version and told.removeprefix("v") != self.version.removeprefix("v"):
            raise FormalMathError(f"the server runs Lean {told or 'of an unknown version'}, not {self.version}")
        self.fingerprint = replace(self.fingerprint, lean=told)
        self._greeted = True

    async def check(self, items: Sequence[CheckRequest]) -> AsyncIterator[CheckResult]:
        await self.greet()
        gate = asyncio.Semaphore(self.parallel)

        async def one(batch: Sequence[CheckRequest]) -> list[CheckResult]:
            async with gate:
                return await self._batch(batch)

        batches = [items[i : i + BATCH] for i in range(0, len(items), BATCH)]
        for done in asyncio.as_completed([asyncio.create_task(one(b)) for b in batches]):
            for result in await done:
                yield result

    async def _batch(self, batch: Sequence[CheckRequest]) -> list[CheckResult]:
        names = {f"{i}": item for i, item in enumerate(batch)}
        codes = [(key, snippet(item)) for key, item in names.items()]
        try:
            answers = await self._post(codes, max(item.limits.seconds for item in batch))
        except _Lost as lost:
            return [CheckResult(*item.key, "infra", "lean", str(lost)) for item in batch]
        by_id: dict[str, Mapping[str, Any]] = {}
        for answer in answers:
            key = str(answer.get("id", answer.get("custom_id", "")))
            if key in by_id or key not in names:
                return [
                    CheckResult(*item.key, "infra", "lean", f"the server answers to the id {key!r}") for item in batch
                ]
            by_id[key] = answer
        return [self._verdict(item, by_id.get(key)) for key, item in names.items()]

    def _verdict(self, item: CheckRequest, answer: Mapping[str, Any] | None) -> CheckResult:
        if answer is None:
            return CheckResult(*item.key, "infra", "lean", "the server left this snippet out")
        error = str(answer.get("error") or "")
        seconds = float(answer.get("time") or (answer.get("response") or {}).get("time") or 0)
        if error:
            verdict = "timeout" if "timed out" in error.lower() else "memory" if "memory" in error.lower() else "infra"
            return CheckResult(*item.key, verdict, "lean", error[:300], seconds=seconds)
        response = dict(answer.get("response") or {})
        if is_failure_answer(response) or not response:
            return CheckResult(
                *item.key, "infra", "lean", str(response.get("message", "no response"))[:300], seconds=seconds
            )
        response.setdefault("env", 0)
        shift = item.file.whole.count("\n") - item.file.text.count("\n")
        last = item.file.whole.count("\n") + 1
        ours, told = [], []
        for m in response.get("messages") or ():
            line = (m.get("pos") or {}).get("line", 0)
            if line >= last:
                told.append({**m, "pos": {**m["pos"], "line": line - last + 1}})
            else:
                ours.append({**m, "pos": {**(m.get("pos") or {}), "line": max(line - shift, 0)}})
        axioms = {"env": 1, "messages": told} if self.policy.require_axioms else None
        verdict, reason, names = judge({**response, "messages": ours}, axioms, item.file, self.policy)
        return CheckResult(*item.key, verdict, "lean", reason, tuple(ours), names, seconds, raw_digest=item.file.digest)

    async def _post(self, codes: Sequence[tuple[str, str]], seconds: float) -> list[Mapping[str, Any]]:
        if self.route == "verify":
            path, body = "/verify", {"codes": [{"custom_id": k, "code": c} for k, c in codes], "timeout": int(seconds)}
        else:
            path, body = (
                "/api/check",
                {"snippets": [{"id": k, "code": c} for k, c in codes], "timeout": int(seconds), "reuse": True},
            )
        reason = ""
        for attempt in range(ATTEMPTS):
            try:
                reply = await self.client.post(
                    path, json=body, timeout=httpx.Timeout(10, read=seconds * len(codes) + 90)
                )
            except httpx.HTTPError as error:
                reason = f"the server cannot be reached ({type(error).__name__})"
            else:
                if reply.status_code == 200:
                    return _results(reply)
                if reply.status_code in (401, 403):
                    raise FormalMathError("the kimina server refuses the key: set lean.token")
                reason = f"the server answers {reply.status_code}"
                if reply.status_code != 429 and reply.status_code < 500:
                    raise FormalMathError(f"{reason} to {path}: is this a kimina-lean-server?")
            await asyncio.sleep(self.pause * 2**attempt)
        raise _Lost(reason)

    async def close(self) -> None:
        await self.client.aclose()


class _Lost(Exception):
    """The server did not answer in any attempt."""


def _results(reply: httpx.Response) -> list[Mapping[str, Any]]:
    try:
        results = reply.json()["results"]
    except (ValueError, KeyError, TypeError):
        raise _Lost("the server's answer is malformed") from None
    if not isinstance(results, list):
        raise _Lost("the server's answer is malformed")
    return results


def snippet(item: CheckRequest) -> str:
    """The whole file with `#print axioms` as a line of its own at the end."""
    return f"{item.file.whole}#print axioms {item.file.name}\n"

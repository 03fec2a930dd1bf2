"""What a client costs beyond the model: calls to an endpoint of fixed latency, and reading them back from a cache.

Peers: the bare client of the openai package under gather; a pool of threads with its blocking client, as
verbalized-sampling has (which itself cannot be installed beside numpy 2); inspect-ai's Model.generate, with its cache
of pickled files for the second table; diskcache's JSONDisk, holding the same completions under the same requests.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shared.llm import LLM, Completion, Request, open_llm, user

from .server import endpoint

CONCURRENCY, LATENCY = 64, 0.05
INSPECTED = 5  # inspect-ai reads back one in so many calls, to keep the whole short
BOUND = CONCURRENCY / LATENCY  # calls a second


def prompt(i: int) -> str:
    p = (i % 101) / 100
    return f"Target: the probability of 1 is {p}. Proposal: fair. Sample: {i % 2}. Accept it? Answer T or F."


def ours(url: str, cache: Path) -> LLM:
    return open_llm(
        {
            "backend": "openai",
            "model": "bench",
            "base_url": url,
            "api_key_env": "BENCH_KEY",
            "cache": {"path": str(cache)},
            "limits": {"concurrency": CONCURRENCY},
        },
        progress=False,
    )


def through_ours(url: str, calls: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        llm = ours(url, Path(folder) / "cache.sqlite")
        requests = [Request((user(prompt(i)),), draw=i) for i in range(calls)]
        started = time.perf_counter()
        found = llm.complete(requests)
        seconds = time.perf_counter() - started
        assert len(found) == calls and all(r.ok for r in found)
        llm.close()
    return seconds


def through_bare(url: str, calls: int) -> float:
    from openai import AsyncOpenAI

    async def run() -> float:
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            gate = asyncio.Semaphore(CONCURRENCY)

            async def one(i: int) -> None:
                async with gate:
                    await client.chat.completions.create(
                        model="bench", messages=[{"role": "user", "content": prompt(i)}]
                    )

            started = time.perf_counter()
            await asyncio.gather(*(one(i) for i in range(calls)))
            return time.perf_counter() - started

    return asyncio.run(run())


def through_threads(url: str, calls: int) -> float:
    from openai import OpenAI

    with OpenAI(base_url=url, api_key="none", max_retries=0) as client, ThreadPoolExecutor(CONCURRENCY) as pool:

        def one(i: int) -> None:
            client.chat.completions.create(model="bench", messages=[{"role": "user", "content": prompt(i)}])

        started = time.perf_counter()
        list(pool.map(one, range(calls)))
        return time.perf_counter() - started


def through_inspect(url: str, calls: int, cached: bool = False) -> float:
    from inspect_ai.model import GenerateConfig, get_model

    async def run() -> float:
        model = get_model(
            "openai/bench",
            base_url=url,
            api_key="none",
            config=GenerateConfig(max_connections=CONCURRENCY),
            memoize=False,
            responses_api=False,
        )
        started = time.perf_counter()
        # inspect-ai's gate is its own; the draw is put into the prompt, which is what its cache can tell apart
        await asyncio.gather(*(model.generate(f"{i} {prompt(i)}", cache=cached) for i in range(calls)))
        return time.perf_counter() - started

    return asyncio.run(run())


def interleaved(variants: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """Median seconds of each; the variants take turns."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, variant in variants.items():
            times[name].append(variant())
    return {name: statistics.median(values) for name, values in times.items()}


def overhead(repeats: int, calls: int = 5000) -> dict[str, Any]:
    """Calls a second of each client at concurrency 64 and 50 ms."""
    os.environ.setdefault("BENCH_KEY", "none")
    with endpoint(LATENCY) as url:
        seconds = interleaved(
            {
                "ours, cache on": lambda: through_ours(url, calls),
                "AsyncOpenAI and gather": lambda: through_bare(url, calls),
                "OpenAI in 64 threads": lambda: through_threads(url, calls),
                "inspect-ai": lambda: through_inspect(url, calls),
            },
            repeats,
        )
    return {"calls": calls, "bound": BOUND, "calls_a_second": {name: calls / s for name, s in seconds.items()}}


def reread(repeats: int, calls: int = 15_200) -> dict[str, Any]:
    """Seconds to hand back that many cached completions; inspect-ai's are those of a fifth of them, times five."""
    import diskcache

    os.environ.setdefault("BENCH_KEY", "none")
    with tempfile.TemporaryDirectory() as folder, endpoint(0.0) as url:
        os.environ["INSPECT_CACHE_DIR"] = str(Path(folder) / "inspect")
        requests = [Request((user(prompt(i)),), draw=i) for i in range(calls)]
        with ours(url, Path(folder) / "cache.sqlite") as llm:
            completions = llm.complete(requests)
        few = max(1, calls // INSPECTED)
        through_inspect(url, few, cached=True)
        store = diskcache.Cache(str(Path(folder) / "diskcache"), disk=diskcache.JSONDisk)
        for request, completion in zip(requests, completions, strict=True):
            store[asdict(request)] = completion.to_json()

        def from_ours() -> float:
            started = time.perf_counter()
            with ours(url, Path(folder) / "cache.sqlite") as llm:
                found = llm.complete(requests)
            assert all(r.ok and r.source.kind == "cache" for r in found)
            return time.perf_counter() - started

        def from_diskcache() -> float:
            started = time.perf_counter()
            found = [Completion.from_json(store[asdict(request)]) for request in requests]
            assert all(c.ok for c in found)
            return time.perf_counter() - started

        seconds = interleaved(
            {
                "ours": from_ours,
                "inspect-ai's files": lambda: through_inspect(url, few, cached=True) * calls / few,
                "diskcache, JSONDisk": from_diskcache,
            },
            repeats,
        )
        store.close()
    return {"calls": calls, "seconds": seconds}

"""shared-llm: looks after caches and recordings of completions.

    shared-llm cache stats CACHE
    shared-llm cache export CACHE RECORDING [--model NAME] [--salt SALT] [--terms WORDS]
    shared-llm cache import CACHE RECORDING
    shared-llm cache prune CACHE [--older-than DAYS] [--model NAME] [--dry-run]
    shared-llm record build PROMPTS ANSWERS RECORDING --source WORDS --model NAME --date DATE [--settings WORDS]
                            [--terms WORDS] [--partial]
    shared-llm record check PROMPTS RECORDING
    shared-llm record show RECORDING

A name that ends in .gz is gzipped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .cache import Cache, Group
from .errors import RecordingError
from .key import canonical, digest, question_key
from .nearest import nearest
from .prompts import build_recording, check_recording, read_prompts
from .recording import Header, Recording, entry, write_recording


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0, or 1 after one sentence on stderr."""
    given = _parser().parse_args(arguments)
    try:
        return given.run(given)
    except (RecordingError, OSError) as error:
        print(f"shared-llm: {error}", file=sys.stderr)
        return 1


def stats(given: argparse.Namespace) -> int:
    cache = Cache(given.cache, read_only=True)
    groups = cache.groups()
    for group in groups:
        salt = f", salt {group.salt!r}" if group.salt else ""
        days = group.first[:10] if group.first[:10] == group.last[:10] else f"{group.first[:10]} to {group.last[:10]}"
        print(f"{_kind(group)} {group.model}{salt}: {group.count:,} completions, {group.bytes:,} bytes, {days}")
    print(f"{sum(g.count for g in groups):,} completions in {given.cache} ({Path(given.cache).stat().st_size:,} bytes)")
    return 0


def export(given: argparse.Namespace) -> int:
    cache = Cache(given.cache, read_only=True)
    groups = [
        g for g in cache.groups() if given.model in (None, g.model) and (given.salt is None or given.salt == g.salt)
    ]
    if len(groups) != 1:
        there = "; ".join(f"{_kind(g)} {g.model} with salt {g.salt!r}" for g in groups) or "none"
        raise RecordingError(f"a recording is of one model: choose by --model and --salt, which match {there}")
    (group,) = groups
    source = f"recorded from {group.model} by the backend {_kind(group)}"
    header = Header(source, group.model, group.last, "see each request", given.terms, json.loads(group.backend))
    lines = [
        entry(question_key(asked), "", asked, completion.to_json())
        for asked, completion in cache.entries(group.backend, group.salt)
    ]
    write_recording(given.recording, header, lines)
    print(f"{len(lines):,} completions of {group.model} in {given.recording}")
    return 0


def import_(given: argparse.Namespace) -> int:
    recording = Recording.open(given.recording)
    backend = recording.header.backend
    if backend is None:
        raise RecordingError(f"{given.recording} was not recorded from a backend, and can be replayed only")
    rows = []
    for line in recording.entries.values():
        material = {"format": 1, "backend": backend, "salt": "", **line["request"]}
        rows.append((digest(canonical(material)), material, recording.answer(line)))
    cache = Cache(given.cache)
    print(f"{cache.put_many(rows):,} of {len(rows):,} completions were new to {given.cache}")
    cache.close()
    return 0


def prune(given: argparse.Namespace) -> int:
    if given.older_than is None and given.model is None:
        raise RecordingError("say what to delete, by --older-than or --model")
    before = None
    if given.older_than is not None:
        before = (datetime.now(UTC) - timedelta(days=given.older_than)).isoformat(timespec="seconds")
    Cache(given.cache, read_only=True).close()  # it has to be there
    cache = Cache(given.cache)
    count = cache.prune(before=before, model=given.model, dry=given.dry_run)
    cache.close()
    print(f"{count:,} completions {'would be' if given.dry_run else 'were'} deleted")
    return 0


def build(given: argparse.Namespace) -> int:
    header = Header(given.source, given.model, given.date, given.settings, given.terms)
    count = build_recording(given.prompts, given.answers, given.recording, header, partial=given.partial)
    print(f"{given.recording} holds {count:,} completions")
    return 0


def check(given: argparse.Namespace) -> int:
    prompts, recording = read_prompts(given.prompts), Recording.open(given.recording)
    lacking = check_recording(given.prompts, recording)
    there = [(key, line["request"]) for key, line in recording.entries.items()]
    for key in lacking:
        line = prompts[key]
        tag = f" ({line['tag']})" if line.get("tag") else ""
        print(f"{key[:12]}{tag}: {nearest(line['request'], there)}")
    print(f"{len(prompts) - len(lacking):,} of {len(prompts):,} prompts are answered in {given.recording}")
    return 1 if lacking else 0


def show(given: argparse.Namespace) -> int:
    recording = Recording.open(given.recording)
    for name, value in recording.header.to_json().items():
        print(f"{name}: {value if isinstance(value, str) else json.dumps(value)}")
    print(f"completions: {len(recording):,}")
    return 0


def _kind(group: Group) -> str:
    return json.loads(group.backend).get("backend", "?")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="shared-llm", description="Caches and recordings of completions.")
    areas = parser.add_subparsers(required=True, metavar="cache|record")
    caches = areas.add_parser("cache", help="completions kept by key").add_subparsers(required=True, metavar="COMMAND")
    records = areas.add_parser("record", help="recordings").add_subparsers(required=True, metavar="COMMAND")

    one = caches.add_parser("stats", help="what a cache holds")
    one.set_defaults(run=stats)
    one.add_argument("cache")
    one = caches.add_parser("export", help="one model's completions as a recording")
    one.set_defaults(run=export)
    one.add_argument("cache")
    one.add_argument("recording")
    one.add_argument("--model")
    one.add_argument("--salt")
    one.add_argument("--terms", default="those of the model's licence and of its provider")
    one = caches.add_parser("import", help="a recording's completions into a cache")
    one.set_defaults(run=import_)
    one.add_argument("cache")
    one.add_argument("recording")
    one = caches.add_parser("prune", help="delete completions")
    one.set_defaults(run=prune)
    one.add_argument("cache")
    one.add_argument("--older-than", type=float, metavar="DAYS")
    one.add_argument("--model")
    one.add_argument("--dry-run", action="store_true")

    one = records.add_parser("build", help="a recording from prompts and answers collected by hand, or more for one")
    one.set_defaults(run=build)
    one.add_argument("prompts", help="as write_prompts or the setting pending of a replay leaves it")
    one.add_argument("answers", help='JSON lines {"key": ..., "text": ...}, or a folder of <key>.txt')
    one.add_argument("recording")
    one.add_argument("--source", required=True, help='such as "recorded from a large general-purpose language model"')
    one.add_argument("--model", required=True, help="the name that reports print")
    one.add_argument("--date", required=True, help="ISO 8601")
    one.add_argument("--settings", default="", help="how it was sampled, as far as that is known")
    one.add_argument("--terms", default="", help="licence and terms of the answers")
    one.add_argument("--partial", action="store_true", help="prompts without an answer are left out")
    one = records.add_parser("check", help="whether every prompt is answered")
    one.set_defaults(run=check)
    one.add_argument("prompts")
    one.add_argument("recording")
    one = records.add_parser("show", help="who answered")
    one.set_defaults(run=show)
    one.add_argument("recording")
    return parser


if __name__ == "__main__":
    sys.exit(main())

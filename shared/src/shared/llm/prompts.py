"""Recording by hand: the prompts of a run go out, answers come back word for word, a recording is made of both.

    {"key": "...", "draw": 0, "tag": "...", "request": {"messages": [...], "sampling": {...}, ...}}

is a line of a file of prompts. Pictures lie beside it, in the folder <file>.images, under the SHA-256 of their bytes.
Answers are a file of JSON lines {"key": "...", "text": "...", further fields of a Completion}, or a folder of text
files named <key>.txt, each an answer as it came.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from .completion import Completion, Source
from .errors import RecordingError
from .key import question, question_key
from .recording import Header, Recording, entry, filled_key, read_lines, write_recording
from .request import Request

SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
GIVEN = tuple(f.name for f in fields(Completion) if f.name not in ("source", "data"))  # what an answer may say


def write_prompts(path: Path | str, requests: Iterable[Request]) -> int:
    """Writes each distinct request that is not in the file yet; returns how many the file then holds."""
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    there = set(read_prompts(path)) if path.exists() else set()
    with path.open("a", encoding="utf-8") as file:
        for request in requests:
            asked = question(request)
            key = question_key(asked)
            if key in there:
                continue
            there.add(key)
            for image in (image for message in request.messages for image in message.images):
                folder = path.with_name(path.name + ".images")
                folder.mkdir(exist_ok=True)
                (folder / (image.digest + SUFFIXES[image.media_type])).write_bytes(image.data)
            line = {"key": key, "draw": request.draw, "tag": request.tag, "request": asked}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return len(there)


def read_prompts(path: Path | str) -> dict[str, Mapping[str, Any]]:
    """Key -> line of a file of prompts. Raises RecordingError for what is none."""
    found = {}
    for number, line in read_lines(Path(path).expanduser()):
        if not isinstance(line, Mapping) or not isinstance(asked := line.get("request"), Mapping):
            raise RecordingError(f"{path}, line {number}: no prompt")
        if question_key(asked) != line.get("key"):
            raise RecordingError(f"{path}, line {number}: its key is not that of its request")
        found[line["key"]] = line
    return found


def read_answers(path: Path | str) -> dict[str, Mapping[str, Any]]:
    """Key -> completion fields, from a file of JSON lines or a folder of <key>.txt."""
    path = Path(path).expanduser()
    if path.is_dir():
        return {file.stem: {"text": file.read_bytes().decode()} for file in sorted(path.glob("*.txt"))}
    found: dict[str, Mapping[str, Any]] = {}
    for number, line in read_lines(path):
        if (
            not isinstance(line, Mapping)
            or not isinstance(line.get("text"), str)
            or not isinstance(line.get("key"), str)
        ):
            raise RecordingError(f'{path}, line {number}: an answer is {{"key": ..., "text": ...}}')
        if unknown := [name for name in line if name not in ("key", *GIVEN)]:
            raise RecordingError(f"{path}, line {number}: an answer has no field {unknown[0]!r}; allowed are {GIVEN}")
        if line["key"] in found:
            raise RecordingError(f"{path}, line {number}: {line['key']} was answered before")
        found[line["key"]] = {name: value for name, value in line.items() if name != "key"}
    return found


def build_recording(
    prompts: Path | str, answers: Path | str, out: Path | str, header: Header, *, partial: bool = False
) -> int:
    """Makes a recording of prompts and their answers, or adds them to the one that is there; returns how many it holds.

    Raises:
        RecordingError: a prompt without an answer (unless `partial`), an answer without a prompt, an answer that the
            recording has in other words, or a recording of another source.
    """
    asked, said = read_prompts(prompts), read_answers(answers)
    if stray := [key for key in said if key not in asked]:
        raise RecordingError(f"{answers} answers {stray[0]}, which is no prompt of {prompts}")
    if not partial and (lacking := [key for key in asked if key not in said]):
        raise RecordingError(f"{len(lacking)} of {len(asked)} prompts have no answer, the first of them {lacking[0]}")
    lines: dict[str, Mapping[str, Any]] = {}
    if Path(out).expanduser().exists():
        before = Recording.open(out)
        if (before.header.source, before.header.model) != (header.source, header.model):
            raise RecordingError(f"{out} was recorded from {before.header.source!r}: give another path")
        if before.header.date != header.date:
            later = asdict(Source("live", "recording", header.model, header.date))
            said = {key: {**completion, "source": later} for key, completion in said.items()}
        lines, header = dict(before.entries), before.header
    for key, completion in said.items():
        prompt = asked[key]
        there = lines.setdefault(
            filled_key(prompt["request"]), entry(key, prompt.get("tag") or "", prompt["request"], completion)
        )
        if there["completion"]["text"] != completion["text"]:
            raise RecordingError(f"{out} has another answer to {key}: answers are not changed afterwards")
    write_recording(out, header, lines.values())
    return len(lines)


def check_recording(prompts: Path | str, recording: Recording) -> list[str]:
    """Keys of the prompts that the recording lacks."""
    lines = read_prompts(prompts).items()
    return [key for key, line in lines if filled_key(line["request"]) not in recording.entries]

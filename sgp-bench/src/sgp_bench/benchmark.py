"""The harness on the published splits, or on a user's own set: ask, score, compare, report."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from shared.llm import LLM, open_llm
from shared.llm.request import sampling_from

from .entry import table
from .errors import SGPError, sentence
from .evaluate import Results, compare_results, evaluate, extract_by_model
from .folder import from_folder
from .html_report import text as escaped
from .hub import load_items, paired
from .parts import environment, write_json
from .perturb import SEVERITIES
from .prompts import templates_hash
from .recorded import moved_item
from .records import Item, read_items, write_items
from .report import category_rows, consistency_rows, markdown, with_pictures
from .settings import Settings
from .study import packed, unpacked, versions_of
from .summary import against_baselines, baselines, by_category, by_length, macro, modes


def build_folder(settings: Settings) -> dict[str, Any]:
    """A verified question set of a folder of SVG files; with `data.vision` also what a vision model asks."""
    s = settings
    with tqdm(desc="render", unit="file", disable=None, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found = from_folder(Path(s.data.path).expanduser(), s.seed, progress=progress)
    items = found.items
    rejected: list[str] = []
    if s.data.vision:
        from .vision_questions import build

        programs = {i.group: i.program for i in items}
        with open_llm(s.data.vision, cache_dir=s.output_dir / "cache") as llm:
            built = build(llm, programs, {n: found.pictures[n] for n in programs}, confirm=s.data.confirm, seed=s.seed)
        items, rejected = [*items, *built.items], built.rejected
    if not items:
        raise SGPError(f"no file of {s.data.path} gave a question that its pixels answer beyond doubt")
    write_items(s.output_dir / "data" / "folder.jsonl", items)
    write_json(
        s.output_dir / "data" / "folder.json",
        {
            "refused": found.refused,
            "repaired": found.repaired,
            "without questions": found.asked_nothing,
            "rejected": rejected,
        },
    )
    return {
        "files asked about": len({i.group for i in items}),
        "questions": len(items),
        "refused": len(found.refused),
        "repaired": len(found.repaired),
        "without questions": len(found.asked_nothing),
        "set": str(s.output_dir / "data" / "folder.jsonl"),
    }


def load(settings: Settings) -> tuple[list[Item], list[str]]:
    """All items to ask, originals first, versions paired with them; and what was wrong with rows."""
    s = settings
    if s.data.kind == "folder":
        path = s.output_dir / "data" / "folder.jsonl"
        if not path.is_file():
            raise SGPError(f"{path} is not there: run train.py with the same data first")
        originals, problems = read_items(path)
    else:
        originals, problems = [], []
        for split in s.data.splits:
            loaded = load_items(s.data.source, split, s.data.on_bad_row, s.data.limit)
            problems += [f"{split}, {p}" for p in loaded.problems]
            moved = split.startswith("inv_")
            originals += paired([i for i in originals if not i.version], loaded.items) if moved else loaded.items
    items = list(originals)
    for version in s.versions:
        turned = version in SEVERITIES and SEVERITIES[version].turn
        for item in [i for i in originals if not i.version and i.kind == "svg" and (not turned or i.invariant["r"])]:
            rng = random.Random(f"{s.seed}/{item.group}/{version}")
            try:
                items.append(replace(moved_item(item, version, rng, s.decimals), field_text=""))
            except SGPError as error:
                problems.append(f"{item.key}, {version}: {sentence(error)}")
    return items, problems


def client(settings: Settings) -> LLM:
    """The model of the configuration, with its adapter merged where one is named."""
    m = settings.model
    if m.adapter is None:
        return open_llm(m.llm_settings, cache_dir=settings.output_dir / "cache")
    from shared.llm import load_causal_lm
    from shared.llm.backends.transformers import Local

    from .tune import open_adapter

    if m.path is None:
        raise SGPError("model.adapter needs model.path, its base in this process")
    lm, tokenizer = load_causal_lm(m.path, dtype=m.dtype, device="auto")
    merged = open_adapter(lm, Path(m.adapter), m.path).merge_and_unload()
    cache = settings.output_dir / "cache" / "completions.sqlite"
    return LLM(Local.of(merged, tokenizer, name=f"{m.name} + {Path(m.adapter).name}"), cache=cache, progress=True)


def run_benchmark(settings: Settings) -> tuple[Path, str]:
    """Asks everything, writes answers.jsonl, metrics.json, report.md and report.html."""
    s = settings
    items, problems = load(s)
    with client(s) as llm:
        results = evaluate(
            items,
            llm,
            s.scorer.name,
            prompt=s.scorer.prompt,
            system_message=s.scorer.system,
            sampling=sampling_from(s.scorer.sampling),
            retries=s.scorer.retries,
        )
    if s.scorer.extract_with and s.scorer.name == "generate":
        with open_llm(s.scorer.extract_with, cache_dir=s.output_dir / "cache") as reader:
            results = extract_by_model(results, reader)
    write_answers(s.output_dir / "answers.jsonl", results)
    originals = results.of(lambda i: not i.version)
    moved = {v: results.of(lambda i, v=v: i.version == v) for v in dict.fromkeys(i.version for i in items if i.version)}  # type: ignore[misc]
    m: dict[str, Any] = {
        "about": dict(results.about),
        "scale": s.scale,
        "seed": s.seed,
        "templates_sha256": templates_hash(),
        "problems": problems,
        "modes": modes(originals),
        "categories": by_category(originals),
        "official": by_category(originals, "official"),
        "by_length": by_length(originals),
        "environment": environment(),
    }
    m["macro"] = macro(m["categories"])
    asked = originals.of(lambda i: bool(i.options))
    if asked.items:
        columns = baselines(asked)
        m["against_baselines"] = against_baselines(
            asked, [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        )
    m["consistency"] = consistency_of(originals, moved)
    if s.compare_with:
        other = read_answers(Path(s.compare_with))
        m["compared"] = {"with": dict(other.about), "difference": asdict(compare_results(other, originals))}
    write_json(s.output_dir / "metrics.json", m)
    with_pictures(
        s.output_dir / "report.html",
        f"{results.about['model']} on {s.data.kind} questions",
        [],
        {results.about["model"]: results},
    )
    (s.output_dir / "report.md").write_text("\n\n".join(sections(m)) + "\n", encoding="utf-8")
    rows = [
        {"category": n, "n": r["n"], "strict": r["value"], "official": m["official"][n]["value"]}
        for n, r in m["categories"].items()
    ]
    return s.output_dir / "report.md", table(rows)


def consistency_of(originals: Results, moved: dict[str, Results]) -> dict[str, Any]:
    """Each version with the original; the published translations and rotations also all together, as in the paper."""
    found = versions_of(originals, moved)
    found.pop("all", None)
    for name, prefix in (("T", "inv_t"), ("SE(2)", "inv_r")):
        family = {v: r for v, r in moved.items() if v.startswith(prefix)}
        if len(family) > 1:
            found[name] = versions_of(originals, family)["all"]
    return found


def write_answers(path: Path, results: Results) -> None:
    """One line for what was asked, one for each answer: what `compare_with` reads."""
    record = packed(results)
    lines = [json.dumps({"about": record["about"]}, ensure_ascii=False)]
    lines += [
        json.dumps({"item": i, "answer": a}, ensure_ascii=False)
        for i, a in zip(record["items"], record["answers"], strict=True)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}")
    beside.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="replace")
    beside.replace(path)


def read_answers(path: Path) -> Results:
    """The inverse of `write_answers`.

    Raises:
        SGPError: no such file, or another one.
    """
    try:
        first, *rest = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return unpacked(
            {"about": first["about"], "items": [r["item"] for r in rest], "answers": [r["answer"] for r in rest]}
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SGPError(f"{path} is no file of answers that eval.py wrote: {sentence(error)}") from None


def sections(m: dict[str, Any]) -> Sequence[str]:
    about, trouble = m["about"], m["modes"]["troubles"]
    parts = [
        f"# {escaped(str(about['model']))}",
        f"Scorer {about['scorer']}, prompt {about['prompt']} (`{m['templates_sha256'][:12]}`), scale {m['scale']}. "
        f"Strict accuracy {m['modes']['strict']['value']:.3f}, official {m['modes']['official']['value']:.3f}, macro "
        f"average {m['macro']:.3f}. "
        + ", ".join(f"{k} {v:.1%}" for k, v in trouble.items())
        + ". Every question with its picture: [report.html](report.html).",
        markdown(category_rows(m["categories"], m.get("against_baselines"))),
    ]
    if c := m.get("compared"):
        d = c["difference"]
        parts.append(
            f"Against {escaped(str(c['with']['model']))} on the same {d['n']} questions: {d['difference']:+.3f} (95 "
            f"% {d['interval'][0]:+.3f} to {d['interval'][1]:+.3f}), McNemar p = {d['p']:.2g}; only here right "
            f"{d['only_second']}, only there {d['only_first']}."
        )
    if m["consistency"]:
        parts += ["## Consistency", markdown(consistency_rows(m["consistency"]))]
    if m["by_length"]:
        parts += ["## Accuracy against program length", markdown(m["by_length"])]
    if m["problems"]:
        parts += ["## Rows with faults", "\n".join(f"- {escaped(p, 300)}" for p in m["problems"][:50])]
    return parts

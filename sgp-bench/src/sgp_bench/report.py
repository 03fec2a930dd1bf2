"""results/report.md, metrics.json, the figures and the page to browse."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import figures, paper
from .baselines import RULES
from .cad import parse_cad
from .cad_solid import picture as cad_picture
from .claims import Claim, claims
from .consistency import uniform_chance
from .entry import table
from .evaluate import Results, compare_results
from .html_report import write_page
from .parts import environment, write_json
from .prompts import templates_hash
from .recorded import replayed
from .records import Item
from .render import Renderer
from .settings import Settings, fingerprint
from .study import Study, packed, unpacked, versions_of
from .summary import against_baselines, by_category, by_length, macro, modes


def write_study_report(settings: Settings) -> tuple[Path, str]:
    """Measures what is missing and writes everything. Returns the report's path and a table for the terminal."""
    started = time.perf_counter()
    study = Study(settings)
    built = study.build()
    cad, guesses = study.cad(), study.baselines()
    before = {n: {k: unpacked(v) for k, v in part.items()} for n, part in study.asked(False).items()}
    after = {}
    if settings.tune is not None and study.adapter.is_dir():
        after = {n: {k: unpacked(v) for k, v in part.items()} for n, part in study.asked(True).items()}
    recorded = replayed()
    m: dict[str, Any] = {
        "model": settings.model.name,
        "scale": settings.scale,
        "seed": settings.seed,
        "data": built,
        "templates_sha256": templates_hash(),
        "cad": cad,
        "baselines": {"many": guesses["many"], "questions": guesses["questions"]},
    }
    m["before"] = _measured(before, guesses["each"])
    extra = before.get("extra", {}).get("text")
    if extra is not None:
        digits = extra.of(lambda i: i.kind == "mnist")
        parts = extra.of(lambda i: i.kind != "mnist")
        m["before"]["cad"] = by_category(parts) if parts.items else None
        if digits.items:
            m["before"]["digits"] = asdict(digits.rate())
    if "generated" in before:
        m["before"]["generated"] = modes(before["generated"]["free"])
    if after:
        m["after"] = _measured(after, guesses["each"])
        m["after"]["shuffled"] = {
            "rate": asdict(after["shuffled"]["text"].rate()),
            "blank": asdict(after["blank"]["text"].rate()),
            "prior": max(guesses["many"]["all"][r] for r in (*RULES, "no program")),
        }
        m["gain"] = {
            "text": asdict(compare_results(before["test"]["text"], after["test"]["text"])),
            "letter": asdict(compare_results(before["test"]["letter"], after["test"]["letter"])),
        }
        if (tuning := study.parts.record("tune")) is not None:
            m["tuning"] = {
                "steps": len(tuning["result"]["rows"]),
                "tokens": sum(r["tokens"] for r in tuning["result"]["rows"]),
                **{k: v for k, v in tuning["result"].items() if k not in ("rows", "adapter")},
            }
            figures.losses(tuning["result"]["rows"], settings.output_dir / "tuning.png")
    if recorded is not None:
        m["recorded"] = recorded_metrics(recorded)
        small = _small_on_recorded(study, recorded)
        if small is not None:
            m["small_and_large"] = small
    named = {settings.model.name: before["test"]["text"]}
    if after:
        named[f"{settings.model.name}, tuned"] = after["test"]["text"]
    if recorded is not None:
        named["recorded large model"] = recorded
    _draw(m, settings.output_dir)
    found = claims(m)
    m["claims"] = [asdict(c) for c in found]
    m["environment"] = environment()
    m["times"] = study.parts.times() | {"this evaluation": {"seconds": round(time.perf_counter() - started, 1)}}
    write_json(settings.output_dir / "metrics.json", m)
    page = settings.output_dir / "report.html"
    with_pictures(page, "SGP-Bench: questions, pictures and answers", _page_notes(m), named)
    text = "\n\n".join(_sections(m, found)) + "\n"
    (settings.output_dir / "report.md").write_text(text, encoding="utf-8")
    return settings.output_dir / "report.md", table(_terminal_rows(m))


def with_pictures(path: Path, title: str, notes: Sequence[str], named: Mapping[str, Results], limit: int = 400) -> None:
    """The page, each program drawn by the bounded renderer."""
    renderer = Renderer()

    def draw(item: Item) -> bytes | None:
        if item.kind in ("svg", "mnist"):
            return renderer.png(item.program, 180)
        if item.about not in ("deepcad", "fusion", "sketchgraphs"):
            return None
        import io

        buffer = io.BytesIO()
        cad_picture(parse_cad(item.program, item.about)).save(buffer, "PNG")
        return buffer.getvalue()

    try:
        write_page(path, title, notes, named, draw, limit)
    finally:
        renderer.close()


def recorded_metrics(results: Results) -> dict[str, Any]:
    """Of the recorded answers: accuracy by category, extractors, versions, digits, CAD, shuffled programs."""
    originals = results.of(lambda i: not i.version and i.kind == "svg")
    moved = {
        v: results.of(lambda i, v=v: i.version == v)  # type: ignore[misc]
        for v in dict.fromkeys(i.version for i in results.items if i.version not in ("", "shuffled"))
    }
    found: dict[str, Any] = {
        "about": dict(results.about),
        "categories": by_category(originals),
        "modes": modes(results.of(lambda i: bool(i.options))),
        "official": by_category(originals, "official"),
        "consistency": versions_of(originals, moved),
        "by_length": by_length(originals),
    }
    for name, keep in (("cad", lambda i: i.kind.startswith("cad")), ("shuffled", lambda i: i.version == "shuffled")):
        part = results.of(keep)
        if part.items:
            found[name] = by_category(part) if name == "cad" else asdict(part.rate())
    digits = results.of(lambda i: i.kind == "mnist")
    if digits.items:
        found["digits"] = asdict(digits.rate())
    return found


def _small_on_recorded(study: Study, recorded: Results) -> dict[str, Any] | None:
    """The untuned model on some of the recorded questions, four a category, for a paired comparison."""
    from .evaluate import evaluate

    chosen = [
        i
        for c in dict.fromkeys(i.category for i in recorded.items)
        for i in [j for j in recorded.items if j.category == c and not j.version and j.kind == "svg"][:3]
    ]
    key = fingerprint("recorded", study.settings.model.path, templates_hash(), [i.to_json() for i in chosen])

    def measure() -> dict[str, Any]:
        with study.asking(False) as llm:
            return packed(evaluate(chosen, llm, "text_logprob"))

    small = unpacked(study.parts.make("before-recorded", key, measure))
    difference = compare_results(small, recorded)
    large = recorded.of(lambda i: i.key in {j.key for j in chosen})
    return {"small": small.rate().value, "large": large.rate().value, "large_minus_small": asdict(difference)}


def _measured(parts: Mapping[str, Mapping[str, Results]], each: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    text, letter = parts["test"]["text"], parts["test"]["letter"]
    moved = {n.removeprefix("moved-"): p["text"] for n, p in parts.items() if n.startswith("moved-")}
    rows = by_category(text)
    return {
        "categories": rows,
        "macro": macro(rows),
        "letters": by_category(letter) if letter.items else None,
        "against_baselines": against_baselines(text, each),
        "consistency": versions_of(text, moved),
        "by_length": by_length(text),
    }


def _draw(m: Mapping[str, Any], folder: Path) -> None:
    rows = {k: m[k]["categories"] for k in ("before", "after") if k in m}
    last = m.get("after", m["before"])["against_baselines"]
    figures.categories(rows, folder / "categories.png", {c: r["scores"][r["best"]] for c, r in last.items()})
    versions = {k: m[k]["consistency"] for k in ("before", "after", "recorded") if m.get(k, {}).get("consistency")}
    if versions:
        figures.consistencies(versions, folder / "consistency.png")


def _terminal_rows(m: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, r in m["before"]["categories"].items():
        row: dict[str, Any] = {"category": name, "n": r["n"], "before": r["value"]}
        if "after" in m:
            row["after"] = m["after"]["categories"][name]["value"]
            b = m["after"]["against_baselines"][name]
            row["best surface rule"] = b["scores"][b["best"]]
        if "recorded" in m and name in m["recorded"]["categories"]:
            row["recorded large model"] = m["recorded"]["categories"][name]["value"]
        rows.append(row)
    return rows


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table; bars and line ends in cells are escaped, floats have three digits."""
    if not rows:
        return ""
    names = list(dict.fromkeys(k for r in rows for k in r))
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    return "\n".join(lines + ["| " + " | ".join(_cell(r.get(n)) for n in names) + " |" for r in rows])


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _interval(pair: Sequence[float]) -> str:
    return f"{pair[0]:.2f} – {pair[1]:.2f}"


def claims_table(found: Sequence[Claim], scale: str) -> str:
    return markdown(
        [
            {
                "claim of the paper": c.claim,
                "paper": c.paper,
                "measured here": c.measured,
                "scale": scale,
                "source": c.source,
                "verdict": f"**{c.verdict}**",
                "measure it again": f"`{c.command}`",
            }
            for c in found
        ]
    )


def category_rows(
    rows: Mapping[str, Mapping[str, Any]], against: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    found = []
    for name, r in rows.items():
        row: dict[str, Any] = {
            "category": name,
            "accuracy": r["value"],
            "n": r["n"],
            "programs": r["clusters"],
            "Wilson 95 %": _interval(r["wilson"]),
            "95 % by program": _interval(r["cluster"]),
            "chance": r["chance"],
        }
        if against and name in against:
            row |= against[name]["scores"]
            gain = against[name]["gain"]
            row["gain over the best"] = f"{gain['difference']:+.2f} ({_interval(gain['interval'])})"
            row["above it"] = "yes" if against[name]["shown"] else "no"
        found.append(row)
    return found


def consistency_rows(versions: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "version": name,
            "n": c["questions"],
            "K": c["versions"],
            "paper's rate": c["rate"],
            "95 %": _interval(c["rate_interval"]),
            "among answered": c["answered"],
            "independent draws": c["chance"],
            "κ": c["kappa"],
            "right in all": c["all_right"],
            "flips": c["flips"],
            "accuracy, original": c["accuracy"][0],
            "accuracy, moved": sum(c["accuracy"][1:]) / (c["versions"] - 1),
            "drop (95 %)": f"{c['drop']['difference']:+.2f} ({_interval(c['drop']['interval'])})",
        }
        for name, c in versions.items()
    ]


def _page_notes(m: Mapping[str, Any]) -> list[str]:
    notes = ["Pictures are drawn from the programs; the models saw the programs alone. Green is the right option."]
    if about := m.get("recorded", {}).get("about"):
        notes.append(f"Recorded large model: {about['source']}, {about['date']}. {about['settings']}")
    return notes


def _sections(m: Mapping[str, Any], found: Sequence[Claim]) -> list[str]:
    env, built = m["environment"], m["data"]
    versions = ", ".join(f"{k} {v}" for k, v in env["versions"].items() if v)
    parts = [
        "# SGP-Bench: what the paper claims and what this run shows",
        (
            f"Scale {m['scale']}: model `{m['model']}`, seed {m['seed']}, {built['test questions']} questions about "
            f"{built['test scenes']} generated scenes ({built['answers checked from pixels']} answers checked a second "
            f"time from rendered pixels), prompts `{m['templates_sha256'][:12]}`. Machine: "
            f"{env['gpu'] or env['processor']}, {env['threads']} threads; Python {env['python']}, {versions}. Every "
            "question with its picture: [report.html](report.html)."
        ),
        "## Claims",
        claims_table(found, m["scale"]),
        "![Test scenes](contact_sheet.png)",
        "## Accuracy by category",
        _intro(m),
    ]
    for label, title in (("before", "Before tuning"), ("after", "After tuning")):
        if label in m:
            rows = category_rows(m[label]["categories"], m[label]["against_baselines"])
            parts += [
                f"### {title}: the option whose words are most probable",
                markdown(rows),
                f"Macro average {m[label]['macro']:.3f}.",
            ]
            if m[label]["letters"]:
                parts += [
                    "By letters, the paper's format, on a part of the scenes:",
                    markdown(category_rows(m[label]["letters"])),
                ]
    parts += ["![Accuracy by category](categories.png)", _words(m)]
    if "tuning" in m:
        t = m["tuning"]
        parts += [
            "## Tuning",
            (
                f"{t['steps']} steps on {built['train scenes']} scenes, {t['turns']} turns, {t['tokens']:,.0f} tokens "
                "(a program counted for each of its questions, though it is read once); "
                f"{t['trained parameters']:,} trained parameters; {t['shortened']} programs shortened, {t['dropped']} "
                "turns left out, no answer cut. In the first third of the steps relations are left out."
            ),
            "![Loss](tuning.png)",
        ]
    parts += _consistency_sections(m)
    parts += _recorded_sections(m)
    parts += _other_sections(m)
    parts += [
        "## The paper's own figures",
        _paper_tables(),
        "## Limits",
        _limits(m),
        "## Where the time went",
        markdown([{"part": k, **v} for k, v in m["times"].items()]),
    ]
    return [p for p in parts if p]


def _intro(m: Mapping[str, Any]) -> str:
    many = m["baselines"]["many"]["all"]
    scores = ", ".join(f"{r} {s:.3f}" for r, s in many.items())
    return (
        "Four options each, so chance is 0.25. Four rules that look at the program's surface and not at the "
        "question, and the commonest answer without a program, score by construction about that: over "
        f"{m['baselines']['questions']:,} questions {scores}. A gain counts only over the best of them on the same "
        "questions, with an interval by a bootstrap over programs."
    )


def _words(m: Mapping[str, Any]) -> str:
    if "after" not in m:
        return "Nothing was tuned in this run."
    rows = {c: r for c, r in m["after"]["against_baselines"].items() if c != "all"}
    above, below = [c for c in rows if rows[c]["shown"]], [c for c in rows if not rows[c]["shown"]]
    text = f"After tuning the model is above the best surface rule in {', '.join(above) or 'no category'}"
    return text + (f"; in {', '.join(below)} no gain can be told from chance." if below else ".")


def _consistency_sections(m: Mapping[str, Any]) -> list[str]:
    parts = [
        "## Consistency when the picture moves",
        (
            "Every version is the whole program with other numbers: `official` shifts by up to 1 % as the published "
            "copies do, `visible` by up to 10 %, `se2` turns by any angle and shifts; `format` is a control whose "
            "picture stays as it is, pixel for pixel. The paper's rate counts a missing answer as an answer and "
            f"gives a model that says one letter throughout 1; uniform guessing scores {uniform_chance(2):.3f} with "
            f"two versions and {uniform_chance(6):.4f} with six. Beside it stand what independent draws from the "
            "model's own answers would score, κ corrected for that, and the share right in every version. Questions "
            "whose answer a turn changes are answered anew from the scene or left out."
        ),
    ]
    for label in ("before", "after"):
        if m.get(label, {}).get("consistency"):
            parts += [f"### {label.capitalize()} tuning", markdown(consistency_rows(m[label]["consistency"]))]
    return [*parts, "![Consistency](consistency.png)"] if len(parts) > 2 else []


def _recorded_sections(m: Mapping[str, Any]) -> list[str]:
    if "recorded" not in m:
        return ["## A large model, recorded", "No recording."]
    r = m["recorded"]
    about, trouble = r["about"], r["modes"]["troubles"]
    parts = [
        "## A large model, recorded",
        (
            f"The answers are {about['source']}, {about['date']}; {about['settings']}. They are not this machine's. "
            "Extraction, scores and statistics are computed here from the replies, which are kept word for word."
        ),
        markdown(category_rows(r["categories"])),
        (
            f"Official extractor {r['modes']['official']['value']:.3f}, strict {r['modes']['strict']['value']:.3f} on "
            f"all {r['modes']['strict']['n']} multiple-choice answers; no letter read: {trouble['no letter']:.1%} "
            f"(strict), {trouble['no letter, official']:.1%} (official)."
        ),
        "Moved and rewritten programs:",
        markdown(consistency_rows(r["consistency"])),
    ]
    if "cad" in r:
        parts += ["CAD:", markdown(category_rows(r["cad"]))]
    if "digits" in r:
        d = r["digits"]
        parts.append(f"Digits: {d['value']:.0%} of {d['n']} (95 % {_interval(d['wilson'])}), chance 10 %.")
    if "shuffled" in r:
        s = r["shuffled"]
        parts.append(f"Beside another scene's program: {s['value']:.0%} of {s['n']} (95 % {_interval(s['wilson'])}).")
    return parts


def _other_sections(m: Mapping[str, Any]) -> list[str]:
    parts = []
    g = m["before"].get("generated")
    if g:
        t = g["troubles"]
        parts += [
            "## Free replies of the small model",
            (
                f"{g['strict']['n']} questions asked with the paper's prompt: official extractor "
                f"{g['official']['value']:.2f}, strict {g['strict']['value']:.2f}; no letter in {t['no letter']:.0%} "
                f"(strict) and {t['no letter, official']:.0%} (official), cut by the token limit "
                f"{t['cut by max_tokens']:.0%}."
            ),
        ]
    rows = m["cad"]["parts"]
    ok = sum(r["watertight"] and r["holes right"] and r["longest right"] for r in rows)
    parts += [
        "## CAD",
        (
            f"{ok} of {len(rows)} generated parts in two dialects are watertight solids whose genus and longest axis "
            "are what the program was made with; volumes differ from the exact ones by at most "
            f"{max(r['volume error'] for r in rows):.1e} (curves as 128-gons)."
        ),
        "![CAD parts](cad.png)",
    ]
    if m["before"].get("cad"):
        parts += [f"{m['model']} on a mini-set, by option text:", markdown(category_rows(m["before"]["cad"]))]
    if d := m["before"].get("digits"):
        parts.append(
            f"Digits, ten log-probabilities: {d['value']:.0%} of {d['n']} (95 % {_interval(d['wilson'])}), chance 10 %."
        )
    if strata := m.get("after", m["before"])["by_length"]:
        parts += ["## Accuracy against program length", markdown(strata)]
    return parts


def _paper_tables() -> str:
    svg = [{"model": n, **dict(zip(paper.COLUMNS, v, strict=True))} for n, v in paper.SVG.items()]
    cad = [{"model": n, **dict(zip(paper.CAD_COLUMNS, v, strict=True))} for n, v in paper.CAD.items()]
    digits = ", ".join(f"{n} {v}" for n, v in paper.MNIST.items())
    return (
        f"{paper.SOURCE}, per cent; two cells that contradict its Overall column are left "
        f"out.\n\n{markdown(svg)}\n\nCAD:\n\n{markdown(cad)}\n\nSGP-MNIST (Table 3): {digits}; chance 10."
    )


def _limits(m: Mapping[str, Any]) -> str:
    return (
        "Scenes are plain shapes and eight icons, not the paper's drawings: scores here do not compare with the "
        "paper's. The default model has 135 million parameters and weights rounded to four bits. It is tuned on "
        "answers (and some descriptions) of the same generator that tests it, which the paper does not do; the "
        "published SIT pairs are captions. One seed; intervals are over programs, not over trainings. The program's "
        "words for a shape (`circle`, `rect`) stand in the easy dialect's tags, so Shape is easier here than for "
        "paths."
    )

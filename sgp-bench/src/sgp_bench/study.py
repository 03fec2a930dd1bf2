"""The default run: a small model before and after a short tuning on generated programs, with its controls.

Every measurement is a part (parts.py) that is reused; everything that was asked is in the cache of `shared.llm`.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from shared.llm import LLM, Sampling, load_causal_lm

from .baselines import Prior, surface
from .cad import parse_cad
from .cad_questions import cad_items, sample_part
from .cad_solid import holes, solid, views
from .consistency import consistency
from .entry import tell
from .errors import SGPError
from .evaluate import Answer, Results, evaluate, weigh_both
from .matrix import Matrix
from .mnist import digit_items
from .parts import Parts
from .perturb import SEVERITIES, control, draw_motion, perturb
from .prompts import fill, templates_hash
from .questions import answered_anew
from .records import Item, write_items
from .render import RendererPool, contact_sheet
from .scene_set import Asked, scene_set
from .settings import Settings, fingerprint
from .sit import Pair, encode, pair_turn, question_turn
from .svg_safe import parse_svg
from .tune import add_adapter, open_adapter, tune
from .verify import SIZE, Seen, problems

EMPTY = '<svg viewBox="0 0 100 100">\n</svg>'
CHECKED = 3000  # scenes on which the surface rules are measured


class Study:
    """Sets, model and parts of one configuration."""

    def __init__(self, settings: Settings):
        if settings.data.kind != "synthetic":
            raise SGPError("the study is of data=synthetic")
        self.settings = settings
        self.parts = Parts(settings.output_dir / "parts", settings.resume)
        if settings.threads:
            import torch

            torch.set_num_threads(settings.threads)
        self._lm: tuple[Any, Any] | None = None
        self._sets: tuple[list[Asked], list[Asked]] | None = None

    # -- data

    @property
    def sets(self) -> tuple[list[Asked], list[Asked]]:
        """Test and training scenes; the test set does not depend on how much is trained."""
        if self._sets is None:
            s = self.settings
            taken: set[str] = set()
            test = scene_set(s.data.test, f"test/{s.seed}", s.data.shares, s.data.dialect, taken)
            count = s.data.train or (s.tune.steps * s.tune.groups if s.tune else 0)
            train = scene_set(count, f"train/{s.seed}", s.data.train_shares, s.data.dialect, taken) if count else []
            self._sets = test, train
        return self._sets

    @property
    def test_items(self) -> list[Item]:
        return [i for asked in self.sets[0] for i in asked.items]

    def build(self) -> dict[str, Any]:
        """Writes the sets and the contact sheet, and checks the test answers from pixels."""
        s = self.settings
        key = fingerprint(s.data, s.seed, s.versions, s.decimals, s.tune and (s.tune.steps, s.tune.groups))

        def measure() -> dict[str, Any]:
            test, train = self.sets
            folder = s.output_dir / "data"
            write_items(folder / "test.jsonl", self.test_items)
            write_items(folder / "train.jsonl", [i for a in train for i in a.items])
            moved = self.moved_items()
            write_items(folder / "moved.jsonl", [i for row in moved.values() for i in row])
            with RendererPool() as pool:
                pngs = pool.png([a.scene.program() for a in test], SIZE)
            import io

            from PIL import Image

            wrong, checked, pictures = [], 0, []
            for asked, png in zip(test, pngs, strict=True):
                if not isinstance(png, bytes):
                    raise SGPError(f"a generated scene could not be drawn: {png}")
                image = Image.open(io.BytesIO(png)).convert("RGB")
                pictures.append((asked.items[0].question, image))
                if asked.scene.layout in ("distinct", "counts"):
                    seen = Seen(image)
                    checked += sum(i.category in ("Color", "Count", "Shape") for i in asked.items)
                    wrong += [f"{i.key}: {p}" for i in asked.items for p in problems(i, seen)]
            if wrong:
                raise SGPError(f"{len(wrong)} answers are not what the pixels say, the first: {wrong[0]}")
            contact_sheet(pictures[:40], 8, 150).save(s.output_dir / "contact_sheet.png")
            return {
                "test scenes": len(test),
                "test questions": len(self.test_items),
                "train scenes": len(train),
                "train questions": sum(len(a.items) for a in train),
                "answers checked from pixels": checked,
                "digests in common": len({a.scene.digest for a in test} & {a.scene.digest for a in train}),
            }

        return self.parts.make("data", key, measure)

    def baselines(self) -> dict[str, Any]:
        """Surface rules and the no-program prior: on the test questions one by one, and on many scenes by category."""
        s = self.settings
        key = fingerprint(s.data.shares, s.data.dialect, s.data.test, s.seed, CHECKED)

        def measure() -> dict[str, Any]:
            train = [i for a in scene_set(600, f"prior/{s.seed}", s.data.shares, s.data.dialect) for i in a.items]
            prior = Prior(train)
            each = [surface(i) | {"no program": prior(i)} for i in self.test_items]
            many = [i for a in scene_set(CHECKED, f"rules/{s.seed}", s.data.shares, s.data.dialect) for i in a.items]
            sums: dict[str, dict[str, list[float]]] = {}
            for item in many:
                for rule, score in (surface(item) | {"no program": prior(item)}).items():
                    for name in (item.category, "all"):
                        sums.setdefault(name, {}).setdefault(rule, []).append(score)
            means = {c: {r: sum(v) / len(v) for r, v in rules.items()} for c, rules in sums.items()}
            return {"each": each, "many": means, "questions": len(many)}

        return self.parts.make("baselines", key, measure)

    def moved_items(self) -> dict[str, list[Item]]:
        """Version -> items of the scenes that are asked again: answers anew from the scene where places matter,
        questions without an answer after a turn left out of all versions."""
        s = self.settings
        versions: dict[str, list[Item]] = {"": []}
        for asked in self.sets[0][: s.data.moved]:
            rows: dict[str, list[Item | None]] = {"": list(asked.items)}
            for version in s.versions:
                rng = random.Random(f"moved/{s.seed}/{asked.scene.digest}/{version}")
                program = parse_svg(asked.scene.program())
                m: Matrix | None = None
                if version in SEVERITIES:
                    motion = draw_motion(SEVERITIES[version], program.view_box, rng)
                    m, text = motion.matrix, str(perturb(program, motion, s.decimals).program)
                else:
                    text = str(control(program, version, s.decimals))
                scene = asked.scene.moved(m) if m else asked.scene
                turned = version in SEVERITIES and SEVERITIES[version].turn
                again = [answered_anew(i, scene) if turned else i for i in asked.items]
                rows[version] = [i and replace(i, program=text, version=version) for i in again]
            keep = [k for k in range(len(asked.items)) if all(row[k] is not None for row in rows.values())]
            for version, row in rows.items():
                versions.setdefault(version, []).extend(row[k] for k in keep)  # type: ignore[misc]
        return versions

    # -- model

    def model(self) -> tuple[Any, Any]:
        if self._lm is None:
            m = self.settings.model
            if m.path is None:
                raise SGPError(f"model {m.name} has no path: data=synthetic needs a model in this process")
            self._lm = load_causal_lm(m.path, dtype=m.dtype, device="auto")
        return self._lm

    @property
    def adapter(self) -> Path:
        return self.settings.output_dir / "adapter"

    def tuning_key(self) -> str:
        s = self.settings
        return fingerprint(
            s.model.path,
            s.model.dtype,
            s.tune,
            s.sit,
            s.max_length,
            s.seed,
            s.data.dialect,
            s.data.train_shares,
            s.data.train,
            s.data.test,
            s.data.shares,
            templates_hash(),
        )

    def tuned(self) -> dict[str, Any]:
        """Trains the adapter, or finds it finished."""
        s = self.settings
        if s.tune is None:
            raise SGPError("tune=none tunes nothing")
        key = self.tuning_key()
        found = self.parts.found("tune", key)
        if found is not None and s.resume and found["adapter"] == digest_of(self.adapter):
            tell("tune: reused")
            return found
        config = s.tune

        def measure() -> dict[str, Any]:
            lm, tokenizer = self.model()
            batches, counts = self.batches(tokenizer)
            model = add_adapter(lm, config)
            states = s.output_dir / "parts" / f"tune-{key[:8]}"
            if not s.resume:
                shutil.rmtree(states, ignore_errors=True)
            with tqdm(total=config.steps, desc="tune", unit="step", disable=None, leave=False) as bar:

                def progress(done: int, total: int, loss: float) -> None:
                    bar.n = done
                    bar.set_postfix(loss=f"{loss:.3f}")

                log = tune(model, batches, config, states, key, progress)
            shutil.rmtree(self.adapter, ignore_errors=True)
            model.save_pretrained(str(self.adapter))
            trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
            self._lm = None  # the base is opened anew, without the adapter's layers
            shutil.rmtree(states, ignore_errors=True)
            return {"adapter": digest_of(self.adapter), "rows": log.rows, "trained parameters": trained, **counts}

        return self.parts.make("tune", key, measure)

    def batches(self, tokenizer: Any) -> tuple[list[list[Any]], dict[str, int]]:
        """A batch of turns a step. In the first third the turns are look-ups and descriptions, relations come after."""
        s, train = self.settings, self.sets[1]
        assert s.tune is not None
        rng = random.Random(f"turns/{s.seed}")
        batches, counts = [], {"turns": 0, "shortened": 0, "dropped": 0}
        groups = s.tune.groups
        for step in range(s.tune.steps):
            turns = []
            for asked in (train[(step * groups + g) % len(train)] for g in range(groups)):
                early = step < s.tune.steps / 3
                items = [i for i in asked.items if not (early and i.category == "Reasoning")] or list(asked.items)
                if s.sit.direction == "qa":
                    turns += [question_turn(i) for i in items]
                if s.sit.direction != "qa" or rng.random() < s.sit.described:
                    pair = Pair(fill("sit.forward"), asked.scene.program(), asked.scene.description())
                    if s.sit.direction in ("forward", "qa", "mixed"):
                        turns.append(pair_turn(pair))
                    if s.sit.direction in ("reverse", "mixed"):
                        turns.append(pair_turn(pair.swapped()))
            fitted = encode(turns, tokenizer, s.max_length)
            batches.append(fitted.encoded)
            counts["turns"] += len(turns)
            counts["shortened"] += fitted.shortened
            counts["dropped"] += fitted.dropped
        return batches, counts

    @contextmanager
    def asking(self, tuned: bool) -> Any:
        """A client of the model, merged with its adapter where `tuned`; answers are cached by the weights."""
        from shared.llm.backends.transformers import Local

        lm, tokenizer = self.model()
        name = self.settings.model.name
        if tuned:
            lm = open_adapter(lm, self.adapter, self.settings.model.path or "").merge_and_unload()
            name, self._lm = f"{name}, tuned", None
        llm = LLM(Local.of(lm, tokenizer, name=name), cache=self.settings.output_dir / "cache" / "completions.sqlite")
        try:
            yield llm
        finally:
            llm.close()

    # -- what is asked

    def asked(self, tuned: bool) -> dict[str, dict[str, Any]]:
        """Everything that is asked of the model, before or after tuning."""
        s = self.settings
        label = "after" if tuned else "before"
        moved = self.moved_items()
        letters = {a.scene.digest for a in self.sets[0][: s.data.letter_test]}
        jobs: dict[str, tuple[Sequence[Item], Callable[[LLM], dict[str, Any]]]] = {}
        items = self.test_items
        marked = [i.group.rsplit("-", 1)[1] in letters for i in items]

        def both(llm: LLM) -> dict[str, Any]:
            text, letter = weigh_both(items, marked, llm)
            return {"text": packed(text), "letter": packed(letter)}

        def text(chosen: Sequence[Item]) -> Callable[[LLM], dict[str, Any]]:
            return lambda llm: {"text": packed(evaluate(chosen, llm, "text_logprob"))}

        jobs["test"] = (items, both)
        for version, row in moved.items():
            if version and row:
                jobs[f"moved-{version}"] = (row, text(row))
        if tuned:
            jobs["shuffled"] = (shuffled := self.shuffled(), text(shuffled))
            jobs["blank"] = (blank := [replace(i, program=EMPTY, version="blank") for i in items], text(blank))
        else:
            extra = self.extra_items()
            jobs["extra"] = (extra, lambda llm: {"text": packed(evaluate(extra, llm, "text_logprob"))})
            free = items[:: max(1, len(items) // max(1, s.data.generated))][: s.data.generated]
            sampling = Sampling(temperature=0.0, max_tokens=64)
            jobs["generated"] = (free, lambda llm: {"free": packed(evaluate(free, llm, "generate", sampling=sampling))})
        weights = digest_of(self.adapter) if tuned else ""
        keys = {
            n: fingerprint(
                n,
                s.model.path,
                s.model.dtype,
                weights,
                templates_hash(),
                [i.to_json() for i in c],
                marked if n == "test" else "",
            )
            for n, (c, _) in jobs.items()
        }
        found = {n: self.parts.found(f"{label}-{n}", keys[n]) if s.resume else None for n in jobs}
        if any(f is None for f in found.values()):
            with self.asking(tuned) as llm:
                for name, (chosen, ask) in jobs.items():
                    if chosen:
                        found[name] = self.parts.make(f"{label}-{name}", keys[name], lambda ask=ask: ask(llm))  # type: ignore[misc]
        else:
            tell(f"{label}: reused")
        return {n: f for n, f in found.items() if f}

    def shuffled(self) -> list[Item]:
        """Each question beside the program of another scene of its layout: what can be answered all the same comes
        from the question, not from the program."""
        found = []
        for layout in dict.fromkeys(a.scene.layout for a in self.sets[0]):
            row = [a for a in self.sets[0] if a.scene.layout == layout]
            for n, asked in enumerate(row if len(row) > 1 else []):
                other = row[(n + 1) % len(row)].scene.program()
                found += [replace(i, program=other, version="shuffled") for i in asked.items]
        return found

    def extra_items(self) -> list[Item]:
        """Digits, and a CAD mini-set with six questions a dialect."""
        s = self.settings
        found = digit_items(s.data.digits, s.seed + 100) if s.data.digits else []
        for dialect in ("sketchgraphs", "fusion", "deepcad"):
            rng = random.Random(f"cad/{s.seed}/{dialect}")
            for n in range(3):
                found += cad_items(sample_part(rng, dialect), rng, f"{dialect}-{n}", 2)
        return found

    def cad(self) -> dict[str, Any]:
        """Parts in all dialects, built and checked: watertight, genus, longest axis and volume as they were made."""
        s = self.settings

        def measure() -> dict[str, Any]:
            rows, pictures = [], []
            for dialect in ("deepcad", "fusion"):
                rng = random.Random(f"solids/{s.seed}/{dialect}")
                for _ in range(6):
                    part = sample_part(rng, dialect)
                    mesh = solid(parse_cad(str(part.program), dialect))
                    assert part.volume is not None
                    extents = dict(zip("xyz", mesh.extents.tolist(), strict=True))
                    longest = max(extents, key=extents.__getitem__)
                    rows.append(
                        {
                            "dialect": dialect,
                            "watertight": bool(mesh.is_watertight),
                            "holes right": holes(mesh) == part.facts["holes"],
                            "longest right": part.facts.get("longest", longest) == longest,
                            "volume error": abs(mesh.volume / part.volume - 1),
                        }
                    )
                    pictures.append((f"{dialect}: {part.facts['holes']} holes", views(mesh, 120)))
            contact_sheet(pictures, 6, 200).save(s.output_dir / "cad.png")
            return {"parts": rows}

        return self.parts.make("cad", fingerprint("cad", s.seed), measure)


def packed(results: Results) -> dict[str, Any]:
    """Items and answers as JSON."""
    return {
        "about": dict(results.about),
        "items": [i.to_json() for i in results.items],
        "answers": [a.to_json() for a in results.answers],
    }


def unpacked(record: dict[str, Any]) -> Results:
    """The inverse of `packed`."""
    answers = tuple(Answer(**{**a, "logprobs": tuple(a["logprobs"])}) for a in record["answers"])
    return Results(tuple(Item.from_json(i) for i in record["items"]), answers, record["about"])


def versions_of(original: Results, moved: dict[str, Results]) -> dict[str, Any]:
    """Consistency of each version with the original, and of all together; items in the order of the moved ones."""
    by_id = {i.question_id: (i, a) for i, a in zip(original.items, original.answers, strict=True)}
    found: dict[str, Any] = {}
    rows: dict[str, list[str | None]] = {}
    for version, results in moved.items():
        pairs = [
            (by_id[i.question_id][1].strict, a.strict) for i, a in zip(results.items, results.answers, strict=True)
        ]
        still = [i.answer == by_id[i.question_id][0].answer for i in results.items]
        keep = [n for n, same in enumerate(still) if same]
        if not keep:
            continue
        groups = [results.items[n].group for n in keep]
        right = [results.items[n].answer for n in keep]
        found[version] = asdict(consistency([pairs[n] for n in keep], right, groups))
        for n in keep:
            rows.setdefault(results.items[n].question_id, []).append(pairs[n][1])
    complete = {q: row for q, row in rows.items() if len(row) == len(found)}
    if len(found) > 1 and complete:
        answers = [(by_id[q][1].strict, *row) for q, row in complete.items()]
        found["all"] = asdict(
            consistency(answers, [by_id[q][0].answer for q in complete], [by_id[q][0].group for q in complete])
        )
    return found


def digest_of(folder: Path) -> str:
    """SHA-256 of an adapter's weights and settings; empty where there is none."""
    path = folder / "adapter_model.safetensors"
    if not path.is_file():
        return ""
    config = json.loads((folder / "adapter_config.json").read_text())
    return hashlib.sha256(path.read_bytes() + json.dumps(config, sort_keys=True).encode()).hexdigest()

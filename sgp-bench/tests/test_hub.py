"""Published records: every split and column variant on look-alikes, and the real files where they are."""

from __future__ import annotations

import csv
import io
import json
import random
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import svgelements

from sgp_bench.errors import SGPError
from sgp_bench.hub import ROTATED, SPLITS, TRANSLATED, check_categories, load_items, paired, split_question
from sgp_bench.path_data import print_path
from sgp_bench.perturb import SEVERITIES, draw_motion, perturb
from sgp_bench.prompts import question_field
from sgp_bench.records import BadRow, Item, read_items, write_items
from sgp_bench.render import RendererPool
from sgp_bench.svg_geometry import outline
from sgp_bench.svg_safe import parse_svg

HEAD = "Examine the following SVG code and answer from the rendered image."
ICON = '<svg viewBox="0 0 24 24" id="L">\n<g />\n<path d="M2,2h20v20H2z" style="fill:#84DBFF;" />\n\n<circle cx="12" cy="12" r="5" style="fill:#324A5E;" /></svg>'  # noqa: E501


def row(question: str = "What is it?", program: str = ICON, head: str = HEAD, **changes) -> dict:
    filled = {
        "Question": f"{head}\n\n{program}\n\nQuestion: {question}",
        "A": "ring",
        "B": "star",
        "C": "tree",
        "D": "house",
        "Answer": "A",
    }
    return filled | changes


def write(folder, split: str, rows: list[dict], kind: str) -> None:
    rows = [{"": i, **r} for i, r in enumerate(rows)]
    if kind == "csv":
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        (folder / f"sgp_{split}.csv").write_text(text.getvalue(), newline="")
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}.parquet")
    else:
        (folder / f"{split}.jsonl").write_text("\n".join(json.dumps(r) for r in rows))


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize("split", SPLITS)
def test_every_split_is_read_from_every_kind_of_file(tmp_path, split, kind):
    if split == "mnist":
        rows = [{"Question": f"{HEAD}\n\n{ICON}\n\nQuestion: Which digit?", "Answer": 7 if kind == "parquet" else "7"}]
    elif split == "cad":
        rows = [
            row(
                head="Examine the following CAD code carefully to understand the 3D object it generates and answer.",
                Subject="3D",
            ),
            row(head="Examine the following CAD code carefully to understand the 2D object it generates and answer."),
        ]
        rows = [{"Subject": "", **r} for r in rows]
    else:
        rows = [row(Subject=s) for s in ("Color", "counting", "accessory", "")]
    write(tmp_path, split, rows, kind)
    loaded = load_items(tmp_path, split)
    assert not loaded.problems and len(loaded.items) == len(rows)
    assert all(i.program.startswith("<svg") and i.program.endswith("</svg>") for i in loaded.items)
    assert all(question_field(i) == i.field_text for i in loaded.items)
    categories = [i.category for i in loaded.items]
    if split == "mnist":
        assert loaded.items[0].answer == "7" and loaded.items[0].kind == "mnist"
    elif split == "cad":
        assert categories == ["3D", "2D"] and [i.kind for i in loaded.items] == ["cad3d", "cad2d"]
    else:
        assert categories == ["Color", "Count", "SVG", "SVG"] and loaded.items[2].about == "accessory"
        assert loaded.items[0].version == ("" if split in ("svg", "inv") else split)


def test_bad_rows_are_named_skipped_or_kept(tmp_path):
    rows = [row(), row(Answer="E"), row(D=""), row(B="Ring "), {**row(), "Question": "no program"}]
    write(tmp_path, "svg", rows, "csv")
    with pytest.raises(BadRow, match="row 1: .*A, B, C and D"):
        load_items(tmp_path, "svg")
    skipped = load_items(tmp_path, "svg", "skip")
    assert len(skipped.items) == 1 and [p.split(":")[0] for p in skipped.problems] == [
        "row 1",
        "row 2",
        "row 3",
        "row 4",
    ]
    kept = load_items(tmp_path, "svg", "keep")
    assert [i.question_id for i in kept.items] == [
        "svg-0",
        "svg-3",
    ] and "1 rows have two equal options" in kept.problems[-1]
    for wrong, why in (
        (("hold", "svg"), "neither"),
        ((tmp_path, "inv"), "no file of the split"),
        ((tmp_path, "test"), "a split is"),
    ):
        with pytest.raises(SGPError, match=why):
            load_items(*wrong)


def test_perturbed_rows_pair_with_the_original_or_are_refused(tmp_path):
    moved_icon = ICON.replace("12", "12.5")
    write(tmp_path, "inv", [row("a?", Subject="Color"), row("b?", Subject="Shape")], "csv")
    write(tmp_path, "inv_t0", [row("a?", moved_icon), row("b?", moved_icon)], "csv")
    write(tmp_path, "inv_r1", [row("b?", moved_icon), row("a?", moved_icon)], "csv")
    originals = load_items(tmp_path, "inv").items
    moved = paired(originals, load_items(tmp_path, "inv_t0").items)
    assert [(i.key, i.category, i.group) for i in moved] == [
        (f"inv-{k}/inv_t0", c, originals[0].group) for k, c in enumerate(("Color", "Shape"))
    ]
    with pytest.raises(SGPError, match="does not pair"):
        paired(originals, load_items(tmp_path, "inv_r1").items)
    assert check_categories([*originals, *moved]) == {"Color": 2, "Shape": 2}


def test_questions_split_at_the_last_mark():
    program, question = split_question(f"{HEAD}\n\n<svg>\n\nQuestion: x</svg>\n\nQuestion: What?")
    assert program == "<svg>\n\nQuestion: x</svg>" and question == "What?"
    with pytest.raises(BadRow):
        split_question("What?")


def test_items_survive_their_file(tmp_path):
    items = [
        Item(f"q{i}", "g", ICON, "What?", ("a", "b", "c", "d"), "B", "Color", invariant={"t": True, "r": i > 0})
        for i in range(2)
    ]
    write_items(tmp_path / "i.jsonl", items)
    assert read_items(tmp_path / "i.jsonl") == (items, [])
    with (tmp_path / "i.jsonl").open("a") as file:
        file.write('{"question_id": "x"}\nnonsense\n')
    with pytest.raises(BadRow, match="row 3"):
        read_items(tmp_path / "i.jsonl")
    assert [p[:5] for p in read_items(tmp_path / "i.jsonl", "skip")[1]] == ["row 3", "row 4"]


# -- the published files, where they are


@pytest.fixture(scope="module")
def inv(real):
    return load_items(real, "inv", "keep")


def test_the_published_records_load_pair_and_hold_their_known_faults(real, inv):
    assert len(inv.items) == 1200 and sum(i.ambiguous for i in inv.items) == 15
    for split in ("inv_t0", "inv_t1"):
        moved = paired(inv.items, load_items(real, split, "keep").items)
        assert len(moved) == 1200
    assert len(load_items(real, "mnist").items) == 1000
    assert set(TRANSLATED + ROTATED) < set(SPLITS)


def test_published_programs_are_read_drawn_and_moved_as_svgelements_moves_them(inv):
    programs = {i.group: i.program for i in inv.items}
    parsed = {g: parse_svg(p) for g, p in programs.items()}
    assert len(parsed) >= 300 and all(p.repairs == ("xmlns added",) for p in parsed.values())
    assert all(str(parse_svg(str(p))) == str(p) for p in parsed.values())
    rng = random.Random(0)
    for program in parsed.values():
        motion = draw_motion(SEVERITIES["se2"], program.view_box, rng)
        moved = perturb(program, motion, 9).program
        for a, b in zip(_leaves(program.root), _leaves(moved.root), strict=True):
            reference = svgelements.Path(a[0]) * svgelements.Matrix(*a[1])
            ours = svgelements.Path(b[0]) * svgelements.Matrix(*b[1])
            reference.reify()
            ours.reify()
            reference = reference * svgelements.Matrix(*motion.matrix)
            reference.reify()
            p, q = _ends(reference), _ends(ours)
            assert np.abs(p - q).max(initial=0) < 1e-6 * max(1.0, np.abs(p).max(initial=0)) + 1e-6
    with RendererPool(2) as pool:
        pngs = pool.png(list(parsed.values()), 64, 30)
    assert all(isinstance(p, bytes) and len(p) > 120 for p in pngs)  # an empty one of 64 × 64 has about 100


def _leaves(element, total=(1.0, 0.0, 0.0, 1.0, 0.0, 0.0)) -> list:
    from sgp_bench.matrix import multiply
    from sgp_bench.path_data import parse_transform

    total = multiply(total, parse_transform(element.attributes.get("transform", "")))
    found = []
    if element.tag == "path" and element.attributes.get("d"):
        found.append((element.attributes["d"], total))
    elif element.tag in ("rect", "circle", "ellipse", "line", "polygon", "polyline"):
        commands = outline(element)
        if commands:
            found.append((print_path(commands, 9), total))
    for child in element.children:
        found += _leaves(child, total)
    return found


def _ends(path) -> np.ndarray:
    """End points of drawn segments, as a set: a circle's own outline may begin elsewhere after a turn."""
    points = [
        s.point(t) for s in path if not isinstance(s, svgelements.Move) and s.start is not None for t in (0, 0.5, 1)
    ]
    box = path.bbox()
    return np.array([(p.x, p.y) for p in points]) if not _round(path) else np.array(box or (0, 0, 0, 0))


def _round(path) -> bool:
    return sum(isinstance(s, svgelements.Arc) for s in path) >= 4


def test_the_published_translations_are_small_and_break_the_viewbox(real, inv):
    """0.5 to 1 % of the canvas, always down and right; and `viewbox` in lower case in every copy."""
    for split in ("inv_t0", "inv_t1"):
        moved = paired(inv.items, load_items(real, split, "keep").items)
        groups = {}
        for a, b in zip(inv.items, moved, strict=True):
            groups.setdefault(a.group, (a.program, b.program))
        shifts = []
        for before, after in groups.values():
            assert "viewbox=" in after and "viewBox=" not in after
            _, _, width, height = parse_svg(before).view_box
            first = [_first_absolute(text) for text in (before, after)]
            if None not in first:
                shifts.append(((first[1][0] - first[0][0]) / width, (first[1][1] - first[0][1]) / height))
        assert len(shifts) > 250
        assert all(0.005 - 2e-4 <= s <= 0.01 + 2e-4 for pair in shifts for s in pair)


def _first_absolute(text: str):
    """The first absolute move of the first untransformed path."""
    if "transform=" in text:
        return None
    match = re.search(r'<path[^>]*? d="\s*M\s*([-\d.]+)[\s,]+([-\d.]+)|<path d="\s*M\s*([-\d.]+)[\s,]*(-?[\d.]+)', text)
    values = [g for g in match.groups() if g] if match else []
    return (float(values[0]), float(values[1])) if len(values) == 2 else None

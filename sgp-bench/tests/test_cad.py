"""CAD programs: grammar, solids against what they were made with, drawings."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgp_bench.cad import CadProgram, Command, Curve, Loop, extrudes, parse_cad
from sgp_bench.cad_questions import cad_items, sample_part
from sgp_bench.cad_solid import draw_sketch, holes, picture, solid, views
from sgp_bench.errors import CadError
from sgp_bench.icons import NUMBERS
from sgp_bench.sketch import extent, facts

DIALECTS = ("deepcad", "fusion", "sketchgraphs")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(DIALECTS))
def test_a_part_reads_back_from_its_text(seed, dialect):
    part = sample_part(random.Random(seed), dialect)
    assert parse_cad(str(part.program), dialect) == part.program
    assert str(parse_cad(str(part.program), dialect)) == str(part.program)


@pytest.mark.parametrize("dialect", ["deepcad", "fusion"])
def test_solids_are_what_their_programs_were_made_with(dialect):
    rng = random.Random(dialect)
    for _ in range(8):
        part = sample_part(rng, dialect)
        mesh = solid(parse_cad(str(part.program), dialect))
        assert mesh.is_watertight and holes(mesh) == part.facts["holes"]
        assert mesh.volume == pytest.approx(part.volume, rel=1e-3)
        extents = dict(zip("xyz", mesh.extents, strict=True))
        if "longest" in part.facts:
            assert part.facts["longest"] == max(extents, key=extents.get)
        if "shortest" in part.facts:
            assert part.facts["shortest"] == min(extents, key=extents.get)


def test_sketches_are_what_their_programs_were_made_with():
    rng = random.Random(0)
    for _ in range(20):
        part = sample_part(rng, "sketchgraphs")
        counted = facts(part.program)
        assert (counted["Line"], counted["Circle"], counted["construction"]) == (
            part.facts["lines"], part.facts["circles"], part.facts["helps"],
        )  # fmt: skip
        width, height = extent(part.program)
        assert part.facts.get("wider", "wider") in (
            "wider",
            "wider than high" if width > height else "higher than wide",
        )
        assert np.asarray(draw_sketch(part.program)).min() == 0


def test_questions_about_parts_have_their_facts_as_answers():
    rng = random.Random(3)
    for dialect in DIALECTS:
        part = sample_part(rng, dialect)
        items = cad_items(part, rng, "g", 20)
        assert len(items) >= 4 and {i.program for i in items} == {str(part.program)}
        for item in items:
            if "all the way through" in item.question:
                assert item.right == NUMBERS[part.facts["holes"]] == NUMBERS[holes(solid(part.program))]


def test_the_worked_example_of_deepcad_is_a_box_with_a_hole():
    text = """SOL
Line (192, 128)
Line (192, 192)
Line (128, 192)
Line (128, 128)
SOL
Circle (160, 160, 16)
Ext (128, 128, 128, 128, 128, 128, 128, 192, 128, NewBody, OneSided)
EOS"""
    program = parse_cad(text, "deepcad")
    (e,) = extrudes(program)
    assert (e.low, e.high) == (0, 0.5) and e.area == pytest.approx(0.25 - np.pi / 64)
    mesh = solid(program)
    assert mesh.is_watertight and holes(mesh) == 1 and mesh.extents == pytest.approx([0.5, 0.5, 0.5])


def test_arcs_bulge_to_the_side_that_their_sign_says():
    half = Loop((Curve((0.0, 0.0)), Curve((2.0, 0.0), 180.0), Curve((2.0, 1.0)), Curve((0.0, 1.0))))
    points = np.array(half.points())
    assert points[:, 1].min() == pytest.approx(-1, abs=1e-3)  # counter-clockwise below
    assert half.area == pytest.approx(2 + np.pi / 2)
    cut = Loop((Curve((0.0, 0.0)), Curve((2.0, 0.0), -90.0), Curve((2.0, 3.0)), Curve((0.0, 3.0))))
    r = 2**0.5
    assert cut.area == pytest.approx(6 - (r**2 / 2) * (np.pi / 2 - 1))


@pytest.mark.parametrize(("plane", "axis"), [("XY", 2), ("XZ", 1), ("YZ", 0)])
def test_fusion_planes_extrude_along_their_positive_normal(plane, axis):
    text = f"s1 = add_sketch({plane}, 5)\nadd_circle(s1, 0, 0, 1)\nadd_extrude(s1, 3, NewBody)"
    bounds = solid(parse_cad(text, "fusion")).bounds[:, axis]
    assert bounds == pytest.approx([5, 8])


def test_a_view_shows_the_part_and_a_sheet_has_four():
    part = sample_part(random.Random(5), "deepcad")
    sheet = np.asarray(views(solid(part.program), 80))
    assert sheet.shape == (160, 160, 3)
    assert all((sheet[y : y + 80, x : x + 80] < 250).any() for y in (0, 80) for x in (0, 80))
    assert picture(sample_part(random.Random(5), "sketchgraphs").program).size == (256, 256)


@pytest.mark.parametrize(
    ("dialect", "text", "why"),
    [
        ("deepcad", "import os", "no command of deepcad"),
        ("deepcad", "SOL\n__import__('os')", "no number, word or bracket"),
        ("deepcad", "SOL\nLine (1)", "takes number, number"),
        ("deepcad", "Line (1, 2)", "before the first SOL"),
        ("deepcad", "SOL\nLine (1, 2) extra", "stands after"),
        ("deepcad", "SOL\nLine (1, 2", "is expected"),
        ("deepcad", "SOL\nCircle (1, 2, 1e99)", "beyond"),
        ("deepcad", "SOL\n" * 501, "more than 500"),
        ("deepcad", "SOL\nCircle (128, 128, 9)\nEOS", "extrudes nothing"),
        ("deepcad", "SOL\nCircle (128, 128, 9)\nExt (128, 128, 128, 128, 128, 128, 128, 128, 128, NewBody, OneSided)", "no height"),  # noqa: E501
        ("deepcad", "SOL\nCircle (128, 128, 9)\nExt (128, 128, 128, 128, 128, 128, 128, 160, 128, Melt, OneSided)", "operation"),  # noqa: E501
        ("fusion", "s = add_sketch(XW, 0)\nadd_circle(s, 0, 0, 1)\nadd_extrude(s, 1, NewBody)", "sketch plane"),
        ("fusion", "add_circle(s, 0, 0, 1)", "was not added"),
        ("fusion", "s = add_sketch(XY, 0)\nadd_line(s, 0, 0, 1, 0)\nadd_extrude(s, 1, NewBody)", "open run"),
        ("fusion", "s = add_sketch(XY, 0)\nadd_line(s, 0, 0, 1, 0)\nadd_line(s, 5, 5, 1, 0)\nadd_extrude(s, 1, NewBody)", "follow one another"),  # noqa: E501
        ("fusion", "s = add_sketch(XY, 0)\nadd_line(s,0,0,2,2)\nadd_line(s,2,2,2,0)\nadd_line(s,2,0,0,3)\nadd_line(s,0,3,0,0)\nadd_extrude(s, 1, NewBody)",  # noqa: E501
         "crosses itself"),
        ("sketchgraphs", "c = Circle(middle=(0, 0), radius=1)", "no argument"),
        ("stl", "solid", "a CAD dialect"),
        ("fusion", "\n \n", "empty"),
    ],
)  # fmt: skip
def test_other_text_is_refused_by_one_sentence(dialect, text, why):
    with pytest.raises(CadError, match=why) as caught:
        solid(parse_cad(text, dialect))
    assert "\n" not in str(caught.value)


def test_a_cut_that_leaves_nothing_is_refused():
    disc = "a = add_sketch(XY, 0)\nadd_circle(a, 0, 0, 1)\nadd_extrude(a, 1, NewBody)\n"
    text = disc + "b = add_sketch(XY, -1)\nadd_circle(b, 0, 0, 2)\nadd_extrude(b, 3, Cut)"
    with pytest.raises(CadError, match="nothing is left"):
        solid(parse_cad(text, "fusion"))


def test_a_sketch_with_nothing_drawn_is_refused():
    program = CadProgram("sketchgraphs", (Command("Line", ((0.0, 0.0), (1.0, 1.0)), "a", construction=True),))
    with pytest.raises(CadError, match="draws nothing"):
        draw_sketch(program)


@given(st.text(max_size=80), st.sampled_from(DIALECTS))
def test_any_text_is_read_or_refused(text, dialect):
    try:
        parse_cad(text, dialect)
    except CadError as error:
        assert "\n" not in str(error)

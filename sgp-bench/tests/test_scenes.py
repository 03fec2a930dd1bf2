"""Scenes, questions, and that nothing but reading gives the answer away."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgp_bench.baselines import RULES, Prior, surface
from sgp_bench.colours import NAMED, name_of, rgb_of, shade
from sgp_bench.errors import SGPError
from sgp_bench.matrix import multiply, rotation, translation
from sgp_bench.perturb import SEVERITIES, draw_motion, perturb
from sgp_bench.questions import EXTREMES, answered_anew, arranged, extreme, make_questions, relettered
from sgp_bench.records import LETTERS
from sgp_bench.render import render
from sgp_bench.scene_set import scene_set
from sgp_bench.scenes import DIALECTS, LAYOUTS, sample_scene
from sgp_bench.svg_safe import parse_svg
from sgp_bench.verify import SIZE, Seen, answer_from_pixels, problems

SHARES = {"distinct": 0.5, "counts": 0.2, "icon": 0.2, "mirror": 0.1}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_rule_of_the_surface_is_at_chance_on_3000_scenes(dialect):
    items = [i for a in scene_set(3000, "rules", SHARES, dialect) for i in a.items]
    prior = Prior([i for a in scene_set(400, "prior", SHARES, dialect) for i in a.items])
    scores = [surface(i) | {"no program": prior(i)} for i in items]
    for rule in (*RULES, "no program"):
        assert abs(np.mean([s[rule] for s in scores]) - 0.25) <= 0.03, rule
        for category in ("Color", "Count", "Shape", "Reasoning"):
            part = [s[rule] for s, i in zip(scores, items, strict=True) if i.category == category]
            assert abs(np.mean(part) - 0.25) <= 0.04, (rule, category)
    letters = Counter(i.answer for i in items)
    assert all(abs(letters[x] / len(items) - 0.25) < 0.02 for x in LETTERS)


def test_the_rules_find_what_they_look_for():
    item = make_questions(sample_scene(random.Random(0)), random.Random(0), ["Color"])[0]
    item = replace(
        item,
        program='<rect fill="red"/><rect fill="blue"/><rect fill="blue"/>',
        options=("blue", "red", "pink", "gray"),
        answer="A",
    )
    assert surface(item) == {"elimination": 0.5, "most frequent": 1.0, "first mentioned": 0.0, "last mentioned": 1.0}
    hexadecimal = replace(item, program='<path style="fill:#1f4fd8;"/>')
    assert surface(hexadecimal)["elimination"] == 1.0
    nothing = replace(item, program="<g/>")
    assert set(surface(nothing).values()) == {0.25}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_pixels_give_the_answers_of_the_scenes(dialect):
    checked = 0
    for asked in scene_set(16, "pixels", {"distinct": 1, "counts": 1}, dialect):
        seen = Seen(render(asked.scene.program(), SIZE, 30))
        assert [problems(i, seen) for i in asked.items] == [[]] * len(asked.items)
        checked += sum(answer_from_pixels(i, seen) is not None for i in asked.items)
    assert checked >= 50


def test_a_wrong_answer_and_an_empty_picture_are_noticed():
    asked = scene_set(1, "wrong", {"distinct": 1})[0]
    item = next(i for i in asked.items if i.category == "Shape")
    wrong = relettered(item, LETTERS[(LETTERS.index(item.answer) + 1) % 4])
    wrong = replace(wrong, answer=item.answer)
    assert "pixels say" in problems(wrong)[0]
    assert "the picture is empty" in problems(replace(item, program='<svg viewBox="0 0 1 1"></svg>', about="x"))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(LAYOUTS), st.sampled_from(DIALECTS))
def test_a_scene_is_its_seed_and_its_questions_are_well_formed(seed, layout, dialect):
    scene = sample_scene(random.Random(seed), layout, dialect)
    again = sample_scene(random.Random(seed), layout, dialect)
    assert scene.program() == again.program() and scene.description()
    program = parse_svg(scene.program())
    assert ("xmlns added" in program.repairs) == (dialect != "path")
    items = make_questions(scene, random.Random(seed))
    assert items and all(i.options[LETTERS.index(i.answer)] == i.right for i in items)
    if dialect != "primitive" and layout != "icon":
        assert {e.tag for e in program.root} <= {"svg", "g", "path"}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 360), st.floats(-20, 20), st.floats(-20, 20))
def test_answers_about_places_follow_the_motion_and_others_stay(seed, degrees, x, y):
    scene = sample_scene(random.Random(seed), "distinct")
    m = multiply(translation(x, y), rotation(degrees, 50, 50))
    moved = scene.moved(m)
    for item in make_questions(scene, random.Random(seed)):
        again = answered_anew(item, moved)
        if item.invariant["r"]:
            assert again is None or again.answer == item.answer
        if again is not None:
            word = next((w for w in EXTREMES if f"the {w} shape" in item.question), None)
            if word:
                found = extreme(moved, word)
                assert found is not None and again.right == found.colour


def test_places_after_a_turn_are_those_in_the_picture():
    """The leftmost after a motion, found in the pixels of the moved program."""
    checked = 0
    for asked in scene_set(12, "turned", {"distinct": 1}):
        program = parse_svg(asked.scene.program())
        motion = draw_motion(SEVERITIES["se2"], program.view_box, random.Random(asked.scene.digest))
        found = extreme(asked.scene.moved(motion.matrix), "leftmost")
        if found is None:
            continue
        seen = Seen(render(perturb(program, motion).program, 500, 30))
        shapes = [p for p in seen.patches if p.colour != asked.scene.ground[0]]
        left = min(shapes, key=lambda p: p.centre[0])
        assert left.colour == found.colour
        checked += 1
    assert checked >= 5


def test_sets_are_disjoint_and_shares_hold():
    taken: set[str] = set()
    test = scene_set(40, "a", SHARES, taken=taken)
    train = scene_set(40, "b", SHARES, taken=taken)
    assert not {a.scene.digest for a in test} & {a.scene.digest for a in train} and len(taken) == 80
    assert Counter(a.scene.layout for a in test) == {"distinct": 20, "counts": 8, "icon": 8, "mirror": 4}
    assert [a.scene.program() for a in scene_set(40, "a", SHARES)] == [a.scene.program() for a in test]
    with pytest.raises(SGPError, match="positive shares"):
        scene_set(3, "a", {"distinct": 0})


def test_shades_keep_their_names():
    rng = random.Random(0)
    for name in NAMED:
        assert all(name_of(rgb_of(shade(name, rng))) == name for _ in range(50))
    assert name_of((255, 255, 255)) == "white" and name_of((240, 80, 10)) is None  # between red and orange


def test_options_need_the_right_one_and_four():
    rng = random.Random(0)
    assert arranged(["a", "b", "c", "d"], "c", "B", rng)[1] == "c"
    with pytest.raises(SGPError, match="four distinct"):
        arranged(["a", "b", "c", "a"], "a", "B", rng)
    with pytest.raises(SGPError, match="a layout is one of"):
        sample_scene(rng, "pile")

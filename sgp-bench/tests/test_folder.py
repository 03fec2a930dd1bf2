"""A user's own folder: a verified question set from pixels alone."""

from __future__ import annotations

import random

import pytest

from sgp_bench.errors import SGPError
from sgp_bench.folder import from_folder
from sgp_bench.questions import make_questions
from sgp_bench.scenes import sample_scene

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">'


def test_questions_follow_from_the_pixels_and_bad_files_are_named(tmp_path):
    (tmp_path / "three.svg").write_text(
        HEAD
        + "".join(f'<circle cx="{x}" cy="50" r="9" fill="red"/>' for x in (15, 50, 85))
        + '<rect width="100" height="9" fill="blue"/></svg>'
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "lower.SVG").write_text(
        '<svg viewbox="0 0 100 100"><rect width="100" height="100" fill="green"/><rect width="50" height="50" fill="#ffe119"/></svg>'  # noqa: E501
    )
    (tmp_path / "evil.svg").write_text(HEAD + "<script/></svg>")
    (tmp_path / "huge.svg").write_text(HEAD + " " * 300_000 + "</svg>")
    (tmp_path / "empty.svg").write_text(HEAD + "</svg>")
    found = from_folder(tmp_path)
    assert set(found.refused) == {"evil.svg", "huge.svg"} and "script" in found.refused["evil.svg"]
    assert found.repaired == {"sub/lower.SVG": ("viewBox was in lower case", "xmlns added")}
    assert found.asked_nothing == ["empty.svg"]
    answers = {(i.group, i.question): i.right for i in found.items}
    assert answers["three.svg", "How many separate red areas does the picture have?"] == "three"
    # a quarter of the rim is yellow: no background, so no question about one
    assert ("sub/lower.SVG", "What color is the background of the picture?") not in answers
    for item in found.items:
        if item.question.startswith("Which of these colors appears"):
            assert item.right in ("red", "blue", "green", "yellow")
    assert from_folder(tmp_path).items == found.items


def test_answers_from_pixels_are_those_of_scenes(tmp_path):
    rng = random.Random(4)
    scenes = [sample_scene(rng, "distinct", "icon") for _ in range(6)]
    for n, scene in enumerate(scenes):
        (tmp_path / f"{n}.svg").write_text(scene.program())
    found = from_folder(tmp_path)
    checked = 0
    for item in found.items:
        scene = scenes[int(item.group[0])]
        colours = {o.colour for o in scene.objects}
        if "background of the picture" in item.question:
            assert item.right == scene.ground[0]
        elif "does not appear" in item.question:
            assert item.right not in colours | {scene.ground[0]}
        elif "appears in" in item.question:
            assert item.right in colours
        elif item.question.startswith("How many separate"):
            colour = item.question.split()[3]
            assert item.right == {1: "one", 2: "two"}[sum(o.colour == colour for o in scene.objects)]
        checked += 1
    assert checked >= 12 and make_questions(scenes[0], rng)


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(SGPError, match=r"no \.svg file"):
        from_folder(tmp_path)
    with pytest.raises(SGPError, match="must be a folder"):
        from_folder(tmp_path / "none")

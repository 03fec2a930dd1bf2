"""SE(2) on programs: against svgelements, against pixels, and as a group; controls leave the picture alone."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import svgelements
from hypothesis import given, settings
from hypothesis import strategies as st

from sgp_bench.errors import SGPError
from sgp_bench.matrix import IDENTITY, angle, apply, inverse, multiply, rotation, translation
from sgp_bench.path_data import parse_path, parse_transform, print_path
from sgp_bench.perturb import SEVERITIES, Motion, control, draw_motion, perturb
from sgp_bench.render import render
from sgp_bench.svg_geometry import move_path, outline, swap_relative
from sgp_bench.svg_safe import Element, parse_svg

number = st.floats(-200, 200).map(lambda v: round(v, 2))
radius = st.floats(1, 80).map(lambda v: round(v, 2))
SHAPES = {"m": 2, "l": 2, "t": 2, "h": 1, "v": 1, "c": 6, "s": 4, "q": 4}


@st.composite
def paths(draw) -> list:
    commands = [("M", [draw(number), draw(number)])]
    for letter in draw(st.lists(st.sampled_from("mlhvcsqtaMLHVCSQTAzZ"), min_size=1, max_size=8)):
        kind = letter.lower()
        if kind == "z":
            commands.append((letter, []))
        elif kind == "a":
            flags = [float(draw(st.integers(0, 1))) for _ in range(2)]
            turn = float(draw(st.integers(-90, 90)))
            commands.append((letter, [draw(radius), draw(radius), turn, *flags, draw(number), draw(number)]))
        else:
            count = SHAPES[kind] * draw(st.integers(1, 2))
            commands.append((letter, [draw(number) for _ in range(count)]))
    return commands


motions = st.builds(
    lambda d, x, y: multiply(translation(x, y), rotation(d, 10, 20)), st.floats(-360, 360), number, number
)


def sampled(path: svgelements.Path, count: int = 9) -> np.ndarray:
    """Points on every segment; what is drawn, whatever the commands."""
    drawn = [s for s in path if not isinstance(s, svgelements.Move) and s.start is not None and s.end is not None]
    points = [s.point(t) for s in drawn for t in np.linspace(0, 1, count)]
    return np.array([(p.x, p.y) for p in points])


def theirs(data: str, m: tuple) -> svgelements.Path:
    path = svgelements.Path(data) * svgelements.Matrix(*m)
    path.reify()
    return path


@settings(max_examples=150, deadline=None)
@given(paths(), motions)
def test_every_command_moves_as_in_svgelements(commands, m):
    data = print_path(commands, 2)
    ours = svgelements.Path(print_path(move_path(parse_path(data), m), 12))
    a, b = sampled(ours), sampled(theirs(data, m))
    assert a.shape == b.shape
    if len(a):
        assert np.abs(a - b).max() < 1e-6 * max(1.0, np.abs(b).max())


@pytest.mark.parametrize("letter", "mlhvcsqtaz" + "MLHVCSQTAZ")
@pytest.mark.parametrize("degrees", [0, 37, 90, 180])
def test_every_letter_moves_as_in_svgelements(letter, degrees):
    rng = random.Random(letter)
    count = SHAPES.get(letter.lower(), 0)
    values = (
        [30, 20, 25, 1, 0, 40, 15] if letter in "aA" else [round(rng.uniform(-50, 50), 1) for _ in range(2 * count)]
    )
    commands = [("M", [3.0, 4.0]), ("l", [10.0, 5.0]), (letter, [float(v) for v in values]), ("L", [1.0, 2.0])]
    m = multiply(translation(7, -3), rotation(degrees, 5, 5))
    data = print_path(commands, 3)
    ours = svgelements.Path(print_path(move_path(parse_path(data), m), 12))
    assert np.abs(sampled(ours) - sampled(theirs(data, m))).max() < 1e-6


@settings(max_examples=100, deadline=None)
@given(paths(), motions, motions)
def test_motions_compose_and_undo(commands, first, second):
    twice = move_path(move_path(commands, first), second)
    once = move_path(commands, multiply(second, first))
    back = move_path(move_path(commands, first), inverse(first))
    for a, b in ((twice, once), (back, commands)):
        a, b = (sampled(svgelements.Path(print_path(p, 12))) for p in (a, b))
        assert len(a) == len(b) and (not len(a) or np.abs(a - b).max() < 1e-5 * max(1.0, np.abs(b).max()))


@settings(max_examples=100, deadline=None)
@given(paths())
def test_path_data_reads_back_as_printed(commands):
    text = print_path(commands, 2)
    assert parse_path(text) == [(letter, [float(f"{v:.2f}") for v in values]) for letter, values in commands]
    assert print_path(parse_path(text), 2) == text


@settings(max_examples=100, deadline=None)
@given(paths())
def test_swapping_absolute_and_relative_keeps_the_curve(commands):
    a, b = (sampled(svgelements.Path(print_path(p, 12))) for p in (commands, swap_relative(commands)))
    assert len(a) == len(b) and (not len(a) or np.abs(a - b).max() < 1e-6 * max(1.0, np.abs(a).max()))


@given(st.text(max_size=60))
def test_path_data_is_read_or_refused(text):
    try:
        parse_path(text)
    except SGPError as error:
        assert "\n" not in str(error)


@given(st.text("MmLlaA0123456789.,-+eE \n", max_size=80))
def test_texts_like_path_data_are_read_or_refused(text):
    try:
        commands = parse_path(text)
    except SGPError:
        return
    assert all(math.isfinite(v) for _, values in commands for v in values)


def test_compact_arcs_are_read():
    assert parse_path("M0 0a1 1 0 01.5.5 1 1 0 10-.5-.5") == [
        ("M", [0, 0]), ("a", [1, 1, 0, 0, 1, 0.5, 0.5, 1, 1, 0, 1, 0, -0.5, -0.5])]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["translate(3)", "translate(3,4)", "rotate(30)", "rotate(30 5 6)", "scale(2)", "scale(2 3)", "skewX(20)", "skewY(-10)",  # noqa: E501
     "matrix(1 2 3 4 5 6)", "translate(1,2) rotate(45), scale(.5)"],
)  # fmt: skip
def test_transforms_are_those_of_svgelements(text):
    m = svgelements.Matrix(text)
    assert parse_transform(text) == pytest.approx((m.a, m.b, m.c, m.d, m.e, m.f), abs=1e-9)


DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">
<rect x="5" y="5" width="30" height="20" fill="red"/><rect x="60" y="8" width="30" height="20" rx="6" fill="#00f"/>
<g transform="translate(10 40) rotate(20) scale(1.5)"><circle cx="10" cy="10" r="8" fill="green"/>
<g transform="translate(5,5)"><ellipse cx="25" cy="5" rx="9" ry="4" fill="purple" stroke="black" stroke-width="1"/></g></g>
<g transform="scale(2 1)"><path d="M30 60h10v15h-10z" fill="orange" stroke="#333" stroke-width="2"/></g>
<polygon points="10,90 30,95 20,75" fill="teal"/><polyline points="40,90 50,80 60,92" fill="none" stroke="black"/>
<line x1="70" y1="80" x2="90" y2="95" stroke="brown" stroke-width="3"/>
<defs><linearGradient id="p"><stop offset="0" stop-color="red"/><stop offset="1" stop-color="blue"/></linearGradient>
<circle id="dot" r="5"/></defs><rect x="35" y="35" width="20" height="10" fill="url(#p)"/><use href="#dot" x="80" y="60"/>
</svg>"""  # noqa: E501


def pixels(program, size: int = 200) -> np.ndarray:
    return np.asarray(render(program, size, 30)).astype(float)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_moved_program_draws_the_moved_picture(degrees):
    """Quarter turns and shifts by whole pixels can be done on the picture as well."""
    program = parse_svg(DRAWING)
    m = multiply(translation(0, 0), rotation(degrees, 50, 50))
    moved = pixels(perturb(program, Motion(m), 6).program)
    turned = np.rot90(pixels(program), -degrees // 90)
    assert (
        np.abs(moved - turned).mean() <= 0.5 and np.abs(moved - turned).max() <= 80
    )  # edges are blurred alike but for rounding


def test_a_shift_by_whole_pixels_is_exact():
    program = parse_svg(DRAWING.replace('<use href="#dot" x="80" y="60"/>', ""))
    moved = pixels(perturb(program, Motion(translation(10, 15)), 6).program)
    still = pixels(program)
    assert np.abs(moved[30:, 20:] - still[:-30, :-20]).max() <= 3


def test_a_turned_picture_is_the_turned_program_off_its_edges():
    from PIL import Image

    program = parse_svg(DRAWING)
    moved = pixels(perturb(program, Motion(rotation(33, 50, 50)), 6).program, 400)
    reference = render(program, 400, 30).rotate(-33, Image.Resampling.BICUBIC, fillcolor="white")
    inside = np.hypot(*(np.mgrid[:400, :400] - 199.5)) < 190
    assert np.abs(moved - np.asarray(reference).astype(float))[inside].mean() <= 3


def test_what_is_drawn_and_also_used_moves_once():
    text = (
        '<svg viewBox="0 0 60 60"><rect id="a" x="5" y="5" width="10" height="10"/><use href="#a" x="20" y="30"/></svg>'
    )
    moved = pixels(perturb(text, Motion(translation(6, 3)), 3).program, 120)
    still = pixels(text, 120)
    assert np.abs(moved[6:, 12:] - still[:-6, :-12]).max() == 0


@pytest.mark.parametrize("kind", ["format", "syntax", "transform_attr"])
def test_controls_leave_the_picture_alone(kind):
    program = parse_svg(DRAWING)
    changed = control(program, kind, 6)
    assert str(changed) != str(program)
    difference = np.abs(pixels(changed) - pixels(program))
    # other commands for the same curve may round an edge pixel otherwise
    assert difference.max() == 0 if kind != "syntax" else difference.mean() < 0.05


def test_shapes_have_the_outlines_of_svgelements():
    for tag, attributes, shape in (
        ("rect", {"x": "1", "y": "2", "width": "30", "height": "20", "rx": "4"}, svgelements.Rect(1, 2, 30, 20, 4, 4)),
        ("rect", {"x": "1", "y": "2", "width": "30", "height": "20"}, svgelements.Rect(1, 2, 30, 20)),
        ("circle", {"cx": "5", "cy": "6", "r": "7"}, svgelements.Circle(5, 6, 7)),
        ("ellipse", {"cx": "5", "cy": "6", "rx": "7", "ry": "3"}, svgelements.Ellipse(5, 6, 7, 3)),
    ):
        ours = svgelements.Path(print_path(outline(Element(tag, attributes)), 9))
        assert ours.bbox() == pytest.approx(svgelements.Path(shape).bbox(), abs=1e-6)
        assert ours.length(error=1e-4) == pytest.approx(svgelements.Path(shape).length(error=1e-4), rel=1e-3)


def test_severities_are_what_they_say():
    rng, box = random.Random(0), (10.0, 20.0, 200.0, 100.0)
    for _ in range(200):
        shift = draw_motion(SEVERITIES["official"], box, rng).matrix
        assert 0.005 <= shift[4] / 200 <= 0.01 and 0.005 <= shift[5] / 100 <= 0.01 and shift[:4] == IDENTITY[:4]
        motion = draw_motion(SEVERITIES["se2"], box, rng)
        x, y = apply(motion.matrix, 110, 70)  # the middle goes where the shift takes it
        assert abs(x - 110) <= 20 and abs(y - 70) <= 10
        assert math.isclose(angle(motion.matrix) % 360, motion.degrees % 360, abs_tol=1e-6)


def test_an_enlarged_canvas_cuts_nothing():
    text = '<svg viewBox="0 0 100 100"><rect width="100" height="100" fill="black"/></svg>'
    rng = random.Random(1)
    for _ in range(20):
        motion = draw_motion(SEVERITIES["se2"], (0, 0, 100, 100), rng)
        picture = pixels(perturb(text, motion, 3).program, 164)  # a pixel is a unit
        assert abs((255 - picture[..., 0]).sum() / 255 - 10_000) < 60
        assert picture[0].min() == picture[-1].min() == picture[:, 0].min() == picture[:, -1].min() == 255


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), motions)
def test_the_error_bound_holds(decimals, m):
    data = "M10 10 l5 5 l5 -3 c1 2 3 4 5 6 l-9 2 L50 50 l1 1"
    moved = perturb(f'<svg viewBox="0 0 100 100"><path d="{data}"/></svg>', Motion(m), decimals)
    printed = svgelements.Path(moved.program.root.children[0].attributes["d"])
    exact = svgelements.Path(print_path(move_path(parse_path(data), m), 12))
    assert np.abs(sampled(printed) - sampled(exact)).max() <= moved.max_error + 1e-9


def test_motions_that_are_none_are_refused():
    with pytest.raises(SGPError, match="turn and shift"):
        perturb(DRAWING, Motion((2, 0, 0, 2, 0, 0)))
    with pytest.raises(SGPError, match="decimals"):
        perturb(DRAWING, Motion(IDENTITY), 40)
    with pytest.raises(SGPError, match="style sheets"):
        perturb('<svg viewBox="0 0 1 1"><g style="transform:rotate(3deg)"/></svg>', Motion(IDENTITY))
    with pytest.raises(SGPError, match="a control is one of"):
        control(DRAWING, "shuffle")

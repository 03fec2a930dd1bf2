"""Rendering and moving programs, beside resvg in this process, skia, CairoSVG and svgelements."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from sgp_bench.matrix import multiply
from sgp_bench.path_data import parse_transform
from sgp_bench.perturb import SEVERITIES, draw_motion, perturb
from sgp_bench.render import Renderer, RendererPool
from sgp_bench.scene_set import scene_set
from sgp_bench.svg_safe import SvgProgram, parse_svg

SIZE = 256


def drawings(count: int) -> list[SvgProgram]:
    """Programs in the icon dialect with as many numbers as published icons have (median 2.4 kB)."""
    found = []
    rng = random.Random(0)
    while len(found) < count:
        scenes = [a.scene for a in scene_set(4, f"bench-{len(found)}", {"distinct": 1, "counts": 1}, "icon")]
        inner = "\n".join(line for s in scenes[: rng.choice((2, 3))] for line in s.program().splitlines()[1:-1])
        found.append(parse_svg(f'<svg viewBox="0 0 512 512">\n{inner}\n</svg>'))
    return found


def rendering(programs: Sequence[SvgProgram], workers: int) -> dict[str, float]:
    """Pictures a second of each renderer, warm. `safe` parses, checks and draws in the bounded child."""
    import resvg_py

    texts = [str(p) for p in programs]
    table: dict[str, float] = {}

    def timed(name: str, draw: Callable[[], Any]) -> None:
        draw()
        began = time.perf_counter()
        draw()
        table[name] = len(programs) / (time.perf_counter() - began)

    options = {"width": SIZE, "height": SIZE, "background": "#ffffff", "skip_system_fonts": True}
    timed("resvg in this process (unsafe)", lambda: [resvg_py.svg_to_bytes(svg_string=t, **options) for t in texts])
    with RendererPool(1) as one:
        timed("safe pool, 1 worker", lambda: one.png(programs, SIZE, 60))
    with RendererPool(workers) as pool:
        timed(f"safe pool, {workers} workers", lambda: pool.png(programs, SIZE, 60))
    renderer = Renderer()
    timed("safe, with parsing", lambda: [renderer.png(parse_svg(t), SIZE, 60) for t in texts])
    renderer.close()
    try:
        import skia

        def by_skia(text: str) -> bytes:
            surface = skia.Surface(SIZE, SIZE)
            picture = skia.SVGDOM.MakeFromStream(skia.MemoryStream(text.encode(), True))
            picture.setContainerSize((SIZE, SIZE))
            picture.render(surface.getCanvas())
            return bytes(surface.makeImageSnapshot().encodeToData())

        timed("skia in this process", lambda: [by_skia(t) for t in texts])
    except ImportError:
        table["skia in this process"] = float("nan")
    try:
        import cairosvg

        timed(
            "CairoSVG in this process",
            lambda: [cairosvg.svg2png(t.encode(), output_width=SIZE, output_height=SIZE) for t in texts],
        )
    except (ImportError, OSError):
        table["CairoSVG in this process"] = float("nan")
    return table


def moving(programs: Sequence[SvgProgram]) -> dict[str, float]:
    """Programs a second: ours on the tree, ours from text to text, and svgelements path by path."""
    import svgelements

    rng = random.Random(0)
    motions = [draw_motion(SEVERITIES["se2"], p.view_box, rng) for p in programs]
    texts = [str(p) for p in programs]
    table = {}

    def timed(name: str, work: Callable[[], Any]) -> None:
        best = float("inf")
        for _ in range(3):
            began = time.perf_counter()
            work()
            best = min(best, time.perf_counter() - began)
        table[name] = len(programs) / best

    def theirs(program: SvgProgram, m: Any) -> list[str]:
        found = []
        for e in program.root:
            if "d" in e.attributes:
                total = multiply(m, parse_transform(e.attributes.get("transform", "")))
                path = svgelements.Path(e.attributes["d"]) * svgelements.Matrix(*total)
                path.reify()
                found.append(path.d())
        return found

    timed("ours", lambda: [perturb(p, m) for p, m in zip(programs, motions, strict=True)])
    timed("ours, text to text", lambda: [str(perturb(t, m).program) for t, m in zip(texts, motions, strict=True)])
    timed("svgelements, paths only", lambda: [theirs(p, m.matrix) for p, m in zip(programs, motions, strict=True)])
    return table

"""Hostile programs are refused by one sentence before anything is drawn; faulty ones are repaired, and it is said."""

from __future__ import annotations

import re
import time

import pytest

from sgp_bench.errors import MalformedSvg, UnsafeSvg
from sgp_bench.render import Renderer, RendererPool, RenderError, render
from sgp_bench.svg_safe import Limits, parse_svg, print_svg

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 10 10">'
LAUGHS = (
    '<!DOCTYPE svg [<!ENTITY a "ha">' + "".join(f'<!ENTITY a{i} "{"&a" + str(i - 1) + ";" if i else "&a;"}">' * 1 for i in range(9))  # noqa: E501
    + f"]>{HEAD}<text>&a8;</text></svg>"
)  # fmt: skip
BOMB = (
    HEAD + '<g id="a0"><rect width="1" height="1"/></g>'
    + "".join(f'<g id="a{i}">' + f'<use xlink:href="#a{i - 1}"/>' * 10 + "</g>" for i in range(1, 7)) + "</svg>"
)  # fmt: skip
HOSTILE = {
    "external entity": f'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>{HEAD}<text>&x;</text></svg>',
    "parameter entity": f'<!doctype svg [<!ENTITY % x SYSTEM "http://a.b/c"> %x;]>{HEAD}</svg>',
    "billion laughs": LAUGHS,
    "utf-16 entity": f'<?xml version="1.0" encoding="utf-16"?><!DOCTYPE svg [<!ENTITY x "y">]>{HEAD}</svg>'.encode(
        "utf-16"
    ),
    "use bomb": BOMB,
    "mask bomb": HEAD
    + "".join(
        f'<mask id="m{i}">' + f'<rect width="9" height="9" mask="url(#m{i - 1})"/>' * 10 + "</mask>"
        for i in range(1, 7)
    )
    + '<rect width="9" height="9" mask="url(#m6)"/></svg>',
    "use of itself": HEAD + '<g id="a"><use href="#a"/></g></svg>',
    "local image": HEAD + '<image href="/etc/hostname" width="5" height="5"/></svg>',
    "embedded image": HEAD + '<image xlink:href="data:image/png;base64,AAAA"/></svg>',
    "use of a file": HEAD + '<use href="/tmp/other.svg#a"/></svg>',
    "paint from a file": HEAD + '<rect width="1" height="1" fill="url(file:///a.svg#b)"/></svg>',
    "style url": HEAD + '<rect width="1" height="1" style="fill:url(http://a.b/c#d)"/></svg>',
    "escaped url": HEAD + '<rect width="1" height="1" style="fill:u\\72l(http://a.b/c)"/></svg>',
    "style import": HEAD + "<style>@import 'http://a.b/c.css';</style></svg>",
    "style sheet font": HEAD + "<style>@font-face{src:url(http://a.b/c)}</style></svg>",
    "stylesheet instruction": '<?xml-stylesheet href="http://a.b/c.css"?>' + HEAD + "</svg>",
    "script": HEAD + "<script>alert(1)</script></svg>",
    "script in another prefix": HEAD + '<h:script xmlns:h="http://www.w3.org/1999/xhtml">alert(1)</h:script></svg>',
    "event handler": HEAD + '<rect width="1" height="1" onclick="alert(1)"/></svg>',
    "javascript link": HEAD + '<a href="javascript:alert(1)"><rect width="1" height="1"/></a></svg>',
    "foreign object": HEAD + "<foreignObject><body/></foreignObject></svg>",
    "animation": HEAD + '<rect width="1" height="1"><animate attributeName="x"/></rect></svg>',
    "filter": HEAD + '<filter id="f"><feTurbulence/></filter></svg>',
    "100 MB path": HEAD + '<path d="' + "M0 0" * 25_000_000 + '"/></svg>',
    "deep nesting": HEAD + "<g>" * 100 + "</g>" * 100 + "</svg>",
    "many elements": HEAD + "<g/>" * 30_000 + "</svg>",
    "infinite number": HEAD + '<path d="M0 0L1e400 0"/></svg>',
    "huge number": HEAD + '<circle r="1e9"/></svg>',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_programs_are_refused_by_one_sentence(name):
    program = HOSTILE[name]
    began = time.process_time()
    with pytest.raises(UnsafeSvg) as caught:
        parse_svg(program)
    # not a speed test: a parser that expanded or drew it would take minutes
    assert time.process_time() - began < 5
    message = str(caught.value)
    assert "\n" not in message and 10 < len(message) < 300


BROKEN = {
    "not xml": ("<svg", "line 1"),
    "another root": ("<html></html>", "svg"),
    "not closed": (HEAD + "<g></svg>", "mismatched tag"),
    "garbage path": (HEAD + '<path d="garbage"/></svg>', "offset 0"),
    "path that does not move first": (HEAD + '<path d="L 1 1"/></svg>', "begin with M"),
    "half a pair": (HEAD + '<path d="M 1 2 L 3"/></svg>', "multiples of 2"),
    "two commas": (HEAD + '<path d="M 1,,2"/></svg>', "offset 3"),
    "bad arc flag": (HEAD + '<path d="M0 0A1 1 0 2 0 5 5"/></svg>', "arc"),
    "odd points": (HEAD + '<polygon points="1 2 3"/></svg>', "pairs"),
    "unknown transform": (HEAD + '<g transform="spin(3)"/></svg>', "no transform"),
    "short matrix": (HEAD + '<g transform="matrix(1 0 0 1)"/></svg>', "takes 6"),
    "no length": (HEAD + '<rect width="wide" height="1"/></svg>', "length"),
    "zero bytes": (HEAD.encode("utf-16-le"), "byte order mark"),
    "not utf-8": (b"<svg>\xff</svg>", "UTF-8"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_programs_are_refused_with_their_place(name):
    program, hint = BROKEN[name]
    with pytest.raises(MalformedSvg, match=re.escape(hint)):
        parse_svg(program)


def test_repairs_are_made_and_listed():
    text = '<svg viewbox="0 0 8 4"><lineargradient id="a"><stop offset="0"/></lineargradient><path d="M0 0h1" fill="url(#a)"/></svg>'  # noqa: E501
    program = parse_svg(text)
    assert program.repairs == ("viewBox was in lower case", "linearGradient was in lower case", "xmlns added")
    assert program.view_box == (0, 0, 8, 4)
    editor = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1" sodipodi:docname="x"><sodipodi:view><q/></sodipodi:view><g/></svg>'  # noqa: E501
    assert parse_svg(editor).repairs == ("foreign attributes dropped", "foreign elements dropped")
    assert [e.tag for e in parse_svg(editor).root] == ["svg", "g"]


def test_limits_can_be_set():
    with pytest.raises(UnsafeSvg, match="2 elements"):
        parse_svg(HEAD + "<g/><g/></svg>", Limits(elements=2))
    with pytest.raises(UnsafeSvg, match="20 are allowed"):
        parse_svg(HEAD + "</svg>", Limits(bytes=20))


def test_canonical_text_reads_back_as_itself():
    text = HEAD + '<g id="a&amp;b"><path d="M0 0L1 1" style="fill:#fff;"/></g><title>a &lt; b</title></svg>'
    once = print_svg(parse_svg(text).root)
    assert print_svg(parse_svg(once).root) == once


def test_a_renderer_that_hangs_is_killed_and_the_next_program_is_drawn(monkeypatch, tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text("import sys, time\nsys.stdin.buffer.read(12)\ntime.sleep(60)\n")
    renderer = Renderer()
    monkeypatch.setattr("sgp_bench.render.WORKER", worker)
    with pytest.raises(RenderError, match="0.3 s"):
        renderer.png(HEAD + "</svg>", 32, timeout_s=0.3)
    assert renderer._child is None
    monkeypatch.undo()
    assert renderer.png(HEAD + "</svg>", 32, timeout_s=30).startswith(b"\x89PNG")
    renderer.close()


def test_a_renderer_that_dies_is_reported(monkeypatch, tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text("import sys\nsys.stdin.buffer.read(12)\n")
    monkeypatch.setattr("sgp_bench.render.WORKER", worker)
    with pytest.raises(RenderError, match="gave up"):
        Renderer().png(HEAD + "</svg>", 32, timeout_s=30)


def test_the_worker_opens_no_file_and_no_socket():
    """What slipped through the parser still reads nothing: the worker may have no further file handle."""
    import subprocess
    import sys

    from sgp_bench.render import WORKER

    code = (
        "import runpy, socket, io, sys; sys.stdin = io.TextIOWrapper(io.BytesIO()); "
        f"runpy.run_path({str(WORKER)!r}, run_name='__main__')\n"
        "for attempt in (lambda: open('/etc/hostname'), socket.socket):\n"
        "    try: attempt(); print('open')\n"
        "    except OSError as error: print(error.errno)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["24", "24"], done.stderr  # EMFILE


def test_a_pool_gives_pictures_and_refusals_in_order():
    red = HEAD + '<rect width="10" height="10" fill="red"/></svg>'
    with RendererPool(2) as pool:
        found = pool.png([red, HEAD + "<script/></svg>", red], 16)
    assert found[0] == found[2] and found[0].startswith(b"\x89PNG") and isinstance(found[1], UnsafeSvg)
    assert render(red, 16).getpixel((8, 8)) == (255, 0, 0)


def test_size_comes_from_the_canvas_alone():
    wide = '<svg xmlns="http://www.w3.org/2000/svg" width="3cm" height="100%" viewBox="0 0 200 100"></svg>'
    assert render(wide, 64).size == (64, 32)
    with pytest.raises(MalformedSvg, match="neither"):
        render('<svg width="3cm"></svg>')

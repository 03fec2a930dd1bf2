"""A page to browse: every program's picture beside its questions and what was answered.

Programs and replies are foreign text. All of it is escaped, pictures are PNG that our renderer made, and the page's own
policy forbids scripts, network and frames: a reply that holds HTML or an SVG that holds a script stays text.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .errors import SGPError
from .evaluate import Results
from .records import LETTERS, Item

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
LONGEST = 4000  # characters of a reply or program that the page shows
STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1d2630}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem;border-bottom:1px solid #d7dde3}nav a{margin-right:1rem}
article{display:grid;grid-template-columns:190px 1fr;gap:1rem;padding:1rem 0;border-bottom:1px solid #eef1f4}
article img{width:180px;border:1px solid #d7dde3}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f6f8fa;
padding:.6rem;font-size:12px;max-height:18rem;overflow:auto}ol{list-style:upper-alpha;margin:.3rem 0}
.right{color:#0b6e4f;font-weight:600}.wrong{color:#b3261e}.none{color:#7a5c00}
table{border-collapse:collapse}td,th{padding:.2rem .7rem;border-bottom:1px solid #e4e8ec;text-align:left}
summary{cursor:pointer;color:#44515e}"""


def write_page(
    path: Path,
    title: str,
    notes: Sequence[str],
    named: Mapping[str, Results],
    picture: Callable[[Item], bytes | None],
    limit: int = 400,
) -> None:
    """Writes the page.

    Args:
        named: model -> its results; all answers to an item stand under one picture.
        picture: an item's PNG, or None.
        limit: items on the page; more are left out, and the page says so.
    """
    items: dict[str, Item] = {}
    for results in named.values():
        for item in results.items:
            items.setdefault(item.key, item)
    by_model = {name: {i.key: a for i, a in zip(r.items, r.answers, strict=True)} for name, r in named.items()}
    categories = list(dict.fromkeys(i.category for i in items.values()))
    body = [f"<h1>{text(title)}</h1>", *(f"<p>{text(n)}</p>" for n in notes)]
    body.append("<nav>" + "".join(f'<a href="#c{k}">{text(c)}</a>' for k, c in enumerate(categories)) + "</nav>")
    body.append(_scores(named))
    shown = 0
    cached: dict[str, str] = {}
    for k, category in enumerate(categories):
        body.append(f'<h2 id="c{k}">{text(category)}</h2>')
        for item in (i for i in items.values() if i.category == category):
            if shown == limit:
                break
            shown += 1
            if item.program not in cached:
                cached[item.program] = _image(picture, item)
            body.append(_article(item, cached[item.program], {n: a.get(item.key) for n, a in by_model.items()}))
    if shown < len(items):
        body.append(f"<p>{len(items) - shown} more questions are in the files of answers.</p>")
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{POLICY}"><title>{text(title)}</title><style>{STYLE}</style></head><body>{"".join(body)}</body></html>\n'
    )
    beside = path.with_name(f".{path.name}")
    beside.write_text(page, encoding="utf-8", errors="replace")
    beside.replace(path)


def text(value: str, limit: int = LONGEST) -> str:
    """Foreign text as HTML: escaped, without control characters, of bounded length."""
    clean = "".join(c if c in "\n\t" or c.isprintable() else "�" for c in value[:limit])
    return html.escape(clean, quote=True) + (f" … ({len(value):,} characters)" if len(value) > limit else "")


def _image(picture: Callable[[Item], bytes | None], item: Item) -> str:
    try:
        png = picture(item)
    except SGPError as error:
        return f"<p>{text(str(error))}</p>"
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}">' if png else ""


def _article(item: Item, image: str, answers: Mapping[str, object]) -> str:
    options = "".join(
        f'<li class="{"right" if LETTERS[k] == item.answer else ""}">{text(o)}</li>' for k, o in enumerate(item.options)
    )
    lines = []
    for name, answer in answers.items():
        if answer is None:
            continue
        said = getattr(answer, "strict", None)
        failure = getattr(answer, "failure", "")
        kind = "right" if said == item.answer else "none" if said is None else "wrong"
        lines.append(f'<p>{text(name)}: <span class="{kind}">{text(said or failure or "no letter")}</span></p>')
        if reply := getattr(answer, "reply", ""):
            lines.append(f"<details><summary>reply</summary><pre>{text(reply)}</pre></details>")
    what = f"{item.version}: " if item.version else ""
    listed = f"<ol>{options}</ol>" if options else f'<p class="right">{text(item.answer)}</p>'
    return (
        f"<article><div>{image}</div><div><p><b>{text(what + item.question)}</b></p>{listed}{''.join(lines)}"
        f"<details><summary>program</summary><pre>{text(item.program)}</pre></details></div></article>"
    )


def _scores(named: Mapping[str, Results]) -> str:
    rows = []
    for name, results in named.items():
        r = results.rate("strict")
        rows.append(
            f"<tr><td>{text(name)}</td><td>{r.value:.1%}</td><td>{r.cluster[0]:.1%} – "
            f"{r.cluster[1]:.1%}</td><td>{r.n}</td></tr>"
        )
    return f"<table><tr><th>model</th><th>right</th><th>95 %</th><th>n</th></tr>{''.join(rows)}</table>"

"""A term as Lean text, with the brackets its precedence needs, and substitution into terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .terms import BODY, INFIX, Bound, Term


def render(t: Term, power: int = 0) -> str:
    """Text that parses back to the same tree. Bracketed terms keep no memory of where they came from."""
    text, own = _plain(t)
    return f"({text})" if own < power else text


def _plain(t: Term) -> tuple[str, int]:
    op, args = t.op, t.args
    if op in ("num", "id", "str", "hole"):
        return t.name or "_", 1024
    if op == "≡":
        return f"{render(args[0], 51)} ≡ {render(args[1], 51)} [{t.name} {render(args[2])}]", 50
    if op in INFIX and len(args) == 2:
        left, right = INFIX[op]
        if op in ("→", "∨", "∧", "^", "::", "∘"):  # right associative
            return f"{render(args[0], left + 1)} {op} {render(args[1], right)}", left
        return f"{render(args[0], left)} {op} {render(args[1], right)}", left
    if op in BODY:
        separator = " =>" if op == "fun" else ","
        body = render(args[0], BODY[op])
        return f"{op} {' '.join(_bound(b, len(t.bounds) > 1) for b in t.bounds)}{separator} {body}", BODY[op]
    if op == "neg":
        return f"-{render(args[0], 76 if args[0].op == 'neg' else 75)}", 75  # `--` begins a comment
    if op == "¬":
        return f"¬{render(args[0], 40)}", 40
    if op == "√":
        return f"√{render(args[0], 100)}", 100
    if op == "↑":
        return f"↑{render(args[0], 1024)}", 1024
    if op in ("⁻¹", "!"):
        return f"{render(args[0], 1024)}{op}", 1024
    if op == "app":
        return " ".join([render(args[0], 1023), *(render(a, 1024) for a in args[1:])]), 1023
    if op == "named":
        return f"({t.name} := {render(args[0])})", 1024
    if op == "proj":
        return f"{render(args[0], 1024)}.{t.name}", 1024
    if op == "if":
        return f"if {render(args[0])} then {render(args[1])} else {render(args[2])}", 0
    if op == "let":
        return f"let {t.name} := {render(args[0])}; {render(args[1])}", 0
    if op == "set":
        return f"{{{_bound(t.bounds[0], False)} | {render(args[0])}}}", 1024
    if op == "ascribe":
        return f"({render(args[0])} : {render(args[1])})", 1024
    inner = ", ".join(render(a) for a in args)
    marks = {
        "tuple": "()",
        "setlit": "{}",
        "list": "[]",
        "anon": "⟨⟩",
        "abs": "||",
        "norm": "‖‖",
        "floor": "⌊⌋",
        "ceil": "⌈⌉",
    }
    if op.rstrip("₊") in marks:
        mark = marks[op.rstrip("₊")]
        # `f |x|` reads badly: bars are put into brackets as an argument
        return f"{mark[0]}{inner}{mark[1]}{'₊' if op.endswith('₊') else ''}", 1022 if op in ("abs", "norm") else 1024
    raise ValueError(f"no text for {op}")


def _bound(b: Bound, grouped: bool) -> str:
    names = " ".join(b.names)
    if b.relation == "pattern":
        return f"({', '.join(b.names)})"
    if b.relation and b.bound is not None:
        return f"{names} {b.relation} {render(b.bound, 51)}"
    if b.type is None:
        return names
    return f"({names} : {render(b.type)})" if grouped else f"{names} : {render(b.type)}"


def substitute(t: Term, values: Mapping[str, Term]) -> Term:
    """The term with free names replaced; bound variables that would capture are renamed with a prime."""
    if not values:
        return t
    if t.op == "id":
        if t.name in values:
            return values[t.name]
        head, dot, rest = t.name.partition(".")
        if dot and head in values:
            value = values[head]
            if value.op == "id":
                return Term("id", name=f"{value.name}.{rest}")
            return Term("proj", (value,), rest)
        return t
    if not t.args and not t.bounds:
        return t
    inner = dict(values)
    bounds: tuple[Bound, ...] = ()
    if t.bounds:
        free = {x.name.partition(".")[0] for v in values.values() for x in v.walk() if x.op == "id"}
        for b in t.bounds:
            names = []
            for name in b.names:
                inner.pop(name, None)
                fresh = name
                while fresh in free:
                    fresh += "'"
                if fresh != name:
                    inner[name] = Term("id", name=fresh)
                names.append(fresh)
            type_ = substitute(b.type, values) if b.type is not None else None
            domain = substitute(b.bound, values) if b.bound is not None else None
            bounds += (replace(b, names=tuple(names), type=type_, bound=domain),)
    return replace(t, args=tuple(substitute(a, inner) for a in t.args), bounds=bounds)

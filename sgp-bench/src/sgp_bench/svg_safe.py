"""Reading SVG that may be hostile: bounded, without entities, references outside the file, or scripts.

What is read becomes a plain tree of elements and attributes. Faults that real files have (no xmlns, `viewbox` in lower
case after an HTML parser) are repaired, and every repair is listed. Names are read without namespaces, as files that
lack the declarations of their prefixes are common.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from .errors import MalformedSvg, UnsafeSvg, quoted
from .path_data import bounded, numbers, parse_path, parse_points, parse_transform

SHAPES = ("path", "rect", "circle", "ellipse", "line", "polyline", "polygon")
SERVERS = ("linearGradient", "radialGradient", "stop", "pattern", "clipPath", "mask", "marker", "symbol")
ALLOWED = {"svg", "g", "defs", "use", "title", "desc", "style", "text", "tspan", "switch", "a", *SHAPES, *SERVERS}
DANGEROUS = {"script", "foreignobject", "image", "iframe", "audio", "video", "handler", "listener", "filter", "feimage"}
LENGTHS = {"x", "y", "width", "height", "rx", "ry", "r", "cx", "cy", "x1", "y1", "x2", "y2"}
# what an HTML parser writes in lower case
CAMEL = {
    name.lower(): name
    for name in [
        "viewBox",
        "preserveAspectRatio",
        "gradientTransform",
        "gradientUnits",
        "spreadMethod",
        "patternTransform",
        "patternUnits",
        "patternContentUnits",
        "clipPathUnits",
        "maskUnits",
        "maskContentUnits",
        "markerWidth",
        "markerHeight",
        "markerUnits",
        "refX",
        "refY",
        "pathLength",
        "linearGradient",
        "radialGradient",
        "clipPath",
    ]
}
_FORBIDDEN = re.compile(r"<!\s*(DOCTYPE|ENTITY|ELEMENT|ATTLIST|NOTATION)", re.I)
_ADDRESS = re.compile(r"(javascript|vbscript|data|file|https?|ftp)\s*:", re.I)
_URL = re.compile(r"url\s*\(", re.I)
_LOCAL_URL = re.compile(r"""url\(\s*(["']?)#([^"'()\s]+)\1\s*\)""", re.I)
_LENGTH = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(px|pt|pc|mm|cm|in|em|ex|rem|%)?\s*")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one program."""

    bytes: int = 256 * 1024
    elements: int = 20_000
    depth: int = 64
    instances: int = 10_000  # elements after every reference is followed


@dataclass(slots=True)
class Element:
    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def __iter__(self) -> Iterator[Element]:
        """This element and all below it, in document order."""
        yield self
        for child in self.children:
            yield from child

    def copy(self) -> Element:
        return Element(self.tag, dict(self.attributes), [c.copy() for c in self.children], self.text)


@dataclass(slots=True)
class SvgProgram:
    """A program that may be rendered. `repairs` says in words what had to be changed."""

    root: Element
    repairs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return print_svg(self.root)

    @property
    def view_box(self) -> tuple[float, float, float, float]:
        """x, y, width, height of the canvas; width and height of the root where there is no viewBox.

        Raises:
            MalformedSvg: neither is there.
        """
        if (box := self.root.attributes.get("viewBox")) is not None:
            values = numbers(box, "viewBox")
            if len(values) != 4 or values[2] <= 0 or values[3] <= 0:
                raise MalformedSvg(f"viewBox must be four numbers with a positive size, not {quoted(box)}")
            return values[0], values[1], values[2], values[3]
        sizes = [length(self.root.attributes.get(name, "")) for name in ("width", "height")]
        if not all(sizes):
            raise MalformedSvg("the svg element has neither a viewBox nor width and height as plain numbers")
        return 0.0, 0.0, sizes[0], sizes[1]  # type: ignore[return-value]


def length(text: str) -> float | None:
    """A length in user units; None for percentages, other units, and what is no length."""
    match = _LENGTH.fullmatch(text)
    return float(match.group(1)) if match and match.group(2) in (None, "px") else None


def parse_svg(text: str | bytes, limits: Limits = Limits()) -> SvgProgram:
    """Reads a program, checks it, repairs what is known to be repairable.

    Raises:
        UnsafeSvg: over a limit, or something that only hostile files and web pages need.
        MalformedSvg: not well-formed, or numbers, paths or transforms outside their grammar.
    """
    size = (
        len(text) if isinstance(text, bytes) else len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    )
    if size > limits.bytes:
        raise UnsafeSvg(f"the program has {size:,} bytes, and {limits.bytes:,} are allowed")
    text = _decoded(text) if isinstance(text, bytes) else text
    if match := _FORBIDDEN.search(text):
        raise UnsafeSvg(f"line {_line(text, match.start())}: {match.group(1).upper()} declarations are not allowed")
    reader = _Reader(limits)
    root, repairs = reader.read(text), reader.repairs
    if root.attributes.get("xmlns") != "http://www.w3.org/2000/svg":
        repairs["xmlns added"] = None
        root.attributes = {"xmlns": "http://www.w3.org/2000/svg"} | {
            k: v for k, v in root.attributes.items() if k != "xmlns"
        }
    if any("xlink:href" in e.attributes for e in root) and "xmlns:xlink" not in root.attributes:
        repairs["xmlns:xlink added"] = None
        root.attributes["xmlns:xlink"] = "http://www.w3.org/1999/xlink"
    _count_instances(root, limits)
    return SvgProgram(root, tuple(repairs))


def print_svg(root: Element) -> str:
    """Canonical text: one element a line, attributes in their order. Reading it gives the same tree."""
    lines: list[str] = []
    _print(root, lines)
    return "\n".join(lines)


def _print(element: Element, lines: list[str]) -> None:
    head = "<" + " ".join([element.tag, *(f"{k}={quoteattr(v)}" for k, v in element.attributes.items())])
    if not element.children and not element.text:
        lines.append(head + " />")
    elif not element.children:
        lines.append(f"{head}>{escape(element.text)}</{element.tag}>")
    else:
        lines.append(head + ">" + escape(element.text))
        for child in element.children:
            _print(child, lines)
        lines.append(f"</{element.tag}>")


def _decoded(data: bytes) -> str:
    for mark, name in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig")):
        if data.startswith(mark):
            encoding = name
            break
    else:
        encoding = "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise MalformedSvg(f"byte {error.start}: the program is no UTF-8 or marked UTF-16 text") from None
    if "\0" in text:
        raise MalformedSvg("the program holds zero bytes: UTF-16 needs its byte order mark")
    return text


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


class _Reader:
    """Expat without namespaces; limits hold while reading, so that nothing large is ever built."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.repairs: dict[str, None] = {}
        self.count = 0
        self.stack: list[Element] = []
        self.root: Element | None = None
        self.skipped = 0  # depth inside an element that is dropped
        self.parser = expat.ParserCreate("utf-8")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.characters
        self.parser.ProcessingInstructionHandler = self.instruction
        for name in ("StartDoctypeDeclHandler", "EntityDeclHandler", "ExternalEntityRefHandler"):
            setattr(self.parser, name, self.declaration)

    def read(self, text: str) -> Element:
        text = re.sub(r"^\ufeff?\s*(<\?xml\s[^?]*\?>)?", "", text, count=1)
        try:
            self.parser.Parse(text.encode("utf-8", "surrogatepass"), True)
        except expat.ExpatError as error:
            reason = expat.errors.messages.get(error.code, "not well-formed")
            raise MalformedSvg(f"line {error.lineno}, column {error.offset}: {reason}") from None
        if self.root is None or self.root.tag != "svg":
            raise MalformedSvg(f"the outermost element must be svg, not {quoted(self.root.tag if self.root else '')}")
        return self.root

    def declaration(self, *_: object) -> None:
        raise UnsafeSvg(f"{self.place()}: declarations of document types and entities are not allowed")

    def instruction(self, target: str, data: str) -> None:
        if target.lower() == "xml-stylesheet":
            raise UnsafeSvg(f"{self.place()}: style sheets outside the file are not allowed")
        self.repairs["processing instruction dropped"] = None

    def place(self) -> str:
        return f"line {self.parser.CurrentLineNumber}"

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.count += 1
        if self.count > self.limits.elements:
            raise UnsafeSvg(f"{self.place()}: more than {self.limits.elements:,} elements")
        if len(self.stack) + self.skipped >= self.limits.depth:
            raise UnsafeSvg(f"{self.place()}: elements are nested deeper than {self.limits.depth}")
        prefix, _, local = name.rpartition(":")
        if not self.stack and not self.skipped and local != "svg":
            raise MalformedSvg(f"the outermost element must be svg, not {quoted(local)}")
        if local.lower() in DANGEROUS:
            raise UnsafeSvg(f"{self.place()}: the element {quoted(local)} is not allowed")
        if self.skipped or local == "metadata" or prefix not in ("", "svg"):
            self.skipped += 1
            self.repairs["foreign elements dropped"] = None
            return
        if local in CAMEL:
            local = CAMEL[local]
            self.repairs[f"{local} was in lower case"] = None
        if local not in ALLOWED:
            raise UnsafeSvg(f"{self.place()}: the element {quoted(local)} is not allowed")
        element = Element(local)
        for key, value in attributes.items():
            self.attribute(element, key, value)
        self.check_data(element)
        if self.stack:
            self.stack[-1].children.append(element)
        else:
            self.root = element
        self.stack.append(element)

    def attribute(self, element: Element, key: str, value: str) -> None:
        prefix, _, local = key.rpartition(":")
        where = f"{self.place()}: {quoted(key)}"
        if local.lower().startswith("on") and not prefix:
            raise UnsafeSvg(f"{where} is an event handler, which is not allowed")
        if local.lower() == "href":
            if not value.strip().startswith("#"):
                raise UnsafeSvg(f"{where} must point into the file (#id), not to {quoted(value)}")
        elif local == "base" and prefix == "xml":
            raise UnsafeSvg(f"{where} is not allowed")
        elif prefix not in ("", "xmlns", "xml", "xlink"):
            self.repairs["foreign attributes dropped"] = None
            return
        elif prefix == "xmlns" and local != "xlink":
            return
        check_css(value, where)
        if local in CAMEL and local != CAMEL[local]:
            key = CAMEL[local]
            self.repairs[f"{key} was in lower case"] = None
        element.attributes[key] = value

    def check_data(self, element: Element) -> None:
        where = f"{self.place()}, {element.tag}"
        for key, value in element.attributes.items():
            if key == "d" and element.tag == "path":
                parse_path(value, f"{where}, d")
            elif key == "points":
                parse_points(value, f"{where}, points")
            elif key in ("transform", "gradientTransform", "patternTransform"):
                parse_transform(value, f"{where}, {key}")
            elif key in LENGTHS and element.tag not in ("text", "tspan"):
                if (match := _LENGTH.fullmatch(value)) is None and value.strip() != "auto":
                    raise MalformedSvg(f"{where}: {key} must be a length, not {quoted(value)}")
                if match:
                    bounded([float(match.group(1))], f"{where}, {key}")
            elif key == "viewBox":
                numbers(value, f"{where}, viewBox")

    def end(self, name: str) -> None:
        if self.skipped:
            self.skipped -= 1
            return
        element = self.stack.pop()
        if element.tag == "style":
            check_css(element.text, f"{self.place()}: a style sheet")

    def characters(self, data: str) -> None:
        if self.stack and not self.skipped and self.stack[-1].tag in ("style", "title", "desc", "text", "tspan"):
            self.stack[-1].text += data.strip()


def check_css(value: str, where: str) -> None:
    """Refuses what could lead out of the file: url(), @import, escapes that could hide them, script addresses."""
    if "\\" in value or "@" in value:
        low = value.lower()
        if "\\" in value or any(word in low for word in ("@import", "@font-face", "@namespace")):
            raise UnsafeSvg(f"{where} must hold no escapes, imports or fonts, and has {quoted(value)}")
    declared = where.endswith(("'xmlns'", "'xmlns:xlink'"))
    if not declared and ":" in value and _ADDRESS.search(value):
        raise UnsafeSvg(f"{where} must hold no address, and has {quoted(value)}")
    if "(" in value and _URL.search(_LOCAL_URL.sub("", value)):
        raise UnsafeSvg(f"{where} must point into the file (url(#id)), not to {quoted(value)}")
    if "expression" in value and re.search(r"expression\s*\(", value, re.I):
        raise UnsafeSvg(f"{where} must hold no expression")


def references(element: Element) -> list[str]:
    """The ids that this element points to, itself alone."""
    found = [v.strip()[1:] for k, v in element.attributes.items() if k.rpartition(":")[2] == "href"]
    for value in element.attributes.values():
        if "(" in value:
            found += [m.group(2) for m in _LOCAL_URL.finditer(value)]
    return found


def _count_instances(root: Element, limits: Limits) -> None:
    """Elements that a renderer would draw once every reference is followed, without following them."""
    by_id = {e.attributes["id"]: e for e in root if "id" in e.attributes}
    counts: dict[int, int] = {}
    under_way: set[int] = set()

    def count(element: Element) -> int:
        key = id(element)
        if key in counts:
            return counts[key]
        if key in under_way:
            raise UnsafeSvg(f"the element {quoted(element.attributes.get('id', element.tag))} refers to itself")
        under_way.add(key)
        total = 1 + sum(count(child) for child in element.children)
        total += sum(count(by_id[name]) for name in references(element) if name in by_id)
        under_way.discard(key)
        if total > limits.instances and (references(element) or element is not root):
            raise UnsafeSvg(f"references multiply the drawing beyond {limits.instances:,} elements")
        counts[key] = total
        return total

    if any(references(e) for e in root):
        try:
            count(root)
        except RecursionError:
            raise UnsafeSvg("references are chained too deeply") from None

"""SGP-Bench: can language models understand symbolic graphics programs?

Functions that are called as their file (`perturb`, `render`, `evaluate`, `consistency`) are imported from it.
"""

from .errors import MalformedSvg, SGPError, UnsafeSvg
from .evaluate import compare_results
from .extract import extract_letter
from .hub import load_items
from .perturb import SEVERITIES, control, draw_motion
from .questions import make_questions
from .records import Item
from .scenes import sample_scene
from .svg_safe import parse_svg

__all__ = [
    "SEVERITIES",
    "Item",
    "MalformedSvg",
    "SGPError",
    "UnsafeSvg",
    "compare_results",
    "control",
    "draw_motion",
    "extract_letter",
    "load_items",
    "make_questions",
    "parse_svg",
    "sample_scene",
]

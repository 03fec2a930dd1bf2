"""The forgetting probe: how well a model still predicts general English that it was not finetuned on.

The text is the docstrings of seven modules of Python's standard library, which every machine has. It changes a
little from one Python version to the next, so compare numbers of one version.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import OFTError
from .answer_loss import answer_loss
from .batching import Batch

# decimal itself only imports a C library; its text is in the Python version of it
MODULES = ("_pydecimal", "difflib", "doctest", "argparse", "logging", "threading", "optparse")
WINDOWS, LENGTH = 12, 256


def prose_loss(model: nn.Module, tokenizer: Any, batch_size: int = 4) -> float:
    """Mean cross-entropy per token (nats) of the probe's windows, 255 predictions each."""
    windows = prose_windows(tokenizer)
    total, count = 0.0, 0
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for ids in windows.split(batch_size):
                summed, tokens = answer_loss(model, Batch(ids, torch.ones_like(ids), ids))
                total, count = total + float(summed), count + tokens
    finally:
        model.train(training)
    return total / count


def prose_windows(tokenizer: Any) -> Tensor:
    """(12, 256) int64: the first 256 tokens of each module's docstrings, then the next 256, until there are twelve.

    Raises:
        OFTError: the tokenizer makes too few tokens of the text.
    """
    # verbose=False: a whole module is longer than the model's context, a window is not
    ids = [tokenizer(docstrings(name), add_special_tokens=False, verbose=False).input_ids for name in MODULES]
    windows = [
        module[start : start + LENGTH]
        for start in range(0, max(map(len, ids)), LENGTH)
        for module in ids
        if len(module) >= start + LENGTH
    ]
    if len(windows) < WINDOWS:
        raise OFTError(f"the docstrings make {len(windows)} windows of {LENGTH} tokens, and {WINDOWS} are needed")
    return torch.tensor(windows[:WINDOWS])


@cache
def docstrings(module: str) -> str:
    """All docstrings of a standard-library module in the order of its source, which is parsed and not run."""
    spec = find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise OFTError(f"this Python has no source of its module {module}, whose docstrings the prose probe reads")
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(Path(spec.origin).read_text("utf-8"))) if isinstance(node, kinds)]
    nodes.sort(key=lambda node: getattr(node, "lineno", 0))
    return "\n\n".join(text for node in nodes if (text := ast.get_docstring(node)))

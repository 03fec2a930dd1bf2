"""POET (arXiv 2506.08001): training of language models by orthogonal equivalence transformation, W = R W0 P.

from poet import PoetConfig, PoetOptimizer, save_merged, wrap
wrap(model, PoetConfig(block=64))
optimizer = PoetOptimizer(model, base_lr=1e-2)      # steps, and merges every merge_every steps
...
save_merged(model, "folder")                        # opened by AutoModelForCausalLM without this package
"""

from .batched import batch_layers
from .config import PoetConfig
from .diagnostics import VectorProbe, coverage, hyperspherical_energy, spectrum, svd_entropy
from .errors import PoetError
from .export import load_official, save_merged
from .linear import MergeStats, PoetLinear
from .memory import forecast_memory
from .merge import merge_all
from .optim import PoetOptimizer, param_groups
from .wrap import WrapReport, unwrap, wrap

__all__ = [
    "MergeStats",
    "PoetConfig",
    "PoetError",
    "PoetLinear",
    "PoetOptimizer",
    "VectorProbe",
    "WrapReport",
    "batch_layers",
    "coverage",
    "forecast_memory",
    "hyperspherical_energy",
    "load_official",
    "merge_all",
    "param_groups",
    "save_merged",
    "spectrum",
    "svd_entropy",
    "unwrap",
    "wrap",
]

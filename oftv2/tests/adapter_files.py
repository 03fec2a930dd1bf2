"""Adapter folders for tests, written here from the formats' formulas and by PEFT itself."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

PATHS = ("model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj", "model.layers.1.self_attn.q_proj")
WIDTHS = (64, 96, 64)
OUTS = (64, 64, 64)


def random_packed(seed: int = 0, b: int = 16, scale: float = 0.02, shared: bool = False) -> dict[str, Tensor]:
    """module path -> (r, b(b-1)/2) for the paths above."""
    generator = torch.Generator().manual_seed(seed)
    rows = {path: 1 if shared else width // b for path, width in zip(PATHS, WIDTHS, strict=True)}
    return {path: scale * torch.randn(r, b * (b - 1) // 2, generator=generator) for path, r in rows.items()}


def peft_settings(**changes) -> dict:
    settings = {
        "peft_type": "OFT",
        "peft_version": "0.21.2",
        "r": 0,
        "oft_block_size": 16,
        "module_dropout": 0.0,
        "target_modules": ["q_proj", "down_proj"],
        "bias": "none",
        "coft": False,
        "eps": 6e-5,
        "block_share": False,
        "use_cayley_neumann": True,
        "num_cayley_neumann_terms": 5,
        "modules_to_save": None,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "auto_mapping": None,
    }
    settings |= changes
    return {name: value for name, value in settings.items() if value != "absent"}


def write_folder(folder: Path, tensors: dict[str, Tensor], settings: dict) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: t.contiguous() for name, t in tensors.items()}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def peft_folder(folder: Path, packed: dict[str, Tensor] | None = None, **changes) -> Path:
    packed = random_packed() if packed is None else packed
    named = {f"base_model.model.{path}.oft_R.weight": t for path, t in packed.items()}
    return write_folder(folder, named, peft_settings(**changes))


def v1_matrices(seed: int = 0, b: int = 16, scale: float = 0.1) -> dict[str, tuple[Tensor, Tensor]]:
    """module path -> (oft_r (r, b, b), oft_s (out, 1)) as PEFT 0.14 and 0.15 train them."""
    generator = torch.Generator().manual_seed(seed)
    return {
        path: (
            scale * torch.randn(width // b, b, b, generator=generator),
            1 + scale * torch.randn(out, 1, generator=generator),
        )
        for path, width, out in zip(PATHS, WIDTHS, OUTS, strict=True)
    }


def v1_folder(folder: Path, matrices: dict[str, tuple[Tensor, Tensor]] | None = None, **changes) -> Path:
    named = {}
    for path, (data, scale) in (matrices or v1_matrices()).items():
        named |= {f"base_model.model.{path}.oft_r": data, f"base_model.model.{path}.oft_s": scale}
    settings = peft_settings(peft_version="absent", use_cayley_neumann="absent", num_cayley_neumann_terms="absent")
    return write_folder(folder, named, settings | changes)


def lycoris_file(path: Path, seed: int = 0, rescale: bool = True, alpha: float = 0.0) -> Path:
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for module, out in zip(PATHS, OUTS, strict=True):
        name = "lycoris_" + module.replace(".", "_")
        tensors[f"{name}.oft_blocks"] = 0.05 * torch.randn(out // 8, 8, 8, generator=generator)
        tensors[f"{name}.alpha"] = torch.tensor(alpha)
        if rescale:
            tensors[f"{name}.rescale"] = 1 + 0.1 * torch.randn(out, 1, generator=generator)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path

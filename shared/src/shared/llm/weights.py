"""What identifies a model's weights, whatever the folder they lie in and the libraries that read them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .errors import ModelError
from .packaged import PACKAGED_MODELS, packaged_gguf

CHUNK = 4 << 20  # bytes


def weights_identity(model: str, revision: str | None = None) -> dict[str, Any]:
    """The model's name (of a file or folder its last part) and SHA-256 of its weights, or its commit on the hub.

    Reads the whole of the weight files, with a progress bar where that takes seconds. What `revision` of a hub model
    means is looked up among the files of earlier downloads, and on the hub if there are none.

    Raises:
        ModelError: there is no such file, or the hub does not tell the revision.
    """
    if model in PACKAGED_MODELS:
        return {"model": model, "weights": file_digest([packaged_gguf(model)])}
    path = Path(model).expanduser()
    if model.lower().endswith(".gguf"):
        return {"model": path.name, "weights": file_digest([path])}
    if path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        if not files:
            raise ModelError(f"the folder {path} holds no model: it has no .safetensors file")
        # the tokenizer and its template decide what the weights are fed
        described = [
            path / n for n in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
        ]
        return {"model": path.resolve().name, "weights": file_digest([*files, *(p for p in described if p.is_file())])}
    return {"model": model, "revision": _commit(model, revision)}


def state_digest(lm: Any) -> str:
    """SHA-256 of the names, types, shapes and values of a loaded model's parameters and buffers."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(lm.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def file_digest(paths: list[Path]) -> str:
    """SHA-256 of one file; of several, that of the lines "<SHA-256>  <name>"."""
    try:
        with tqdm(
            total=sum(p.stat().st_size for p in paths),
            desc="hashing weights",
            unit="B",
            unit_scale=True,
            delay=3,
            disable=None,
            leave=False,
        ) as bar:
            digests = [_digest(path, bar) for path in paths]
    except OSError as error:
        raise ModelError(f"cannot read {error.filename}: {error.strerror}") from error
    if len(digests) == 1:
        return digests[0]
    lines = "".join(f"{digest}  {path.name}\n" for digest, path in zip(digests, paths, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def _digest(path: Path, bar: tqdm) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _commit(model: str, revision: str | None) -> str:
    from transformers.utils import cached_file
    from transformers.utils.hub import extract_commit_hash

    try:
        try:
            file = cached_file(model, "config.json", revision=revision, local_files_only=True)
        except OSError:
            file = cached_file(model, "config.json", revision=revision)
        found = extract_commit_hash(file, None)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ModelError(
            f"cannot tell which weights {model!r} means: {reason} (allowed are {', '.join(PACKAGED_MODELS)}, a .gguf "
            "file, a folder with safetensors, or a hub id that this machine can reach)"
        ) from error
    if found is None:
        raise ModelError(f"cannot tell which commit of {model!r} is meant: give revision as a commit")
    return found

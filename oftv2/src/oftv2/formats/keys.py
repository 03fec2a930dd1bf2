"""Names of tensors in PEFT's layout, which the native format shares."""

from __future__ import annotations

from torch import Tensor

from shared.orthogonal import block_size_of

from ..config import OFTConfig
from ..errors import OFTError, quoted
from .adapter import Adapter

PREFIX = "base_model.model."
ROTATION, EMBEDDING, RESCALE = ".oft_R.weight", ".oft_embedding_R.weight", ".oft_rescale.weight"

# Embeddings and heads, by the last part of their path, whose base weights PEFT may store (its EMBEDDING_LAYER_NAMES
# and the names that transformers' architectures give them).
_VOCABULARY = frozenset({"embed_tokens", "lm_head", "wte", "word_embeddings", "embed_in", "embed_out", "shared"})


def sort_tensors(adapter: Adapter, tensors: dict[str, Tensor], where: str) -> None:
    """Puts the tensors of a file where they belong in `adapter`, whose config is read for what may be there.

    Raises:
        OFTError: a name that does not belong, a shape that is not (r, b(b-1)/2), no rotation at all.
    """
    unexpected = []
    for name, tensor in tensors.items():
        path = name.removeprefix(PREFIX)
        for ending, group in ((ROTATION, adapter.packed), (EMBEDDING, adapter.embeddings)):
            if name.startswith(PREFIX) and path.endswith(ending):
                group[path.removesuffix(ending)] = _packed(tensor, f"{where}: tensor {quoted(name)}", adapter)
                break
        else:
            if name.startswith(PREFIX) and path.endswith(RESCALE):
                if tensor.ndim != 1 or not tensor.is_floating_point():
                    raise OFTError(f"{where}: tensor {quoted(name)} must be a vector of one factor an output")
                adapter.rescale[path.removesuffix(RESCALE)] = tensor.float()
            elif name.startswith(PREFIX) and _is_trained_whole(path, adapter.config):
                adapter.saved[path] = tensor
            elif name.startswith(PREFIX) and _is_vocabulary(path):
                adapter.base_weights[path] = tensor
            else:
                unexpected.append(name)
    if unexpected:
        shown = ", ".join(quoted(name) for name in unexpected[:10])
        more = f" and {len(unexpected) - 10} more" if len(unexpected) > 10 else ""
        raise OFTError(
            f"{where} holds tensors that are neither rotations nor named by modules_to_save or bias: {shown}{more}"
        )
    if not adapter.rotations:
        raise OFTError(f"{where} holds no rotation (no name that begins with {PREFIX} and ends in {ROTATION})")


def tensors_of(adapter: Adapter) -> dict[str, Tensor]:
    """The tensors of an adapter under their names in a file."""
    named = {PREFIX + path + ROTATION: t.float() for path, t in adapter.packed.items()}
    named |= {PREFIX + path + EMBEDDING: t.float() for path, t in adapter.embeddings.items()}
    named |= {PREFIX + path + RESCALE: t.float() for path, t in adapter.rescale.items()}
    return named | {PREFIX + path: t for path, t in (adapter.base_weights | adapter.saved).items()}


def fit_config(config: OFTConfig, packed: dict[str, Tensor], notes: list[str]) -> OFTConfig:
    """`config` with the block size that the tensors really have, where the two disagree."""
    sizes = {(t.shape[0], block_size_of(t.shape[1])) for t in packed.values()}
    if config.block_share and any(r > 1 for r, _ in sizes):
        config = config.with_(block_share=False)
        notes.append("the settings say that blocks are shared, but the tensors hold several blocks a module")
    if describes(config, packed):
        return config
    b_found, r_found = {b for _, b in sizes}, {r for r, _ in sizes}
    said = f"block_size={config.block_size}" if config.block_size is not None else f"num_blocks={config.num_blocks}"
    if len(b_found) == 1:
        config = config.with_(block_size=b_found.pop(), num_blocks=None)
        notes.append(
            f"the settings say {said}, but the tensors hold blocks of size {config.block_size}, which is taken"
        )
    elif len(r_found) == 1 and not config.block_share:
        config = config.with_(block_size=None, num_blocks=r_found.pop())
        notes.append(
            f"the settings say {said}, but the tensors hold {config.num_blocks} blocks a module, which is taken"
        )
    else:
        notes.append(f"the settings say {said}, but the tensors hold blocks of sizes {sorted(b_found)}")
    return config


def describes(config: OFTConfig, packed: dict[str, Tensor]) -> bool:
    """Whether these settings give these blocks, as far as the tensors tell the layers' widths."""
    for r, b in {(t.shape[0], block_size_of(t.shape[1])) for t in packed.values()}:
        if config.block_share:  # one block is stored, so the module's width is unknown
            if config.block_size not in (None, b):
                return False
        elif config.blocks_of(r * b) != (r, b):
            return False
    return True


def _packed(tensor: Tensor, where: str, adapter: Adapter) -> Tensor:
    if tensor.ndim != 2 or tensor.shape[0] < 1 or not tensor.is_floating_point():
        raise OFTError(
            f"{where} must be floating-point blocks of shape (r, b(b-1)/2), not {tensor.dtype} of shape "
            f"{tuple(tensor.shape)}"
        )
    try:
        block_size_of(tensor.shape[1])
    except ValueError as error:
        raise OFTError(f"{where}: {error}") from None
    if tensor.element_size() != 4:
        note = f"parameters stored as {tensor.dtype} are held as float32"
        adapter.notes += [] if note in adapter.notes else [note]
    return tensor.float()


def _is_trained_whole(path: str, config: OFTConfig) -> bool:
    if config.bias != "none" and path.endswith(".bias"):
        return True
    module = f".{path.rpartition('.')[0]}."
    return any(f".{name}." in module for name in config.modules_to_save or ())


def _is_vocabulary(path: str) -> bool:
    module, _, parameter = path.rpartition(".")
    if parameter not in ("weight", "bias"):
        return False
    return module.endswith(".base_layer") or module.rpartition(".")[2] in _VOCABULARY

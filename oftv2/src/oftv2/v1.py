"""OFTv1, the weight-centric original (arXiv 2306.07280), kept as the baseline that OFTv2 is measured against.

Each step rotates the frozen weight and then applies it:

    z = (W0 · Diag(R_1..R_r)ᵀ) x            R_k = (I + Q_k)(I - Q_k)⁻¹, exact Cayley

Two forms compute the same function of the same packed parameters:

`dense`      as PEFT <= 0.15.2: the d×d block-diagonal matrix is made, multiplied into a d×d identity (the start of
             the chain over adapters), and the product is multiplied with the weight, O(n·d²) and O(d³).
`blockwise`  the blocks are multiplied into the weight's columns, O(n·d·b), with no d×d matrix.

Both still make a rotated copy of every weight and, in backward, the gradient by it (a full matrix product), which
is what rotating the input avoids. Left out of PEFT's layer: `oft_s`, a trainable factor for each output, so that
the parameters are those of OFTv2. The baseline is a little cheaper for it than the code it stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from shared.orthogonal import block_rotate_weight, packed_length

from .config import OFTConfig
from .errors import OFTError
from .layers import is_linear
from .rotation import EXACT, rotation_from
from .targets import matches, output_head

Form = Literal["dense", "blockwise"]
FORMS = ("dense", "blockwise")


class OFTv1Linear(nn.Module):
    """A frozen `nn.Linear` whose weight is rotated on its input side in every forward.

    Args:
        base_layer: the layer; its weight must be of a floating dtype (a quantised weight cannot be rotated in place).
        block_size: b; where it does not divide the width, the nearest divisor.
        form: see the module's text.
        parameterization: `cayley` for the paper's sign, `cayley_peft_exact` for PEFT's, which is the transpose.

    Attributes:
        packed: `(r, b(b-1)/2)` float32, zero at first, so that R = I and the layer equals its base.

    Raises:
        OFTError: unknown form or parameterization, a base layer of another kind, or a width that cannot be cut.
    """

    def __init__(
        self,
        base_layer: nn.Linear,
        block_size: int = 32,
        form: Form = "dense",
        parameterization: str = "cayley",
    ):
        super().__init__()
        if form not in FORMS:
            raise OFTError(f"form must be one of {', '.join(FORMS)}, not {form!r}")
        if parameterization not in EXACT:
            raise OFTError(f"OFTv1 knows the exact maps {', '.join(sorted(EXACT))} only, not {parameterization!r}")
        if not isinstance(base_layer, nn.Linear) or not base_layer.weight.is_floating_point():
            raise OFTError(
                f"OFTv1 rotates the weight itself and so needs an nn.Linear with a floating-point weight, "
                f"not {type(base_layer).__name__}"
            )
        try:
            r, b = OFTConfig(block_size=block_size).blocks_of(base_layer.in_features)
        except ValueError as error:
            raise OFTError(str(error)) from error
        self.base_layer = base_layer
        self.form = form
        self.parameterization = parameterization
        self.packed = nn.Parameter(torch.zeros(r, packed_length(b), device=base_layer.weight.device))

    def rotation(self) -> Float[Tensor, "r b b"]:
        """R, differentiable, in the dtype of `packed`."""
        return rotation_from(self.packed, self.parameterization)

    def rotated_weight(self) -> Float[Tensor, "out inp"]:
        """`W0 · Diag(R)ᵀ`, differentiable, in the dtype of W0."""
        W0 = self.base_layer.weight
        R = self.rotation().to(W0.dtype)
        if self.form == "blockwise":
            return block_rotate_weight(W0, R)
        chain = torch.eye(W0.shape[1], dtype=W0.dtype, device=W0.device)
        chain = torch.block_diag(*R) @ chain
        return torch.mm(chain, W0.T).T

    def forward(self, x: Float[Tensor, "*batch inp"]) -> Float[Tensor, "*batch out"]:
        return F.linear(x, self.rotated_weight(), self.base_layer.bias)


class V1Handle:
    """The injected layers of a model, with the calls that a training loop makes of an adapter."""

    def __init__(self, model: nn.Module, layers: dict[str, OFTv1Linear]):
        self.model = model
        self._layers = layers

    def layers(self) -> dict[str, OFTv1Linear]:
        """Module path in the base model -> layer."""
        return dict(self._layers)

    def named_packed(self) -> dict[str, nn.Parameter]:
        """Module path in the base model -> packed parameter `(r, b(b-1)/2)`."""
        return {path: layer.packed for path, layer in self._layers.items()}

    def parameters(self) -> list[nn.Parameter]:
        return list(self.named_packed().values())

    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def rotations(self) -> dict[str, Tensor]:
        """Module path -> R `(r, b, b)`, float32, without gradient."""
        with torch.no_grad():
            return {path: layer.rotation().float() for path, layer in self._layers.items()}

    def finish_gradients(self) -> None:
        """Nothing to do: gradients reach the packed parameters in backward."""

    def after_step(self) -> None:
        """Nothing to do: rotations are not kept from one step to the next."""

    def remove(self) -> nn.Module:
        """Put the base layers back and return the model, which is then as before the injection (and still frozen)."""
        for path, layer in self._layers.items():
            self.model.set_submodule(path, layer.base_layer)
        self._layers = {}
        return self.model


def inject_v1(
    model: nn.Module,
    block_size: int = 32,
    form: Form = "dense",
    target_modules: str | Sequence[str] = "all-linear",
    parameterization: str = "cayley",
) -> V1Handle:
    """Freeze the model and rotate the weights of its linear layers.

    Args:
        target_modules: as in `OFTConfig`: "all-linear" (the output head is left out), a list of suffixes, or one
            regular expression.

    Raises:
        OFTError: nothing matches, or a layer that matches cannot be rotated; the sentence names it.
    """
    names = target_modules if isinstance(target_modules, str) else tuple(target_modules)
    head = output_head(model)
    layers = {}
    for path, module in model.named_modules():
        chosen = is_linear(module) and module is not head if names == "all-linear" else path and matches(path, names)
        if not chosen:
            continue
        try:
            layers[path] = OFTv1Linear(module, block_size, form, parameterization)
        except OFTError as error:
            raise OFTError(f"{path}: {error}") from error
    if not layers:
        raise OFTError(f"no linear layer of {type(model).__name__} matches target_modules={target_modules!r}")
    model.requires_grad_(False)
    for path, layer in layers.items():
        layer.packed.requires_grad_()
        layer.train(model.training)
        model.set_submodule(path, layer)
    return V1Handle(model, layers)

"""Any parameterization as PEFT's exact form, `R = (I-Q)(I+Q)⁻¹`."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from shared.orthogonal import inverse_cayley, nearest_rotation

from ..errors import OFTError
from ..rotation import rotation_from


def to_peft_exact(
    packed: Float[Tensor, "r n"], parameterization: str, terms: int, where: str = "a module"
) -> Float[Tensor, "r n"]:
    """Packed parameters of the same rotation under `cayley_peft_exact`.

    Exact parameterizations change at most a sign. Of a series, which is not quite orthogonal, the nearest
    rotation is taken, computed in float64.

    Raises:
        OFTError: the series has left the rotations behind, or a plane makes a half turn, which no finite Q reaches.
    """
    if parameterization == "cayley_peft_exact":
        return packed
    if parameterization == "cayley":
        return -packed
    return rotations_to_peft_exact(rotation_from(packed.double(), parameterization, terms), where).to(packed.dtype)


def rotations_to_peft_exact(R: Float[Tensor, "r b b"], where: str = "a module") -> Float[Tensor, "r n"]:
    """Packed Q with `(I-Q)(I+Q)⁻¹` the rotation nearest to R, in R's dtype (float64 to keep its digits).

    Raises:
        OFTError: as above.
    """
    tolerance = 1e-5 if R.dtype == torch.float32 else 1e-11
    try:
        return -inverse_cayley(nearest_rotation(R, tolerance=tolerance * R.shape[-1]))
    except ValueError as error:
        raise OFTError(f"{where} cannot be written in exact form: {error}") from None

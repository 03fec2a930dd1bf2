"""DreamBooth on Stable Diffusion 3.5 (paper, Fig. 5 and Table 12): a subject's pictures, what to adapt, and the loss.

The paper gives no hyperparameters for this task. These are the defaults of the SD3 DreamBooth example of diffusers,
with the orthogonal adapters at four times LoRA's learning rate, the ratio of the paper's other tasks. The pipeline
around them (text encoders, VAE, sampling) is diffusers'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import OFTError
from ..settings import whole
from .hub import Row, load_rows

HUB = "google/dreambooth"
FIELDS = ("image",)
# every attention projection of the transformer, for the image stream and (add_*) for the text stream
TARGET_MODULES = tuple(
    f"attn.{name}"
    for name in ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
)
LEARNING_RATES = {"lora": 1e-4, "qlora": 1e-4, "oftv2": 4e-4, "qoft": 4e-4}
SCENES = ("", " in the snow", " on a beach at sunset", " on a city street at night", " in a field of flowers")


@dataclass(frozen=True)
class DreamBooth:
    """Four to six pictures of one subject under one sentence."""

    subject: str = "dog"  # a configuration of the data set
    kind: str = "dog"  # what the subject is, as the sentence says it
    token: str = "sks"  # the rare word that comes to name the subject
    resolution: int = 512
    samples: int = 4  # pictures drawn with the finished adapter

    def __post_init__(self) -> None:
        whole("task.options.resolution", self.resolution, 8)
        whole("task.options.samples", self.samples, 0)

    @property
    def prompt(self) -> str:
        return f"a photo of {self.token} {self.kind}"

    @property
    def scenes(self) -> tuple[str, ...]:
        """Sentences to draw samples of: the one of training, and the subject in other places."""
        return tuple(f"{self.prompt}{scene}" for scene in SCENES)

    def pictures(self) -> list[Any]:
        """The subject's pictures as PIL images, RGB."""
        return pictures_of(load_rows(HUB, "train", self.subject, FIELDS))


def pictures_of(rows: Sequence[Row]) -> list[Any]:
    return [row["image"].convert("RGB") for row in rows]


def pixels(picture: Any, resolution: int) -> Tensor:
    """A picture as (3, resolution, resolution) float32 in [-1, 1]: shorter side scaled, the middle cut out."""
    if resolution < 8 or resolution % 8:
        raise OFTError(f"resolution must be a multiple of 8, not {resolution}")
    scale = resolution / min(picture.size)
    width, height = (max(resolution, round(side * scale)) for side in picture.size)
    left, top = (width - resolution) // 2, (height - resolution) // 2
    cut = picture.resize((width, height)).crop((left, top, left + resolution, top + resolution))
    values = torch.frombuffer(bytearray(cut.tobytes()), dtype=torch.uint8).view(resolution, resolution, 3)
    return values.permute(2, 0, 1).float() / 127.5 - 1


def velocity_loss(
    transformer: nn.Module,
    latents: Tensor,
    text: Tensor,
    pooled: Tensor,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, int]:
    """(summed rectified-flow loss, number of pictures); Stable Diffusion 3 (arXiv 2403.03206), eq. 12 and §3.1.

    x_t = (1 - t) x + t ε with t = sigmoid(n), n and ε standard normal; the transformer predicts ε - x.

    Args:
        latents: (N, C, H, W), scaled as the VAE's configuration says.
        text: (N, L, D) sequence of the text encoders; pooled: (N, D') their pooled vectors.
    """
    noise = torch.randn(latents.shape, generator=generator, device=latents.device, dtype=latents.dtype)
    t = torch.randn(len(latents), generator=generator, device=latents.device).sigmoid()
    share = t.view(-1, 1, 1, 1).to(latents.dtype)
    predicted = transformer(
        hidden_states=(1 - share) * latents + share * noise,
        timestep=1000 * t,
        encoder_hidden_states=text,
        pooled_projections=pooled,
        return_dict=False,
    )[0]
    error = (predicted.float() - (noise - latents).float()).square()
    return error.flatten(1).mean(1).sum(), len(latents)

"""DreamBooth made ready for the loop: pictures and their sentence are encoded once, the transformer is trained."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .errors import OFTError
from .settings import EvaluationSettings, ModelSettings, TaskSettings, TrainingSettings
from .tasks.dreambooth import DreamBooth, pixels, velocity_loss


@dataclass(frozen=True)
class PictureBatch:
    """What one forward needs; `seed` draws its noise and times, so that a resumed run draws the same."""

    latents: Tensor  # (N, 16, H/8, W/8)
    text: Tensor  # (N, L, 4096)
    pooled: Tensor  # (N, 2048)
    seed: int


@dataclass
class PictureWorkload:
    """The subject's pictures as latents, with the sentence that names it."""

    encoded: list[Tensor]  # latents of each picture, (1, 16, H/8, W/8)
    text: Tensor
    pooled: Tensor
    seed: int

    @classmethod
    def of(cls, task: TaskSettings, pipeline: Any, seed: int) -> PictureWorkload:
        """Encodes everything and then drops text encoders and VAE, which training does not need."""
        subject = DreamBooth(**task.options)
        device, dtype = pipeline.transformer.device, pipeline.transformer.dtype
        pipeline.vae.to(device)
        config = pipeline.vae.config
        latents = []
        draw = torch.Generator(device).manual_seed(seed)
        with torch.no_grad():
            for picture in subject.pictures():
                image = pixels(picture, subject.resolution).unsqueeze(0).to(device, pipeline.vae.dtype)
                sample = pipeline.vae.encode(image).latent_dist.sample(generator=draw)
                latents.append(((sample - config.shift_factor) * config.scaling_factor).to(dtype))
            text, _, pooled, _ = pipeline.encode_prompt(
                subject.prompt, subject.prompt, subject.prompt, do_classifier_free_guidance=False
            )
        for name in ("vae", "text_encoder", "text_encoder_2", "text_encoder_3"):
            setattr(pipeline, name, None)
        return cls(latents, text.to(device, dtype), pooled.to(device, dtype), seed)

    def batches(self, training: TrainingSettings, rank: int = 0, world: int = 1) -> Callable[[int], list[PictureBatch]]:
        def of_step(step: int) -> list[PictureBatch]:
            made = []
            for micro in range(training.accumulation):
                drawn = random.Random(f"{self.seed}, {step}, {micro}, {rank}, {world}")
                chosen = [drawn.choice(self.encoded) for _ in range(training.batch_size)]
                text, pooled = (t.expand(len(chosen), *t.shape[1:]) for t in (self.text, self.pooled))
                made.append(PictureBatch(torch.cat(chosen), text, pooled, drawn.randrange(2**31)))
            return made

        return of_step

    def loss(self, model: nn.Module, batch: PictureBatch) -> tuple[Tensor, int]:
        draw = torch.Generator(batch.latents.device).manual_seed(batch.seed)
        return velocity_loss(model, batch.latents, batch.text, batch.pooled, draw)

    def probe(self, evaluation: EvaluationSettings) -> None:
        """Pictures have no held-out loss that says anything."""
        return


def load_pipeline(model: ModelSettings, quant: str, device: torch.device) -> tuple[nn.Module, Any]:
    """(transformer, the pipeline around it); `quant="nf4"` stores the transformer in 4 bits.

    Raises:
        OFTError: diffusers is missing, or the model cannot be loaded.
    """
    try:
        from diffusers import BitsAndBytesConfig, SD3Transformer2DModel, StableDiffusion3Pipeline
    except ImportError as error:
        raise OFTError("a diffusion model needs the extra oftv2[diffusion]") from error
    if quant == "awq":
        raise OFTError("there are no AWQ variants of diffusion models: use quant=none or quant=nf4")
    dtype = getattr(torch, model.dtype)
    options: dict[str, Any] = {"torch_dtype": dtype, "use_safetensors": True}
    if quant == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    try:
        transformer = SD3Transformer2DModel.from_pretrained(model.path, subfolder="transformer", **options)
        pipeline = StableDiffusion3Pipeline.from_pretrained(
            model.path, transformer=transformer, torch_dtype=dtype, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise OFTError(f"cannot load {model.path!r}: {str(error).strip().splitlines()[0]}") from error
    if quant == "none":
        transformer.to(device)
    return transformer.eval(), pipeline

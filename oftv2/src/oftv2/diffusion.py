"""DreamBooth made ready for the loop: pictures and sentences are encoded once, and the transformer alone is trained.

Every draw of a step (which pictures, their latents, noise, times) is a function of (seed, step, rank), so that a
resumed training goes on bit for bit.
"""

from __future__ import annotations

import gc
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .errors import OFTError, sentence
from .quant import keep_trainable, linear_4bit
from .settings import EvaluationSettings, ModelSettings, TaskSettings, TrainingSettings, build
from .tasks.dreambooth import DreamBooth, pixels, velocity_loss

TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
TEXT_TOKENS = 77  # that T5 reads, as in diffusers' DreamBooth example; CLIP always reads 77
SAMPLE_STEPS, GUIDANCE = 28, 4.5  # of the Euler sampler


@dataclass(frozen=True)
class Sentence:
    """What the text encoders made of a sentence."""

    text: Tensor  # (1, L, D)
    pooled: Tensor  # (1, D')


@dataclass(frozen=True)
class PictureBatch:
    """What one forward learns from: which pictures, and what everything random about them is drawn from."""

    pictures: tuple[int, ...]
    seed: int


@dataclass
class PictureWorkload:
    """The subject's pictures under the sentence that names it."""

    subject: DreamBooth
    pipeline: Any  # diffusers' Stable Diffusion 3, without its text encoders
    encoded: list[Tensor]  # for each picture mean and deviation of its latents, (2, C, H/8, W/8) float32
    sentences: Mapping[str, Sentence]  # the training sentence, the empty one, and those to draw samples of
    seed: int

    @classmethod
    def of(cls, task: TaskSettings, pipeline: Any, seed: int) -> PictureWorkload:
        """Encode everything; then the text encoders are freed and the VAE leaves the device.

        Raises:
            OFTError: an option is not known or not allowed, or the pictures cannot be had.
        """
        subject = subject_of(task)
        transformer, vae = pipeline.transformer, pipeline.vae
        grid = pipeline.vae_scale_factor * transformer.config.patch_size
        if subject.resolution % grid:
            raise OFTError(f"task.options.resolution must be a multiple of {grid}, not {subject.resolution}")
        pictures = subject.pictures()
        device, dtype = transformer.device, transformer.dtype
        with torch.no_grad():
            vae.to(device)
            encoded = []
            for picture in pictures:
                image = pixels(picture, subject.resolution).unsqueeze(0).to(device, vae.dtype)
                latents = vae.encode(image).latent_dist
                encoded.append(torch.cat((latents.mean, latents.std)).float())
            vae.to("cpu")
            wanted = list(dict.fromkeys((subject.prompt, "", *subject.scenes)))
            for name in TEXT_ENCODERS:
                if getattr(pipeline, name) is not None:
                    getattr(pipeline, name).to(device)
            text, _, pooled, _ = pipeline.encode_prompt(
                wanted, wanted, wanted, device, do_classifier_free_guidance=False, max_sequence_length=TEXT_TOKENS
            )
        sentences = {
            words: Sentence(text[i : i + 1].to(device, dtype), pooled[i : i + 1].to(device, dtype))
            for i, words in enumerate(wanted)
        }
        for name in TEXT_ENCODERS:
            setattr(pipeline, name, None)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        return cls(subject, pipeline, encoded, sentences, seed)

    def batches(self, training: TrainingSettings, rank: int = 0, world: int = 1) -> Callable[[int], list[PictureBatch]]:
        """This process's batches of each step; in every pass over the pictures each one is taken once."""

        def of_step(step: int) -> list[PictureBatch]:
            made = []
            for micro in range(training.accumulation):
                first = ((step * training.accumulation + micro) * world + rank) * training.batch_size
                pictures = tuple(self._picture(first + i) for i in range(training.batch_size))
                made.append(PictureBatch(pictures, seed_of(self.seed, step, micro, rank)))
            return made

        return of_step

    def _picture(self, position: int) -> int:
        epoch, place = divmod(position, len(self.encoded))
        return random.Random(f"{self.seed}, {epoch}").sample(range(len(self.encoded)), len(self.encoded))[place]

    def loss(self, model: nn.Module, batch: PictureBatch) -> tuple[Tensor, int]:
        """(summed rectified-flow loss, number of pictures)."""
        config, known = self.pipeline.vae.config, self.sentences[self.subject.prompt]
        mean, std = torch.stack([self.encoded[i] for i in batch.pictures]).unbind(1)
        draw = torch.Generator(mean.device).manual_seed(batch.seed)
        latents = mean + std * torch.randn(mean.shape, generator=draw, device=mean.device)
        latents = (latents - config.shift_factor) * config.scaling_factor
        text, pooled = (t.expand(len(mean), *t.shape[1:]) for t in (known.text, known.pooled))
        return velocity_loss(model, latents.to(text.dtype), text, pooled, draw)

    def probe(self, evaluation: EvaluationSettings) -> None:
        """Four to six pictures leave none to hold out."""
        return

    @torch.no_grad()
    def write_samples(self, directory: Path) -> None:
        """Draw `task.options.samples` pictures of the subject's scenes with the transformer as it is now.

        They are PNG files in an existing folder, named by number and sentence. The same weights give the same pictures.
        """
        pipeline, config = self.pipeline, self.pipeline.vae.config
        device, training = pipeline.transformer.device, pipeline.transformer.training
        pipeline.transformer.eval()
        pipeline.vae.to(device)
        pipeline.set_progress_bar_config(disable=True)
        empty = self.sentences[""]
        for index in range(self.subject.samples):
            words = self.subject.scenes[index % len(self.subject.scenes)]
            latents = pipeline(
                prompt_embeds=self.sentences[words].text,
                pooled_prompt_embeds=self.sentences[words].pooled,
                negative_prompt_embeds=empty.text,
                negative_pooled_prompt_embeds=empty.pooled,
                height=self.subject.resolution,
                width=self.subject.resolution,
                num_inference_steps=SAMPLE_STEPS,
                guidance_scale=GUIDANCE,
                generator=torch.Generator().manual_seed(seed_of(self.seed, "sample", index)),
                output_type="latent",
            ).images
            image = pipeline.vae.decode(latents.float() / config.scaling_factor + config.shift_factor).sample
            picture = pipeline.image_processor.postprocess(image, output_type="pil")[0]
            picture.save(directory / f"{index}-{re.sub('[^a-z0-9]+', '-', words.lower())}.png")
        pipeline.vae.to("cpu")
        pipeline.transformer.train(training)


def subject_of(task: TaskSettings) -> DreamBooth:
    """Raises OFTError: an option that the task does not know, or a value that it does not allow."""
    return build(DreamBooth, "task.options", task.options)


def seed_of(*parts: int | str) -> int:
    """A seed for torch that is a function of these."""
    return random.Random(", ".join(map(str, parts))).randrange(2**63)


def load_pipeline(model: ModelSettings, quant: str, device: torch.device) -> tuple[nn.Module, Any]:
    """(transformer on the device, the pipeline around it on the CPU); `quant="nf4"` stores the transformer in 4 bits.

    The VAE stays in float32, as its half precision shows in pictures.

    Raises:
        OFTError: diffusers is missing, the model cannot be loaded, or there is no such storage for it.
    """
    diffusers = import_diffusers()
    if quant == "awq":
        raise OFTError("there are no AWQ variants of diffusion models: use quant=none or quant=nf4")
    options: dict[str, Any] = {"revision": model.revision, "use_safetensors": True}
    dtype = getattr(torch, model.dtype)
    try:
        transformer = diffusers.SD3Transformer2DModel.from_pretrained(
            model.path, subfolder="transformer", dtype=dtype, **options
        )
        vae = diffusers.AutoencoderKL.from_pretrained(model.path, subfolder="vae", dtype=torch.float32, **options)
        pipeline = diffusers.StableDiffusion3Pipeline.from_pretrained(
            model.path, transformer=transformer, vae=vae, dtype=dtype, **options
        )
    except Exception as error:  # diffusers, huggingface_hub and the network each raise errors of their own
        raise OFTError(
            f"cannot load {model.path!r}, which must be a folder in diffusers' layout or a model of the hub that the "
            f"network or the cache has (its licence accepted there): {sentence(error, 200)}"
        ) from error
    if quant == "nf4":
        store_in_nf4(transformer, device)
    transformer.to(device)
    return transformer.eval(), pipeline


def store_in_nf4(model: Any, device: torch.device) -> None:
    """Replace every linear layer by an NF4 one on the device, one after another, as diffusers' own loading does.

    That loading asks for a GPU; this one works on a CPU too.
    """
    for path in [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]:
        layer = model.get_submodule(path)
        weight = layer.weight.detach().to(device)
        model.set_submodule(path, linear_4bit(weight, layer.bias, compute_dtype=weight.dtype))
    model.__dict__["is_loaded_in_4bit"] = True  # what PEFT asks before it puts LoRA on 4-bit layers
    keep_trainable(model)


def import_diffusers() -> Any:
    """The package, which is imported only where it is used.

    Raises:
        OFTError: it is not installed.
    """
    try:
        import diffusers
    except ImportError as error:
        raise OFTError(
            "a diffusion model needs the package diffusers: install the extra diffusion (tenfold-oftv2[diffusion])"
        ) from error
    return diffusers

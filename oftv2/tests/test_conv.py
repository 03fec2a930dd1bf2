"""Convolutions: the rotation acts on the patch vector, through the weight."""

from __future__ import annotations

import peft
import pytest
import torch
from models import fill, fill_adapter
from torch import nn

from oftv2 import OFTConfig, inject
from oftv2.accelerate_peft import accelerate

SETTINGS = [
    {"kernel_size": 1},
    {"kernel_size": 3},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (3, 1)},
    {"kernel_size": 3, "dilation": 2, "padding": 2},
    {"kernel_size": 3, "groups": 2, "padding": 1},
    {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    {"kernel_size": 3, "padding": "same", "bias": False},
]


@pytest.fixture(params=SETTINGS, ids=str)
def conv(request):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(8, 6, **request.param))


def image():
    return torch.randn(2, 8, 9, 9, generator=torch.Generator().manual_seed(1))


def test_fresh_adapter_is_the_base_bit_for_bit(conv):
    before = conv(image())
    inject(conv, OFTConfig(block_size=4, target_modules=("0",)))
    assert torch.equal(conv(image()), before)


def test_it_rotates_the_patches(conv):
    base = conv[0]
    handle = inject(conv, OFTConfig(block_size=4, target_modules=("0",)))
    fill_adapter(handle, scale=0.3)
    R = handle.rotations()["0"]
    dense = torch.block_diag(*R)
    expected = base._conv_forward(image(), (base.weight.flatten(1) @ dense.T).view_as(base.weight), base.bias)
    torch.testing.assert_close(conv(image()), expected, rtol=1e-5, atol=1e-5)


def test_merged_equals_unmerged(conv):
    handle = inject(conv, OFTConfig(block_size=4, target_modules=("0",)))
    fill_adapter(handle, scale=0.3)
    y = conv(image())
    handle.merge()
    torch.testing.assert_close(conv(image()), y, rtol=1e-5, atol=1e-5)


def test_unfolded_patches_times_r():
    """The same thing said the input-centric way: unfold, rotate each patch, multiply."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 6, 3, bias=False))
    handle = inject(model, OFTConfig(block_size=8, target_modules=("0",)))
    fill_adapter(handle, scale=0.3)
    patches = nn.functional.unfold(image(), 3).transpose(1, 2)
    rotated = patches @ torch.block_diag(*handle.rotations()["0"])
    expected = (rotated @ model[0].base_layer.weight.flatten(1).T).transpose(1, 2).view(2, 6, 7, 7)
    torch.testing.assert_close(model(image()), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dim", [1, 3])
def test_other_dimensions(dim):
    torch.manual_seed(0)
    kind = {1: nn.Conv1d, 3: nn.Conv3d}[dim]
    model = nn.Sequential(kind(4, 6, 3))
    x = torch.randn(2, 4, *(5,) * dim)
    handle = inject(model, OFTConfig(block_size=4, target_modules=("0",)))
    fill_adapter(handle, scale=0.3)
    y = model(x)
    handle.merge()
    torch.testing.assert_close(model(x), y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3])
def test_an_accelerated_peft_convolution_gives_pefts_merged_output(kernel):
    torch.manual_seed(0)
    base = nn.Sequential(nn.Conv2d(8, 6, kernel))
    model = peft.get_peft_model(base, peft.OFTConfig(oft_block_size=8, r=0, target_modules=["0"]))
    fill([p for n, p in model.named_parameters() if "oft_R" in n], scale=0.3)
    report = accelerate(model)
    ours = model(image())
    report.undo()
    merged = model.merge_and_unload()
    torch.testing.assert_close(ours, merged(image()), rtol=1e-5, atol=1e-5)

"""Quantised layers: exact reading, writing in the same format, and the measurement of what rounding loses."""

from __future__ import annotations

import copy
import math
import sys

import pytest
import torch
from torch import nn

from oftv2 import bnb_layers
from oftv2.errors import OFTError
from oftv2.int4 import Int4GroupLinear, quantise_groups
from oftv2.quant import (
    dequantise,
    is_forward_only,
    is_quantised,
    keep_trainable,
    linear_4bit,
    quantise_like,
    requantise,
    supports_merge,
    survival_curve,
)
from shared.orthogonal import block_rotate_weight, cayley, packed_length, rotate

bnb = pytest.importorskip("bitsandbytes")

OUT, IN = 64, 128


def weight(out: int = OUT, inp: int = IN, seed: int = 0) -> torch.Tensor:
    return torch.randn(out, inp, generator=torch.Generator().manual_seed(seed)) * 0.05


def int8_linear(W: torch.Tensor) -> nn.Module:
    layer = bnb.nn.Linear8bitLt(W.shape[1], W.shape[0], bias=True, has_fp16_weights=False)
    layer.weight = bnb.nn.Int8Params(W.clone(), requires_grad=False, has_fp16_weights=False)
    return layer.to("cpu")


FORMATS = {
    "plain": lambda W: nn.Linear(IN, OUT).requires_grad_(False),
    "bfloat16": lambda W: nn.Linear(IN, OUT, dtype=torch.bfloat16).requires_grad_(False),
    "nf4": lambda W: linear_4bit(W, nn.Parameter(torch.randn(OUT), requires_grad=False)),
    "nf4_single": lambda W: linear_4bit(W, double_quant=False),
    "nf4_128": lambda W: linear_4bit(W, block_size=128),
    "fp4": lambda W: linear_4bit(W, quant_type="fp4"),
    "nf4_in_bfloat16": lambda W: linear_4bit(W, weight_dtype=torch.bfloat16, quant_storage=torch.bfloat16),
    "int8": int8_linear,
    "int4": lambda W: Int4GroupLinear(W, group_size=64),
}


@pytest.fixture(params=FORMATS)
def layer(request) -> nn.Module:
    torch.manual_seed(0)
    return FORMATS[request.param](weight())


def input_dtype(layer: nn.Module) -> torch.dtype:
    return layer.weight.dtype if type(layer) is nn.Linear else torch.float32


def is_coarse(layer: nn.Module) -> bool:
    """Whether the layer itself rounds to bfloat16 (bitsandbytes does in backward, to the dtype of its state)."""
    state = getattr(getattr(layer, "weight", None), "quant_state", None)
    return torch.bfloat16 in (input_dtype(layer), getattr(state, "dtype", None))


def assert_close(found: torch.Tensor, expected: torch.Tensor, layer: nn.Module) -> None:
    share = 2e-2 if is_coarse(layer) else 1e-5
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=share * expected.abs().max().item())


def test_forward_and_input_gradient_are_those_of_the_dequantised_weight(layer):
    layer.train()
    x = torch.randn(2, 5, IN, dtype=input_dtype(layer), requires_grad=True)
    y = layer(x)
    g = torch.randn_like(y)
    (dx,) = torch.autograd.grad(y, x, g)
    W = dequantise(layer)
    bias = 0 if layer.bias is None else layer.bias.float()
    assert_close(y, x.float() @ W.T + bias, layer)
    assert_close(dx, g.float() @ W, layer)


def test_a_rotation_before_any_format_equals_the_rotated_dequantised_weight(layer):
    """z = Dequant(W_q)ᵀ Rᵀ x: what QOFT needs of a layer is its forward and its input gradient, nothing else."""
    layer.train()
    packed = (torch.randn(IN // 32, packed_length(32)) * 0.05).requires_grad_()
    x = torch.randn(9, IN)
    y = layer(rotate(x, cayley(packed)).to(input_dtype(layer))).float()
    (gradient,) = torch.autograd.grad(y.square().sum(), packed)
    bias = 0 if layer.bias is None else layer.bias.float()
    reference = x @ block_rotate_weight(dequantise(layer), cayley(packed)).T + bias
    (expected,) = torch.autograd.grad(reference.square().sum(), packed)
    assert_close(y, reference.detach(), layer)
    assert_close(gradient, expected, layer)


def test_a_new_weight_keeps_format_bias_and_mode(layer):
    layer.eval()
    before = dequantise(layer).clone()
    new = quantise_like(layer, weight(seed=1))
    assert supports_merge(layer) and is_quantised(layer) is (type(layer) is not nn.Linear)
    assert type(new) is type(layer) and new.bias is layer.bias and not new.training
    assert new.state_dict().keys() == layer.state_dict().keys()
    assert [t.dtype for t in new.state_dict().values()] == [t.dtype for t in layer.state_dict().values()]
    assert torch.equal(dequantise(layer), before)
    step = (dequantise(new) - weight(seed=1)).norm() / weight(seed=1).norm()
    assert step < 0.15


def test_nf4_is_read_as_bitsandbytes_reads_it():
    W = weight()
    for double in (True, False):
        layer = linear_4bit(W, double_quant=double)
        data, state = bnb.functional.quantize_4bit(W, blocksize=64, compress_statistics=double, quant_type="nf4")
        assert torch.equal(dequantise(layer), bnb.functional.dequantize_4bit(data, state))
        assert layer.weight.quant_state.nested is double


def test_a_layer_made_by_bitsandbytes_itself_is_read_and_written():
    layer = bnb.nn.Linear4bit(IN, OUT, bias=False, quant_type="nf4", compute_dtype=torch.float32)
    layer.load_state_dict({"weight": weight()})
    layer.to("cpu")
    assert torch.equal(dequantise(layer), dequantise(linear_4bit(weight())))
    assert torch.equal(dequantise(quantise_like(layer, weight(seed=1))), dequantise(linear_4bit(weight(seed=1))))


def test_int8_is_read_before_and_after_the_first_forward():
    layer = int8_linear(weight())
    fresh = dequantise(layer).clone()
    layer(torch.randn(3, IN))
    assert layer.weight.SCB is None  # moved to the layer's state by that forward
    assert torch.equal(dequantise(layer), fresh)
    # half a step, and the rounding to float16 before it
    row_step = weight().abs().amax(1, keepdim=True) / 127
    assert bool(((fresh - weight()).abs() <= 0.6 * row_step).all())


def rearranged(layer: nn.Module) -> nn.Module:
    """The layer as its first forward in evaluation mode leaves it on a CPU with AVX512-BF16."""
    state = layer.weight.quant_state
    layer.weight.data, _ = bnb.functional._convert_weight_packed_for_cpu(layer.weight.data, state)
    return layer


@pytest.mark.parametrize("options", [{}, {"double_quant": False}, {"quant_type": "fp4"}, {"block_size": 128}])
def test_the_arrangement_for_cpu_inference_is_read_right_and_can_be_undone(options):
    layer = linear_4bit(weight(), **options)
    W = dequantise(layer)
    rearranged(layer)
    # block maxima became bfloat16, codes stayed what they were
    torch.testing.assert_close(dequantise(layer), W, rtol=2**-8, atol=0)
    W = dequantise(layer)
    assert torch.equal(
        dequantise(quantise_like(layer, weight(seed=1))), dequantise(linear_4bit(weight(seed=1), **options))
    )
    assert keep_trainable(nn.Sequential(layer)) == 1
    assert torch.equal(dequantise(layer), W)
    x = torch.randn(3, IN, requires_grad=True)
    (dx,) = torch.autograd.grad(layer.train()(x).sum(), x)
    torch.testing.assert_close(dx, W.sum(0).expand_as(dx), rtol=0, atol=1e-6)


def test_evaluating_between_steps_keeps_gradients_once_asked_to():
    model = nn.Sequential(linear_4bit(weight()))
    assert keep_trainable(model) == 0
    with torch.no_grad():
        model.eval()(torch.randn(3, IN))
    x = torch.randn(3, IN, requires_grad=True)
    model.train()(x).sum().backward()
    torch.testing.assert_close(x.grad, dequantise(model[0]).sum(0).expand(3, -1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("group_size", [32, 64, 128])
def test_int4_is_within_half_a_step_of_the_weight(group_size):
    W = weight() + torch.linspace(-0.2, 0.2, OUT)[:, None]  # groups of one sign too
    W[3] = 0
    codes, scales, _ = quantise_groups(W, group_size)
    assert codes.max() <= 15
    layer = Int4GroupLinear(W, group_size=group_size)
    step = scales.repeat_interleave(group_size, dim=1)
    assert bool(((layer.dequantise() - W).abs() <= 0.5 * step * (1 + 1e-5)).all())
    assert bool((layer.dequantise()[3] == 0).all())


def test_int4_of_its_own_values_is_itself():
    W = Int4GroupLinear(weight()).dequantise()
    torch.testing.assert_close(Int4GroupLinear(W).dequantise(), W, rtol=1e-6, atol=1e-8)


def test_int4_keeps_codes_and_not_the_weight_for_backward():
    layer = Int4GroupLinear(weight())
    kept = []
    x = torch.randn(4, IN, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.numel() * t.element_size()) or t, lambda t: t
    ):
        layer(x)
    assert sum(kept) < OUT * IN
    reloaded = Int4GroupLinear(torch.zeros(OUT, IN))
    reloaded.load_state_dict(layer.state_dict())
    assert torch.equal(reloaded(x), layer(x))


def test_requantising_the_unchanged_weight_costs_one_round_trip_and_has_no_survival():
    layer = linear_4bit(weight())
    W = dequantise(layer)
    data, state = bnb.functional.quantize_4bit(W, blocksize=64, compress_statistics=True, quant_type="nf4")
    own = (bnb.functional.dequantize_4bit(data, state) - W).norm() / W.norm()
    (row,) = requantise({"a": (layer, W)})
    assert row.path == "a" and row.update_norm == 0
    assert row.error == pytest.approx(float(own), rel=1e-5) and row.error < 1e-2
    assert math.isnan(row.surviving)


def test_in_a_format_without_rounding_the_whole_update_survives():
    layer = nn.Linear(IN, OUT)
    (row,) = requantise({"a": (layer, layer.weight.detach() * 1.25)})
    assert row.update_norm == pytest.approx(0.25, rel=1e-6)
    assert row.error == 0 and row.surviving == pytest.approx(1, rel=1e-6)


def test_the_rows_are_the_three_ratios():
    """A hand-made case: int4 with a step of 1 rounds an update of 0.3 away and one of 0.7 up to 1."""
    W = torch.zeros(1, 32)
    W[0, :2] = torch.tensor([-8.0, 7.0])
    layer = Int4GroupLinear(W, group_size=32)
    for change, result in ((0.3, 0.0), (0.7, 1.0)):
        merged = W.clone()
        merged[0, 5] = change
        (row,) = requantise({"a": (layer, merged)})
        scale = W.norm().item()
        assert row.update_norm == pytest.approx(change / scale, rel=1e-6)
        assert row.error == pytest.approx(abs(result - change) / scale, rel=1e-5)
        assert row.surviving == pytest.approx(result / change, rel=1e-5, abs=1e-7)


def test_small_updates_are_rounded_away_and_large_ones_live():
    rows = survival_curve(weight(256, 256), [0.02, 0.08, 0.5])
    assert [(r.kind, round(r.update_norm, 4)) for r in rows] == [
        (kind, size) for kind in ("rotation", "low_rank") for size in (0.02, 0.08, 0.5)
    ]
    for small, middle, large in (rows[:3], rows[3:]):
        assert abs(small.surviving) < 0.1
        assert 0.4 < middle.surviving < 0.9
        assert 0.97 < large.surviving < 1.03
        assert small.error == pytest.approx(0.02, rel=0.15)  # all of the update is error


def test_survival_is_the_same_for_the_same_seed():
    W = weight()
    assert survival_curve(W, [0.1]) == survival_curve(W, [0.1])
    assert survival_curve(W, [0.1]) != survival_curve(W, [0.1], seed=1)


class WQLinear_GEMM(nn.Module):
    """Stands for a kernel's layer: packed weights that nothing but its forward can read."""

    def __init__(self, W: torch.Tensor):
        super().__init__()
        self.out_features, self.in_features = W.shape
        self.register_buffer("qweight", torch.zeros(1, dtype=torch.int32))
        self.register_buffer("scales", torch.ones(1))
        self.hidden = [W]

    def forward(self, x):
        return x @ self.hidden[0].T + 0.5


def test_forward_only_layers_are_read_through_their_forward_and_not_written():
    W = weight(24, 1030)
    layer = WQLinear_GEMM(W)
    assert is_forward_only(layer) and not supports_merge(layer)
    torch.testing.assert_close(dequantise(layer), W, rtol=0, atol=1e-6)
    with pytest.raises(OFTError, match=r"WQLinear_GEMM is packed for its kernel .* keep the adapter unmerged"):
        quantise_like(layer, W)
    with pytest.raises(OFTError, match=r"^model.q_proj: WQLinear_GEMM"):
        requantise({"model.q_proj": (layer, W)})


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: dequantise(nn.Conv2d(1, 1, 1)), "Conv2d is none of the known linear layers"),
        (lambda: quantise_like(linear_4bit(weight()), weight(32)), r"shape \(64, 128\), not \(32, 128\)"),
        (lambda: quantise_like(linear_4bit(weight()), weight() / 0), "NaN or infinite"),
        (lambda: Int4GroupLinear(torch.randn(4, 96), group_size=64), "groups of 64 columns do not divide"),
        (lambda: Int4GroupLinear(torch.randn(4, 96), group_size=48), "group_size must be one of 32, 64, 128, not 48"),
        (lambda: linear_4bit(weight(), block_size=48), "bitsandbytes cannot quantise a weight of shape"),
        (lambda: linear_4bit(weight(), quant_type="int4"), "quant_type must be"),
        (lambda: survival_curve(weight(), [0.1], ["dense"]), "kinds must be among rotation, low_rank, not 'dense'"),
        (lambda: survival_curve(weight(), [0.0]), "above 0, not 0.0"),
        (lambda: survival_curve(weight(), [2.5], ["rotation"]), "no rotation of blocks of 32"),
        (
            lambda: quantise_like(bnb.nn.Linear4bit(IN, OUT), weight()),
            "never moved to a device holds no 4-bit weight yet",
        ),
    ],
)
def test_bad_input_is_one_sentence(call, sentence):
    with pytest.raises(OFTError, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_said_in_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(OFTError, match="need the package bitsandbytes, which is not installed"):
        bnb_layers.linear_4bit(weight())


def test_a_deep_copy_reads_the_same():
    layer = linear_4bit(weight())
    assert torch.equal(dequantise(copy.deepcopy(layer)), dequantise(layer))

"""The weight-centric baseline: the same function and the same training trajectory as rotating inputs exactly."""

from __future__ import annotations

import copy
from importlib.util import find_spec

import pytest
import torch
from models import tiny_llama
from torch import nn

from oftv2.errors import OFTError
from oftv2.v1 import OFTv1Linear, inject_v1
from shared.orthogonal import cayley, packed_length, rotate

STEPS = 3


def train(model: nn.Module, parameters: list[nn.Parameter], lr: float = 2e-2) -> list[float]:
    generator = torch.Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0)
    losses = []
    for _ in range(STEPS + 1):
        ids = torch.randint(0, 96, (4, 12), generator=generator)
        loss = model(input_ids=ids, labels=ids).loss
        losses.append(loss.item())
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return losses


def train_v1(form: str) -> tuple[list[float], dict[str, torch.Tensor]]:
    model = tiny_llama()
    handle = inject_v1(model, form=form)
    losses = train(model, handle.parameters())
    return losses, {path: p.detach().clone() for path, p in handle.named_packed().items()}


def train_input_centric() -> tuple[list[float], dict[str, torch.Tensor]]:
    """x → rotate(x, cayley(Q)) before each frozen linear layer, with nothing of the package in it."""
    model = tiny_llama().requires_grad_(False)
    packed = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear) and path != "lm_head":
            packed[path] = nn.Parameter(torch.zeros(module.in_features // 32, packed_length(32)))
            module.register_forward_pre_hook(lambda _, args, p=packed[path]: (rotate(args[0], cayley(p)),))
    return train(model, list(packed.values())), {path: p.detach() for path, p in packed.items()}


@pytest.mark.parametrize("form", ["dense", "blockwise"])
def test_trajectory_is_that_of_rotating_inputs(form):
    losses, packed = train_v1(form)
    expected, reference = train_input_centric()
    assert packed.keys() == reference.keys() and len(packed) == 14
    assert losses == pytest.approx(expected, abs=1e-4)
    assert abs(losses[-1] - losses[0]) > 1e-2  # the parameters did move the loss
    for path in packed:
        torch.testing.assert_close(packed[path], reference[path], atol=2e-3, rtol=0)


@pytest.mark.skipif(find_spec("oftv2.inject") is None, reason="oftv2.inject is not there")
def test_trajectory_is_that_of_oftv2_with_exact_cayley():
    from oftv2.config import OFTConfig
    from oftv2.inject import inject

    model = tiny_llama()
    handle = inject(model, OFTConfig(block_size=32, parameterization="cayley"))
    losses = train(model, handle.parameters())
    assert train_v1("dense")[0] == pytest.approx(losses, abs=1e-4)


def random_layer(form: str = "dense", parameterization: str = "cayley") -> OFTv1Linear:
    torch.manual_seed(0)
    layer = OFTv1Linear(nn.Linear(12, 5).double(), 4, form, parameterization).double()
    with torch.no_grad():
        layer.packed.normal_(std=0.3)
    return layer


def test_forms_agree_in_value_and_gradient():
    x = torch.randn(3, 7, 12, dtype=torch.float64)
    results = []
    for form in ("dense", "blockwise"):
        layer, inputs = random_layer(form), x.clone().requires_grad_()
        y = layer(inputs)
        y.square().sum().backward()
        results.append((y.detach(), inputs.grad, layer.packed.grad))
    for dense, blockwise in zip(*results, strict=True):
        torch.testing.assert_close(dense, blockwise, atol=1e-12, rtol=0)


def test_gradient_is_the_numerical_one():
    layer = random_layer("blockwise")
    x = torch.randn(2, 12, dtype=torch.float64, requires_grad=True)

    def product(x, packed):
        return torch.func.functional_call(layer, {"packed": packed}, (x,))

    assert torch.autograd.gradcheck(product, (x, layer.packed))


@pytest.mark.parametrize("form", ["dense", "blockwise"])
def test_peft_sign_is_the_formula_of_peft_0_15(form):
    """PEFT <= 0.15: S = (data - dataᵀ)/2, R = (I - S)(I + S)⁻¹, W' = (R Wᵀ)ᵀ block by block."""
    layer = random_layer(form, "cayley_peft_exact")
    data = torch.randn(3, 4, 4, dtype=torch.float64)
    S = (data - data.mT) / 2
    eye = torch.eye(4, dtype=torch.float64)
    R = (eye - S) @ torch.linalg.inv(eye + S)
    W = layer.base_layer.weight
    expected = torch.cat([W[:, 4 * k : 4 * k + 4] @ R[k].T for k in range(3)], dim=1)
    rows, columns = torch.triu_indices(4, 4, 1)
    with torch.no_grad():
        layer.packed.copy_(S[:, rows, columns])
    torch.testing.assert_close(layer.rotated_weight(), expected, atol=1e-12, rtol=0)


def test_fresh_layers_equal_their_base():
    model = tiny_llama()
    ids = torch.arange(10)[None]
    with torch.no_grad():
        expected = model(ids).logits
        handle = inject_v1(model, form="blockwise")
        assert torch.equal(model(ids).logits, expected)
        handle.remove()
        assert torch.equal(model(ids).logits, expected)
    assert not any(isinstance(m, OFTv1Linear) for m in model.modules())


def test_only_packed_parameters_train_and_the_head_is_left_out():
    model = tiny_llama()
    handle = inject_v1(model)
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(p) for p in handle.parameters()}
    assert type(model.lm_head) is nn.Linear
    assert handle.parameter_count() == sum(layer.base_layer.in_features * 31 // 2 for layer in handle.layers().values())


def test_blockwise_never_keeps_a_matrix_of_width_by_width():
    kept = {}
    for form in ("dense", "blockwise"):
        layer = OFTv1Linear(nn.Linear(64, 24), 8, form)
        shapes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=shapes: s.append(t.shape) or t, lambda t: t):
            layer(torch.randn(3, 64)).sum()
        kept[form] = (64, 64) in [tuple(s) for s in shapes]
    assert kept == {"dense": True, "blockwise": False}


def test_targets_are_suffixes_or_a_pattern():
    assert len(inject_v1(tiny_llama(), target_modules=["q_proj", "mlp.up_proj"]).layers()) == 4
    assert len(inject_v1(tiny_llama(), target_modules=("model.layers.1.self_attn.o_proj",)).layers()) == 1
    assert len(inject_v1(tiny_llama(), target_modules=r".*\.layers\.0\..*(gate|up)_proj").layers()) == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"target_modules": ["proj"]}, "no linear layer of LlamaForCausalLM matches"),
        ({"target_modules": "(q_proj"}, "is no regular expression"),
        ({"target_modules": ["self_attn"]}, "^model.layers.0.self_attn: .* not LlamaAttention"),
        ({"form": "fast"}, "form must be one of dense, blockwise, not 'fast'"),
        ({"parameterization": "cayley_neumann"}, "exact maps"),
        ({"block_size": 1}, "block_size must be a whole number of at least 2, not 1"),
    ],
)
def test_bad_settings_are_refused_and_leave_the_model_as_it_was(options, sentence):
    model = tiny_llama()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(OFTError, match=sentence):
        inject_v1(model, **options)
    assert before.keys() == model.state_dict().keys()
    assert all(p.requires_grad for p in model.parameters())


def test_a_quantised_weight_is_refused_by_name():
    pytest.importorskip("bitsandbytes")
    from oftv2.quant import linear_4bit

    model = nn.Sequential(nn.Linear(64, 64), linear_4bit(torch.randn(64, 64)))
    with pytest.raises(OFTError, match=r"^1: OFTv1 rotates the weight itself .* not Linear4bit"):
        inject_v1(model)

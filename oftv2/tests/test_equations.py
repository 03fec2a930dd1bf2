"""The method's equations against dense references: OFTv2 §3, §4, and the values that PEFT computes."""

from __future__ import annotations

import pytest
import torch
from models import fill_adapter, tiny_llama
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, BartConfig, BartForConditionalGeneration
from transformers.pytorch_utils import Conv1D

from oftv2 import OFTConfig, inject, rotation_from
from oftv2.rotation import PARAMETERIZATIONS, project_to_ball
from shared.orthogonal import rotate, unpack_skew

GOLDEN = [
    ("cayley_neumann", 1, [1, 2, 3]),
    ("cayley_neumann", 2, [1.8, 0.4, 3.8]),
    ("cayley_neumann", 3, [2.064, 0.352, 3.104]),
    ("cayley_neumann", 4, [2.064, 0.352, 3.104]),
    ("cayley_neumann", 5, [1.9856, 0.4752, 3.0928]),
    ("cayley_neumann", 6, [1.97104, 0.47072, 3.14544]),
    ("cayley", 5, [1.98245614, 0.45614035, 3.14035088]),
    ("cayley_peft_exact", 5, [0.57894737, 3.26315789, 1.73684211]),
    ("cayley_neumann_017", 5, [1.9632, 0.4864, 3.1376]),
]


@pytest.mark.parametrize(("name", "terms", "expected"), GOLDEN)
def test_golden_values(name, terms, expected):
    packed = torch.tensor([[0.1, -0.2, 0.3]], dtype=torch.float64)
    y = rotate(torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64), rotation_from(packed, name, terms))
    torch.testing.assert_close(y, torch.tensor([expected], dtype=torch.float64), rtol=0, atol=1e-7)


@pytest.mark.parametrize("terms", range(4, 9))
def test_singular_values_follow_the_closed_form(terms):
    theta = 0.5
    R = rotation_from(torch.tensor([[theta]], dtype=torch.float64), "cayley_neumann", terms)
    expected = {
        4: (1 + theta**6) ** 0.5,
        5: 1 - theta**4,
        6: (1 + theta**10) ** 0.5,
        7: 1 + theta**6,
        8: (1 + theta**14) ** 0.5,
    }
    torch.testing.assert_close(
        torch.linalg.svdvals(R), torch.full((1, 2), expected[terms], dtype=torch.float64), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("terms", range(1, 13))
def test_old_series_doubles_every_power(terms):
    packed = torch.linspace(-0.3, 0.3, 6, dtype=torch.float64)[None]
    Q = unpack_skew(packed)
    expected = torch.eye(4, dtype=torch.float64) + 2 * sum(
        (torch.linalg.matrix_power(Q, i) for i in range(1, terms)), torch.zeros_like(Q)
    )
    torch.testing.assert_close(rotation_from(packed, "cayley_neumann_017", terms), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_every_parameterization_turns_the_same_way_but_pefts_exact_form(name):
    packed = torch.linspace(-0.02, 0.02, 6, dtype=torch.float64)[None]
    first_order = rotation_from(packed, name) - torch.eye(4, dtype=torch.float64)
    sign = -1 if name == "cayley_peft_exact" else 1
    torch.testing.assert_close(first_order, sign * 2 * unpack_skew(packed), rtol=0, atol=5e-3)


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_gradient_of_every_parameterization(name):
    packed = (torch.randn(2, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.2).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: rotation_from(p, name), packed)


def dense(R, d):
    return torch.block_diag(*(R if R.shape[0] > 1 else R.expand(d // R.shape[-1], -1, -1)))


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_linear_is_its_equation(share, bias):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 5, bias=bias)).double()
    x = torch.randn(3, 7, 12, dtype=torch.float64)
    W, b = model[0].weight.detach(), model[0].bias
    handle = inject(model, OFTConfig(block_size=4, block_share=share, target_modules=("0",)))
    fill_adapter(handle, scale=0.2)
    R = dense(handle.rotations()["0"].double(), 12)
    expected = x @ R @ W.T + (b if bias else 0)
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-6)


def test_conv1d_stores_its_weight_the_other_way():
    torch.manual_seed(0)
    model = nn.Sequential(Conv1D(5, 12))
    x = torch.randn(3, 12)
    handle = inject(model, OFTConfig(block_size=4, target_modules=("0",)))
    fill_adapter(handle, scale=0.2)
    y = model(x)
    expected = x @ dense(handle.rotations()["0"], 12) @ model[0].base_layer.weight + model[0].base_layer.bias
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6)
    handle.merge()
    torch.testing.assert_close(model(x), y, rtol=1e-5, atol=1e-6)


def test_embedding_rotates_its_output():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(10, 12))
    ids = torch.tensor([[1, 2, 9]])
    handle = inject(model, OFTConfig(block_size=4, target_modules=("0",)))
    fill_adapter(handle, scale=0.2)
    y = model(ids)
    expected = model[0].base_layer.weight[ids] @ dense(handle.rotations()["0"], 12)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6)
    handle.merge()
    torch.testing.assert_close(model(ids), y, rtol=1e-5, atol=1e-6)


def test_constrained_blocks_lie_on_their_ball():
    packed = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    projected = project_to_ball(packed, 0.1)
    norms = unpack_skew(projected).flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.full((4,), 0.1 / 2), rtol=1e-5, atol=0)
    inside = packed * 1e-4
    assert torch.equal(project_to_ball(inside, 0.1), inside)


LLAMA_7B = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
LLAMA_13B = {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40}
QWEN_1_5B = {
    "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
    "num_attention_heads": 12, "num_key_value_heads": 2,
}  # fmt: skip
QWEN_7B = {
    "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4,
}  # fmt: skip
QWEN_32B = {
    "hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64,
    "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128,
}  # fmt: skip
SMOLLM2 = {
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "shape", "expected"),
    [
        ("llama", LLAMA_7B, 17_649_664),
        ("llama", LLAMA_13B, 27_617_280),
        ("qwen2", QWEN_1_5B, 7_888_384),
        ("qwen2", QWEN_7B, 17_554_432),
        ("qwen2", QWEN_32B, 57_901_056),
        ("llama", SMOLLM2, 2_321_280),
    ],
    ids=["Llama-2-7B", "Llama-2-13B", "Qwen2.5-1.5B", "Qwen2.5-7B", "Qwen2.5-32B", "SmolLM2-135M"],
)
def test_parameter_counts_of_the_paper(kind, shape, expected):
    """OFTv2 Tables 1, 2 and 4: block size 32 on every linear layer of the decoder."""
    config = AutoConfig.for_model(kind, **shape, vocab_size=1000)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert inject(model, OFTConfig(block_size=32)).parameter_count() == expected


@pytest.mark.parametrize(("block", "expected"), [(16, 2_027_520), (32, 4_190_208), (64, 8_515_584)])
def test_parameter_counts_of_bart_large(block, expected):
    """OFTv2 Table 3."""
    config = BartConfig(vocab_size=1000)  # the other defaults are those of facebook/bart-large
    with torch.device("meta"):
        model = BartForConditionalGeneration(config)
    assert inject(model, OFTConfig(block_size=block)).parameter_count() == expected


def test_fresh_adapter_is_the_base_model_bit_for_bit():
    model = tiny_llama()
    ids = torch.arange(10)[None]
    before = model(ids).logits
    inject(model, OFTConfig(block_size=16))
    assert torch.equal(model(ids).logits, before)

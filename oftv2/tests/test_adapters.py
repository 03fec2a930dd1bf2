"""Several adapters on one model: composition, strength, switching, merging."""

from __future__ import annotations

import copy

import pytest
import torch
from models import fill, fill_adapter, gradients, relative, tiny_llama, tokens
from torch import nn

from oftv2 import OFTConfig, OFTError, inject


def adapted(count: int = 1, block_size: int = 16, dtype=torch.float32, **config):
    model = tiny_llama(dtype)
    names = ["default", "second", "third"][:count]
    for i, name in enumerate(names):
        handle = inject(model, OFTConfig(block_size=block_size, **config), name)
        fill_adapter(handle, name, seed=10 + i)
    handle.set_active(names)
    return model, handle


@pytest.mark.parametrize("count", [1, 2, 3])
def test_merged_equals_unmerged(count):
    model, handle = adapted(count)
    y = model(tokens()).logits
    report = handle.merge()
    assert len(report.modules) == 14
    torch.testing.assert_close(model(tokens()).logits, y, rtol=1e-5, atol=1e-5)


def test_adapters_compose_in_their_order():
    model, handle = adapted(2)
    there = model(tokens()).logits
    handle.set_active(["second", "default"])
    assert relative(model(tokens()).logits, there) > 1e-4  # rotations do not commute
    handle.merge()
    handle.unmerge()
    handle.set_active(["default", "second"])
    assert torch.equal(model(tokens()).logits, there)


def test_adapters_of_different_blocks_compose():
    model = tiny_llama()
    inject(model, OFTConfig(block_size=16), "wide")
    handle = inject(model, OFTConfig(block_size=4), "narrow")
    fill_adapter(handle, "wide")
    fill_adapter(handle, "narrow", seed=3)
    handle.set_active(["wide", "narrow"])
    y = model(tokens()).logits
    handle.merge()
    torch.testing.assert_close(model(tokens()).logits, y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("keep_base", [True, False])
def test_unmerge_restores(keep_base):
    model, handle = adapted(2)
    y = model(tokens()).logits
    weights = copy.deepcopy(model.model.layers[0].mlp.up_proj.base_layer.weight)
    handle.merge(keep_base=keep_base)
    handle.unmerge()
    after = model.model.layers[0].mlp.up_proj.base_layer.weight
    if keep_base:
        assert torch.equal(after, weights)
        assert torch.equal(model(tokens()).logits, y)
    else:
        torch.testing.assert_close(after, weights, rtol=0, atol=1e-6)


def test_merge_in_bfloat16():
    model, handle = adapted(1, dtype=torch.bfloat16)
    y = model(tokens()).logits.float()
    handle.merge()
    assert relative(model(tokens()).logits.float(), y) < 2e-2


def test_merge_into_another_dtype():
    model, handle = adapted(1, dtype=torch.bfloat16)
    handle.merge(into="float32")
    assert model.model.layers[0].mlp.up_proj.weight.dtype == torch.float32
    handle.unmerge()
    assert model.model.layers[0].mlp.up_proj.weight.dtype == torch.bfloat16


def test_exact_merge_keeps_singular_values():
    model = tiny_llama()
    before = torch.linalg.svdvals(model.model.layers[0].mlp.down_proj.weight)
    handle = inject(model, OFTConfig(block_size=16, parameterization="cayley"))
    fill_adapter(handle, scale=0.2)
    handle.merge()
    after = torch.linalg.svdvals(model.model.layers[0].mlp.down_proj.weight)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-6)


def test_strength_zero_is_the_base_and_one_the_adapter():
    model = tiny_llama()
    base = model(tokens()).logits
    handle = inject(model, OFTConfig(block_size=16))
    fill_adapter(handle)
    full = model(tokens()).logits
    handle.scale(alpha=0)
    assert torch.equal(model(tokens()).logits, base)
    handle.scale(alpha=1)
    assert torch.equal(model(tokens()).logits, full)


def test_strength_minus_one_inverts_an_exact_rotation():
    model = nn.Sequential(nn.Linear(16, 16, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(16))
    handle = inject(model, OFTConfig(block_size=8, parameterization="cayley", target_modules=("0",)))
    fill_adapter(handle, scale=0.3)
    x = torch.randn(5, 16)
    y = model(x)
    handle.scale(alpha=-1)
    torch.testing.assert_close(model(y), x, rtol=0, atol=1e-5)


def test_disabled_gives_the_base_and_comes_back():
    model = tiny_llama()
    base = model(tokens()).logits
    handle = inject(model, OFTConfig(block_size=16))
    fill_adapter(handle)
    full = model(tokens()).logits
    with handle.disabled():
        assert torch.equal(model(tokens()).logits, base)
    assert torch.equal(model(tokens()).logits, full)


def test_unload_after_merge_is_a_plain_model():
    model, handle = adapted(1)
    y = model(tokens()).logits
    handle.merge()
    plain = handle.unload()
    assert not any("base_layer" in name for name, _ in plain.named_parameters())
    torch.testing.assert_close(plain(tokens()).logits, y, rtol=1e-5, atol=1e-5)
    again = inject(plain, OFTConfig(block_size=16))
    assert again.names == ["default"]


def test_modules_to_save_train_and_switch():
    model = tiny_llama()
    base = model(tokens()).logits
    handle = inject(model, OFTConfig(block_size=16, modules_to_save=("lm_head",)))
    assert model.lm_head.weight.requires_grad
    fill([model.lm_head.weight], seed=5)
    changed = model(tokens()).logits
    with handle.disabled():
        assert torch.equal(model(tokens()).logits, base)
        assert not model.lm_head.weight.requires_grad
    assert torch.equal(model(tokens()).logits, changed)


def test_tied_head_is_untied_before_it_trains():
    model = tiny_llama(tie_word_embeddings=True)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    inject(model, OFTConfig(block_size=16, modules_to_save=("lm_head",)))
    assert model.lm_head.weight is not model.model.embed_tokens.weight
    assert not model.model.embed_tokens.weight.requires_grad


def test_merging_a_tied_embedding_needs_consent():
    model = tiny_llama(tie_word_embeddings=True)
    handle = inject(model, OFTConfig(block_size=16, target_modules=("embed_tokens",)))
    fill_adapter(handle)
    head = model.lm_head.weight.clone()
    y = model(tokens()).logits
    with pytest.raises(OFTError, match="tied to lm_head.weight"):
        handle.merge()
    handle.merge(untie=True)
    assert torch.equal(model.lm_head.weight, head)
    torch.testing.assert_close(model(tokens()).logits, y, rtol=1e-5, atol=1e-5)
    handle.unmerge()
    assert model.lm_head.weight is model.model.embed_tokens.base_layer.weight


def test_rescale_is_a_factor_of_each_output():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 6))
    x = torch.randn(3, 16)
    base = model(x)
    bias = model[0].bias.detach().clone()
    handle = inject(model, OFTConfig(block_size=8, rescale=True, target_modules=("0",)))
    factor = torch.arange(1.0, 7.0)
    with torch.no_grad():
        model[0].rescale["default"].copy_(factor)
    torch.testing.assert_close(model(x), (base - bias) * factor + bias, rtol=1e-5, atol=1e-6)
    y = model(x)
    handle.merge()
    torch.testing.assert_close(model(x), y, rtol=1e-5, atol=1e-6)


def test_only_the_adapter_trains():
    model, handle = adapted(1)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable == {f"{path}.packed.default" for path in handle.layers()}
    grads = gradients(model, handle.parameters(), tokens())
    assert all(bool(g.abs().sum() > 0) for g in grads)


def test_constrained_adapter_is_projected_after_the_step():
    model = tiny_llama()
    handle = inject(model, OFTConfig(block_size=16, coft=True, eps=1e-3))
    fill_adapter(handle)
    handle.after_step()
    for layer in handle.layers().values():
        packed = layer.packed["default"]
        assert float(packed.norm(dim=-1).max() * 2**0.5) <= 1e-3 / packed.shape[0] ** 0.5 * (1 + 1e-5)


def test_large_angles_are_told_once(recwarn):
    model = tiny_llama()
    handle = inject(model, OFTConfig(block_size=16))
    fill_adapter(handle, scale=0.3)
    for _ in range(60):
        handle.after_step()
    told = [w for w in recwarn if "largest angle" in str(w.message)]
    assert len(told) == 1


def test_report_has_angles_and_errors():
    _, handle = adapted(1)
    rows = handle.report()
    assert len(rows) == 14
    assert all(row["theta_max"] > 0 and 0 < row["orthogonality_error"] < 0.1 for row in rows)

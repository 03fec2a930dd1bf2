"""When rotations are built, what is kept for backward, and that none of it changes a gradient."""

from __future__ import annotations

import pytest
import torch
from models import fill_adapter, gradients, relative, tiny_llama, tokens
from torch import nn

from oftv2 import OFTConfig, OFTError, inject


def model_with(seed_model=None, checkpointing=False, **options):
    model = tiny_llama().train()
    config = options.pop("config", {})
    handle = inject(model, OFTConfig(block_size=16, **config), **options)
    fill_adapter(handle)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model, handle


def reference():
    model, handle = model_with(fuse=False)
    return gradients(model, handle.parameters(), tokens())


@pytest.mark.parametrize(
    "options",
    [{}, {"recompute_inputs": True}, {"checkpointing": True}, {"checkpointing": True, "recompute_inputs": True}],
    ids=str,
)
def test_gradients_do_not_depend_on_what_is_kept(options):
    model, handle = model_with(**options)
    for ours, expected in zip(gradients(model, handle.parameters(), tokens()), reference(), strict=True):
        assert relative(ours, expected) < 1e-5


@pytest.mark.parametrize("checkpointing", [False, True])
def test_step_build_equals_graph_build(checkpointing):
    model, handle = model_with(build="step", checkpointing=checkpointing)
    model(tokens(), labels=tokens()).loss.backward()
    handle.finish_gradients()
    for parameter, expected in zip(handle.parameters(), reference(), strict=True):
        assert relative(parameter.grad, expected) < 1e-5


def test_step_build_builds_once_an_optimiser_step():
    model, handle = model_with(build="step")
    optimizer = torch.optim.SGD(handle.parameters(), lr=0.1)
    for step in range(3):
        for micro in range(8):
            model(tokens(seed=micro), labels=tokens(seed=micro)).loss.backward()
        handle.finish_gradients()
        optimizer.step()
        optimizer.zero_grad()
        assert handle.bank.builds == step + 1


def test_accumulated_step_gradients_are_the_sum():
    model, handle = model_with(build="step")
    for seed in range(3):
        model(tokens(seed=seed), labels=tokens(seed=seed)).loss.backward()
    handle.finish_gradients()
    summed = [p.grad.clone() for p in handle.parameters()]
    model, handle = model_with()
    for seed in range(3):
        model(tokens(seed=seed), labels=tokens(seed=seed)).loss.backward()
    for a, p in zip(summed, handle.parameters(), strict=True):
        assert relative(a, p.grad) < 1e-5


def test_graph_build_builds_once_a_forward_under_checkpointing():
    model, handle = model_with(checkpointing=True)
    for forward in range(1, 4):
        model(tokens(), labels=tokens()).loss.backward()
        assert handle.bank.builds == forward


def test_evaluation_builds_once_until_something_changes():
    model, handle = model_with()
    with torch.no_grad():
        for _ in range(3):
            model(tokens())
        assert handle.bank.builds == 1
        handle.parameters()[0].add_(0.01)
        model(tokens())
    assert handle.bank.builds == 2


def test_training_after_inference_mode():
    model, handle = model_with()
    with torch.inference_mode():
        model(tokens())
    for ours, expected in zip(gradients(model, handle.parameters(), tokens()), reference(), strict=True):
        assert relative(ours, expected) < 1e-5


def test_two_forwards_before_their_backwards():
    model, handle = model_with()
    losses = [model(tokens(seed=s), labels=tokens(seed=s)).loss for s in (1, 2)]
    for loss in losses:
        loss.backward()
    assert all(p.grad is not None for p in handle.parameters())


def test_the_decoder_body_alone_trains_too():
    """Losses that skip the head call the body directly, past the root's hooks."""
    model, handle = model_with()
    for _ in range(2):
        model.model(tokens()).last_hidden_state.sum().backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in handle.parameters())


def test_a_layer_alone_builds_its_own_rotation():
    model, _ = model_with()
    layer = model.model.layers[0].mlp.up_proj
    x = torch.randn(3, 64)
    for _ in range(2):
        layer(x).sum().backward()
    assert bool(layer.packed["default"].grad.abs().sum() > 0)


class CrossAttention(nn.Module):
    """Query reads one input, key and value another: the siblings' names alone do not make a group."""

    def __init__(self):
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(16, 16) for _ in range(3))

    def forward(self, x, context):
        return self.to_q(x), self.to_k(context), self.to_v(context)


def test_siblings_with_different_inputs_part():
    torch.manual_seed(0)
    model = CrossAttention()
    x, context = torch.randn(4, 16), torch.randn(6, 16)
    handle = inject(model, OFTConfig(block_size=4))
    fill_adapter(handle, scale=0.3)
    for _ in range(3):
        q, k, v = model(x, context)
        for y, source, name in ((q, x, "to_q"), (k, context, "to_k"), (v, context, "to_v")):
            torch.testing.assert_close(y, model.get_submodule(name)(source), rtol=1e-5, atol=1e-6)


def kept_bytes(model, ids, frozen):
    seen = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def pack(t):
        pointer = t.untyped_storage().data_ptr()
        if pointer not in seen:
            kept[pointer] = (t.untyped_storage().nbytes(), t.dtype)
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        hidden = model.model.embed_tokens(ids).detach().requires_grad_()
        out = model.model(inputs_embeds=hidden, use_cache=False).last_hidden_state
    del out
    return kept


def test_bfloat16_base_keeps_no_float32_activation():
    model = tiny_llama(torch.bfloat16).train()
    handle = inject(model, OFTConfig(block_size=16))
    fill_adapter(handle)
    ids = tokens(4, 32)
    frozen = tiny_llama(torch.bfloat16).train().requires_grad_(False)
    before = [size for size, dtype in kept_bytes(frozen, ids, True).values() if dtype == torch.float32]
    after = [size for size, dtype in kept_bytes(model, ids, False).values() if dtype == torch.float32]
    activation = ids.numel() * 64 * 4
    # RMSNorm itself works in float32; the adapter adds no float32 tensor of an activation's size.
    assert sum(size >= activation for size in after) <= sum(size >= activation for size in before)


def test_block_dropout_acts_in_training_only():
    model, _ = model_with(config={"block_dropout": 0.5})
    with torch.no_grad():
        first, second = model(tokens()).logits, model(tokens()).logits
        model.eval()
        quiet = model(tokens()).logits
    assert not torch.equal(first, quiet)
    plain, _ = model_with()
    with torch.no_grad():
        assert torch.equal(plain.eval()(tokens()).logits, quiet)
    del second


def test_block_dropout_draws_anew_each_training_forward():
    model, _ = model_with(config={"block_dropout": 0.5})
    first = model(tokens()).logits
    assert not torch.equal(model(tokens()).logits, first)


def test_nearly_full_dropout_is_the_base():
    model = nn.Sequential(nn.Linear(64, 8))
    x = torch.randn(3, 64)
    base = model(x)
    handle = inject(model, OFTConfig(block_size=2, block_dropout=0.99, target_modules=("0",)))
    fill_adapter(handle, scale=0.3)
    model.train()
    # int(0.99 * 32) = 31 of 32 blocks are replaced: at most two inputs are turned
    turned = (model(x) - base).norm() / base.norm()
    model.eval()
    assert float(turned) < 0.5 * float((model(x) - base).norm() / base.norm())


def test_block_dropout_under_checkpointing():
    grads = []
    for checkpointing in (False, True):
        model, handle = model_with(config={"block_dropout": 0.3}, checkpointing=checkpointing)
        torch.manual_seed(7)
        grads.append(gradients(model, handle.parameters(), tokens()))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)


def test_step_build_refuses_block_dropout():
    model, _ = model_with(build="step", config={"block_dropout": 0.5})
    with pytest.raises(OFTError, match="cannot drop blocks"):
        model(tokens())


def test_compiled_decoder_layer_equals_eager():
    model, _ = model_with()
    layer = model.model.layers[0]
    x = torch.randn(2, 9, 64, requires_grad=True)
    position = model.model.rotary_emb(x, torch.arange(9)[None])
    parameters = [p for n, p in layer.named_parameters() if p.requires_grad]

    def run(module):
        y = module(x, position_embeddings=position, attention_mask=None)
        return torch.autograd.grad((y[0] if isinstance(y, tuple) else y).square().sum(), [x, *parameters])

    eager = run(layer)
    compiled = run(torch.compile(layer, fullgraph=True, backend="aot_eager"))
    for a, b in zip(compiled, eager, strict=True):
        assert relative(a, b) < 1e-4

"""Merging: the spectrum over thousands of merges, the trust region, and the optimizer's state."""

from __future__ import annotations

import pytest
import torch
from models import linear, tiny_llama, tokens, turn

from poet import PoetConfig, PoetLinear, PoetOptimizer, VectorProbe, merge_all, wrap
from poet.diagnostics import spectrum, spectrum_drift
from poet.evaluation import Batch, summed_loss
from poet.linear import poet_layers
from poet.merge import beyond_trust
from shared.orthogonal import packed_length, spectral_angle

SHAPES = {
    "square": PoetConfig(block=4, init="keep"),
    "fs": PoetConfig(variant="full", block=0.5, init="keep"),
    "ragged": PoetConfig(block=5, on_indivisible="ragged", init="keep"),
    "two sizes": PoetConfig(block=(4, 8), init="keep"),
    "P only": PoetConfig(block=(0, 4), init="keep"),
}


def sigma(layer: PoetLinear) -> torch.Tensor:
    return torch.linalg.svdvals(layer.base().double())


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("bias", [False, True])
def test_a_merge_leaves_the_function_and_begins_a_new_interval(config, bias):
    layer = PoetLinear(linear(16, 24, bias), config, "layer")
    turn(layer, 0.03)
    x = torch.randn(5, 24, dtype=torch.float64)
    before, index = layer(x).detach(), layer.index_in.clone()
    stats = layer.merge()
    torch.testing.assert_close(layer(x).detach(), before, rtol=1e-6, atol=1e-6)
    assert stats.jump < 1e-6 and stats.interval == 0 and int(layer.interval) == 1
    assert all(bool((Q == 0).all()) for Q in layer.Q) and not torch.equal(layer.index_in, index)


def test_an_early_merge_keeps_the_pattern():
    layer = PoetLinear(linear(16, 24), PoetConfig(block=4, init="keep"), "layer")
    turn(layer)
    index = layer.index_in.clone()
    layer.merge(advance=False)
    assert int(layer.interval) == 0 and torch.equal(layer.index_in, index)


def merged(count: int, **settings) -> tuple[torch.Tensor, torch.Tensor]:
    """Spectra of a 64×96 float32 weight before and after merges of random rotations with ‖Q‖_F = 0.42."""
    layer = PoetLinear(linear(64, 96, dtype=torch.float32), PoetConfig(block=32, theta_max=None, **settings), "layer")
    start = sigma(layer)
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        with torch.no_grad():
            for Q in layer.Q:
                v = torch.randn(Q.shape, generator=generator)
                Q.copy_(v * (0.42 / 2**0.5 / v.norm(dim=-1, keepdim=True)))
        layer.merge()
    return start, sigma(layer)


def test_three_thousand_polar_merges_keep_the_spectrum():
    start, end = merged(3000)
    assert spectrum_drift(end, start) < 1e-5


def test_a_thousand_merges_of_the_paper_s_series_shrink_the_spectrum_and_of_an_even_one_do_not():
    start, end = merged(1000, merge="series", terms=3)
    assert 0.10 < 1 - float(end.sum() / start.sum()) < 0.14
    start, end = merged(1000, merge="series", terms=4)
    assert spectrum_drift(end, start) < 1e-5


@pytest.mark.parametrize("merge", ["polar", "cayley"])
def test_merged_rotations_are_orthogonal(merge):
    layer = PoetLinear(linear(16, 16), PoetConfig(block=8, merge=merge), "layer")
    turn(layer)
    for Q in layer.Q:
        X = layer.parameterization.merged(Q, merge)
        eye = torch.eye(8, dtype=torch.float64).expand_as(X)
        torch.testing.assert_close(X @ X.mT, eye, rtol=0, atol=1e-11)
        torch.testing.assert_close(torch.linalg.det(X), torch.ones(len(X), dtype=torch.float64))


# -- the trust region


def train(theta_max: float | None, merge: str, steps: int) -> tuple[float, float, int]:
    """(drift, σ_max growth, early merges) of a small Llama on the topics of pydoc, byte by byte, at a rate that is far
    too high: b = 64, lr 1e-2, T_m = 25."""
    from pydoc_data.topics import topics

    ids = torch.tensor(list("".join(topics[name] for name in sorted(topics)).encode()[:100_000]))
    model = tiny_llama(hidden=64, mlp=128, layers=1, vocabulary=256)
    wrap(model, PoetConfig(block=64, merge_every=25, merge=merge, theta_max=theta_max))
    optimizer = PoetOptimizer(model, poet_lr=1e-2, base_lr=1e-2)
    start, early, generator = spectrum(model), 0, torch.Generator().manual_seed(0)
    for _ in range(steps):
        x = torch.stack([ids[at : at + 32] for at in torch.randint(0, len(ids) - 32, (16,), generator=generator)])
        (summed_loss(model, Batch(x, x)) / x.numel()).backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        early += sum(not event.advanced for event in optimizer.events)
    merge_all(model, optimizer)
    end = spectrum(model)
    return (
        max(spectrum_drift(end[k], start[k]) for k in start),
        max(float(end[k][0] / start[k][0]) for k in start),
        early,
    )


def test_the_trust_region_holds_where_training_without_it_blows_the_spectrum_up():
    drift, growth, early = train(None, "series", 25)
    assert growth > 10 and drift > 1 and early == 0
    drift, growth, early = train(0.5, "polar", 125)
    assert drift < 1e-4 and growth == pytest.approx(1, abs=1e-4) and early > 10


def test_a_step_out_of_reach_is_shortened_and_merged():
    layer = PoetLinear(linear(16, 16), PoetConfig(block=8), "layer")
    start = sigma(layer)
    turn(layer, 0.02)
    small = layer.Q[0][0].clone()
    with torch.no_grad():
        layer.Q[0][1] *= 100
    assert beyond_trust([layer]) == [layer]
    angles = spectral_angle(layer.Q[0].detach())
    assert torch.equal(layer.Q[0][0], small) and 0.7 < float(angles.max()) <= 0.8
    layer.merge(advance=False)
    assert spectrum_drift(sigma(layer), start) < 1e-12


# -- one event: merge and state


def trained_model(policy: str, q_optimizer: str = "adamw"):
    model = tiny_llama()
    wrap(model, PoetConfig(block=8, merge_every=3, state_at_merge=policy, seed=1))
    optimizer = PoetOptimizer(model, poet_lr=1e-2, q_optimizer=q_optimizer)
    ids = tokens()
    for _ in range(3):
        summed_loss(model, Batch(ids, ids)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


@pytest.mark.parametrize("policy, moments, steps", [("reset", 0, 0), ("reset_moment", 0, 3), ("keep", 1, 3)])
def test_the_state_at_a_merge_follows_the_policy(policy, moments, steps):
    model, optimizer = trained_model(policy)
    assert len(optimizer.events) == 14 and all(event.advanced for event in optimizer.events)
    for layer in poet_layers(model):
        assert int(layer.interval) == 1
        for Q in layer.Q:
            state = optimizer.state[Q]
            assert bool((Q == 0).all()) and int(state["step"]) == steps
            assert bool((state["exp_avg"] != 0).any()) == bool(moments)
            assert bool((state["exp_avg_sq"] != 0).any()) == (policy != "reset")
    embedding = optimizer.state[model.model.embed_tokens.weight]
    assert int(embedding["step"]) == 3 and bool((embedding["exp_avg"] != 0).any())


def test_skew_muon_has_one_moment_which_a_merge_resets():
    model, optimizer = trained_model("reset", "skew_muon")
    for layer in poet_layers(model):
        for Q in layer.Q:
            assert set(optimizer.state[Q]) == {"momentum_buffer"}
            assert bool((optimizer.state[Q]["momentum_buffer"] == 0).all())


def test_a_step_of_skew_muon_turns_every_plane_by_the_rate():
    layer = PoetLinear(linear(16, 16, dtype=torch.float32), PoetConfig(block=8), "layer")
    model = torch.nn.Sequential(layer)
    optimizer = PoetOptimizer(model, poet_lr=0.02, q_optimizer="skew_muon", base_lr=1e-3)
    model(torch.randn(40, 16)).square().mul(torch.arange(16)).sum().backward()
    optimizer.step()
    from shared.orthogonal import unpack_skew

    for Q in layer.Q:
        angles = torch.linalg.svdvals(unpack_skew(Q.detach()))
        assert float(angles.min()) > 0.6 * 0.02 and float(angles.max()) < 1.3 * 0.02


def test_merges_come_after_the_steps_that_the_interval_divides_and_the_rate_warms_up_after_them():
    model = tiny_llama()
    wrap(model, PoetConfig(block=8, merge_every=2))
    optimizer = PoetOptimizer(model, poet_lr=1e-3, post_merge_warmup=2)
    ids, merges, moves = tokens(), [], []
    for step in range(1, 6):
        before = poet_layers(model)[0].Q[0].detach().clone()
        summed_loss(model, Batch(ids, ids)).backward()
        optimizer.step()
        optimizer.zero_grad()
        if optimizer.events:
            merges.append(step)
        else:
            moves.append(float((poet_layers(model)[0].Q[0] - before).abs().max()))
    assert merges == [2, 4] and optimizer.steps_done == 5
    assert moves == pytest.approx([0.5e-3] * 3, rel=1e-2)  # Adam's first step is the rate: half of it, warming up


# -- probes, masters


def test_the_probe_follows_all_rotations_across_merges():
    layer = PoetLinear(linear(12, 8), PoetConfig(block=4, init="keep"), "layer")
    model = torch.nn.Sequential(layer)
    probe, R = VectorProbe(model), torch.eye(12, dtype=torch.float64)
    import dense

    for seed in range(3):
        turn(layer, 0.2, seed)
        packed = [Q.detach() for Q in layer.Q]
        total = dense.big_rotation(layer, 0, packed) @ R
        v = probe.start["layer/R"].flatten()
        assert probe.cosines()["layer/R"] == pytest.approx(float(v @ total @ v), abs=1e-12)
        assert probe.traces()["layer/R"] == pytest.approx(
            float(dense.big_rotation(layer, 0, packed).trace()) / 12, abs=1e-12
        )
        U, _, Vt = torch.linalg.svd(dense.big_rotation(layer, 0, packed))
        R = U @ Vt @ R
        layer.merge()
    assert probe.cosines()["layer/R"] == pytest.approx(float(v @ R @ v), abs=1e-9)


def test_a_float32_master_stops_the_rounding_of_bfloat16_from_adding_up():
    drifts = {}
    for master in ("none", "fp32_host"):
        layer = PoetLinear(
            linear(64, 64, dtype=torch.bfloat16), PoetConfig(block=32, init="keep", master=master), "layer"
        )
        start = sigma(layer)
        for seed in range(200):
            turn(layer, 0.01, seed)
            layer.merge()
        drifts[master] = spectrum_drift(sigma(layer), start)
    assert drifts["fp32_host"] < 2e-3 < drifts["none"]


def test_packed_lengths_are_the_layer_s_parameters():
    layer = PoetLinear(linear(24, 16), PoetConfig(block=8), "layer")
    assert [tuple(Q.shape) for Q in layer.Q] == [(5, packed_length(8))]

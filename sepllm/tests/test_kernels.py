"""The Triton kernels against float64, in the interpreter on a CPU and compiled on a GPU."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="the kernels need the package triton")

from sepllm.cache import pick
from sepllm.mask import Lives
from sepllm.policy import FOREVER
from sepllm.rope import turn

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("heads,kv,d", [(9, 3, 64), (4, 4, 32), (16, 1, 16)])
def test_decode_over_ragged_rows(heads, kv, d):
    """Rows with 1, 65 and 300 living slots, dead slots between them, and whole dead tiles."""
    from sepllm.kernels.decode import decode

    torch.manual_seed(0)
    rows, slots = 3, 330
    alive = torch.zeros(rows, slots, dtype=torch.bool)
    alive[0, 200] = True
    alive[1, 64:129] = True
    alive[2, :300] = torch.rand(300) < 0.8
    start = torch.where(alive, 0, FOREVER).to(DEVICE)
    query = torch.full((rows, 1), 500, device=DEVICE)
    lives = Lives(query, torch.ones_like(query).bool(), start, torch.where(alive.to(DEVICE), FOREVER, 0))
    q = torch.randn(rows, heads, 1, d, device=DEVICE)
    store = torch.randn(2, rows, kv, slots + 7, d, device=DEVICE)[:, :, :, :slots]  # a prefix of a longer store
    k, v = store[0], store[1]
    v[~alive.to(DEVICE)[:, None].expand(-1, kv, -1)] = float("nan")  # dead slots are not read
    found = decode(q, k, v, lives)
    for row in range(rows):
        keys, values = (x[row][:, alive[row]].double().repeat_interleave(heads // kv, 0) for x in (k, v))
        weights = (q[row].double() @ keys.transpose(1, 2) / d**0.5).softmax(-1)
        assert (found[row].double() - weights @ values).abs().max() < 1e-5


@pytest.mark.parametrize("half,moves", [(16, True), (12, True), (16, False)])
def test_compact_gathers_and_turns(half, moves):
    """Rotary part of the whole head and of three quarters of it, and gathering alone."""
    from sepllm.kernels.compact import compact

    torch.manual_seed(0)
    keys, values = torch.randn(2, 2, 3, 50, 32, device=DEVICE)
    columns = torch.stack([torch.randperm(50)[:37].sort().values for _ in range(2)]).to(DEVICE)
    by = torch.arange(37, device=DEVICE) - columns if moves else None
    frequencies = 10000 ** (-torch.arange(half, device=DEVICE) / half)
    found_keys, found_values = compact(keys, values, columns, by, frequencies)
    expected = pick(keys, columns).double()
    expected = turn(expected, by, frequencies) if by is not None else expected
    assert (found_keys[:, :, :37].double() - expected).abs().max() < 1e-5
    assert torch.equal(found_values[:, :, :37], pick(values, columns))
    assert not found_keys[:, :, 37:].any() and not found_values[:, :, 37:].any()

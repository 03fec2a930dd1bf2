"""Measuring what backward keeps must itself keep nothing."""

import gc
import weakref

import pytest
import torch
from torch import nn

from oftv2.memory import saved_bytes


class Square(torch.autograd.Function):
    """Saves its own output, as softmax and the exponential do."""

    @staticmethod
    def forward(ctx, x):
        y = x * x
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, _ = ctx.saved_tensors
        return 2 * x * grad


@pytest.mark.parametrize(("function", "tensors"), [(torch.exp, 2), (Square.apply, 3)])
def test_the_model_is_freed_after_its_bytes_are_counted(function, tensors):
    model = nn.Linear(8, 8, bias=False)
    weight = weakref.ref(model.weight)
    x = torch.randn(4, 8)
    assert saved_bytes(lambda: function(model(x)).sum(), model) == tensors * x.numel() * 4
    del model
    gc.collect()
    assert weight() is None


def test_a_storage_counts_once_and_the_models_own_not_at_all():
    model = nn.Linear(8, 8, bias=False)
    x = torch.randn(4, 8)
    assert saved_bytes(lambda: model(x).sum(), model) == x.numel() * 4
    assert saved_bytes(lambda: (model(x) + model(x.view(4, 8))).sum(), model) == x.numel() * 4

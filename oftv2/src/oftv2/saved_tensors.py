"""Parameters of the base model that an adapter trains and saves whole: `modules_to_save` and biases.

Each adapter has its own values. Those of the active adapter lie in the model's parameters themselves; switching
copies values, so that optimizers and hooks keep hold of the same parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SavedTensors:
    def __init__(self, model: nn.Module):
        self._model = model
        self._base: dict[str, Tensor] = {}  # values of the untouched model, by parameter path
        self._values: dict[str, dict[str, Tensor]] = {}
        self._current: str | None = None

    def add(self, adapter: str, paths: list[str]) -> None:
        """Let `adapter` own the parameters at these paths, starting from the model's values."""
        for path in paths:
            if path not in self._base:
                self._untie(path)
                self._base[path] = self._parameter(path).detach().clone()
        self._values[adapter] = {path: self._base[path].clone() for path in paths}

    def remove(self, adapter: str) -> None:
        if self._current == adapter:
            self.switch(None)
        del self._values[adapter]

    def switch(self, adapter: str | None) -> None:
        """Put an adapter's values into the model, or the base's for None."""
        if adapter == self._current:
            return
        with torch.no_grad():
            if self._current in self._values:
                for path, value in self._values[self._current].items():
                    value.copy_(self._parameter(path))
            chosen = self._values.get(adapter, {}) if adapter is not None else {}
            for path, value in self._base.items():
                parameter = self._parameter(path)
                parameter.copy_(chosen.get(path, value))
                parameter.requires_grad_(path in chosen)
        self._current = adapter

    def parameters(self, adapter: str) -> list[nn.Parameter]:
        return [self._parameter(path) for path in self._values[adapter]]

    def values(self, adapter: str) -> dict[str, Tensor]:
        """Current values of an adapter's parameters, by path."""
        if adapter == self._current:
            return {path: self._parameter(path).detach() for path in self._values[adapter]}
        return dict(self._values[adapter])

    def load(self, adapter: str, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for path, value in values.items():
                self._values[adapter][path].copy_(value)
                if adapter == self._current:
                    self._parameter(path).copy_(value)

    def shapes(self, adapter: str) -> dict[str, torch.Size]:
        return {path: value.shape for path, value in self._values[adapter].items()}

    def _parameter(self, path: str) -> nn.Parameter:
        return self._model.get_parameter(path)

    def _untie(self, path: str) -> None:
        """Give a parameter that another module shares (a tied head) storage of its own, so that only it trains."""
        parameter = self._parameter(path)
        owners = [p for p, other in self._model.named_parameters(remove_duplicate=False) if other is parameter]
        if len(owners) > 1:
            parent, _, leaf = path.rpartition(".")
            setattr(self._model.get_submodule(parent), leaf, nn.Parameter(parameter.detach().clone()))

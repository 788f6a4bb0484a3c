"""Muon (Jordan et al. 2024): each matrix moves along its gradient's momentum with all singular values made about 1.

The same as `torch.optim.Muon`, which a test holds it to, but all matrices of one shape move together: one after another
they made a step of this network one of 4,700 kernels, which an accelerator waits for most of the time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Muon"]

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the polynomial that is applied five times (Jordan et al. 2024)."""

_TIMES = 5


class Muon(torch.optim.Optimizer):
    """Muon over weights of two or more dimensions; kernels of convolutions are matrices with a row for each output.

    Args:
        weights: what moves.
        lr: the rate; scaled by the matrix's size so that it means what it does to AdamW (Liu et al. 2025).
        weight_decay: decoupled, as AdamW's.
        momentum: of Nesterov's kind.
    """

    def __init__(
        self,
        weights: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float = 0.02,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(list(weights), {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move every weight that has a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    alike.setdefault(weight.flatten(1).shape, []).append(weight)
            for weights in alike.values():
                self._move(weights, group["lr"], group["weight_decay"], group["momentum"])
        return loss

    def _move(self, weights: list[nn.Parameter], rate: float, decay: float, momentum: float) -> None:
        gradients = torch.stack([one.grad.flatten(1) for one in weights if one.grad is not None])
        state = self.state[weights[0]]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradients)
        state["momentum"].lerp_(gradients, 1.0 - momentum)
        moved = _orthogonal(gradients.lerp(state["momentum"], momentum))
        moved = moved.float() * (0.2 * math.sqrt(max(moved.shape[1:])))
        steps = [step.view_as(one) for step, one in zip(moved.unbind(), weights, strict=True)]
        torch._foreach_mul_(weights, 1.0 - rate * decay)
        torch._foreach_add_(weights, steps, alpha=-rate)


def _orthogonal(matrices: Tensor) -> Tensor:
    """Return (count, rows, columns) with the singular values of each matrix brought near 1, in bfloat16."""
    a, b, c = _COEFFICIENTS
    turned = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16()
    x = x.transpose(1, 2) if turned else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_TIMES):
        square = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if turned else x

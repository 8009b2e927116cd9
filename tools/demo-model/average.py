"""The average of a network's weights over its last steps, which answers better than any one of them."""

from __future__ import annotations

import copy

import torch
from torch import nn

decay = 0.995


class Average:
    def __init__(self, net: nn.Module) -> None:
        self.net = copy.deepcopy(net).eval()
        self._steps = 0

    @torch.no_grad()
    def follow(self, net: nn.Module) -> None:
        self._steps += 1
        kept = min(decay, self._steps / (self._steps + 10))
        torch._foreach_lerp_([*self.net.parameters()], [*net.parameters()], 1 - kept)

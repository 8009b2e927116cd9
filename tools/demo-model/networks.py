"""Two architectures as llama.cpp computes them. The names of the weights are those of GGUF, so that the export only copies."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    architecture: str
    vocabulary: int
    context: int
    width: int
    layers: int
    heads: int
    key_value_heads: int
    feed_forward: int
    norm_epsilon: float = 1e-5
    rope_base: float = 10_000.0

    @property
    def head_width(self) -> int:
        return self.width // self.heads


class Llama(nn.Module):
    """RMSNorm, rotary positions, grouped queries, SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(LlamaBlock(shape) for _ in range(shape.layers))
        self.output_norm = nn.RMSNorm(shape.width, shape.norm_epsilon)
        self.output = nn.Linear(shape.width, shape.vocabulary, bias=False)
        frequencies = shape.rope_base ** (-torch.arange(0, shape.head_width, 2) / shape.head_width)
        angles = torch.outer(torch.arange(shape.context), frequencies)
        self.register_buffer("rotation", torch.polar(torch.ones_like(angles), angles), persistent=False)
        initialise(self, shape)

    def forward(self, tokens: Tensor, wanted: Tensor) -> Tensor:
        """What follows each of the wanted tokens, as logits."""
        rotation = self.rotation[: tokens.shape[1], None]
        state = self.token_embd(tokens)
        for block in self.blk:
            state = block(state, rotation)
        return self.output(self.output_norm(state[wanted]))


class LlamaBlock(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, narrow = shape.width, shape.key_value_heads * shape.head_width
        self.attn_norm = nn.RMSNorm(width, shape.norm_epsilon)
        self.attn_q = nn.Linear(width, width, bias=False)
        self.attn_k = nn.Linear(width, narrow, bias=False)
        self.attn_v = nn.Linear(width, narrow, bias=False)
        self.attn_output = nn.Linear(width, width, bias=False)
        self.ffn_norm = nn.RMSNorm(width, shape.norm_epsilon)
        self.ffn_gate = nn.Linear(width, shape.feed_forward, bias=False)
        self.ffn_up = nn.Linear(width, shape.feed_forward, bias=False)
        self.ffn_down = nn.Linear(shape.feed_forward, width, bias=False)

    def forward(self, state: Tensor, rotation: Tensor) -> Tensor:
        shape, (batch, length, _) = self.shape, state.shape
        inner = self.attn_norm(state)
        queries = rotate(self.attn_q(inner).view(batch, length, shape.heads, -1), rotation)
        keys = rotate(self.attn_k(inner).view(batch, length, shape.key_value_heads, -1), rotation)
        values = self.attn_v(inner).view(batch, length, shape.key_value_heads, -1)
        mixed = attend(queries, keys, values)
        state = state + self.attn_output(mixed)
        inner = self.ffn_norm(state)
        inner = self.ffn_down(functional.silu(self.ffn_gate(inner)) * self.ffn_up(inner))
        return state + inner


class Gpt2(nn.Module):
    """LayerNorm, learned positions, one matrix for queries, keys and values, GELU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.position_embd = nn.Embedding(shape.context, shape.width)
        self.blk = nn.ModuleList(Gpt2Block(shape) for _ in range(shape.layers))
        self.output_norm = nn.LayerNorm(shape.width, shape.norm_epsilon)
        self.output = nn.Linear(shape.width, shape.vocabulary, bias=False)
        initialise(self, shape)

    def forward(self, tokens: Tensor, wanted: Tensor) -> Tensor:
        """What follows each of the wanted tokens, as logits."""
        state = self.token_embd(tokens) + self.position_embd.weight[: tokens.shape[1]]
        for block in self.blk:
            state = block(state)
        return self.output(self.output_norm(state[wanted]))


class Gpt2Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.attn_norm = nn.LayerNorm(shape.width, shape.norm_epsilon)
        self.attn_qkv = nn.Linear(shape.width, 3 * shape.width)
        self.attn_output = nn.Linear(shape.width, shape.width)
        self.ffn_norm = nn.LayerNorm(shape.width, shape.norm_epsilon)
        self.ffn_up = nn.Linear(shape.width, shape.feed_forward)
        self.ffn_down = nn.Linear(shape.feed_forward, shape.width)

    def forward(self, state: Tensor) -> Tensor:
        shape, (batch, length, _) = self.shape, state.shape
        queries, keys, values = self.attn_qkv(self.attn_norm(state)).view(batch, length, 3 * shape.heads, -1).chunk(3, dim=2)
        mixed = attend(queries, keys, values)
        state = state + self.attn_output(mixed)
        inner = self.ffn_down(functional.gelu(self.ffn_up(self.ffn_norm(state)), approximate="tanh"))
        return state + inner


def network(shape: Shape) -> Llama | Gpt2:
    return {"llama": Llama, "gpt2": Gpt2}[shape.architecture](shape)


def rotate(heads: Tensor, rotation: Tensor) -> Tensor:
    """llama.cpp turns neighbouring pairs of numbers for this architecture."""
    pairs = torch.view_as_complex(heads.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotation).flatten(-2).to(heads.dtype)


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """All are [batch, length, heads, head width]; the result joins the heads."""
    groups = queries.shape[2] // keys.shape[2]
    keys, values = (part.repeat_interleave(groups, dim=2) for part in (keys, values))
    mixed = functional.scaled_dot_product_attention(*(part.transpose(1, 2) for part in (queries, keys, values)), is_causal=True)
    return mixed.transpose(1, 2).flatten(2)


def initialise(module: nn.Module, shape: Shape) -> None:
    """So that what goes through a matrix keeps its size; what is added to the state less, as there are many to add."""
    for name, weights in module.named_parameters():
        if name in ("token_embd.weight", "position_embd.weight"):
            nn.init.normal_(weights, std=0.02)
        elif weights.dim() == 2:
            ends_residual = name.endswith(("attn_output.weight", "ffn_down.weight"))
            nn.init.normal_(weights, std=weights.shape[1] ** -0.5 / ((2 * shape.layers) ** 0.5 if ends_residual else 1))
        elif name.endswith("bias"):
            nn.init.zeros_(weights)

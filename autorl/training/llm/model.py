"""A small causal transformer, and the likelihood of completions.

Prompts are padded on the left and completions on the right, so that every row's completion begins at the same place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

PAD, END = 0, 1
_FIRST = 2
_NEVER = -1e9
"""A logit whose probability is 0; minus infinity would make divergences NaN."""


class Characters:
    """Text to tokens and back, a token a character; 0 is padding and 1 the end."""

    def __init__(self, characters: str) -> None:
        self._token_of = {character: index + _FIRST for index, character in enumerate(characters)}
        self._characters = characters
        self.size = len(characters) + _FIRST

    def encode(self, text: str) -> list[int]:
        """Return a text's tokens.

        Raises:
            ValueError: it has a character that the task does not name.
        """
        try:
            return [self._token_of[character] for character in text]
        except KeyError as error:
            raise ValueError(f"{text[:80]!r} has {error}, which is not among the task's characters") from None

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text up to the end."""
        text = []
        for token in tokens:
            if token == END:
                break
            if token != PAD:
                text.append(self._characters[token - _FIRST])
        return "".join(text)


@dataclass(frozen=True)
class Architecture:
    """What a model is made of.

    Attributes:
        width: of the residual stream.
        layers: blocks.
        heads: of attention.
        context: tokens of a prompt and its completion together, at most.
    """

    width: int = 64
    layers: int = 2
    heads: int = 4
    context: int = 96


class _Block(nn.Module):
    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.before_attention, self.before_mlp = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor, mask: Tensor, cache: tuple[Tensor, Tensor] | None, at: int) -> Tensor:
        rows, length, width = x.shape
        qkv = self.qkv(self.before_attention(x)).view(rows, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        if cache is not None:
            cache[0][:, :, at : at + length], cache[1][:, :, at : at + length] = k, v
            k, v = (kept[:, :, : at + length] for kept in cache)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(attended.transpose(1, 2).reshape(rows, length, width))
        x = x + self.down(F.gelu(self.up(self.before_mlp(x))))
        return x


class Model(nn.Module):
    """A pre-norm transformer with learned positions (Radford et al. 2019), initialized as GPT-2's.

    Args:
        shape: what it is made of.
        vocabulary: how many tokens there are.
    """

    def __init__(self, shape: Architecture, vocabulary: int) -> None:
        super().__init__()
        self.shape = shape
        self.tokens, self.positions = nn.Embedding(vocabulary, shape.width), nn.Embedding(shape.context, shape.width)
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.layers))
        self.norm, self.head = nn.RMSNorm(shape.width), nn.Linear(shape.width, vocabulary, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                residual = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * shape.layers) if residual else 0.02)

    def forward(self, tokens: Tensor, real: Tensor, keep: int) -> Tensor:
        """Return the logits of the last tokens of each row.

        Args:
            tokens: Shape ``(rows, length)``.
            real: Shape ``(rows, length)``, False for padding.
            keep: how many of the last tokens are asked about.

        Returns:
            Shape ``(rows, keep, vocabulary)``: row by row, what is predicted for each of them from those before.
        """
        return self._logits(self.states(tokens, real, keep))

    def states(self, tokens: Tensor, real: Tensor, keep: int) -> Tensor:
        """Return what the logits are made from, shape ``(rows, keep, width)``; see `forward`."""
        positions = (real.cumsum(1) - 1).clamp(min=0)
        x = self.run(tokens, positions, causal(real), None, 0)
        found: Tensor = self.norm(x[:, -keep - 1 : -1])
        return found

    def predictions(self, x: Tensor) -> Tensor:
        """Return the logits after the last block."""
        return self._logits(self.norm(x))

    def _logits(self, x: Tensor) -> Tensor:
        """Return the logits; nobody writes padding."""
        logits: Tensor = self.head(x)
        logits[..., PAD] = _NEVER
        return logits

    def run(
        self, tokens: Tensor, positions: Tensor, mask: Tensor, caches: list[tuple[Tensor, Tensor]] | None, at: int
    ) -> Tensor:
        """Return what comes out of the last block.

        Args:
            tokens: Shape ``(rows, length)``.
            positions: the same shape, of each token in its row.
            mask: who sees whom.
            caches: keys and values of each block, to which those of the tokens are added.
            at: where they are added.
        """
        x: Tensor = self.tokens(tokens) + self.positions(positions)
        for index, block in enumerate(self.blocks):
            x = block(x, mask, None if caches is None else caches[index], at)
        return x


def with_values(start: Model) -> tuple[Model, nn.Linear]:
    """Return a copy of a model, and the layer that makes values of its states in place of predictions: 0 at first."""
    trunk, value = Model(start.shape, start.head.out_features), nn.Linear(start.shape.width, 1)
    trunk.load_state_dict(start.state_dict())
    nn.init.zeros_(value.weight)
    nn.init.zeros_(value.bias)
    return trunk, value


def negative_log_likelihood(model: Model, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Tensor:
    """Return the mean, over the tokens of completions, of minus the logarithms of their probabilities.

    Args:
        model: the model.
        pairs: tokens of prompts, and of completions with their ends.

    Raises:
        ValueError: they are longer than the model's context.
    """
    width, longest = (max(len(pair[part]) for pair in pairs) for part in (0, 1))
    check_room(model, width, longest)
    prompts, prompt_real = left_padded([prompt for prompt, _ in pairs], width)
    written = torch.full((len(pairs), longest), PAD)
    for row, (_, completion) in enumerate(pairs):
        written[row, : len(completion)] = torch.tensor(completion)
    real = written != PAD
    logits = model(torch.cat([prompts, written], 1), torch.cat([prompt_real, real], 1), longest)
    log_p: Tensor = logits.log_softmax(-1).gather(2, written[..., None])[..., 0]
    return -(log_p * real).sum() / real.sum()


def check_room(model: Model, prompt: int, completion: int) -> None:
    """Raise a ValueError if so many tokens are more than a model's context."""
    if prompt + completion > model.shape.context:
        raise ValueError(
            f"a prompt of {prompt} tokens and a completion of {completion} are more than the {model.shape.context} of "
            "the model's context; raise policy.context"
        )


def left_padded(rows: Sequence[Sequence[int]], width: int) -> tuple[Tensor, Tensor]:
    """Return tokens, and which of them are real."""
    tokens = torch.full((len(rows), width), PAD)
    for index, row in enumerate(rows):
        tokens[index, width - len(row) :] = torch.tensor(row)
    return tokens, tokens != PAD


def causal(real: Tensor) -> Tensor:
    """Return who sees whom, ``(rows, 1, length, length)``; padding sees itself, lest its softmax be of nothing."""
    length = real.shape[1]
    before = torch.ones(length, length, dtype=torch.bool).tril()[None, None] & real[:, None, None, :]
    return before | torch.eye(length, dtype=torch.bool)[None, None]

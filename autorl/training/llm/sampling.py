"""Sampling from a small transformer, in batches, with a cache of keys and values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autorl.training.llm.model import END, PAD, Model, causal, check_room, left_padded

_COMPACT = 0.75
"""Rows that have ended are dropped when fewer than this share of the rows in the batch go on."""


@dataclass(frozen=True)
class Completions:
    """Prompts and what a model wrote after them.

    Attributes:
        prompts: Shape ``(rows, p)``, tokens, padded on the left.
        prompt_real: Shape ``(rows, p)``, False for padding.
        tokens: Shape ``(rows, c)``, tokens of the completions, padded on the right.
        real: Shape ``(rows, c)``, False for padding; the end is real.
        own: Shape ``(rows, c)``, what of that the model wrote, and was not replied to it.
        log_probs: Shape ``(rows, c)``, logarithms of the probabilities with which they were drawn.
        ended: Shape ``(rows,)``, whether the completion came to its end.
    """

    prompts: Tensor
    prompt_real: Tensor
    tokens: Tensor
    real: Tensor
    own: Tensor
    log_probs: Tensor
    ended: Tensor


class Replies:
    """What is written in the model's place after it has ended a turn.

    Args:
        turn: the token that ends a turn.
        reply: number of a row, tokens of its completion so far → tokens that follow.
    """

    def __init__(self, turn: int, reply: Callable[[int, Sequence[int]], Sequence[int]]) -> None:
        self._turn, self._reply = turn, reply
        self._so_far: dict[int, list[int]] = {}
        self._waiting: dict[int, list[int]] = {}

    def in_place(self, rows: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens that are written, and which of them were not chosen by the model."""
        found, replied = chosen.tolist(), [False] * len(chosen)
        for index, row in enumerate(rows.tolist()):
            if waiting := self._waiting.get(row):
                found[index], replied[index] = waiting.pop(0), True
            so_far = self._so_far.setdefault(row, [])
            if so_far and so_far[-1] == END:
                continue
            so_far.append(found[index])
            if found[index] == self._turn and not replied[index]:
                self._waiting[row] = list(self._reply(row, so_far))
        return torch.tensor(found), torch.tensor(replied)


def joined(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the rows of both, padded with zeros to one width: prompts on the left, completions on the right.

    Args:
        first: what is known of some rows; names of what belongs to their prompts begin with `prompt`.
        second: the same of others.
    """
    found = {}
    for name, part in first.items():
        other = second[name]
        if part.dim() == 2:
            width = max(part.shape[1], other.shape[1])
            left = name.startswith("prompt")
            part, other = (
                torch.nn.functional.pad(x, (width - x.shape[1], 0) if left else (0, width - x.shape[1]))
                for x in (part, other)
            )
        found[name] = torch.cat([part, other])
    return found


@torch.no_grad()
def complete(
    model: Model,
    prompts: Sequence[Sequence[int]],
    copies: int,
    longest: int,
    temperature: Callable[[int], float] | None,
    generator: torch.Generator,
    replies: Replies | None = None,
) -> Completions:
    """Let a model complete prompts.

    Args:
        model: the model.
        prompts: tokens of each.
        copies: completions of each prompt; they follow one another.
        longest: tokens of a completion, at most.
        temperature: position in the completion → temperature; None takes the most probable token.
        generator: what is drawn from.
        replies: what is replied to the model's turns.

    Raises:
        ValueError: a prompt leaves no room for a completion in the model's context.
    """
    width = max(map(len, prompts))
    check_room(model, width, longest)
    tokens, real = left_padded(prompts, width)
    head = model.shape.width // model.shape.heads
    caches = [tuple(torch.zeros(len(prompts), model.shape.heads, width, head) for _ in range(2)) for _ in model.blocks]
    x = model.run(tokens, (real.cumsum(1) - 1).clamp(min=0), causal(real), caches, 0)  # type: ignore[arg-type]
    rows = len(prompts) * copies
    room = torch.zeros(rows, model.shape.heads, longest, head)
    caches = [tuple(torch.cat([kept.repeat_interleave(copies, 0), room], 2) for kept in pair) for pair in caches]
    logits = model.predictions(x[:, -1]).repeat_interleave(copies, 0)
    tokens, real = tokens.repeat_interleave(copies, 0), real.repeat_interleave(copies, 0)
    lengths = real.sum(1)
    visible = torch.cat([real, torch.ones(rows, longest, dtype=torch.bool)], 1)
    written, log_probs = torch.full((rows, longest), PAD), torch.zeros(rows, longest)
    own = torch.ones(rows, longest, dtype=torch.bool)
    running, ended = torch.arange(rows), torch.zeros(rows, dtype=torch.bool)
    for t in range(longest):
        log_p = (logits / (temperature(t) if temperature else 1.0)).log_softmax(-1)
        chosen = torch.multinomial(log_p.exp(), 1, generator=generator)[:, 0] if temperature else log_p.argmax(-1)
        if replies is not None:
            chosen, replied = replies.in_place(running, chosen)
            own[running, t] = ~replied
        goes_on = ~ended[running]
        written[running[goes_on], t] = chosen[goes_on]
        log_probs[running[goes_on], t] = log_p.gather(1, chosen[:, None])[goes_on, 0]
        ended[running] |= chosen == END
        goes_on = ~ended[running]
        if t == longest - 1 or not goes_on.any():
            break
        if goes_on.float().mean() < _COMPACT:
            running, chosen = running[goes_on], chosen[goes_on]
            caches = [tuple(kept[goes_on] for kept in pair) for pair in caches]
        mask = visible[running, : width + t + 1][:, None, None, :]
        x = model.run(chosen[:, None], (lengths[running] + t)[:, None], mask, caches, width + t)  # type: ignore[arg-type]
        logits = model.predictions(x[:, -1])
    used = max(1, int((written != PAD).sum(1).max()))
    written, log_probs = written[:, :used], log_probs[:, :used]
    return Completions(tokens, real, written, written != PAD, own[:, :used] & (written != PAD), log_probs, ended)

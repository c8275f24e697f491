"""The value model of the curriculum `middle_difficulty`: how many of a prompt's completions will be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autorl.training.llm.model import END, Model, check_room, left_padded, with_values

_ROWS = 256


class PromptValues(nn.Module):
    """V(x) of Prompt Curriculum Learning (Gao et al. 2025, arXiv 2510.01135), for a small transformer.

    It begins as the policy does, with a logistic output at the end of the prompt in place of predictions, which is a
    half for every prompt at first.

    Args:
        start: the model that RL starts from.
        rate: learning rate of its AdamW.
    """

    def __init__(self, start: Model, rate: float) -> None:
        super().__init__()
        self._trunk, self._value = with_values(start)
        self._optimizer = torch.optim.AdamW(self.parameters(), rate, weight_decay=0.0, foreach=True)

    def forward(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Return the value of each prompt, shape ``(prompts,)``."""
        found = []
        for at in range(0, len(prompts), _ROWS):
            # States are those before a token: the one after the prompt is not looked at.
            rows = [[*prompt, END] for prompt in prompts[at : at + _ROWS]]
            width = max(map(len, rows))
            check_room(self._trunk, width - 1, 1)
            tokens, real = left_padded(rows, width)
            found.append(self._value(self._trunk.states(tokens, real, 1))[:, 0, 0].sigmoid())
        return torch.cat(found)

    def learn(self, prompts: Sequence[Sequence[int]], right: Sequence[float]) -> None:
        """Take a step down the squared error, mean over the prompts.

        Args:
            prompts: their tokens.
            right: the share of each one's completions that were right.
        """
        loss = ((self(prompts) - torch.tensor(right)) ** 2).mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()

    def state(self) -> dict[str, Any]:
        """Return everything that learning goes on from."""
        return {"model": self.state_dict(), "optimizer": self._optimizer.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])

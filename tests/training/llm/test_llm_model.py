"""Sampling with a cache is the model itself, whatever stands beside a row."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from autorl.training.llm.model import END, PAD, Architecture, Characters, Model, negative_log_likelihood
from autorl.training.llm.sampling import Replies, complete

PROMPTS = [[2, 3, 4], [5], [6, 7, 8, 9, 3, 2]]
SHAPE = Architecture(width=16, layers=2, heads=2, context=24)


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    made = Model(SHAPE, 12)
    for weight in made.parameters():
        weight.data *= 4.0  # so that it has opinions, and ends some completions early
    return made


def test_log_probs_of_sampling_are_those_of_the_model(model: Model) -> None:
    generator = torch.Generator().manual_seed(1)
    written = complete(model, PROMPTS, 50, 10, lambda t: 1.0 + 0.05 * t, generator)
    assert written.ended.any()
    assert not written.ended.all()
    length = written.tokens.shape[1]
    ids = torch.cat([written.prompts, written.tokens], 1)
    logits = model(ids, torch.cat([written.prompt_real, written.real], 1), length)
    temperatures = torch.tensor([1.0 + 0.05 * t for t in range(length)])[None, :, None]
    log_p = (logits / temperatures).log_softmax(-1).gather(2, written.tokens[..., None])[..., 0]
    torch.testing.assert_close(log_p[written.real], written.log_probs[written.real], rtol=1e-4, atol=1e-5)


def test_completions_end_once_and_are_padded_after(model: Model) -> None:
    written = complete(model, PROMPTS, 50, 10, lambda _: 1.0, torch.Generator().manual_seed(1))
    for tokens, ended in zip(written.tokens.tolist(), written.ended.tolist(), strict=True):
        assert (END in tokens) == ended
        if ended:
            at = tokens.index(END)
            assert set(tokens[at + 1 :]) <= {PAD}


def test_a_prompt_is_completed_as_if_it_were_alone(model: Model) -> None:
    together = complete(model, PROMPTS, 1, 8, None, torch.Generator())
    for index, prompt in enumerate(PROMPTS):
        alone = complete(model, [prompt], 1, 8, None, torch.Generator())
        text = [token for token in together.tokens[index].tolist() if token != PAD]
        assert text == [token for token in alone.tokens[0].tolist() if token != PAD]


def test_samples_have_the_models_probabilities(model: Model) -> None:
    written = complete(model, [[2, 3]], 4000, 1, lambda _: 1.0, torch.Generator().manual_seed(0))
    expected = model(torch.tensor([[2, 3, 4]]), torch.ones(1, 3, dtype=torch.bool), 1).softmax(-1)[0, 0]
    found = torch.bincount(written.tokens[:, 0], minlength=12) / 4000
    assert (found - expected).abs().max() < 0.03


def test_likelihood_does_not_depend_on_padding(model: Model) -> None:
    pairs = [([2, 3], [4, 5, END]), ([6], [7, END])]
    each = [negative_log_likelihood(model, [pair]) for pair in pairs]
    torch.testing.assert_close(negative_log_likelihood(model, pairs), (3 * each[0] + 2 * each[1]) / 5)


def test_what_does_not_fit_is_said(model: Model) -> None:
    with pytest.raises(ValueError, match=r"6 tokens and a completion of 20 are more .* raise policy.context"):
        complete(model, PROMPTS, 1, 20, None, torch.Generator())


def test_characters() -> None:
    characters = Characters("01=")
    assert characters.decode([*characters.encode("10="), END, 2]) == "10="
    with pytest.raises(ValueError, match="'x', which is not among"):
        characters.encode("1x")


def test_replies_stand_where_the_model_ended_its_turn_and_are_not_its_own(model: Model) -> None:
    """The reply to a turn, which token 4 ends, is its row's number of tokens so far, and then 5."""
    asked: list[list[int]] = []

    def reply(row: int, tokens: Sequence[int]) -> Sequence[int]:
        asked.append([row, *tokens])
        return [6 + len(tokens) % 6, 5]

    replies = Replies(4, reply)
    written = complete(model, PROMPTS, 40, 12, lambda _: 1.0, torch.Generator().manual_seed(0), replies)
    assert asked
    for row, (tokens, own) in enumerate(zip(written.tokens.tolist(), written.own.tolist(), strict=True)):
        turns = [t for t, token in enumerate(tokens) if token == 4 and own[t]]
        assert [calls[1:] for calls in asked if calls[0] == row] == [tokens[: t + 1] for t in turns]
        replied = [t for t, real in enumerate(written.real[row].tolist()) if real and not own[t]]
        expected = [at for t in turns for at in (t + 1, t + 2) if at < len(tokens) and written.real[row, at]]
        assert replied == expected
        for t in turns:
            assert tokens[t + 1 : t + 3] == [6 + (t + 1) % 6, 5][: len(tokens) - t - 1]


def test_replies_are_seen_by_the_model(model: Model) -> None:
    """What follows a reply is drawn as after any other tokens."""
    replies = Replies(4, lambda row, tokens: [7])
    written = complete(model, PROMPTS, 50, 10, lambda _: 1.0, torch.Generator().manual_seed(1), replies)
    length = written.tokens.shape[1]
    ids = torch.cat([written.prompts, written.tokens], 1)
    logits = model(ids, torch.cat([written.prompt_real, written.real], 1), length)
    log_p = logits.log_softmax(-1).gather(2, written.tokens[..., None])[..., 0]
    assert (written.real & ~written.own).any()
    torch.testing.assert_close(log_p[written.own], written.log_probs[written.own], rtol=1e-4, atol=1e-5)

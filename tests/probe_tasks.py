"""Tasks of one's own, for tests."""

from __future__ import annotations

import random
import time

from autorl.training.llm.problems import Problem


class Echo:
    """Write the last of some digits; which is learned within seconds. It breaks if it is told to."""

    characters = "0123456789="

    def __init__(self, digits: int = 6, broken: str = "") -> None:
        self.categories, self._digits, self._broken = ["echo/1", "echo/2"], digits, broken

    def draw(self, category: str, rng: random.Random) -> Problem:
        digits = "".join(str(rng.randrange(10)) for _ in range(self._digits))
        prompt, answer = f"{digits}=", digits[-1] * int(category[-1])
        if self._broken == "long prompt":
            prompt = digits * 20_000 + "="
        if self._broken == "long answer":
            answer = digits[-1] * 100_000
        return Problem(category, prompt, (), answer)

    def demonstration(self, problem: Problem, rng: random.Random, noise: float) -> str:
        return problem.answer if rng.random() >= noise else str(rng.randrange(10)) * len(problem.answer)

    def reward(self, problem: Problem, completion: str) -> float:
        if self._broken == "raises":
            raise RuntimeError("the verifier is broken")
        if self._broken == "hangs":
            time.sleep(1000)
        if self._broken == "nan":
            return float("nan")
        return float(completion[:1] == problem.answer[0])

    def flaw(self, problem: Problem, completion: str) -> float:
        return float(len(completion) > len(problem.answer))


class Dictation:
    """Write digits that the problem does not tell: nobody is right but who is given nearly all of them."""

    characters = "0123456789="
    categories = ("dictation/8",)

    def draw(self, category: str, rng: random.Random) -> Problem:
        prompt, answer = (f"{rng.randrange(10**8):08}" for _ in range(2))
        return Problem(category, f"{prompt}=", (), answer)

    def demonstration(self, problem: Problem, rng: random.Random, noise: float) -> str:
        return problem.answer

    def reward(self, problem: Problem, completion: str) -> float:
        return float(completion == problem.answer)


class Staircase:
    """Write the last of some digits up to eight times: one thing to learn, but harder and harder to do by luck."""

    characters = "0123456789="
    categories = tuple(f"stairs/{level}" for level in range(1, 9))

    def draw(self, category: str, rng: random.Random) -> Problem:
        level, digits = int(category[-1]), f"{rng.randrange(10**6):06}"
        return Problem(category, f"{level}{digits}=", (), digits[-1] * level)

    def demonstration(self, problem: Problem, rng: random.Random, noise: float) -> str:
        return "".join(str(rng.randrange(10)) if rng.random() < noise else each for each in problem.answer)

    def reward(self, problem: Problem, completion: str) -> float:
        return float(completion == problem.answer)


class Repeat:
    """Repeat a number, asked as a model that follows instructions expects it; there are no demonstrations."""

    characters = ""
    categories = ("repeat/5",)

    def draw(self, category: str, rng: random.Random) -> Problem:
        answer = str(rng.randrange(10_000, 100_000))
        asked = f"Reply with the number {answer} and nothing else."
        return Problem(category, f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n", (), answer)

    def demonstration(self, problem: Problem, rng: random.Random, noise: float) -> str:
        raise NotImplementedError

    def reward(self, problem: Problem, completion: str) -> float:
        return float(problem.answer in completion)

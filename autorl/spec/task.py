"""What is to be learned, and what of it varies and is measured."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from autorl.errors import did_you_mean
from autorl.spec.curriculum import MAX_VARYING, VaryingSpec
from autorl.spec.section import Spec, as_tuple


class TaskSpec(Spec):
    """What is to be learned."""

    env: str = Field(min_length=1, description="Gymnasium environment id; 'module:Env-v0' imports the module first.")
    env_kwargs: dict[str, Any] = Field(default={}, description="Arguments of gymnasium.make.")
    wrappers: Annotated[tuple[str | dict[str, dict[str, Any]], ...], BeforeValidator(as_tuple)] = Field(
        default=(),
        description="Gymnasium wrappers, inner first: 'module:Class', or {'module:Class': {argument: value}}.",
    )
    cost: str | dict[str, dict[str, Any]] | None = Field(
        default=None,
        description="Cost of each step, measured as 'cost': info (its key 'cost'), info.KEY, -info.KEY, "
        "'info.KEY > 2.5' (1 where it holds), 'module:function', or {'module:function': {argument: value}}.",
    )
    specification: Annotated[str, Field(min_length=1, max_length=2_000)] | None = Field(
        default=None,
        description="Formula of signal temporal logic whose robustness on each episode is measured as 'robustness', "
        "such as 'always(observation_0 <= 2.4)'; over observation_i, action_i, reward and cost.",
    )
    parameters: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")], VaryingSpec] = Field(
        default={},
        max_length=MAX_VARYING,
        json_schema_extra={"additionalProperties": False},
        description="What of the task may vary in training → its range or values.",
    )
    target: dict[str, Any] = Field(
        default={},
        description="What evaluation uses: parameter → value, {min, max} or {values}; by default that of env_kwargs; "
        "of a trajectory its start.",
    )
    success_return: float | None = Field(
        default=None,
        description="Return from which an episode is a success, where the environment does not say is_success.",
    )

    def mistakes(self) -> list[tuple[str, str]]:
        """Find a cost of no function, or of several, parameters without a target, and targets that are none."""
        found = []
        if isinstance(self.cost, dict) and len(self.cost) != 1:
            found.append(
                ("cost", f"{len(self.cost)} functions; write one, as {{'module:function': {{argument: value}}}}")
            )
        for name in self.target:
            if name not in self.parameters:
                known = did_you_mean(name, self.parameters) or "; name it in task.parameters first"
                found.append(("target", f"no parameter '{name}'{known}"))
        targets = self._targets()
        for name, parameter in self.parameters.items():
            if name not in targets:
                found.append(("target", f"{name} is missing: say what evaluation uses, or a range"))
            elif wrong := parameter.wrong_target(targets[name]):
                found.append(("target", f"{name}: {wrong}"))
        played = [name for name, parameter in self.parameters.items() if parameter.through == "trajectory"]
        if len(played) > 1:
            found.append(("parameters", f"{' and '.join(played)} both say where an episode begins; keep one of them"))
        if played and self.success_return is not None:
            found.append(
                (
                    "success_return",
                    f"an episode that begins midway ({played[0]}) returns only what is left of it; leave this out, and "
                    "let the environment say is_success where a curriculum asks",
                )
            )
        return found

    def _targets(self) -> dict[str, Any]:
        """Return what evaluation uses of each parameter, without those of which nobody says it."""
        found = {}
        for name, parameter in self.parameters.items():
            if name in self.target:
                found[name] = self.target[name]
            elif parameter.through == "env_kwargs" and name in self.env_kwargs:
                found[name] = self.env_kwargs[name]
            elif parameter.through == "trajectory":
                found[name] = 1.0
        return found

    def space(self) -> dict[str, Any] | None:
        """Return what may vary, the target and what success is, as plain data; None if nothing may."""
        if not self.parameters:
            return None
        varying = {name: entry.model_dump(exclude_none=True) for name, entry in self.parameters.items()}
        return {"parameters": varying, "target": self._targets(), "success_return": self.success_return}

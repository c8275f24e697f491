"""The study file that `autorl init` writes."""

from __future__ import annotations

import re
import textwrap

_TEMPLATE = """\
# A study of {algorithm} on {env}. Check it with `autorl validate`, start it with `autorl run`.
# Every key is explained by `autorl schema study`, which editors can complete from.
study: {name}

task:
  env: {env}                  # any Gymnasium id; module:Env-v0 imports the module first
  # env_kwargs: {{}}           # arguments of gymnasium.make
  # wrappers: [module:Class]  # inner first; arguments: {{"module:Class": {{key: value}}}}{cost}

algorithm:
  name: {algorithm}
  fixed: {{}}                  # hyperparameters that every trial shares, such as n_envs: 8

# Trials compete on the tuning seeds. The best are trained again on the validation seeds, which choose the winner; the
# winner and the default configuration are trained on the test seeds. The three may not overlap.
seeds: {{tuning: 0:3, validation: 50:53, test: 100:110}}
retest: {{top: 3}}

budget:
  trials: 30                  # as much training as so many configurations take on all tuning seeds
  steps_per_run: 50_000       # environment steps of each run

objectives:
  - {{metric: return, over_seeds: mean, direction: maximize}}

evaluation: {{points: 10, episodes: 10}}  # along each run; the last evaluation is its score
optimizer: {{name: race, seed: 0}}    # docs/optimizers.md names the others
execution: {{executor: processes, workers: auto}}
storage: sqlite:///autorl.db

search_space:
{space}"""


_COST = """
  cost: info                  # what a step costs: the info's 'cost', info.KEY > 1.5, module:function"""
_LEARN_FROM_COSTS = ("ppo_lagrangian",)


def study_file(algorithm: str, env: str, space: str) -> tuple[str, str]:
    """Return the name and the text of a new study.

    Args:
        algorithm: the algorithm.
        env: the environment id.
        space: text of the search-space file for the algorithm; it becomes part of the study, for the user to edit.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{algorithm}-{env.rpartition(':')[2]}").strip("-").lower()
    cost = _COST if algorithm in _LEARN_FROM_COSTS else ""
    indented = textwrap.indent(space, "  ")
    return name, _TEMPLATE.format(algorithm=algorithm, env=env, name=name, space=indented, cost=cost)

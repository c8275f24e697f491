"""Tables of real training results as a backend: optimizers are compared in seconds, by an ordinary study.

A table is a `.npz` file with two arrays: `returns` (configurations × seeds × evaluations; NaN where a run failed) and
`configs`, one JSON string, a list of mappings from hyperparameter to value. A hyperparameter that is inactive in a
configuration is stored as 0. A study on it:

```yaml
task: {env: ppo_cartpole.npz}                  # the table, relative to this file
algorithm: {backend: landscape, name: ppo}     # the name is free
search_space: ppo_cartpole.yaml                # landscape_space writes one from the table
seeds: {tuning: 0:5, test: 5:10}               # of those in the table
```
"""

from autorl.training.landscape.backend import LandscapeBackend
from autorl.training.landscape.table import Rows, Table, landscape_space, load_table

__all__ = ["LandscapeBackend", "Rows", "Table", "landscape_space", "load_table"]

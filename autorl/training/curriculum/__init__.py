"""Which task each episode is of: teachers that choose it, and what carries their choices to the environment.

Teachers, task spaces and lessons know nothing of autorl: see `training/sb3/plain.py`.
"""

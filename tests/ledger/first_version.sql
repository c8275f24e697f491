CREATE TABLE autorl_study (
  id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(100) NOT NULL, spec TEXT NOT NULL, spec_hash VARCHAR(64) NOT NULL,
  state VARCHAR(20) NOT NULL, winner INTEGER, versions TEXT NOT NULL, hardware TEXT NOT NULL, created_at FLOAT NOT NULL,
  finished_at FLOAT, lease_epoch INTEGER NOT NULL, lease_owner TEXT, lease_heartbeat FLOAT, UNIQUE (name)
);
CREATE TABLE autorl_trial (
  id INTEGER NOT NULL PRIMARY KEY, study_id INTEGER NOT NULL, number INTEGER NOT NULL,
  origin VARCHAR(20) NOT NULL, params TEXT NOT NULL, coordinates TEXT NOT NULL, recipe TEXT NOT NULL, seen TEXT NOT NULL,
  state VARCHAR(20) NOT NULL, value FLOAT, mirrored INTEGER NOT NULL, created_at FLOAT NOT NULL, finished_at FLOAT,
  UNIQUE (study_id, number), FOREIGN KEY(study_id) REFERENCES autorl_study (id) ON DELETE CASCADE
);
CREATE TABLE autorl_run (
  id INTEGER NOT NULL PRIMARY KEY, trial_id INTEGER NOT NULL,
  phase VARCHAR(20) NOT NULL, seed INTEGER NOT NULL, state VARCHAR(20) NOT NULL, attempts INTEGER NOT NULL,
  env_steps INTEGER NOT NULL, score FLOAT, error_class VARCHAR(20), error TEXT, notes TEXT NOT NULL,
  wall_seconds FLOAT NOT NULL, cpu_seconds FLOAT NOT NULL, started_at FLOAT, finished_at FLOAT,
  UNIQUE (trial_id, phase, seed), FOREIGN KEY(trial_id) REFERENCES autorl_trial (id) ON DELETE CASCADE
);
CREATE TABLE autorl_curve (
  run_id INTEGER NOT NULL, first_point INTEGER NOT NULL, points TEXT NOT NULL,
  PRIMARY KEY (run_id, first_point), FOREIGN KEY(run_id) REFERENCES autorl_run (id) ON DELETE CASCADE
);
CREATE TABLE autorl_event (
  id INTEGER NOT NULL PRIMARY KEY, study_id INTEGER NOT NULL, at FLOAT NOT NULL,
  kind VARCHAR(30) NOT NULL, detail TEXT NOT NULL,
  FOREIGN KEY(study_id) REFERENCES autorl_study (id) ON DELETE CASCADE
);
CREATE INDEX autorl_event_by_study ON autorl_event (study_id, id);
INSERT INTO autorl_study VALUES (1, 'old', '{"study": "old", "task": {"env": "probe_envs:autorl-tests/Bandit-v0", "env_kwargs": {}, "wrappers": []}, "algorithm": {"backend": "sb3", "name": "ppo", "fixed": {"n_steps": 32}}, "policy": {"name": null, "net_arch": [8], "activation_fn": null}, "search_space": {"parameters": {"learning_rate": {"min": 0.0001, "max": 0.1, "log": true, "step": null, "values": null, "transform": null, "when": {}, "default": null, "sets": null, "description": ""}, "gamma": {"min": 0.001, "max": 0.1, "log": true, "step": null, "values": null, "transform": "one_minus", "when": {}, "default": null, "sets": null, "description": ""}, "batch_size": {"min": 3, "max": 5, "log": false, "step": null, "values": null, "transform": "power_of_two", "when": {}, "default": null, "sets": null, "description": ""}, "vf_clip": {"min": null, "max": null, "log": false, "step": null, "values": [false, true], "transform": null, "when": {}, "default": false, "sets": null, "description": ""}, "clip_range_vf": {"min": 0.1, "max": 1.0, "log": false, "step": null, "values": null, "transform": null, "when": {"vf_clip": true}, "default": null, "sets": null, "description": ""}}}, "objectives": [{"metric": "return", "over_seeds": "mean", "direction": "maximize"}], "seeds": {"tuning": "0:2", "validation": "10:12", "test": "20:23"}, "budget": {"trials": 6, "steps_per_run": 128}, "evaluation": {"points": 2, "episodes": 4, "deterministic": true}, "retest": {"top": 2}, "optimizer": {"name": "random", "seed": 1, "max_pending": null}, "execution": {"executor": "inline", "workers": 2, "checkpoint_seconds": 60.0}, "storage": "sqlite:///old.db"}', 'hash', 'tuning', NULL, '{}', '{}', 1.0, NULL, 3, NULL, 2.0);
INSERT INTO autorl_trial VALUES (1, 1, 0, 'optimizer', '{"learning_rate": 1.0, "gamma": 0.99, "batch_size": 16, "vf_clip": false}', '{}', '{"backend": "sb3", "algorithm": "ppo", "hyperparameters": {"n_steps": 32, "learning_rate": 1.0, "gamma": 0.99, "batch_size": 16}, "policy": {"net_arch": [8]}, "env": "probe_envs:autorl-tests/Bandit-v0", "env_kwargs": {}, "wrappers": [], "env_steps": 128, "evaluation_points": 2, "evaluation_episodes": 4, "deterministic": true}', '0:0', 'completed', 0.5, 1, 1.0, NULL);
INSERT INTO autorl_run VALUES (1, 1, 'tuning', 0, 'completed', 1, 128, 0.5, NULL, NULL, '[]', 1.0, 0.9, 1.0, 2.0);
INSERT INTO autorl_curve VALUES (1, 0, '[{"env_steps": 64, "wall_seconds": 0.5, "metrics": {"return": 0.25}}, {"env_steps": 128, "wall_seconds": 1.0, "metrics": {"return": 0.5}}]');
INSERT INTO autorl_trial VALUES (2, 1, 1, 'optimizer', '{"learning_rate": 1.0, "gamma": 0.99, "batch_size": 16, "vf_clip": false}', '{}', '{"backend": "sb3", "algorithm": "ppo", "hyperparameters": {"n_steps": 32, "learning_rate": 1.0, "gamma": 0.99, "batch_size": 16}, "policy": {"net_arch": [8]}, "env": "probe_envs:autorl-tests/Bandit-v0", "env_kwargs": {}, "wrappers": [], "env_steps": 128, "evaluation_points": 2, "evaluation_episodes": 4, "deterministic": true}', '0:0', 'completed', 0.75, 1, 1.0, NULL);
INSERT INTO autorl_run VALUES (2, 2, 'tuning', 0, 'completed', 1, 128, 0.75, NULL, NULL, '[]', 1.0, 0.9, 1.0, 2.0);
INSERT INTO autorl_curve VALUES (2, 0, '[{"env_steps": 64, "wall_seconds": 0.5, "metrics": {"return": 0.375}}, {"env_steps": 128, "wall_seconds": 1.0, "metrics": {"return": 0.75}}]');
INSERT INTO autorl_trial VALUES (3, 1, 2, 'optimizer', '{"learning_rate": 1.0, "gamma": 0.99, "batch_size": 16, "vf_clip": false}', '{}', '{"backend": "sb3", "algorithm": "ppo", "hyperparameters": {"n_steps": 32, "learning_rate": 1.0, "gamma": 0.99, "batch_size": 16}, "policy": {"net_arch": [8]}, "env": "probe_envs:autorl-tests/Bandit-v0", "env_kwargs": {}, "wrappers": [], "env_steps": 128, "evaluation_points": 2, "evaluation_episodes": 4, "deterministic": true}', '0:2', 'running', NULL, 0, 1.0, NULL);
INSERT INTO autorl_run VALUES (3, 3, 'tuning', 0, 'running', 1, 128, NULL, NULL, NULL, '[]', 1.0, 0.9, 1.0, 2.0);

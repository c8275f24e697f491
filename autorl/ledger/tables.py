"""The ledger's tables.

autorl's tables carry the prefix `autorl_`, so that Optuna's (`studies`, `trials`, …) can live in the same database and
be upgraded by Optuna's own tools. JSON is stored as text: floats survive the round trip to the bit.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

REVISION = "0005"  # of these tables, as `migrations/` leaves them

metadata = MetaData()

study = Table(
    "autorl_study",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("spec", Text, nullable=False),  # the resolved StudySpec, JSON
    Column("spec_hash", String(64), nullable=False),
    Column("state", String(20), nullable=False),  # tuning | validation | test | finished
    Column("winner", Integer),  # trial number, once chosen
    Column("front", Text),  # with several objectives: JSON list of the trials that trade them off, once chosen
    Column("versions", Text, nullable=False),
    Column("hardware", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    Column("tuning_seconds", Float, nullable=False, default=0.0),  # that engines have spent on tuning
    Column("ended", Text),  # why tuning ended
    Column("paused", Text),  # why the engine stopped before the end, if it needs a person
    Column("stop_asked", Float),  # when somebody asked the engine to stop: the only thing that others write
    Column("lease_epoch", Integer, nullable=False, default=0),
    Column("lease_owner", Text),
    Column("lease_heartbeat", Float),
)

trial = Table(
    "autorl_trial",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("autorl_study.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("origin", String(20), nullable=False),  # default | optimizer
    Column("params", Text, nullable=False),  # values, as training uses them
    Column("coordinates", Text, nullable=False),  # search coordinates, as the optimizer proposed them
    Column("recipe", Text, nullable=False),
    Column("forked_from", Integer),  # number of the trial whose checkpoints it started from
    Column("state", String(20), nullable=False),  # running | paused | completed | pruned | failed
    Column("value", Float),  # over the seeds that got furthest
    Column("values", Text),  # JSON list: of all objectives, then what constraints bound; null where there is but one
    Column("env_steps", BigInteger, nullable=False, default=0),  # how far they got
    Column("seeds", Integer, nullable=False, default=0),  # how many they are
    Column("posterior_mean", Float),  # what the optimizer believes of it, if it has a belief
    Column("posterior_low", Float),
    Column("posterior_high", Float),
    Column("verdict", Text),  # JSON: what the seeds say of it, with constraints or several objectives
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    UniqueConstraint("study_id", "number"),
)

proposal = Table(
    "autorl_proposal",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("autorl_study.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("trial", Integer, nullable=False),  # number of the trial that it starts or continues
    Column("seeds", Text, nullable=False),  # JSON list
    Column("until", BigInteger, nullable=False),
    Column("resume_from", Integer),
    Column("known", Integer, nullable=False),  # proposals below this number had been told
    Column("told", Text, nullable=False),  # of those, what the proposal before had not known; JSON
    UniqueConstraint("study_id", "number"),
)

run = Table(
    "autorl_run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trial_id", ForeignKey("autorl_trial.id", ondelete="CASCADE"), nullable=False),
    Column("phase", String(20), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("state", String(20), nullable=False),  # waiting | running | paused | completed | failed
    Column("until", BigInteger, nullable=False),  # environment steps that it is to reach for now
    Column("attempts", Integer, nullable=False, default=0),
    Column("tries", Text, nullable=False, default="[]"),  # JSON list of the attempts that failed
    Column("checkpoint", Text),  # JSON: the file from which the run can go on, and its hash
    Column("env_steps", BigInteger, nullable=False, default=0),
    Column("score", Float),
    Column("scores", Text),  # JSON list: of all objectives and constraints; null where there is but one
    Column("error_class", String(20)),
    Column("error", Text),
    Column("notes", Text, nullable=False, default="[]"),
    Column("wall_seconds", Float, nullable=False, default=0.0),
    Column("cpu_seconds", Float, nullable=False, default=0.0),
    Column("energy_joules", Float),  # where the machine tells
    Column("started_at", Float),
    Column("finished_at", Float),
    UniqueConstraint("trial_id", "phase", "seed"),
)

curve = Table(
    "autorl_curve",
    metadata,
    Column("run_id", ForeignKey("autorl_run.id", ondelete="CASCADE"), primary_key=True),
    Column("first_point", Integer, primary_key=True),
    Column("points", Text, nullable=False),  # JSON list of points
)

log = Table(
    "autorl_event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("autorl_study.id", ondelete="CASCADE"), nullable=False),
    Column("at", Float, nullable=False),
    Column("kind", String(30), nullable=False),
    Column("detail", Text, nullable=False),
    Index("autorl_event_by_study", "study_id", "id"),
)

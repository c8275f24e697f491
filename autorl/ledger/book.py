"""The only writer of the ledger, held by the engine that conducts a study.

Every change is one transaction, and every transaction first checks that this engine still holds the study's lease
(its fencing epoch), so that an engine that was replaced cannot write. A transaction that the database does not take,
because it is locked, full or away, is tried again until it does. It may have been taken all the same, when the answer
was lost; so every write does nothing the second time.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select, update

from autorl.errors import Fenced, LeaseHeld, StorageError
from autorl.ledger import lease, tables
from autorl.ledger.continuation import going_on, spec_hash, with_max_pending
from autorl.ledger.database import open_for_writing, patiently, without_passwords
from autorl.ledger.environment import hardware, versions
from autorl.ledger.records import Attempt, ProposalRecord, Told, TrialProgress, TrialRecord
from autorl.spec.study import StudySpec
from autorl.trial import Checkpoint, FailureClass, Phase, Run, RunResult, Standing, Verdict

T = TypeVar("T")
# The statements of every run, put together once: that takes longer than the database does.
_LEASE = (
    select(tables.study.c.lease_epoch, tables.study.c.stop_asked)
    .where(tables.study.c.id == bindparam("key"))
    .with_for_update()
)
_START_RUN = update(tables.run).where(tables.run.c.id == bindparam("key"))
_FINISH_RUN = _START_RUN.where(tables.run.c.state.in_(("waiting", "running")))
_DROP_CURVE = delete(tables.curve).where(tables.curve.c.run_id == bindparam("key"))
_ADD_CURVE = insert(tables.curve)
_KNOWN_PROPOSAL = select(tables.proposal.c.id).where(
    tables.proposal.c.study_id == bindparam("study"), tables.proposal.c.number == bindparam("proposed")
)
_ADD_PROPOSAL = insert(tables.proposal)
_ADD_TRIAL = insert(tables.trial)
_SET_TRIAL = update(tables.trial).where(tables.trial.c.id == bindparam("key"))
_JUDGE = _SET_TRIAL.values(verdict=bindparam("verdict"))
_BELIEVE = _SET_TRIAL.values(
    posterior_mean=bindparam("posterior_mean"),
    posterior_low=bindparam("posterior_low"),
    posterior_high=bindparam("posterior_high"),
)
# How long a start waits for a database that is locked; once a study runs, it waits for as long as it takes.
_OPENING_SECONDS = 60.0
_CLOSING_SECONDS = 5.0


class Book:
    """Creates or takes over a study and writes its trials, runs and results.

    Args:
        spec: the study; its storage is opened and created as needed.
        max_pending: what `optimizer.max_pending` becomes if the study is new and leaves it open. It is fixed then,
            since proposals depend on it.
        waiting: called with what is wrong, again and again, while the database does not answer.

    Attributes:
        spec: the study as the ledger holds it.
        stop_asked: whether somebody asked the engine to stop, as of the last transaction.

    Raises:
        LeaseHeld: another live engine conducts the study.
        StorageError: the database cannot be opened, or holds another study under this name.
    """

    def __init__(self, spec: StudySpec, max_pending: int, waiting: Callable[[str], None]) -> None:
        self._engine = open_for_writing(spec.storage)
        self.waiting = waiting
        self._owner = lease.me()
        self._trial_ids: dict[int, int] = {}
        self._run_ids: dict[Run, int] = {}
        self.stop_asked = False
        try:
            patiently(lambda: self._take(spec, max_pending), waiting, _OPENING_SECONDS)
        except BaseException:
            self._engine.dispose()
            raise

    def _take(self, spec: StudySpec, max_pending: int) -> None:
        with self._engine.begin() as connection:
            query = select(tables.study).where(tables.study.c.name == spec.study).with_for_update()
            row = connection.execute(query).one_or_none()
            reopened: dict[str, Any] = {}
            earlier: dict[str, Any] = {}
            if row is None:
                spec = with_max_pending(spec, max_pending)
                values = {
                    "name": spec.study,
                    "state": "tuning",
                    "versions": json.dumps(versions(spec.algorithm.backend)),
                    "hardware": json.dumps(hardware()),
                    "created_at": time.time(),
                    "lease_epoch": 0,
                }
                key = connection.execute(
                    insert(tables.study).values(**values, **_spec_columns(spec))
                ).inserted_primary_key
                assert key is not None
                self._id, self.epoch, self.created = int(key[0]), 1, True
            else:
                # After a commit whose answer was lost, the lease is this engine's already.
                if row.lease_owner != self._owner and not lease.may_take(row.lease_owner, row.lease_heartbeat):
                    holder = lease.describe(row.lease_owner)
                    raise LeaseHeld(
                        f"study '{spec.study}' is being conducted by {holder}; "
                        f"wait for it, or stop it: autorl stop {spec.study}"
                    )
                old = StudySpec.model_validate_json(row.spec)
                spec = going_on(spec, old)
                if spec.budget != old.budget:  # tuning goes on, even if this engine comes no further than here
                    reopened = {"state": "tuning", "ended": None, "winner": None, "front": None, "finished_at": None}
                    earlier = {"budget": old.budget.model_dump(mode="json"), "proposals": _proposed(connection, row.id)}
                self._id, self.epoch, self.created = row.id, row.lease_epoch + 1, False
            self.spec = spec
            taken = {
                "lease_owner": self._owner,
                "lease_epoch": self.epoch,
                "lease_heartbeat": time.time(),
                "stop_asked": None,
                "paused": None,
                **reopened,
                **_spec_columns(spec),
            }
            connection.execute(update(tables.study).where(tables.study.c.id == self._id).values(taken))
            self._event(connection, "started" if self.created else "resumed", epoch=self.epoch, **earlier)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Where the lease cannot be given back, it is another engine's, or ends when this process is seen to be gone.
        with contextlib.suppress(StorageError):
            given_back = {"lease_owner": None, "stop_asked": None}
            self.commit(lambda connection: self._set_study(connection, **given_back), _CLOSING_SECONDS)
        self._engine.dispose()

    def commit(self, write: Callable[[Connection], T], seconds: float = math.inf) -> T:
        """Run one transaction, in which this engine holds the lease, until the database has taken it."""

        def attempt() -> T:
            with self._engine.begin() as connection:
                row = connection.execute(_LEASE, {"key": self._id}).one_or_none()
                if row is None or row.lease_epoch != self.epoch:
                    raise Fenced(f"study '{self.spec.study}' was taken over by another engine")
                self.stop_asked = row.stop_asked is not None
                return write(connection)

        return patiently(attempt, self.waiting, seconds)

    def _set_study(self, connection: Connection, **values: Any) -> None:
        connection.execute(update(tables.study).where(tables.study.c.id == self._id).values(values))

    def _set_run(self, connection: Connection, run: Run, **values: Any) -> None:
        connection.execute(update(tables.run).where(tables.run.c.id == self._run_id(connection, run)).values(values))

    def _event(self, connection: Connection, kind: str, **detail: Any) -> None:
        connection.execute(
            insert(tables.log).values(study_id=self._id, at=time.time(), kind=kind, detail=json.dumps(detail))
        )

    def beat(self, live_steps: Mapping[Run, int], tuning_seconds: float) -> None:
        """Show a sign of life, how far the runs in training are and how long tuning took; learn whether to stop."""

        def write(connection: Connection) -> None:
            self._set_study(connection, lease_heartbeat=time.time(), tuning_seconds=tuning_seconds)
            for run, steps in live_steps.items():
                self._set_run(connection, run, env_steps=steps)

        self.commit(write)

    def enter(self, state: str, winner: int | None = None, front: Sequence[int] = ()) -> None:
        """Enter a phase of the study."""

        def write(connection: Connection) -> None:
            finished = time.time() if state == "finished" else None
            chosen = json.dumps(list(front)) if front else None
            self._set_study(connection, state=state, winner=winner, front=chosen, finished_at=finished)
            self._event(connection, state, winner=winner)

        self.commit(write)

    def pause(self, reason: str, **detail: Any) -> None:
        """Record that the engine stops before the end, since a person has to look."""

        def write(connection: Connection) -> None:
            self._set_study(connection, paused=_text(reason))
            self._event(connection, "paused", **detail)

        self.commit(write)

    def note(self, kind: str, **detail: Any) -> None:
        """Record something that happened."""
        self.commit(lambda connection: self._event(connection, kind, **detail))

    def add_proposal(
        self, proposal: ProposalRecord, trial: TrialRecord | None, checkpoints: Mapping[int, Checkpoint]
    ) -> None:
        """Record a proposal, the trial that it starts, and the runs that it asks for, in one transaction.

        Args:
            proposal: what was proposed.
            trial: the trial that it starts, or None if it continues one.
            checkpoints: seed → file in the run's folder from which the run of a forked trial starts.
        """
        row = {
            "study_id": self._id,
            "number": proposal.number,
            "trial": proposal.trial,
            "seeds": json.dumps(proposal.seeds),
            "until": proposal.until,
            "resume_from": proposal.resume_from,
            "known": proposal.known,
            "told": json.dumps({number: _told(told) for number, told in proposal.told.items()}),
        }

        def write(connection: Connection) -> None:
            if connection.execute(_KNOWN_PROPOSAL, {"study": self._id, "proposed": proposal.number}).scalar() is None:
                connection.execute(_ADD_PROPOSAL, row)
                if trial is not None:
                    key = connection.execute(_ADD_TRIAL, self._trial_row(trial)).inserted_primary_key
                    assert key is not None
                    self._insert_runs(connection, key[0], "tuning", proposal.seeds, proposal.until, checkpoints)
                else:
                    self._continue_trial(connection, proposal)

        self.commit(write)

    def _trial_row(self, trial: TrialRecord) -> dict[str, Any]:
        return {
            "study_id": self._id,
            "number": trial.number,
            "origin": trial.origin,
            "params": json.dumps(dict(trial.config.values)),
            "coordinates": json.dumps(dict(trial.config.coordinates)),
            "recipe": json.dumps(trial.recipe.to_dict()),
            "forked_from": trial.forked_from,
            "state": trial.state,
            "created_at": trial.created_at,
        }

    def _continue_trial(self, connection: Connection, proposal: ProposalRecord) -> None:
        trial_id = self._trial_id(connection, proposal.trial)
        known = self._seeds(connection, trial_id, "tuning")
        for seed in known & set(proposal.seeds):
            run = Run(proposal.trial, "tuning", seed)
            self._set_run(connection, run, state="waiting", until=proposal.until, finished_at=None)
        added = [seed for seed in proposal.seeds if seed not in known]
        self._insert_runs(connection, trial_id, "tuning", added, proposal.until)
        reopened = {"state": "running", "finished_at": None}
        connection.execute(update(tables.trial).where(tables.trial.c.id == trial_id).values(reopened))

    def add_runs(self, trial: int, phase: Phase, seeds: Iterable[int], until: int) -> None:
        """Plan runs of a trial in a later phase; those that are planned already stay as they are."""

        def write(connection: Connection) -> None:
            trial_id = self._trial_id(connection, trial)
            known = self._seeds(connection, trial_id, phase)
            self._insert_runs(connection, trial_id, phase, [seed for seed in seeds if seed not in known], until)

        self.commit(write)

    def _seeds(self, connection: Connection, trial_id: int, phase: Phase) -> set[int]:
        query = select(tables.run.c.seed).where(tables.run.c.trial_id == trial_id, tables.run.c.phase == phase)
        return set(connection.execute(query).scalars())

    def _insert_runs(
        self,
        connection: Connection,
        trial_id: int,
        phase: Phase,
        seeds: Sequence[int],
        until: int,
        checkpoints: Mapping[int, Checkpoint] | None = None,
    ) -> None:
        files = {seed: json.dumps(asdict(checkpoint)) for seed, checkpoint in (checkpoints or {}).items()}
        common: dict[str, Any] = {"trial_id": trial_id, "phase": phase, "state": "waiting", "until": until}
        rows = [common | {"seed": seed, "checkpoint": files.get(seed)} for seed in seeds]
        if rows:
            connection.execute(insert(tables.run), rows)

    def start_run(self, run: Run, attempt: int) -> None:
        """Record that an attempt at a run starts."""
        values = {"state": "running", "attempts": attempt, "started_at": time.time(), "env_steps": 0}
        self.commit(lambda connection: connection.execute(_START_RUN, {**values, "key": self._run_id(connection, run)}))

    def save_checkpoint(self, run: Run, checkpoint: Checkpoint) -> None:
        """Record the file from which a run can go on."""
        self.commit(lambda connection: self._set_run(connection, run, checkpoint=json.dumps(asdict(checkpoint))))

    def fail_attempt(self, run: Run, attempt: int, error_class: FailureClass, error: str) -> tuple[Attempt, ...]:
        """Record an attempt that failed, once; the run waits to be tried again or to be finished.

        Returns:
            All failed attempts of the run.
        """

        def write(connection: Connection) -> tuple[Attempt, ...]:
            run_id = self._run_id(connection, run)
            text = connection.execute(select(tables.run.c.tries).where(tables.run.c.id == run_id)).scalar_one()
            tries = [Attempt(**known) for known in json.loads(text)]
            if all(known.attempt != attempt for known in tries):
                tries.append(Attempt(attempt, error_class, _text(error), time.time()))
                shown_as = json.dumps([asdict(known) for known in tries])
                self._set_run(connection, run, state="waiting", tries=shown_as)
                place = {"trial": run.trial, "phase": run.phase, "seed": run.seed}
                self._event(connection, "run failed", **place, attempt=attempt, error_class=error_class)
            return tuple(tries)

        return self.commit(write)

    def release_run(self, run: Run) -> None:
        """Record that a run in training was stopped and waits to go on."""
        self.commit(lambda connection: self._set_run(connection, run, state="waiting"))

    def finish_run(self, run: Run, result: RunResult, paused: bool, trial: TrialProgress | None) -> float:
        """Record that a run got where it was to get, or failed, with its curve; once.

        Args:
            run: its key.
            result: what came of it.
            paused: whether that is not a full run, so that it may be continued.
            trial: how its trial stands now, if this was the last run that the trial was waiting for.

        Returns:
            When, in seconds since the epoch.
        """
        now = time.time()
        kept = result.checkpoint if paused else None
        values = {
            "state": "paused" if paused else result.status,
            "checkpoint": None if kept is None else json.dumps(asdict(kept)),
            "env_steps": result.env_steps,
            "score": result.scores[0] if result.scores else None,
            "scores": json.dumps(result.scores) if len(result.scores) > 1 else None,
            "error_class": result.error_class,
            "error": _text(result.error) if result.error is not None else None,
            "notes": json.dumps([_text(note) for note in result.notes]),
            "wall_seconds": result.wall_seconds,
            "cpu_seconds": result.cpu_seconds,
            "energy_joules": result.energy_joules,
            "finished_at": now,
        }
        points = json.dumps([point.to_dict() for point in result.curve])

        def write(connection: Connection) -> None:
            run_id = self._run_id(connection, run)
            if connection.execute(_FINISH_RUN, {**values, "key": run_id}).rowcount:
                # A crash brings no curve: what was told of the run before it is still what it was.
                if result.curve:
                    connection.execute(_DROP_CURVE, {"key": run_id})
                    connection.execute(_ADD_CURVE, {"run_id": run_id, "first_point": 0, "points": points})
                if trial is not None:
                    self._set_trial(connection, run.trial, trial, now)

        self.commit(write)
        return now

    def set_trial(self, number: int, trial: TrialProgress) -> float:
        """Record how a trial stands; returns when."""
        now = time.time()
        self.commit(lambda connection: self._set_trial(connection, number, trial, now))
        return now

    def _set_trial(self, connection: Connection, number: int, trial: TrialProgress, now: float) -> None:
        values = {**asdict(trial), "values": json.dumps(trial.values) if trial.values else None, "finished_at": now}
        connection.execute(_SET_TRIAL, {**values, "key": self._trial_id(connection, number)})

    def end_tuning(self, reason: str) -> None:
        """Record that no more is proposed, and why: trials that are paused will not go on."""

        def write(connection: Connection) -> None:
            paused = and_(tables.trial.c.study_id == self._id, tables.trial.c.state == "paused")
            connection.execute(update(tables.trial).where(paused).values(state="pruned"))
            self._set_study(connection, ended=reason)

        self.commit(write)

    def believe(self, standings: Sequence[Standing]) -> None:
        """Record what the optimizer believes of its trials, in place of what it believed before."""
        empty: dict[str, float | None] = {"posterior_mean": None, "posterior_low": None, "posterior_high": None}

        def write(connection: Connection) -> None:
            connection.execute(update(tables.trial).where(tables.trial.c.study_id == self._id).values(empty))
            rows: list[dict[str, float]] = [
                {
                    "key": self._trial_id(connection, standing.trial),
                    "posterior_mean": standing.mean,
                    "posterior_low": standing.low,
                    "posterior_high": standing.high,
                }
                for standing in standings
            ]
            if rows:
                connection.execute(_BELIEVE, rows)

        self.commit(write)

    def judge(self, verdicts: Mapping[int, Verdict]) -> None:
        """Record what the trials' seeds say of them, in place of what they said before."""

        def write(connection: Connection) -> None:
            connection.execute(update(tables.trial).where(tables.trial.c.study_id == self._id).values(verdict=None))
            rows = [
                {"key": self._trial_id(connection, number), "verdict": json.dumps(asdict(verdict))}
                for number, verdict in verdicts.items()
            ]
            if rows:
                connection.execute(_JUDGE, rows)

        self.commit(write)

    def forget_checkpoints(self, runs: Sequence[Run]) -> None:
        """Record that runs will not be continued: their checkpoints may be removed."""

        def write(connection: Connection) -> None:
            for run in runs:
                self._set_run(connection, run, checkpoint=None)

        self.commit(write)

    def retry(self, runs: Sequence[Run]) -> None:
        """Make failed runs wait to be trained again, their failures forgiven, and reopen their trials and the study."""

        def write(connection: Connection) -> None:
            for run in runs:
                run_id = self._run_id(connection, run)
                connection.execute(tables.curve.delete().where(tables.curve.c.run_id == run_id))
                emptied = dict.fromkeys(("error_class", "error", "score", "scores", "finished_at"))
                self._set_run(connection, run, state="waiting", tries="[]", env_steps=0, **emptied)
                self._event(connection, "retried", trial=run.trial, phase=run.phase, seed=run.seed)
            for number in {run.trial for run in runs if run.phase == "tuning"}:
                trial_id = self._trial_id(connection, number)
                emptied = dict.fromkeys(("value", "values", "verdict", "finished_at"))
                reopened = {"state": "running", "env_steps": 0, "seeds": 0, **emptied}
                connection.execute(update(tables.trial).where(tables.trial.c.id == trial_id).values(reopened))
            self._set_study(connection, state="tuning", winner=None, front=None, ended=None, finished_at=None)

        self.commit(write)

    def _trial_id(self, connection: Connection, number: int) -> int:
        if number not in self._trial_ids:
            query = select(tables.trial.c.id).where(
                tables.trial.c.study_id == self._id, tables.trial.c.number == number
            )
            self._trial_ids[number] = int(connection.execute(query).scalar_one())
        return self._trial_ids[number]

    def _run_id(self, connection: Connection, run: Run) -> int:
        if run not in self._run_ids:
            where = and_(
                tables.run.c.trial_id == self._trial_id(connection, run.trial), tables.run.c.phase == run.phase
            )
            for seed, key in connection.execute(select(tables.run.c.seed, tables.run.c.id).where(where)):
                self._run_ids[Run(run.trial, run.phase, seed)] = key
        return self._run_ids[run]


def _proposed(connection: Connection, study_id: int) -> int:
    """Return how many proposals there are: they were made for the budget that the study had until now."""
    count = select(func.count()).where(tables.proposal.c.study_id == study_id)
    return connection.execute(count).scalar_one()


def _told(told: Told) -> list[Any]:
    more = [told.values, told.violations] if told.values or told.violations else []
    return [told.value, told.failed, *more]


def _text(text: str) -> str:
    """Return text as every database takes it: PostgreSQL rejects NUL, and lone surrogates are no UTF-8."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _spec_columns(spec: StudySpec) -> dict[str, str]:
    return {"spec": json.dumps(without_passwords(spec.model_dump(mode="json"))), "spec_hash": spec_hash(spec)}

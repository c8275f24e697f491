"""Runs as runs of MLflow, in an experiment that has the study's name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlflow.entities import LifecycleStage, Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from autorl.errors import AutorlError
from autorl.report.tracking import Mirrored

_BATCH = 1_000
_NAME, _STAMP = "autorl.run", "autorl.stamp"
_FORBIDDEN = re.compile(r"[^\w\-. :/]")


class Tracker:
    """Writes to a tracking server or a database of MLflow's.

    Args:
        study: name of the study.
        where: the tracking URI.
    """

    def __init__(self, study: str, where: str) -> None:
        self._client = MlflowClient(tracking_uri=where)
        found = self._client.get_experiment_by_name(study)
        if found is not None and found.lifecycle_stage == LifecycleStage.DELETED:
            one = found.experiment_id
            raise AutorlError(
                f"{where}: experiment '{study}' was deleted; bring it back with mlflow experiments restore "
                f"--experiment-id {one}, or remove what is left of it with mlflow gc --experiment-ids {one}"
            )
        self._experiment = found.experiment_id if found is not None else self._client.create_experiment(study)

    def known(self) -> set[str]:
        """Return the runs that were written to their end, as they stood."""
        return {tags[_STAMP] for _, tags in self._held() if _STAMP in tags}

    def _held(self, where: str = "") -> Iterator[tuple[str, dict[str, str]]]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment], where, max_results=_BATCH, page_token=token)
            yield from ((run.info.run_id, run.data.tags) for run in page)
            token = page.token
            if not token:
                return

    def write(self, mirrored: Mirrored) -> None:
        """Write a run; its stamp comes last, so one that was cut off is written anew."""
        run = mirrored.run
        for earlier, _ in list(self._held(f"tags.`{_NAME}` = '{mirrored.name}'")):
            self._client.delete_run(earlier)
        started, ended = (None if at is None else round(at * 1000) for at in (run.started_at, run.finished_at))
        made = self._client.create_run(
            self._experiment, start_time=started, tags={_NAME: mirrored.name}, run_name=mirrored.name
        ).info.run_id
        params = [Param(_key(key), str(value)) for key, value in mirrored.config.items()]
        self._client.log_batch(made, params=params)
        points = [
            Metric(f"evaluation/{_key(name)}", value, at, point.env_steps)
            for point in mirrored.curve
            for at in [(started or 0) + round(point.wall_seconds * 1000)]
            for name, value in point.metrics.items()
        ]
        if run.score is not None:
            points.append(Metric("score", run.score, ended or 0, run.env_steps))
        for first in range(0, len(points), _BATCH):
            self._client.log_batch(made, metrics=points[first : first + _BATCH])
        tags = {_STAMP: mirrored.stamp, **({"error": run.error[-5000:]} if run.error else {})}
        self._client.log_batch(made, tags=[RunTag(key, value) for key, value in tags.items()])
        self._client.set_terminated(made, "FAILED" if run.state == "failed" else "FINISHED", ended)


def _key(name: str) -> str:
    """Return a name as MLflow takes it."""
    return _FORBIDDEN.sub("_", name.replace("@", "_at_"))

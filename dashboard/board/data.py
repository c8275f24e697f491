"""Read the ledger for the pages: through its reader only, and not twice while nothing has changed.

Streamlit runs a page again at every click. What is read is therefore kept, under a marker that the ledger gives cheaply
and that changes whenever the study does.
"""

from __future__ import annotations

import time
from collections.abc import Hashable

import streamlit as st

from autorl.ledger.reader import Reader, default_url
from autorl.ledger.records import CurveRecord, StudyRecord
from autorl.report.findings import Findings, gather
from autorl.report.influence import Influence
from autorl.report.influence import influence as learn
from autorl.trial import Phase

LIVE_SECONDS = 2


def storage() -> str:
    """Return the URL of the database that the dashboard shows."""
    return default_url()


def records(url: str) -> list[StudyRecord]:
    """Return all studies, the newest first.

    Raises:
        StorageError: there is no such database, or it is not one of autorl.
    """
    with Reader(url) as reader:
        return reader.studies()


def findings(url: str, study: str) -> Findings:
    """Return what a study has found so far.

    Raises:
        StorageError: there is no such database or study.
    """
    with Reader(url) as reader:
        return _findings(url, study, _marker(reader, reader.study(study)))


def curves(url: str, study: str, trials: tuple[int, ...], phase: Phase) -> list[CurveRecord]:
    """Return the learning curves of some trials in one phase.

    Raises:
        StorageError: there is no such database or study.
    """
    with Reader(url) as reader:
        return _curves(url, study, trials, phase, _marker(reader, reader.study(study)))


def influence(url: str, study: str, index: int) -> Influence | str:
    """Return what the hyperparameters of a study do to one of its objectives, or why that is not known.

    Raises:
        StorageError: there is no such database or study.
    """
    with Reader(url) as reader:
        return _influence(url, study, index, _marker(reader, reader.study(study)))


def _marker(reader: Reader, study: StudyRecord) -> Hashable:
    """Return what changes when a study does.

    A trial gets its value a moment after its last run is counted, so counts alone could keep the moment between for
    ever; while an engine is at work the marker also changes with the clock.
    """
    counts = tuple(sorted(reader.counts(study.name).items()))
    clock = int(time.time() // LIVE_SECONDS) if study.live else None
    # The creation time tells a study from one of the same name that was deleted.
    told = (study.state, study.paused, study.ended, study.winner, study.finished_at, study.tuning_seconds)
    return study.created_at, told, study.spec.budget.trials, counts, clock


# Findings are frozen, so all sessions may share one: no copy is made at each click, as `cache_data` would.
@st.cache_resource(max_entries=64, show_spinner=False)
def _findings(url: str, study: str, marker: Hashable) -> Findings:
    del marker  # only distinguishes the entries
    with Reader(url) as reader:
        return gather(reader, study)


@st.cache_resource(max_entries=32, show_spinner=False)
def _curves(url: str, study: str, trials: tuple[int, ...], phase: Phase, marker: Hashable) -> list[CurveRecord]:
    del marker
    with Reader(url) as reader:
        return reader.curves(study, trials, phase)


@st.cache_resource(max_entries=16, show_spinner="Learning what the hyperparameters do …")
def _influence(url: str, study: str, index: int, marker: Hashable) -> Influence | str:
    with Reader(url) as reader:
        return learn(_findings(url, study, marker), lambda trials, phase: reader.curves(study, trials, phase), index)


def selected() -> Findings:
    """Return the findings of the study that is selected in the sidebar."""
    return findings(storage(), st.session_state["study"])

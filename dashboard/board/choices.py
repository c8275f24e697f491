"""What several pages let the user choose, in the same words and under the same keys."""

from __future__ import annotations

import streamlit as st

from autorl.report.findings import PHASES, Findings
from autorl.trial import Phase


def phase(found: Findings) -> Phase:
    """Let the user choose among the phases that have runs."""
    present = {run.phase for runs in found.runs.values() for run in runs}
    phases = [phase for phase in PHASES if phase in present]
    key = f"phase-{found.study.name}"
    return st.segmented_control("Seeds", phases, default="tuning", required=True, key=key, bind="query-params")

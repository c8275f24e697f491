"""What it takes to run the study again: its file, versions, hardware, commands, and the paper's checklist."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from board import data

from autorl.errors import ExportError
from autorl.report.checklist import checklist, markdown, tex
from autorl.report.export import ending, fitting, render
from autorl.report.findings import PHASES, Findings
from autorl.report.reproduce import commands, resolved
from autorl.report.words import hardware
from autorl.spec.yaml12 import dump


def main() -> None:
    """Show the page."""
    found = data.selected()
    study = found.study
    st.title("Reproduce", anchor=False)
    file = f"{study.name}.yaml"
    st.subheader("Commands", anchor=False)
    st.code(commands(found, data.storage(), file), language="bash", wrap_lines=True)
    st.subheader("What it ran with", anchor=False)
    st.dataframe(_facts(found), hide_index=True, height="content")
    st.subheader("The study, every default included", anchor=False)
    text = dump(resolved(found))
    _offer("Download the study file", text, file)
    with st.expander("Show it"):
        st.code(text, language="yaml", wrap_lines=True)
    _exports(found)
    st.subheader("Checklist", anchor=False)
    st.caption(
        "Of *Hyperparameters in Reinforcement Learning and How To Tune Them* (Eimer, Lindauer and Raileanu, 2023), "
        "filled in as far as the study knows."
    )
    items = checklist(found)
    with st.container(horizontal=True):
        _offer("Download as Markdown", markdown(items, study.name), f"{study.name}-checklist.md")
        _offer("Download as TeX", tex(items, study.name), f"{study.name}-checklist.tex")
    with st.expander("Show it"):
        st.markdown(markdown(items, study.name).partition("\n")[2])


def _facts(found: Findings) -> pd.DataFrame:
    seeds = found.spec.model_dump(mode="json")["seeds"]
    facts = {f"{phase} seeds": str(seeds[phase]) for phase in PHASES if seeds[phase]}
    facts |= found.study.versions
    facts["hardware"] = hardware(found.study.hardware)
    facts["fingerprint"] = f"{found.study.spec_hash} (SHA-256 of what decides the results)"
    return pd.DataFrame({"what": list(facts), "value": list(facts.values())})


def _exports(found: Findings) -> None:
    """Offer the best configuration in every format that can hold it."""
    best = found.winner or found.incumbent
    if best is None:
        return
    st.subheader(f"Trial {best.number} in your own training code", anchor=False)
    with st.container(horizontal=True):
        for name in fitting(best.recipe.backend):
            try:
                text = render(found, best, name)
            except ExportError as error:
                st.caption(f"{name}: {error}")
                continue
            _offer(
                f"Export for {name}" if name != "schedule" else "Export as a schedule", text, f"train.{ending(name)}"
            )


def _offer(label: str, text: str, file: str) -> None:
    st.download_button(label, text, file, on_click="ignore", key=label, icon=":material/download:")


main()

"""The paper's checklist, filled in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from states import STATES, make

from autorl.ledger.reader import Reader
from autorl.report.checklist import Item, checklist, markdown, tex
from autorl.report.findings import gather


def items(state: str, folder: Path) -> dict[str, Item]:
    with Reader(make(state, folder).storage) as reader:
        return {item.asked: item for item in checklist(gather(reader, "small"))}


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_one(state: str, tmp_path: Path) -> None:
    found = items(state, tmp_path)
    for text in (markdown(list(found.values()), "small"), tex(list(found.values()), "small")):
        assert "to be filled in" in text
        assert "0, 1" in text


def test_it_says_what_the_study_did(tmp_path: Path) -> None:
    found = items("finished", tmp_path)
    assert found["Tuning seeds"].answer == "2: 0, 1"
    assert found["Test seeds"].answer == "3: 20, 21, 22"
    assert found["Cost metric"].answer == "mean return, maximized"
    assert found["Are final results reported on the test setting?"].holds is True
    ranges = found["Configuration space"].details
    assert ranges[0] == "learning_rate: log((1e-4, 0.1))"
    assert ranges[1] == "1 - gamma: log((0.001, 0.1))"
    assert ranges[2] == "batch_size: powers of 2 in [8, 32]"
    assert ranges[3] == "vf_clip: {false, true}"
    assert ranges[4].endswith(", if vf_clip is true")
    assert found["Final configuration"].answer == "trial 1"
    assert "6 trials, 128 environment steps a run" in found["Tuning budget"].answer


def test_a_study_that_is_not_finished_does_not_claim_test_results(tmp_path: Path) -> None:
    assert items("tuning", tmp_path)["Are all results reported on the test seeds?"].holds is False


def test_tex_holds_no_character_that_means_something_to_it() -> None:
    written = tex([Item("a_b", "50% of $x & {y} # ~ ^ \\", True, ("k: {a, b}",))], "s_1")
    body = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum)\{\}", "", written)
    body = re.sub(r"\\[&%$#_{}]", "", body)
    assert not re.search(r"[$&#_%~^]", body)
    assert written.count(r"\begin") == written.count(r"\end")


def test_markdown_holds_no_markup_of_its_data() -> None:
    written = markdown([Item("asked", "<script> *bold* `code_stays`")], "a_b")
    assert r"\<script\> \*bold\* `code_stays`" in written

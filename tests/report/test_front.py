"""What reports and commands tell of a front and of constraints."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from states import make, make_front
from typer.testing import CliRunner

from autorl.cli.app import app
from autorl.errors import AutorlError
from autorl.ledger.reader import Reader
from autorl.report import text
from autorl.report.compare import compare
from autorl.report.compare import sentences as compared
from autorl.report.findings import Findings, gather
from autorl.report.front import volumes
from autorl.report.html import page
from autorl.report.sentences import sentences


def findings(url: str) -> Findings:
    with Reader(url) as reader:
        return gather(reader, "small")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_front(tmp_path_factory.mktemp("front")).storage


def test_the_front_survives_its_test(url: str) -> None:
    found = findings(url)
    traded = found.front
    assert traded is not None
    assert [(m.trial.number, m.survives) for m in traded.members] == [(1, 1.0), (2, 1.0), (0, 0.0)]
    assert traded.reference == pytest.approx((0.2, 5.0), abs=0.05)  # the default is the worst in both
    # Above the reference: 0.3 x 3 and 0.7 x 2, which share 0.3 x 2.
    assert traded.tuning == pytest.approx(1.7, abs=0.1)
    assert traded.gap is not None
    assert traded.gap.low < 0.0 < traded.gap.high
    said = sentences(found)
    assert said[0] == (
        "On the tuning and validation seeds trials 1 and 2 trade off mean return and mean length: nothing is likely to "
        "beat any of them in all."
    )
    assert said[1] == "On 3 test seeds that chose nothing 2 of 2 stay on the front."
    assert "the knee of the front, trial 2, has mean return" in said[3]
    (bound,) = found.kept
    assert bound.holds
    assert bound.likely > 0.9


def test_it_is_told_on_the_terminal_in_html_and_in_json(url: str) -> None:
    found = findings(url)
    with Reader(url) as reader:
        console = Console(width=100, record=True, file=io.StringIO())
        text.show(found, reader, console)
        told, html = console.export_text(), page(found, reader)
    assert "The front, and the default beside it" in told
    assert "mean return, the first of 2 objectives, on 3 test seeds" in told
    for expected in ("The front, and the default beside it", "2 (knee)", "0 (default)", 'id="front-'):
        assert expected in html
    result = CliRunner().invoke(app, ["report", "small", "--storage", url, "--format", "json"])
    data = json.loads(result.stdout)
    assert data["front"]["trials"] == [1, 2]
    assert data["constraints"][0]["holds"] is True


def test_the_command_line_picks_from_the_front(url: str) -> None:
    def best(*options: str) -> str:
        return CliRunner().invoke(app, ["best", "small", "--storage", url, *options]).stdout

    assert json.loads(best("--format", "json"))["trial"] == 2
    assert [row["trial"] for row in json.loads(best("--front", "--format", "json"))] == [1, 2]
    assert json.loads(best("--prefer", "length=0.9,return=0.1", "--format", "json"))["trial"] == 1
    assert json.loads(best("--prefer", "return=1", "--format", "json"))["trial"] == 2
    assert "one of the front that these weights prefer" in best("--prefer", "length=1")
    assert "stays" in best("--front")


def test_wrong_weights_and_studies_without_a_front_are_named(url: str, tmp_path: Path) -> None:
    traded = findings(url).front
    assert traded is not None
    with pytest.raises(AutorlError, match="'retrun' is no objective; did you mean 'return'"):
        traded.prefer({"retrun": 1.0})
    with pytest.raises(AutorlError, match="expected 0 or more"):
        traded.prefer({"return": -1.0})
    one = make("finished", tmp_path).storage
    assert findings(one).front is None
    assert volumes(findings(one)) == []
    for options, message in (
        (["--prefer", "return"], "'return' is no weight; write NAME=WEIGHT"),
        (["--front"], "it has one objective, and so no front"),
    ):
        where = one if options == ["--front"] else url
        result = CliRunner().invoke(app, ["best", "small", "--storage", where, *options])
        assert result.exit_code != 0
        assert message in str(result.exception) + result.output


def test_the_hypervolume_grows_with_the_budget(url: str) -> None:
    course = volumes(findings(url))
    assert [volume.trials for volume in course] == [1, 2, 3, 4]  # the fifth breaks the bound
    assert [volume.value for volume in course] == sorted(volume.value for volume in course)
    assert all(len(volume.by_seed) == 2 for volume in course)
    assert course[-1].env_steps == 4 * 2 * 128


def test_studies_of_several_objectives_are_compared_by_their_hypervolume(url: str, tmp_path: Path) -> None:
    found = findings(url)
    side_by_side = compare([found, found])
    tuned, tested = side_by_side.sides[0].hypervolume
    assert tuned == pytest.approx(1.7, abs=0.1)
    assert tested == pytest.approx(1.7, abs=0.1)
    assert (
        "Hypervolume by tuning at equal budget and of the front on the test seeds: small 1."
        in compared(side_by_side)[0]
    )
    one = findings(make("finished", tmp_path).storage)
    with pytest.raises(AutorlError, match="maximize mean return, minimize mean length; small: maximize mean return"):
        compare([found, one])

"""What a grid over model sizes says of compute."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_study import ignore
from typer.testing import CliRunner

from autorl.analysis import sigmoid_fit
from autorl.cli.app import app
from autorl.engine.check import check
from autorl.engine.conductor import conduct
from autorl.ledger.reader import Reader
from autorl.report.findings import gather
from autorl.report.scaling import Scaled, scalings
from autorl.spec.load import draft_study
from autorl.training.llm.model import Architecture, Characters, Model

STUDY = """\
study: grown
task: {env: "probe_tasks:Echo"}
algorithm: {backend: llm, name: grpo, fixed: {prompts: 4, rollouts: 4, max_tokens: 6, sft_steps: 20, sft_batch: 8}}
policy: {layers: 1, heads: 2, context: 32}
search_space: {parameters: {policy.width: {values: [16, 8], default: 16}}}
objectives: [{metric: pass_at_1}]
seeds: {tuning: 0:2, test: 100:101}
budget: {trials: 2, steps_per_run: 128}
evaluation: {points: 8, episodes: 8}
optimizer: {name: grid}
"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("grown")
    url = f"sqlite:///{folder / 'a.db'}"
    (folder / "study.yaml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        conduct(check(draft_study(folder / "study.yaml", [f"storage={url}"])), ignore)
    return url


@pytest.fixture(scope="module")
def grown(storage: str) -> list[Scaled]:
    with Reader(storage) as reader:
        found = gather(reader, "grown")
        return scalings(found, lambda trials: reader.curves("grown", trials, "tuning"))


def test_compute_is_eight_operations_for_each_parameter_and_token(storage: str) -> None:
    with Reader(storage) as reader:
        records = reader.curves("grown", [0, 1], "tuning")
        widths = {trial.number: trial.config.values["policy.width"] for trial in reader.trials("grown")}
    for record in records:
        shape = Architecture(width=int(str(widths[record.run.trial])), layers=1, heads=2, context=32)
        parameters = sum(p.numel() for p in Model(shape, Characters("0123456789=").size).parameters())
        for point in record.points:
            assert point.metrics["gflop"] == pytest.approx(8e-9 * parameters * point.metrics["tokens"])


def test_each_configuration_has_the_sigmoid_of_its_mean_over_compute(storage: str, grown: list[Scaled]) -> None:
    assert [one.configuration for one in grown] == ["policy.width: 8", "policy.width: 16"]  # the cheapest first
    with Reader(storage) as reader:
        records = reader.curves("grown", [grown[1].trial], "tuning")
    compute = np.mean([[p.metrics["gflop"] for p in record.points] for record in records], axis=0)
    values = np.mean([[p.metrics["pass_at_1"] for p in record.points] for record in records], axis=0)
    assert grown[1].fit == sigmoid_fit(compute, values)
    assert grown[1].gflop == pytest.approx(compute[-1])
    assert grown[1].score.value == pytest.approx(values[-1])
    assert grown[1].equal == pytest.approx(float(grown[1].fit.extrapolate([grown[0].gflop])[0]))


def test_every_report_shows_them(storage: str, grown: list[Scaled], tmp_path: Path) -> None:
    run = CliRunner().invoke
    printed = run(app, ["report", "grown", "--storage", storage], env={"COLUMNS": "100"}).stdout
    assert "What more compute would buy" in printed
    assert "No run trained on a problem that any run is evaluated on" in " ".join(printed.split())
    html = tmp_path / "report.html"
    assert run(app, ["report", "grown", "--storage", storage, "--html", str(html)]).exit_code == 0
    assert "policy.width: 8" in html.read_text()
    data = json.loads(run(app, ["report", "grown", "--storage", storage, "--format", "json"]).stdout)
    assert data["scaling"] == [json.loads(json.dumps(one.to_dict())) for one in grown]

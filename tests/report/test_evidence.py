"""What the seeds and the hyperparameters of a study say, from its ledger, and the sentences made of it."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats
from small_study import load
from states import STATES, Writer, make, make_objectives

from autorl.analysis import difference, headline, seeds_needed, split_variance, winners_curse
from autorl.ledger.book import Book
from autorl.ledger.reader import Reader
from autorl.report import text
from autorl.report.evidence import evidence, tuning_minus_test
from autorl.report.export import header
from autorl.report.figures import figures
from autorl.report.findings import Findings, gather
from autorl.report.html import page
from autorl.report.influence import Influence, domain, influence, shares
from autorl.report.influence import influences as learned
from autorl.report.sentences import influences, sentences, what_matters
from autorl.report.words import number
from autorl.spec.space import Configuration
from autorl.spec.unit import place


def gathered(state: str, folder: Path, *overrides: str) -> tuple[Findings, Influence | str]:
    spec = make(state, folder, *overrides)
    with Reader(spec.storage) as reader:
        found = gather(reader, "small")
        return found, influence(found, lambda trials, phase: reader.curves("small", trials, phase))


@pytest.mark.parametrize("state", STATES)
def test_every_state_says_something(state: str, tmp_path: Path) -> None:
    found, seen = gathered(state, tmp_path)
    assert all(sentence.endswith(".") for sentence in [*sentences(found), *influences(seen)])
    assert len(evidence(found).scores) == len(evidence(found).trials)


def test_only_trials_trained_in_full_on_every_seed_are_compared(tmp_path: Path) -> None:
    found, _ = gathered("finished", tmp_path)
    seen = evidence(found)
    assert seen.trials == (0, 1, 4)  # 2 failed, 3 trains
    assert seen.scores.tolist() == [[0.25, 0.5], [0.75, 0.5], [0.5, 0.5]]
    assert seen.curse is None  # of three trials it would say nothing
    assert seen.best == ((1, 0.625), (4, 0.5))
    assert seen.needed == seeds_needed([0.75, 0.5], [0.5, 0.5])


def test_one_trial_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    found, seen = gathered("one_trial", tmp_path)
    assert evidence(found).curse is None
    assert evidence(found).split is None
    assert isinstance(seen, str)
    assert "needs at least 8" in seen


def test_the_curse_is_that_of_the_tuning_seeds(tmp_path: Path) -> None:
    found, _ = gathered("many_trials", tmp_path)
    seen = evidence(found)
    assert seen.curse == winners_curse(seen.scores)
    assert seen.split == split_variance(seen.scores)
    assert any("(the winner's curse, from tuning data alone)" in sentence for sentence in sentences(found))


def test_what_others_should_find_is_predicted_from_the_test_seeds(tmp_path: Path) -> None:
    found, _ = gathered("finished", tmp_path)
    assert found.winner is not None
    scores = found.scores(found.winner.number, "test")
    assert len(set(scores)) > 1
    half = stats.t.ppf(0.975, len(scores) - 1) * np.std(scores, ddof=1) * np.sqrt(2 / len(scores))
    low, high = (number(np.mean(scores) + sign * half) for sign in (-1, 1))
    said = (
        f"Trained again on {len(scores)} other seeds, trial {found.winner.number} should have a {found.objective} of "
        f"{low} to {high} (95% prediction interval)."
    )
    assert said in sentences(found)
    assert said in header(found, found.winner)
    assert said not in header(found, found.trials[0])


def test_seeds_that_agree_promise_nothing_of_others(tmp_path: Path) -> None:
    found, _ = gathered("finished", tmp_path)
    assert found.winner is not None
    trial = found.winner.number
    runs = [replace(run, scores=(0.5,)) if run.phase == "test" else run for run in found.runs[trial]]
    agreeing = replace(found, runs={**found.runs, trial: tuple(runs)})
    assert any("show no spread" in sentence for sentence in sentences(agreeing))
    assert not any("prediction interval" in sentence for sentence in sentences(agreeing))


def test_a_spread_is_compared_with_a_spread(tmp_path: Path) -> None:
    steady, wild = [170.0, 171.0, 169.0, 170.5], [150.0, 240.0, 180.0, 260.0]
    settings = {"statistic": "std", "direction": "minimize"}
    assert headline(steady, wild, **settings).probability.value > 0.9  # type: ignore[arg-type]
    assert headline(wild, steady, **settings).probability.value < 0.1  # type: ignore[arg-type]
    spread = "objectives=[{metric: return, over_seeds: std, direction: minimize}]"
    found, _ = gathered("finished", tmp_path, spread)
    assert found.winner is not None
    assert found.winner.number > 0
    assert any("on a fresh seed tuned is nearer to its median with probability" in said for said in sentences(found))
    assert "nearer to its median" in " ".join(header(found, found.winner))


def test_scores_that_a_statistic_leaves_out_are_said() -> None:
    steady = headline([0.0, 0.0, *[500.0] * 8], [450.0] * 10, statistic="iqm").cautions
    assert (
        "those test seeds of the tuned configuration that its iqm looks at scored the same, so its interval"
        in steady[0]
    )
    assert steady[0].endswith("went from 0 to 500")
    assert steady[1].startswith("every test seed of the default configuration scored the same")


def test_how_seeds_scatter_is_explained_by_trials_with_every_seed_alone(tmp_path: Path) -> None:
    spread = "objectives=[{metric: return, over_seeds: std, direction: minimize}]"
    found, seen = gathered("many_trials", tmp_path, spread)
    assert isinstance(seen, Influence)
    assert seen.values == pytest.approx(seen.scores.std(axis=1, ddof=1))
    assert seen.by_seed == []
    runs = {n: own[:1] if n % 2 else own for n, own in found.runs.items()}
    with Reader(found.spec.storage) as reader:
        some = influence(replace(found, runs=runs), lambda trials, phase: reader.curves("small", trials, phase))
    assert isinstance(some, Influence)
    assert [trial.number for trial in some.trials] == [t.number for t in seen.trials if t.number % 2 == 0]
    assert some.values == pytest.approx(some.scores.std(axis=1, ddof=1))


def test_curves_are_of_the_metric_whatever_the_objective_makes_of_it(tmp_path: Path) -> None:
    soon = "objectives=[{metric: return, over_run: steps_to, threshold: 0.7, direction: minimize}]"
    spec = make("finished", tmp_path, soon)
    assert (spec.curve_metric, spec.curve_direction, spec.middle_direction) == ("return", "maximize", "maximize")
    with Reader(spec.storage) as reader:
        found = gather(reader, "small")
        captions = [drawing.caption for drawing in figures(found, reader)]
    assert any("At the end of training the mean return is" in caption for caption in captions)


def test_the_gap_is_tuning_minus_test(tmp_path: Path) -> None:
    found, _ = gathered("finished", tmp_path)
    assert tuning_minus_test(found, 1) == difference([0.75, 0.5], [0.5, 0.55, 0.75])
    assert tuning_minus_test(found, 4) is None  # it was not tested


def test_what_matters_is_found(tmp_path: Path) -> None:
    found, seen = gathered("many_trials", tmp_path)
    assert isinstance(seen, Influence)
    assert seen.names[seen.ranked[0]] == "learning_rate"
    assert seen.ped_anova.argmax() == seen.names.index("learning_rate")
    assert seen.forest.explained > 0.4
    assert len(seen.by_seed) == 2
    assert "What matters most is learning_rate" in influences(seen)[0]
    rates = [float(str(seen.value_at(0, place))) for place in (0.0, 0.5, 1.0)]
    assert rates == pytest.approx([1e-4, 10**-2.5, 0.1])
    best = found.trials[found.study.winner or 0]
    begun, steps = seen.path(found.trials[0], best)
    assert steps[-1].score > begun
    local, changes = seen.around(best)
    assert local.sum() == pytest.approx(1.0)
    inactive = [name for name in seen.names if name not in best.config.values]
    assert all(changes[seen.names.index(name)].size == 0 for name in inactive)


def test_failed_trials_are_said_to_be_missing(tmp_path: Path) -> None:
    spec = make("many_trials", tmp_path)
    with Book(spec, max_pending=1, waiting=print) as book:
        Writer(book).trial(30, None)
    with Reader(spec.storage) as reader:
        seen = influence(gather(reader, "small"), lambda trials, phase: reader.curves("small", trials, phase))
    assert isinstance(seen, Influence)
    assert len(seen.trials) == 30
    assert influences(seen)[1].startswith("1 trial with a failed run is not in the model")


def test_an_easy_seed_does_not_pass_for_merit(tmp_path: Path) -> None:
    found, seen = gathered("many_trials", tmp_path)
    assert isinstance(seen, Influence)
    assert seen.values == pytest.approx(seen.scores.mean(axis=1))
    assert not seen.adjusted
    # Every other trial was trained on one seed alone, on which everything scores ten more.
    runs = {
        number: tuple(
            replace(run, scores=(run.score + 10 * (run.seed == 1),))
            for run in own
            if run.phase == "tuning" and run.score is not None and (run.seed == 1 or number % 2)
        )
        for number, own in found.runs.items()
    }
    with Reader(found.spec.storage) as reader:
        other = influence(replace(found, runs=runs), lambda trials, phase: reader.curves("small", trials, phase))
    assert isinstance(other, Influence)
    assert other.adjusted
    assert other.values - other.values.mean() == pytest.approx(seen.scores.mean(axis=1) - seen.scores.mean(), abs=0.3)


def test_seeds_that_are_too_few_to_agree_are_not_said_to(tmp_path: Path) -> None:
    _, seen = gathered("many_trials", tmp_path)
    assert isinstance(seen, Influence)
    assert seen.agreement is not None
    assert seen.chance_of_agreement is not None
    random = "agree, more than those that order at random,"
    verdict = random if seen.chance_of_agreement < 0.05 else "do not agree beyond chance"
    assert f"The seeds {verdict} on the order" in influences(seen)[1]


def test_seeds_needed_are_of_means(tmp_path: Path) -> None:
    found, _ = gathered("many_trials", tmp_path, "objectives=[{metric: return, over_seeds: median}]")
    assert evidence(found).needed is None
    assert not any("tell" in said and "seeds" in said and "best two" in said for said in sentences(found))


def test_conditions_on_whole_numbers_on_a_logarithmic_scale_hold_where_they_say(tmp_path: Path) -> None:
    parameters = (
        "{n_epochs: {min: 1, max: 64, log: true}, clip_range_vf: {min: 0.1, max: 1.0, when: {n_epochs: [1, 2]}}}"
    )
    space = load(tmp_path, f"search_space.parameters={parameters}").space
    at = {
        value: place(space["n_epochs"], Configuration({"n_epochs": value}, {"n_epochs": value}))
        for value in (1, 2, 3, 64)
    }
    points = np.array([[each, 0.5] for each in at.values()])
    assert domain(space).active(points)[:, 1].tolist() == [True, True, False, False]


def test_conditional_hyperparameters_are_missing_where_they_are_inactive(tmp_path: Path) -> None:
    found, seen = gathered("many_trials", tmp_path)
    assert isinstance(seen, Influence)
    child, switch = seen.names.index("clip_range_vf"), seen.names.index("vf_clip")
    off = np.array([not trial.config.values["vf_clip"] for trial in found.trials])
    assert (np.isnan(seen.points[:, child]) == off).all()
    everything = np.full((2, len(seen.names)), 0.5)
    everything[:, switch] = 0.25, 0.75
    assert seen.forest.domain.active(everything)[:, child].tolist() == [False, True]


def test_trials_that_got_less_far_are_compared_where_all_were(tmp_path: Path) -> None:
    found, seen = gathered("many_trials", tmp_path, "seeds.tuning=0:2")
    assert isinstance(seen, Influence)
    assert seen.until == 128
    # Had most trials ended after 64 steps, the others' scores would be those of their curves there, half the final.
    early = [replace(t, env_steps=64) if t.number % 3 else t for t in found.trials]
    runs = {
        number: tuple(
            replace(r, env_steps=64, state="paused") if number % 3 and r.phase == "tuning" else r for r in own
        )
        for number, own in found.runs.items()
    }
    with Reader(found.spec.storage) as reader:
        half = influence(
            replace(found, trials=tuple(early), runs=runs), lambda trials, phase: reader.curves("small", trials, phase)
        )
    assert isinstance(half, Influence)
    assert half.until == 64
    assert half.scores[0] == pytest.approx(seen.scores[0] / 2)
    assert half.scores[1] == pytest.approx(seen.scores[1])


def test_each_objective_has_a_model_of_its_own(tmp_path: Path) -> None:
    spec = make_objectives(tmp_path)
    with Reader(spec.storage) as reader:
        found = gather(reader, "small")
        seen = learned(found, lambda trials, phase: reader.curves("small", trials, phase))
        console = Console(width=120, record=True, file=StringIO())
        text.show(found, reader, console)
        told, html = console.export_text(), page(found, reader)
    for each, name, top in zip(seen, ("return", "length"), ("learning_rate", "batch_size"), strict=True):
        assert isinstance(each, Influence)
        assert each.objective.metric == name
        assert each.names[each.ranked[0]] == top
        scores = [found.scores(trial.number, "tuning", seen.index(each)) for trial in each.trials]
        assert each.values == pytest.approx(np.mean(scores, axis=1))
        assert each.higher_is_better == (name == "return")
    said = what_matters(seen, spec.objectives)
    assert said[0].startswith("Mean return: what matters most is learning_rate")
    assert any(sentence.startswith("Mean length: what matters most is batch_size") for sentence in said)
    assert all(escape(sentence) in html for sentence in said)
    rows = dict(shares(seen))
    assert next(iter(rows)) in ("learning_rate", "batch_size")
    for name, (of_return, of_length) in rows.items():
        assert of_return is not None
        assert of_length is not None
        assert f"<td>{of_return:.0%}</td>" in html
        (line,) = [line for line in told.splitlines() if line.split()[:1] == [name] and "%" in line and "•" not in line]
        assert line.split()[1:] == [f"{of_return:.0%}", f"{of_length:.0%}"]


def test_what_no_objective_tells_is_said_once(tmp_path: Path) -> None:
    found, _ = gathered("one_trial", tmp_path, "objectives=[{metric: return}, {metric: return_std}]")
    seen = learned(found, lambda trials, phase: ())
    assert shares(seen) == []
    (said,) = what_matters(seen, found.spec.objectives)
    assert "needs at least 8" in said

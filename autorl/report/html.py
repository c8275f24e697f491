"""The report as one HTML file that needs nothing else: no network, no script, no font, no image file.

It holds no time of its own making, so the same ledger gives the same bytes. Whatever the user or a failed run wrote
passes through `html.escape` before it becomes part of the page.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from autorl.ledger.reader import Reader
from autorl.report.checklist import Item, checklist
from autorl.report.curricula import curriculum_sentences
from autorl.report.figures import Drawing, figures
from autorl.report.findings import PHASES, Findings
from autorl.report.front_figure import front_figure
from autorl.report.influence import SHARES, Influence, influences, shares
from autorl.report.reproduce import commands, resolved
from autorl.report.scaling import scalings
from autorl.report.sentences import headline_lines, sentences, what_matters
from autorl.report.switches import TOGETHER, switches
from autorl.report.words import duration, energy, hardware, interval, number, probability, setting, tries
from autorl.spec.yaml12 import dump

TOP = 10
ERRORS = 20


def page(found: Findings, reader: Reader) -> str:
    """Return the report of a study as HTML.

    Args:
        found: what the study found.
        reader: the ledger, for the learning curves and for its address.
    """
    name = escape(found.study.name)
    seen = influences(found, partial(reader.curves, found.study.name))
    traded = front_figure(found)
    drawings = [*([] if traded is None else [traded]), *figures(found, reader)]
    parts = [
        _header(found),
        _headline(found),
        _section("Paused", f"<pre>{escape(found.study.paused)}</pre>") if found.study.paused else "",
        _section("What was found", _findings(found, reader, seen)),
        _section("Figures", f'<div class="figures">{"".join(map(_figure, drawings))}</div>'),
        '<div class="pair">',
        _configuration(found),
        _trials(found),
        "</div>",
        _front(found),
        _shares(found, seen),
        _switches(found),
        _scalings(found, reader),
        _failures(found),
        _section("Budget spent", _spent(found)),
        _section("Reproduce", _reproduce(found, reader.url)),
        _section("Checklist", _checklist(found)),
    ]
    css = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    version = escape(found.study.versions.get("autorl", ""))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{name} – autorl report</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>\n{css}</style>\n</head>\n<body>\n<main>\n{chr(10).join(filter(None, parts))}\n"
        f"<footer>Made by autorl; the study ran with autorl {version}.</footer>\n</main>\n</body>\n</html>\n"
    )


def _header(found: Findings) -> str:
    spec = found.spec
    goal = "higher is better" if spec.objective.direction == "maximize" else "lower is better"
    finished = found.study.finished_at
    when = f"finished {_day(finished)}" if finished else f"started {_day(found.study.created_at)}, not finished"
    about = f"{spec.algorithm.name} on {spec.task.env} · {found.objective}, {goal} · {when}"
    return f'<header>\n<h1>{escape(found.study.name)}</h1>\n<p class="subtitle">{escape(about)}</p>\n</header>'


def _headline(found: Findings) -> str:
    headline = found.headline
    if headline is None:
        return f'<section class="card headline" aria-label="State"><p>{_text(_state(found))}</p></section>'
    shown = "".join(
        f'<div class="{_kind(what)}"><dt>{escape(what)}</dt>'
        f'<dd class="value">{escape(value)}</dd><dd>{escape(between)}</dd></div>\n'
        for what, value, between in headline_lines(found)
    )
    seeds = len(found.spec.seeds.test)
    first = f", the first of {len(found.spec.objectives)} objectives," if len(found.spec.objectives) > 1 else ""
    about = f"The {found.objective}{first} on {seeds} test {'seed' if seeds == 1 else 'seeds'}, never used in tuning"
    warned = "".join(f'<p class="caution"><strong>Caution:</strong> {_text(text)}.</p>\n' for text in found.cautions)
    return (
        f'<section class="card headline" aria-label="Headline">\n<p>{escape(about)}</p>\n'
        f'<dl class="numbers">\n{shown}</dl>\n{warned}</section>'
    )


def _kind(what: str) -> str:
    """Return the class that gives a number of the headline the colour that it has in the figures."""
    first = what.split(",")[0]
    return first if first in ("tuned", "default") else "probability"


def _state(found: Findings) -> str:
    """Say why there is no headline."""
    trials = f"{len(found.ranked)} of {len(found.trials)} trials have a tuning score"
    if found.study.state == "finished":
        return f"No headline: {trials}, and no comparison on the test seeds is complete."
    steps, planned = (
        int(sum(phase[key] for phase in found.spent.values())) for key in ("env_steps", "planned_env_steps")
    )
    return (
        f"Not finished: the study is in its {found.study.state} phase; {trials}, and {steps:,} of at most {planned:,} "
        "environment steps are trained. The headline appears once winner and default are trained on every test seed."
    )


def _findings(found: Findings, reader: Reader, seen: Sequence[Influence | str]) -> str:
    curves = partial(reader.curves, found.study.name)
    said = [*sentences(found), *curriculum_sentences(found, curves), *what_matters(seen, found.spec.objectives)]
    return f'<ul class="findings">\n{"".join(f"<li>{_text(sentence)}</li>{chr(10)}" for sentence in said)}</ul>'


def _figure(drawing: Drawing) -> str:
    shown = [f"<h3>{escape(drawing.title)}</h3>", drawing.svg or ""]
    shown.append(f"<figcaption>{escape(drawing.caption)}</figcaption>")
    if drawing.rows:
        table = _table(drawing.columns, [[escape(cell) for cell in row] for row in drawing.rows])
        shown.append(f"<details><summary>Data of this figure</summary>{table}</details>")
    kind = "card" if drawing.svg else "card empty"
    return f'<figure class="{kind}">{"".join(shown)}</figure>\n'


def _configuration(found: Findings) -> str:
    best = found.winner or found.incumbent
    if best is None:
        return ""
    chosen, default = best.config.values, found.trials[0].config.values
    title = f"{'Winner' if found.winner else 'Incumbent'}: trial {best.number}"
    if best.number == 0:
        return _section(f"{title}, the default", _table(("hyperparameter", "value"), _settings(default)))
    rows = []
    for name in dict.fromkeys([*chosen, *default]):
        changed = name not in chosen or name not in default or chosen[name] != default[name]
        rows.append([escape(name), *(_setting(values, name) for values in (chosen, default))])
        rows[-1][1] = f"<strong>{rows[-1][1]}</strong>" if changed else rows[-1][1]
    column = "tuned" if found.winner else f"trial {best.number}"
    note = '<p class="note">Bold: differs from the default. A dash: not set.</p>'
    return _section(title, _table(("hyperparameter", column, "default"), rows) + note)


def _settings(values: Mapping[str, Any]) -> list[list[str]]:
    return [[escape(name), _setting(values, name)] for name in values]


def _setting(values: Mapping[str, Any], name: str) -> str:
    """Return a value as it is shown, with all its digits where it is shown rounded."""
    if name not in values:
        return "–"
    shown, exact = setting(values[name]), str(values[name])
    return f'<span title="{escape(exact)}">{escape(shown)}</span>' if shown != exact else escape(shown)


def _trials(found: Findings) -> str:
    shown = found.ranked[:TOP]
    if not shown:
        return ""
    if found.trials[0] not in shown:
        shown.append(found.trials[0])
    phases = [phase for phase in PHASES if getattr(found.spec.seeds, phase)]
    rows, marked = [], None
    for index, trial in enumerate(shown):
        roles = ["default"] if trial.number == 0 else []
        if found.winner is not None and trial.number == found.winner.number:
            roles, marked = [*roles, "winner"], index
        name = f"{trial.number} ({', '.join(roles)})" if roles else str(trial.number)
        seeds = [number(score, 3) for score in found.scores(trial.number, "tuning")]
        rows.append([name, *(number(found.value(trial.number, phase)) for phase in phases), "&ensp;".join(seeds)])
    title = "Best trials by tuning data" if len(found.trials) > 1 else "The only trial so far"
    note = f'<p class="note">The {escape(found.objective)} over the seeds of each phase.</p>'
    return _section(title, _table(("trial", *phases, "tuning seeds"), rows, marked) + note)


def _front(found: Findings) -> str:
    traded = found.front
    if traded is None:
        return ""
    names = [objective.words for objective in found.spec.objectives]
    rows, marked = [], None
    for index, member in enumerate(traded.members):
        knee = found.winner is not None and member.trial.number == found.winner.number
        marked = index if knee else marked
        roles = ["default"] * (member.trial.number == 0) + ["knee"] * knee
        cells = [f"{member.trial.number}{f' ({chr(44).join(roles)})' if roles else ''}"]
        for column, tuned in enumerate(member.tuning):
            again = member.test[column] if member.test else None
            cells += [number(tuned), "–" if again is None else f"{number(again.value)}, {interval(again)}"]
        rows.append([*cells, "–" if member.survives is None else probability(member.survives)])
    columns = ["trial", *(f"{name}, {seeds} seeds" for name in names for seeds in ("tuning", "test")), "stays"]
    note = (
        '<p class="note">Stays: by the test seeds alone, how likely the trial meets the constraints and nothing listed '
        "is at least as good in every objective.</p>"
    )
    return _section("The front, and the default beside it", _table(columns, rows, marked) + note)


def _shares(found: Findings, seen: Sequence[Influence | str]) -> str:
    rows = shares(seen)
    if len(seen) == 1 or not rows:
        return ""
    columns = ("hyperparameter", *(objective.words for objective in found.spec.objectives))
    cells = [[escape(name), *("–" if share is None else f"{share:.0%}" for share in own)] for name, own in rows]
    return _section(SHARES, _table(columns, cells))


def _switches(found: Findings) -> str:
    tried = switches(found)
    if not tried:
        return ""
    rows = [
        [
            escape(one.change),
            str(one.trial),
            number(one.effect.value),
            f"failed on {one.failed}" if one.failed else interval(one.effect),
            str(one.seeds),
        ]
        for one in tried
    ]
    note = (
        f'<p class="note">{escape(found.spec.objective.metric)} minus the default\'s, means over '
        f"{tried[0].phase} seeds. {TOGETHER}</p>"
    )
    return _section(
        "What was asked for beside the default", _table(("change", "trial", "effect", "interval", "seeds"), rows) + note
    )


def _scalings(found: Findings, reader: Reader) -> str:
    grown = scalings(found, lambda trials: reader.curves(found.study.name, trials, "tuning"))
    if not grown:
        return ""
    rows = []
    for one in grown:
        told = [number(one.fit.asymptote), number(one.fit.midpoint_env_steps, 3), number(one.fit.exponent, 3)]
        cells = [number(one.gflop, 3), number(one.score.value), interval(one.score), number(one.equal)]
        row = [escape(one.configuration), str(one.trial), *cells, *(told if one.fit.identified else ["–"] * 3)]
        rows.append(row)
    columns = ("configuration", "trial", "GFLOP", "score", "interval", "at equal", "towards", "half at", "exponent")
    note = (
        f'<p class="note">{escape(found.spec.objective.metric)} on tuning seeds, and the sigmoid over compute that its '
        "mean follows. At equal compute: the fitted score at what the cheapest has spent.</p>"
    )
    return _section("What more compute would buy", _table(columns, rows) + note)


def _failures(found: Findings) -> str:
    if not found.failed:
        return ""
    shown = "".join(
        f"<details><summary>Trial {run.trial}, {escape(run.phase)} seed {run.seed}: "
        f"{escape(tries(run) or run.error_class or 'failed')}, after {run.env_steps:,} steps</summary>"
        f"<pre>{escape((run.error or 'No message was recorded.').strip())}</pre></details>\n"
        for run in found.failed[:ERRORS]
    )
    more = len(found.failed) - ERRORS
    note = f'<p class="note">{more:,} more: <code>autorl trials --failed</code></p>' if more > 0 else ""
    return _section("Failed runs", shown + note)


def _spent(found: Findings) -> str:
    spent = {
        phase: numbers for phase, numbers in found.spent.items() if numbers["planned_env_steps"] or numbers["runs"]
    }
    keys = [key for key in next(iter(spent.values())) if all(key in numbers for numbers in spent.values())]
    total = {key: sum(numbers[key] for numbers in spent.values()) for key in keys}
    told = any("energy_joules" in numbers for numbers in spent.values())
    rows = []
    listed: list[tuple[str, Mapping[str, float]]] = [*spent.items(), ("total", total)]
    for name, numbers in listed:
        steps = f"{numbers['env_steps']:,.0f}"
        if found.study.state != "finished":
            steps += f" of {numbers['planned_env_steps']:,.0f}"
        times = [duration(numbers["wall_seconds"]), duration(numbers["cpu_seconds"])]
        if told:
            times.append(energy(numbers.get("energy_joules")))
        rows.append([name, f"{numbers['runs']:,.0f}", steps, *times])
    note = '<p class="note">Times are summed over runs; those that trained side by side took less.</p>'
    columns = ("phase", "runs", "environment steps", "training time", "processor time", *(["energy"] if told else []))
    return _table(columns, rows, len(rows) - 1) + note


def _reproduce(found: Findings, url: str) -> str:
    study, data = found.study, resolved(found)
    seeds = found.spec.model_dump(mode="json")["seeds"]
    facts = {f"{phase} seeds": f"{seeds[phase]}" for phase in PHASES if seeds[phase]}
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in study.versions.items())
    facts["hardware"] = hardware(study.hardware)
    facts["fingerprint"] = f"{study.spec_hash} (SHA-256 of what decides the results)"
    listed = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>\n" for key, value in facts.items())
    best = found.winner or found.incumbent
    exact = "" if best is None else _folded(f"Trial {best.number}, all digits", dump(dict(best.config.values)))
    file = f"{study.name}.yaml"
    folded = _notes(found) + exact + _folded(f"The study, resolved: {file}", dump(data))
    return (
        f'<dl class="facts">\n{listed}</dl>\n{folded}'
        f"<h3>Commands</h3>\n<pre><code>{escape(commands(found, url, file))}</code></pre>"
    )


def _checklist(found: Findings) -> str:
    rows = [
        [escape(item.asked), {None: "", True: "✓", False: "✗"}[item.holds], "<br>".join(map(escape, _answers(item)))]
        for item in checklist(found)
    ]
    about = '<p class="note">Of “Hyperparameters in Reinforcement Learning and How To Tune Them” (2023), filled in.</p>'
    return about + _table(("asked", "", "answer"), rows)


def _answers(item: Item) -> list[str]:
    return [part for part in (item.answer, *item.details) if part]


def _notes(found: Findings) -> str:
    """Return what training said of runs, each thing once, such as a resumption that could not be exact."""
    notes = Counter(note.strip() for runs in found.runs.values() for run in runs for note in run.notes)
    if not notes:
        return ""
    said = "".join(
        f"<li>{_text(note)} <span class=note>({count} run{'s' * (count > 1)})</span></li>\n"
        for note, count in sorted(notes.items())
    )
    return f'<details><summary>Notes of runs</summary><ul class="findings">\n{said}</ul></details>\n'


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _folded(title: str, text: str) -> str:
    return f'<details class="printed"><summary>{escape(title)}</summary><pre>{escape(text.rstrip())}</pre></details>\n'


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], marked: int | None = None) -> str:
    """Return a table; its cells are HTML already, its columns are not."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f"<tr{' class=marked' if index == marked else ''}>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n"
        for index, row in enumerate(rows)
    )
    # Reached by the keyboard, since what scrolls must be.
    table = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{table}</div>'


def _text(sentence: str) -> str:
    """Escape a sentence, and set what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(sentence))

"""The figure of a front: what its members promised on the tuning seeds, and what the test seeds gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autorl.report.figures import Drawing
from autorl.report.findings import Findings
from autorl.report.svg import DEFAULT, INK, MUTED, TUNED, dots, embed, render
from autorl.report.words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def front_figure(findings: Findings) -> Drawing | None:
    """Draw the front over its first two objectives; None with one objective, or while no trial has finished."""
    found = findings.front
    if found is None:
        return None
    across, up = findings.spec.objectives[:2]
    members, beside = found.members[: found.on], found.members[found.on :]
    others = [trial.values[:2] for trial in findings.trials if trial.values]

    def draw(axes: Axes) -> None:
        dots(axes, [v[0] for v in others], [v[1] for v in others], "o", MUTED, 4, "trials")
        for colour, group, name in ((TUNED, members, "front"), (DEFAULT, beside, "default")):
            tuned = [member.tuning for member in group]
            if tuned:
                dots(axes, [t[0] for t in tuned], [t[1] for t in tuned], "o", colour, 7, name)
            tested = [member for member in group if member.test]
            for member in tested:
                right, top = member.test[:2]
                axes.plot(
                    [member.tuning[0], right.value], [member.tuning[1], top.value], ":", color=colour, linewidth=1
                )
                axes.plot([right.low, right.high], [top.value] * 2, color=colour, linewidth=1)
                axes.plot([right.value] * 2, [top.low, top.high], color=colour, linewidth=1)
            if tested:
                xs, ys = ([member.test[axis].value for member in tested] for axis in (0, 1))
                dots(axes, xs, ys, "s", colour, 7, "_")
                for member, x, y in zip(tested, xs, ys, strict=True):
                    number_ = str(member.trial.number)
                    axes.annotate(number_, (x, y), (6, 6), textcoords="offset points", fontsize=9, color=INK)
        axes.set_xlabel(f"{across.words} ({_better(across.direction)})")
        axes.set_ylabel(f"{up.words} ({_better(up.direction)})")

    more = (
        f" Of {len(findings.spec.objectives)} objectives these are the first two." if len(found.reference) > 2 else ""
    )
    caption = (
        "Circles: by the tuning seeds; squares: by the test seeds, with 95 % intervals; dotted: from one to the other."
        + more
    )
    rows = tuple(
        (
            str(member.trial.number),
            objective.words,
            number(member.tuning[index], 6),
            number(member.test[index].value, 6) if member.test else "–",
            number(member.test[index].low, 6) if member.test else "–",
            number(member.test[index].high, 6) if member.test else "–",
        )
        for member in found.members
        for index, objective in enumerate(findings.spec.objectives)
    )
    columns = ("trial", "objective", "tuning seeds", "test seeds", "95% from", "to")
    title = "The front"
    return Drawing(title, caption, embed(render(draw), "front-", f"{title}. {caption}"), columns, rows)


def _better(direction: str) -> str:
    return "higher is better" if direction == "maximize" else "lower is better"

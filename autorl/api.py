"""What the command line does, in Python: conduct a study, and look at what it found.

Everything heavy is imported when it is used: `import autorl` takes no longer than `autorl --help`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from autorl.errors import AutorlError

if TYPE_CHECKING:
    import pandas as pd

    from autorl.analysis import Headline
    from autorl.engine.progress import Progress
    from autorl.report.compare import Comparison
    from autorl.report.figures import Figures
    from autorl.report.findings import Findings
    from autorl.spec.study import StudySpec

    Source = str | Path | Mapping[str, Any] | StudySpec

Table = Literal["trials", "runs", "curves"]


def tune(
    study: Source, overrides: Mapping[str, Any] | None = None, *, progress: bool | Callable[[Progress], None] = True
) -> Study:
    """Start a study, or go on with it: tune, choose the winner, test it; as `autorl run` does.

    What has finished is in the database, whatever interrupts this; called again it goes on from there.

    Args:
        study: the study file, or what would stand in it; paths are then relative to the current directory, and
            `program.function` may be a function, if its module can be imported. Or what `validate` returned.
        overrides: dotted key → value, laid over it, such as `{"budget.trials": 8}`.
        progress: whether to show how far it is, or what is called with that.

    Returns:
        The study, finished.

    Raises:
        SpecError: it has mistakes; the error names all of them.
        StudyPaused: so many runs failed that somebody should look.
        KeyboardInterrupt: it was asked to stop; the runs in training have saved their state.
    """
    from autorl.engine.conductor import conduct
    from autorl.training.program.function import importing

    if (function := importing.get()) is not None:
        raise AutorlError(
            f"its module tunes when it is imported, which the processes that train {function} have to do: put what it "
            "does under if __name__ == '__main__'"
        )
    spec = validate(study, overrides)
    _to_its_end(spec, progress, lambda watch, asked: conduct(spec, watch, asked))
    return Study(spec.study, spec.storage)


def validate(study: Source, overrides: Mapping[str, Any] | None = None) -> StudySpec:
    """Read and check a study as `autorl validate` does, without training anything.

    Args:
        study: as for `tune`.
        overrides: as for `tune`.

    Raises:
        SpecError: it has mistakes; the error names all of them.
    """
    from autorl.engine.check import check
    from autorl.spec.load import draft_study
    from autorl.spec.sources import plain
    from autorl.spec.study import StudySpec
    from autorl.spec.yaml12 import dump

    given, laid_over = study.written() if isinstance(study, StudySpec) else study, dict(overrides or {})
    if callable(function := laid_over.get("program.function")):
        name, folder = _importable(function)
        laid_over = {"program.folder": folder, **laid_over, "program.function": name}
    source = _with_names(given) if isinstance(given, Mapping) else Path(given)
    return check(draft_study(source, [f"{key}={dump(plain(value))}" for key, value in laid_over.items()]))


def load(storage: str | None = None, study: str | None = None) -> Study:
    """Open a study, finished or not.

    Args:
        storage: database URL; by default `$AUTORL_STORAGE`, or `sqlite:///autorl.db`.
        study: its name; it may be left out where the database holds one only.

    Raises:
        StorageError: there is no such database, or it holds no such study.
        AutorlError: no study is named, and the database holds none, or several.
    """
    from autorl.ledger.database import shown
    from autorl.ledger.reader import Reader, default_url

    url = default_url(storage)
    with Reader(url) as reader:
        names = [reader.study(study).name] if study is not None else [record.name for record in reader.studies()]
    if len(names) != 1:
        raise AutorlError(f"{shown(url)} holds {len(names)} studies; name one of them: {', '.join(names)}")
    return Study(names[0], url)


def unpack(file: str | Path, storage: str | None = None) -> Study:
    """Bring the study of a file that `Study.dump` wrote into a database; as `autorl load` does.

    Args:
        file: the archive.
        storage: as for `load`; made if it is not there.

    Raises:
        StorageError: the file is damaged or of a newer autorl, or the database holds a study of that name.
    """
    from autorl.ledger import archive
    from autorl.ledger.reader import default_url

    url = default_url(storage)
    return Study(archive.load(Path(file), url), url)


def compare(*studies: Study) -> Comparison:
    """Put studies side by side at equal budget, each against the first; as `autorl compare` does."""
    from autorl.report.compare import compare as put_side_by_side

    return put_side_by_side([study.findings for study in studies])


class Study:
    """A study of a database, as it was when it was first looked at; `load` it again to see more of one that goes on.

    A notebook shows its report, and each of its figures.

    Attributes:
        name: the study's name.
        storage: the database that holds it.
    """

    def __init__(self, name: str, storage: str) -> None:
        self.name, self.storage = name, storage

    def __repr__(self) -> str:
        """Return what identifies the study."""
        return f"<autorl.Study {self.name}: {self.state}>"

    @cached_property
    def findings(self) -> Findings:
        """What reports are made of: spec, trials, runs, incumbent and winner."""
        from autorl.ledger.reader import Reader
        from autorl.report.findings import gather

        with Reader(self.storage) as reader:
            return gather(reader, self.name)

    @property
    def state(self) -> str:
        """The phase that the study is in: `tuning`, `validation`, `test` or `finished`."""
        return self.findings.study.state

    @property
    def spec(self) -> StudySpec:
        """What was asked."""
        return self.findings.spec

    @property
    def best(self) -> dict[str, Any]:
        """The configuration of the winner, or of the incumbent while the study goes on: parameter → value.

        Raises:
            AutorlError: no trial has finished yet.
        """
        return dict(self.findings.chosen().config.values)

    @property
    def headline(self) -> Headline | None:
        """Winner and default on the test seeds, with intervals; None until both are trained on all of them."""
        return self.findings.headline

    def trials(self) -> pd.DataFrame:
        """Return a row for each trial: number, state, the objective over each phase's seeds, and its configuration.

        A parameter that is named as another column is there as `config.NAME`.
        """
        from autorl.report.words import beside

        found = self.findings
        rows = []
        for trial in found.trials:
            told = {"trial": trial.number, "origin": trial.origin, "state": trial.state, "tuning": trial.value}
            again = {phase: found.value(trial.number, phase) for phase in ("validation", "test")}
            rows.append(beside({**told, **again}, trial.config.values))
        return _frame(rows, "trial")

    def runs(self) -> pd.DataFrame:
        """Return a row for each run: trial, phase, seed, state, score, environment steps and what it took."""
        fields = ("trial", "phase", "seed", "state", "score", "env_steps", "wall_seconds", "cpu_seconds", "error_class")
        runs = [run for own in self.findings.runs.values() for run in own]
        return _frame([{name: getattr(run, name) for name in fields} for run in runs])

    def curves(self) -> pd.DataFrame:
        """Return a row for each evaluation: trial, phase, seed, environment steps, and every other metric."""
        from autorl.ledger.reader import Reader

        with Reader(self.storage) as reader:
            curves = reader.curves(self.name, [trial.number for trial in self.findings.trials])
        rows = []
        for curve in curves:
            whose = {"trial": curve.run.trial, "phase": curve.run.phase, "seed": curve.run.seed}
            for point in curve.points:
                at = {**whose, "env_steps": point.env_steps, "wall_seconds": point.wall_seconds}
                rows.append({**at, **point.metrics, **at})  # whatever a program of the user's calls its metrics
        return _frame(rows)

    def figures(self) -> Figures:
        """Return the figures of the report; each has a title, a caption, its drawing as SVG and its data."""
        from autorl.ledger.reader import Reader
        from autorl.report.figures import Figures, figures

        with Reader(self.storage) as reader:
            return Figures(figures(self.findings, reader))

    def report(self, *, html: bool = False) -> str:
        """Return the report as text of 100 columns, or as one self-contained HTML page with figures."""
        from autorl.ledger.reader import Reader
        from autorl.report import text
        from autorl.report.html import page

        with Reader(self.storage) as reader:
            if html:
                return page(self.findings, reader)
            return text.captured(lambda console: text.show(self.findings, reader, console))

    def export(self, format: str | None = None, trial: int | None = None) -> str:
        """Return a trial as a file for the user's own training code.

        Args:
            format: as of `autorl export`, but for `model` (`export_model`); by default what fits what trained it.
            trial: its number; by default the winner, or the incumbent.

        Raises:
            ExportError: the format cannot hold it.
            AutorlError: there is no such trial, or none has finished yet.
        """
        from autorl.report.export import fitting, render

        chosen = self.findings.chosen(trial)
        return render(self.findings, chosen, format or fitting(chosen.recipe.backend)[0])

    def export_model(self, folder: str | Path, trial: int | None = None, seed: int | None = None) -> None:
        """Train a run again and write its model with its card; as `autorl export --format model` does.

        Args:
            folder: what is made; whole, or not at all.
            trial: as for `export`.
            seed: of a completed run of the trial; by default its first test seed, whatever its score.

        Raises:
            ExportError: the trial is not of backend `sb3` or has no such run, the folder exists, or what is trained is
                not what the study saw.
        """
        from autorl.ledger.reader import Reader
        from autorl.report.export.model import write

        with Reader(self.storage) as reader:
            write(self.findings, self.findings.chosen(trial), reader, Path(folder), seed)

    def test(self, *trials: int, progress: bool | Callable[[Progress], None] = True) -> Study:
        """Train more trials of a finished study on its test seeds; as `autorl test` does.

        Args:
            trials: their numbers; by default the five best by tuning data.
            progress: as for `tune`.

        Returns:
            The study with their test scores.

        Raises:
            KeyboardInterrupt: it was asked to stop; the runs in training have saved their state.
        """
        from autorl.engine.conductor import retest

        spec = self.spec.model_copy(update={"storage": self.storage})
        numbers = list(trials) or [trial.number for trial in self.findings.ranked[:5]]
        _to_its_end(spec, progress, lambda watch, asked: retest(spec, numbers, watch, asked))
        return Study(self.name, self.storage)

    def checklist(self) -> str:
        """Return how the results were tuned, for a paper, as Markdown; as `autorl report --checklist` does."""
        from autorl.report.checklist import checklist, markdown

        return markdown(checklist(self.findings), self.name)

    def dump(self, file: str | Path) -> None:
        """Write the study as one file, which `unpack` opens elsewhere; as `autorl dump` does.

        Raises:
            StorageError: the study is in training, or the file cannot be written.
        """
        from autorl.report.archive import write

        write(self.findings, self.storage, Path(file))

    def track(self, tracker: Literal["tensorboard", "mlflow", "wandb"], where: str) -> int:
        """Mirror the runs that a tracker does not hold as they stand; as `autorl track` does.

        Args:
            tracker: which.
            where: its folder, URI or project.

        Returns:
            How many runs were written.

        Raises:
            TrackerError: it takes no runs.
            AutorlError: its library is not installed.
        """
        from autorl.ledger.reader import Reader
        from autorl.report.tracking import make_tracker, mirror

        with Reader(self.storage) as reader:
            return mirror(reader, self.name, make_tracker(tracker, self.name, where), where)

    def _repr_html_(self) -> str:
        """Return the report for a notebook; in a frame, so that neither's styles reach the other."""
        page = escape(self.report(html=True))
        return f'<iframe srcdoc="{page}" title="{escape(self.name)}" style="width:100%;height:900px;border:0"></iframe>'


def _frame(rows: Sequence[Mapping[str, Any]], index: str | None = None) -> pd.DataFrame:
    try:
        import pandas as pd
    except ImportError:
        raise AutorlError("tables need pandas; run: pip install 'autorl[dashboard]'") from None
    frame = pd.DataFrame(list(rows))
    return frame.set_index(index) if index is not None and rows else frame


def _with_names(study: Mapping[str, Any]) -> Mapping[str, Any]:
    """Name the function that trains, which every worker has to import."""
    program = study.get("program")
    if not isinstance(program, Mapping) or not callable(function := program.get("function")):
        return study
    name, folder = _importable(function)
    return {**study, "program": {"folder": folder, **program, "function": name}}


def _importable(function: Callable[..., Any]) -> tuple[str, str]:
    """Return a function's name, `module:function`, and the folder from which its module is imported."""
    file = inspect.getsourcefile(inspect.unwrap(function)) if inspect.isfunction(function) else None
    if file is None or not _named(function) or not Path(file).exists():
        raise AutorlError(
            f"program.function: {getattr(function, '__qualname__', function)!r} cannot be imported by the processes "
            "that train; put it into a file, at its top level"
        )
    module, folder = function.__module__, Path(file).parent
    module = Path(file).stem if module == "__main__" else module
    for _ in range(module.count(".") + (Path(file).name == "__init__.py")):
        folder = folder.parent
    return f"{module}:{function.__qualname__}", str(folder)


def _named(function: Callable[..., Any]) -> bool:
    """Say whether a function is what its name stands for: a decorated one may have the name of what it wraps."""
    found: Any = sys.modules.get(function.__module__)
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    # Imported again after an edit it is another object.
    files = [getattr(getattr(each, "__code__", None), "co_filename", None) for each in (found, function)]
    return files[0] is not None and files[0] == files[1]


def _to_its_end(
    spec: StudySpec,
    progress: bool | Callable[[Progress], None],
    work: Callable[[Callable[[Progress], None], Callable[[], bool]], bool],
) -> None:
    """Do what the engine does, and raise `KeyboardInterrupt` if it was asked to stop, once it has saved what trains."""
    from autorl.engine.signals import stopping

    with _watched(spec, progress) as watch, stopping() as asked:
        finished = work(watch, asked)
    if not finished:
        raise KeyboardInterrupt


def _watched(
    spec: StudySpec, progress: bool | Callable[[Progress], None]
) -> AbstractContextManager[Callable[[Progress], None]]:
    """Return a context that holds what the engine is to call."""
    if progress is not True:
        return nullcontext(progress or _ignore)
    from rich.console import Console

    from autorl.report.progress import watching

    return watching(spec, Console(highlight=False))


def _ignore(progress: Progress) -> None:
    """Show nothing."""

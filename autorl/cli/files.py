"""Commands that write files for other tools, and read theirs: export, import, schema, space."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autorl.cli.delivery import deliver, is_standard_output
from autorl.cli.output import StorageOption, StudyArgument, console, find_study
from autorl.errors import AutorlError

if TYPE_CHECKING:
    from autorl.ledger.reader import Reader
    from autorl.ledger.records import TrialRecord
    from autorl.report.findings import Findings
    from autorl.spec.foreign.translation import Translation


class ExportFormat(enum.StrEnum):
    """Formats of `autorl export`."""

    sb3 = "sb3"
    zoo = "rl-zoo3"
    cleanrl = "cleanrl"
    trl = "trl"
    trl_script = "trl-script"
    command = "command"
    schedule = "schedule"
    yaml = "yaml"
    json = "json"
    hydra = "hydra"
    configspace = "configspace"
    sweep = "wandb-sweep"
    model = "model"


class ImportFormat(enum.StrEnum):
    """What `autorl import` reads."""

    zoo = "rl-zoo3"
    zoo_space = "rl-zoo3-space"
    wandb = "wandb"
    configspace = "configspace"
    optuna = "optuna"


class Document(enum.StrEnum):
    """Documents with a schema."""

    study = "study"
    space = "space"


class SpaceFormat(enum.StrEnum):
    """Formats of search-space files."""

    autorl = "autorl"
    configspace_json = "configspace-json"
    configspace_yaml = "configspace-yaml"


OutOption = Annotated[Path | None, typer.Option(help="File to write, instead of printing.")]


def export(
    study: StudyArgument = None,
    storage: StorageOption = None,
    format: Annotated[
        ExportFormat | None,
        typer.Option(
            "--format",
            help="A plain Stable-Baselines3 script, rl-zoo3's YAML, CleanRL's command, TRL's YAML or script, a "
            "schedule's stages, everything as YAML or JSON, a config of Hydra, the space as ConfigSpace's JSON or a "
            "sweep of W&B, or the model of a run in a folder (default: the first that holds what the study trains).",
        ),
    ] = None,
    trial: Annotated[int | None, typer.Option(help="Trial to export (default: the winner, or the incumbent).")] = None,
    seed: Annotated[
        int | None, typer.Option(help="With --format model: seed of the run (default: the first test seed).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write, instead of printing; of a model the folder.")] = None,
) -> None:
    """Write a trial for your own training code."""
    from autorl.ledger.reader import Reader
    from autorl.report.export import fitting, render
    from autorl.report.findings import gather

    name, url = find_study(study, storage)
    if seed is not None and format is not ExportFormat.model:
        raise AutorlError("--seed goes with --format model; other formats are of a configuration, whatever the seed")
    with Reader(url) as reader:
        found = gather(reader, name)
        chosen = found.chosen(trial)
        if format is ExportFormat.model:
            _deliver_model(found, chosen, reader, seed, out)
            return
    best = fitting(chosen.recipe.backend)[0] if format is None else format.value
    deliver(render(found, chosen, best), out)


def _deliver_model(found: Findings, trial: TrialRecord, reader: Reader, seed: int | None, out: Path | None) -> None:
    """Train a run again, saying how far it is, and write its model."""
    from autorl.report.export.model import write

    if out is None:
        raise AutorlError("a model is a folder: name it with --out FOLDER")
    screen, full = console(), trial.recipe.env_steps
    with screen.status("training the run again") as status:
        run = write(
            found,
            trial,
            reader,
            out,
            seed,
            lambda steps: status.update(f"training the run again: {min(steps / full, 1):.0%} of {full:,} steps"),
        )
    screen.print(
        f"Wrote {out}: the model of trial {trial.number}, {run.phase} seed {run.seed}, and its card", soft_wrap=True
    )


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A file; of rl-zoo3 also an algorithm, for its own settings or space; of Optuna a storage.",
        ),
    ],
    format: Annotated[ImportFormat, typer.Option("--from", help="Whose it is.")],
    algorithm: Annotated[str | None, typer.Option(help="Algorithm of the study to be written.")] = None,
    env: Annotated[str | None, typer.Option(help="Its environment; of rl-zoo3's file which entry.")] = None,
    study: Annotated[str | None, typer.Option(help="Optuna's study, if the storage holds several.")] = None,
    top: Annotated[int, typer.Option(min=0, help="Of an Optuna study, how many configurations are tried first.")] = 5,
    out: OutOption = None,
) -> None:
    """Turn what you have for another tool into a study, or a search space if no environment and algorithm are given."""
    if out is not None and out.is_file() and not is_standard_output(out):  # what was imported is edited from there on
        raise AutorlError(f"'{out}' exists; write another file with --out")
    found, of = _translated(format, source, env, algorithm, study, top)
    algorithm, env = algorithm or of, env or found.env
    whole = algorithm is not None and env is not None
    text = found.study_file(str(algorithm), str(env)) if whole else found.space_file()
    deliver(text, out)
    if found.lost and out is not None:
        lines = len(found.lost)
        told = "lines could not be translated; they stand in the file as comments"
        console().print(
            f"{lines} {told}" if lines > 1 else "1 line could not be translated; it stands in the file as a comment"
        )


def _translated(
    format: ImportFormat, source: str, env: str | None, algorithm: str | None, study: str | None, top: int
) -> tuple[Translation, str | None]:
    """Return what becomes of a source, and the algorithm that it is for, if it is for one."""
    match format:
        case ImportFormat.zoo:
            from autorl.spec.foreign import zoo

            return zoo.hyperparameters(source, env, algorithm)
        case ImportFormat.zoo_space:
            from autorl.spec.foreign import sampled

            return sampled.sampler(source)
        case ImportFormat.optuna:
            from autorl.spec.foreign import sampled

            return sampled.study(source, study, top), None
        case ImportFormat.wandb:
            from autorl.spec.foreign import wandb

            return wandb.translate(Path(source)), None
        case ImportFormat.configspace:
            from autorl.spec.foreign import space

            return space.translate(Path(source)), None


def schema(document: Annotated[Document, typer.Argument(help="Which file.")] = Document.study) -> None:
    """Print the JSON Schema of study files or search-space files, for editors to complete from."""
    from autorl.spec.schema import json_schema

    print(json.dumps(json_schema(document.value), indent=2))


def space(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Search-space file of autorl, or ConfigSpace's JSON or YAML.")
    ],
    to: Annotated[SpaceFormat, typer.Option("--to", help="Format to convert to.")] = SpaceFormat.configspace_json,
    out: OutOption = None,
) -> None:
    """Convert a search space from or to ConfigSpace."""
    from autorl.spec import configspace
    from autorl.spec.load import load_space
    from autorl.spec.schema import space_to_dict
    from autorl.spec.yaml12 import dump

    loaded = load_space(file)
    if to is SpaceFormat.autorl:
        text = dump(space_to_dict(loaded))
    else:
        data = configspace.to_configspace(loaded, file.stem).to_serialized_dict()
        text = json.dumps(data, indent=2) + "\n" if to is SpaceFormat.configspace_json else dump(data)
    deliver(text, out)

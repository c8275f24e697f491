"""Commands that look after databases: storage check, upgrade, copy."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from autorl.cli.output import Format, FormatOption, StorageOption, console, emit

app = typer.Typer(help="Look after databases: check, upgrade, copy.", no_args_is_help=True)


@app.command()
def check(storage: StorageOption = None, format: FormatOption = Format.table) -> None:
    """Check a database and its studies; nothing is changed. Exits 1 if something is wrong."""
    from autorl.ledger.database import shown
    from autorl.ledger.maintenance import check as check_database
    from autorl.ledger.reader import default_url

    url = default_url(storage)
    problems, studies = check_database(url)
    if format is not Format.table:
        rows: list[dict[str, Any]] = [
            {"study": s.study, "digest": s.digest, "problems": [*problems, *s.problems]} for s in studies
        ]
        if problems and not studies:
            rows = [{"study": None, "digest": None, "problems": problems}]
        emit(rows, format)
    else:
        out = console()
        out.print(f"{shown(url)}: {len(studies)} {'study' if len(studies) == 1 else 'studies'}", soft_wrap=True)
        for problem in problems:
            out.print(f"  [red]{problem}[/red]")
        for found in studies:
            state = f"[red]{len(found.problems)} problems[/red]" if found.problems else "[green]whole[/green]"
            out.print(f"  {found.study}: {state} [dim]digest {found.digest[:16]}[/dim]")
            for problem in found.problems:
                out.print(f"    {problem}", markup=False, soft_wrap=True)
    if problems or any(found.problems for found in studies):
        raise typer.Exit(1)


@app.command()
def upgrade(storage: StorageOption = None) -> None:
    """Bring the tables of an older autorl up to date; a SQLite file is copied first."""
    from autorl.ledger.maintenance import upgrade as upgrade_database
    from autorl.ledger.reader import default_url

    before, now, copy = upgrade_database(default_url(storage))
    out = console()
    if before == now:
        out.print(f"The tables are up to date ({now}).")
    else:
        kept = f"; the database as it was: {copy}" if copy is not None else ""
        out.print(f"Upgraded the tables from {before} to {now}{kept}", soft_wrap=True)


@app.command()
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="Database URL to read.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Database URL to write; created as needed.")],
    study: Annotated[list[str] | None, typer.Option(help="Copy this study only (may be given several times).")] = None,
) -> None:
    """Copy studies into another database: from SQLite to PostgreSQL, or the other way."""
    from autorl.ledger.maintenance import copy as copy_studies

    copied = copy_studies(source, target, study or [])
    out = console()
    for name in copied:
        out.print(f"Copied {name}")
    if not copied:
        out.print("There was no study to copy.")

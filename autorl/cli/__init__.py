"""The command line. Everything heavy is imported by the command that needs it, so that `--help` answers at once."""

from autorl.cli.app import main

__all__ = ["main"]

"""The `vaegan` command: its subcommands, each in a module of its own that is imported when it is named."""

from __future__ import annotations

import importlib

import typer
from typer.core import TyperGroup

from vaegan.cli.ending import run

COMMANDS = {
    "annotations": "vaegan.cli.annotations",
    "check-data": "vaegan.cli.check_data",
    "compare": "vaegan.cli.compare",
    "evaluate": "vaegan.cli.evaluate",
    "info": "vaegan.cli.info",
    "motion": "vaegan.cli.motion",
    "pack": "vaegan.cli.pack",
    "prepare": "vaegan.cli.prepare",
    "reproduce": "vaegan.cli.reproduce",
}
"""Name -> module that holds the subcommand as `app: typer.Typer`; no such module imports torch at its top."""


class _Subcommands(TyperGroup):
    def list_commands(self, ctx):
        return list(COMMANDS)

    def get_command(self, ctx, cmd_name):
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(importlib.import_module(COMMANDS[cmd_name]).app)
        command.name = cmd_name
        return command


app = typer.Typer(cls=_Subcommands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def vaegan() -> None:
    """VAE + GAN face animation: everything around the `transfer` command."""


def main() -> None:
    run(app)

"""The `vaegan` command: its subcommands, each in a module of its own that is imported when it is named."""

from __future__ import annotations

import importlib

import typer
from typer.core import TyperGroup

from vaegan.cli.ending import run

COMMANDS = {
    "info": "vaegan.cli.info",
    "interpolate": "vaegan.cli.interpolate",
    "app": "vaegan.cli.app",
    "motion": "vaegan.cli.motion",
    "prepare": "vaegan.cli.prepare",
    "check-data": "vaegan.cli.check_data",
    "annotations": "vaegan.cli.annotations",
    "pack": "vaegan.cli.pack",
    "evaluate": "vaegan.cli.evaluate",
    "compare": "vaegan.cli.compare",
    "reproduce": "vaegan.cli.reproduce",
}
"""Name -> module that holds the subcommand as `app: typer.Typer`; no such module imports torch at its top.

In the order of `vaegan --help`: animate, data, models, each in a panel that the command names.
"""


class _Subcommands(TyperGroup):
    def list_commands(self, ctx):
        return list(COMMANDS)

    def get_command(self, ctx, cmd_name):
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(importlib.import_module(COMMANDS[cmd_name]).app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_Subcommands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Examples:\n  vaegan info\n  vaegan prepare photos --output prepared\n\n"
    "To animate a photo, use transfer. vaegan COMMAND --help says more of a command.",
)


@app.callback()
def vaegan() -> None:
    """Everything around the command `transfer`, which animates a photo."""


def main() -> None:
    run(app)

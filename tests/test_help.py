"""What `--help` shows of every command: options in named panels, examples that can be typed as they stand."""

import os
import shlex
import subprocess
import sys

import pytest
import typer

from vaegan.cli.main import COMMANDS
from vaegan.cli.main import app as vaegan_app
from vaegan.cli.panels import PANELS
from vaegan.cli.transfer import app as transfer_app

ALWAYS = {"help", "install_completion", "show_completion"}
GROUP = typer.main.get_command(vaegan_app)
TOP = {"transfer": typer.main.get_command(transfer_app), "vaegan": GROUP}


def every_command() -> dict:
    found = dict(TOP)
    for name in COMMANDS:
        found[f"vaegan {name}"] = command = GROUP.get_command(None, name)
        found |= {f"vaegan {name} {below}": c for below, c in getattr(command, "commands", {}).items()}
    return found


EVERY = every_command()


def parse(line: str) -> None:
    """Parse a command line as the program would, without running it; the command of typer raises for a wrong one."""
    name, *words = shlex.split(line)
    command = TOP[name]
    while hasattr(command, "get_command"):
        command = command.get_command(None, words.pop(0))
        assert command is not None, line
    command.make_context(name, words)


@pytest.mark.parametrize("name", EVERY)
def test_every_option_is_in_a_panel(name):
    options = [p for p in EVERY[name].params if p.param_type_name == "option" and p.name not in ALWAYS]
    assert {option.name: option.rich_help_panel for option in options if option.rich_help_panel not in PANELS} == {}


@pytest.mark.parametrize("name", EVERY)
def test_panels_come_in_the_order_in_which_they_are_thought_of(name):
    context = EVERY[name].make_context(name, [], resilient_parsing=True)
    panels = [getattr(p, "rich_help_panel", None) for p in EVERY[name].get_params(context)]
    shown = [panel for panel in dict.fromkeys(panels) if panel is not None]
    assert shown == sorted(shown, key=PANELS.index)


@pytest.mark.parametrize("name", EVERY)
def test_two_examples_can_be_typed_as_they_stand(name):
    lines = [line.strip() for line in EVERY[name].epilog.splitlines() if line.startswith("  ")]
    assert len(lines) == 2 and all(len(line) < 79 for line in lines)
    assert any(line.startswith(f"{name} ") for line in lines)
    for line in lines:
        for part in line.split(" && "):
            parse(part)


@pytest.mark.parametrize("words, offered", [("transfer --st", "--storyboard"), ("vaegan pre", "prepare")])
def test_the_shell_completes(words, offered):
    program = words.split()[0]
    module = "transfer" if program == "transfer" else "main"
    call = f"import sys; sys.argv[0] = '{program}'; from vaegan.cli.{module} import main; main()"
    asked = {f"_{program.upper()}_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "1"}
    ended = subprocess.run([sys.executable, "-c", call], env={**os.environ, **asked}, capture_output=True, text=True)
    assert offered in ended.stdout.split(), ended

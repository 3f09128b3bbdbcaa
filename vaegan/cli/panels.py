"""`--help` in panels, what goes in first, how it runs last."""

from __future__ import annotations

from typer.core import TyperCommand

PANELS = ("Input", "Motion", "Picture", "Output", "Also write", "Run")


class Command(TyperCommand):
    """A command whose options are shown in the order of PANELS, whatever the order in which they are declared."""

    def get_params(self, ctx):
        def place(param) -> int:
            panel = getattr(param, "rich_help_panel", None)
            return PANELS.index(panel) if panel in PANELS else -1

        return sorted(super().get_params(ctx), key=place)

"""For the API reference: the lines `name: what it is` of a docstring become a list."""

import re

import griffe


def listed(text: str) -> str:
    """Markdown of a docstring."""
    lines, inside = [], False
    for line in text.split("\n"):
        argument = re.match(r"([a-z]\w*(?:, [a-z]\w*)*): ", line)
        if argument:
            line = f"* **{argument[1]}**: {line[argument.end() :]}"
        starts = bool(argument) != inside and not line.startswith(" ")
        lines += [""] * (starts and bool(lines)) + [line]
        inside = bool(argument) or (inside and line.startswith(" "))
    return "\n".join(lines)


class Listed(griffe.Extension):
    def on_instance(self, *, obj, **kwargs) -> None:
        if obj.docstring:
            obj.docstring.value = listed(obj.docstring.value)

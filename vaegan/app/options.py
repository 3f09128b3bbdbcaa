"""The options of `transfer` as a form: names, defaults, ranges and help are those of the command."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

import gradio as gr

from vaegan.cli.transfer import transfer
from vaegan.errors import UserError

ELSEWHERE = {"photo", "driver", "model", "output", "compare", "device"}
"""Options that are no field of the form: the page asks for them in its own way, or answers them itself."""

PANELS = ("Motion", "Input", "Picture", "Output")
"""Panels of `transfer --help` that have fields, in the form's order; what is also written and how it runs has none."""

CHOICES = {"refiner": ("warp", "none")}
"""Options whose folders nobody may name from a browser."""

SLIDER = 5.0
"""A range up to this is a slider."""


@dataclass(frozen=True)
class Option:
    """One field: name of the keyword of `vaegan.transfer`, its component, and what makes a value of what is given."""

    name: str
    panel: str
    field: gr.components.Component
    parse: Callable[[Any], Any]


def form() -> list[Option]:
    """The fields, made where this is called, in the order and under the headings of PANELS."""
    parameters = inspect.signature(transfer, eval_str=True).parameters
    found = []
    for panel in PANELS:
        named = [p for p in parameters.values() if _info(p).rich_help_panel == panel and p.name not in ELSEWHERE]
        with gr.Accordion({"Input": "Photo and driver"}.get(panel, panel), open=False):
            found += [option for p in named if (option := _option(p, panel)) is not None]
    return found


def read(options: list[Option], values: tuple) -> dict[str, Any]:
    """Keywords for `vaegan.transfer` from what the fields hold. Raises UserError."""
    return {option.name: option.parse(value) for option, value in zip(options, values, strict=True)}


def _info(parameter: inspect.Parameter):
    return typing.get_args(parameter.annotation)[1]


def _option(parameter: inspect.Parameter, panel: str) -> Option | None:
    name, info, default = parameter.name, _info(parameter), parameter.default
    kinds = typing.get_args(typing.get_args(parameter.annotation)[0]) or typing.get_args(parameter.annotation)[:1]
    kind = next(kind for kind in kinds if kind is not type(None))
    words = re.sub(r"--([a-z]+)", r"\1", info.help or "")
    if isinstance(info.show_default, str):
        words += f" Empty: {info.show_default}." if not _is_enum(kind) else ""
    told = {"label": name.replace("_", " "), "info": words}
    if kind is Path or typing.get_origin(kind) is list:
        return None
    if kind is bool:
        return Option(name, panel, gr.Checkbox(value=default, **told), bool)
    if _is_enum(kind) or name in CHOICES:
        choices = list(CHOICES.get(name) or (one.value for one in kind))
        value = getattr(default, "value", default)
        if value is None:
            choices = [("default", ""), *choices]
        return Option(name, panel, gr.Radio(choices, value=value or "", **told), lambda text: text or None)
    if kind in (float, int, Fraction):
        if None not in (info.min, info.max) and info.max - info.min <= SLIDER:
            return Option(name, panel, gr.Slider(info.min, info.max, default, step=0.05, **told), float)
        if default is None:  # a field for numbers shows 0 where there is none
            text = gr.Textbox(value="", max_lines=1, elem_id=name, **told)
            return Option(name, panel, text, lambda value: _number(name, value, kind))
        number = gr.Number(value=float(default), precision=0 if kind is int else None, **told)
        return Option(name, panel, number, lambda value: default if value is None else kind(value))
    parse = info.parser or str
    text = gr.Textbox(value=default or "", elem_id=name, max_lines=1, **told)
    return Option(name, panel, text, lambda value: _parsed(name, parse, value) if value.strip() else default)


def _is_enum(kind: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _number(name: str, text: str, kind: type) -> float | int | Fraction | None:
    try:
        return kind(text) if text.strip() else None
    except (ValueError, ZeroDivisionError):
        raise UserError(f"{name}: {text!r} is not a number") from None


def _parsed(name: str, parser: Callable[[str], Any], text: str) -> Any:
    import typer

    try:
        return parser(text.strip())
    except typer.BadParameter as error:
        raise UserError(f"{name}: {error.message}") from None

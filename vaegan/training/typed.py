"""What was typed after `python train.py`, checked against what conf/ holds: names, kinds of values, what is missing."""

import difflib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from vaegan.config import CONF
from vaegan.errors import UserError
from vaegan.training.limits import flat

GROUPS = ("model", "data", "trainer", "logger", "callbacks")
"""Groups that a run is always made of, in the order of what follows from what."""

FREE = ("callbacks.", "logger.", "data.stills.", "data.expression.")
"""Below these, names of one's own may be added."""

WITHOUT_VALUE: dict[str, type] = {
    **{"trainer.steps": int, "trainer.max_time": str, "resume": str, "start_from": str},
    **{"logger.wandb.mode": str, "data.name": str},
}
"""Settings that conf/ leaves empty, and what they hold."""

SEVERAL = ("trainer.devices", "trainer.precision")
"""Settings that are numbers, words or lists; looked at where they are used."""

EXAMPLES = {"data.name": "path/to/pictures"}

KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", list: "a list", dict: "settings"}


def quoted(arguments: Iterable[str]) -> list[str]:
    """The arguments, those whose plain text the grammar cannot read (data.name=/home/zoë) put in quotes."""
    return [_quoted(argument) for argument in arguments]


def _quoted(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if argument.startswith("-") or not equals or not value or value[0] in "[{\"'" or "${" in value:
        return argument
    try:
        parsed(argument)
    except HydraException:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{key}="{escaped}"'
    return argument


def parsed(argument: str) -> Override:
    """One override. Raises HydraException."""
    return OverridesParser.create().parse_overrides([argument])[0]


def is_group(override: Override) -> bool:
    """Whether it chooses a file of a group, rather than setting a value."""
    return (CONF / override.key_or_group).is_dir()


def settings_typed(overrides: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Of overrides without quotation of their own: group -> choice, and the names of the values that were set."""
    choices, keys = {}, []
    for override in map(parsed, overrides):
        if is_group(override):
            choices[override.key_or_group] = str(override.value())
        else:
            keys.append(override.key_or_group)
    return choices, keys


def base_of(choices: dict[str, Any], more: Sequence[str] = ()) -> DictConfig:
    """What the choices of `GROUPS` hold by themselves, nothing set. more: further overrides of Hydra's own."""
    return compose("config", overrides=[*(f"{g}={choices[g]}" for g in GROUPS if choices.get(g)), *more])


def check_typed(cfg: DictConfig, base: DictConfig, choices: dict[str, Any]) -> None:
    """Raises UserError for settings that do not exist, are missing, or hold another kind of value than in `base`."""
    there, defaults = _values(cfg), _values(base)
    for key, default in defaults.items():
        if key.startswith(("callbacks.", "logger.")) and key not in there:
            continue
        if key not in there:
            if default is None or not any(other.startswith(f"{key}.") for other in there):
                raise UserError(f"{key} was taken away, and is needed")
            continue
        value = there[key]
        if value == "???" and cfg.resume:
            continue  # the run knows
        if value == "???":
            group = key.partition(".")[0]
            raise UserError(f"{group}={choices.get(group)} needs {key}={EXAMPLES.get(key, '...')}")
        wanted = WITHOUT_VALUE.get(key) if default in (None, "???") else type(default)
        if wanted is None or key in SEVERAL or key.endswith("_target_"):
            continue
        if value is None and default is None:
            continue
        _check_kind(key, value, wanted, default)
    for key in there.keys() - defaults.keys():
        inside = any(other.startswith(f"{key}.") or key.startswith(f"{other}.") for other in defaults)
        if not inside and not key.startswith(FREE):
            raise no_such(key, defaults)


def _values(cfg: DictConfig) -> dict[str, Any]:
    return dict(flat(OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)))


def _check_kind(key: str, value: Any, wanted: type, default: Any) -> None:
    right = isinstance(value, (int, float) if wanted is float else wanted)
    if right and (wanted is bool or not isinstance(value, bool)):
        if wanted is list:
            kinds = {type(one) for one in default}
            fits = all(isinstance(one, (int, float) if float in kinds else tuple(kinds)) for one in value)
            if kinds and not fits:
                raise UserError(f"{key}={value}: its values are like those of {default}")
        return
    now = "" if default in (None, "???") else f", such as {str(default).lower() if wanted is bool else default}"
    if wanted is str and isinstance(value, int | float):
        raise UserError(f"{key}={value} is text here: quote it, '{key}=\"{value}\"'")
    raise UserError(f"{key}={value}: give {KINDS.get(wanted, 'another kind of value')}{now}")


def no_such(key: str, known: Iterable[str]) -> UserError:
    """The error for a setting that does not exist, with those that sound like it."""
    names = {*known, *(p.name for p in CONF.iterdir() if p.is_dir())}
    names |= {name.rpartition(".")[0] for name in names if "." in name}
    near = difflib.get_close_matches(key, sorted(names), 3, 0.75)
    last = key.rpartition(".")[2]
    near = near or [name for name in sorted(names) if name.rpartition(".")[2] == last][:3]
    return UserError(f"{key}: no such setting{'; did you mean ' + ' or '.join(near) if near else ''}")


def explained(error: Exception, arguments: Sequence[str]) -> str:
    """One line for what Hydra says of the arguments."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "hydra.cc" not in line]
    if isinstance(error, MissingConfigException) and error.options is not None and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={name}: choose one of {', '.join(sorted(error.options))}"
    if found := re.search(r"Interpolation key '(.+)' not found.*full_key: ([\w.]+)", str(error), re.DOTALL):
        return f"{found[2]} follows {found[1]}, which is not there: these groups do not go together"
    for argument in arguments:
        if argument.startswith("-"):
            continue
        try:
            override = parsed(argument)
        except OverrideParseException:
            key, equals, value = argument.partition("=")
            hint = f"quote it, '{key}=\"{value}\"'" if equals else "write SETTING=VALUE"
            return f"{argument} cannot be read: {hint}"
        key, said = override.key_or_group, f"'{override.key_or_group}'"
        if is_group(override) and not isinstance(override.value(), str | list) and not override.is_sweep_override():
            known = sorted(path.stem for path in (CONF / key).glob("*.yaml"))
            return f"{argument}: choose one of {', '.join(known)}"
        if any(line.startswith(("Could not override " + said, "Could not delete")) for line in lines):
            return str(no_such(key, _all_names(tuple(arguments))))
        if f"Ambiguous value for argument '{argument}'" in str(error):
            value = argument.partition("=")[2]
            return f"{argument} means several runs: add -m for these, or quote it, '{key}=\"{value}\"'"
    return " ".join(lines[:2])


@cache
def _all_names(arguments: tuple[str, ...]) -> frozenset[str]:
    """Names of all settings under the groups that are chosen."""
    GlobalHydra.instance().clear()
    chosen = []
    for argument in arguments:
        try:
            override = parsed(argument)
            path = CONF / override.key_or_group / f"{override.value()}.yaml"
        except (HydraException, OSError):
            continue
        if is_group(override) and path.is_file():
            chosen.append(argument)
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return frozenset(_values(compose("config", overrides=chosen)))
    except (ConfigCompositionException, HydraException):
        return frozenset()

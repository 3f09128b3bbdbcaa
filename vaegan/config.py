"""Classes named by a configuration (`_target_`): only those of this package are ever looked up and called."""

import inspect
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from vaegan.errors import UserError

_PACKAGE = Path(__file__).resolve().parent
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
"""Where the configurations of trainings lie: in the package as it is installed, beside it in a checkout."""

logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # it logs what becomes one line here


def instantiate(node: Any, **extra: Any) -> Any:
    """Build what `node` describes: a mapping with `_target_: vaegan....`, or nested mappings and lists of them.

    Interpolations are resolved first, then every target at any depth is checked, and only then is anything imported
    or called. What is built gets plain dictionaries and lists.

    Args:
        node: a DictConfig, ListConfig, dict or list; where it stems from (the command line, the stored configuration
            of somebody's run) does not matter.
        extra: further keyword arguments for the outermost target; they are handed over as they are.

    Raises:
        UserError: a target outside `vaegan.`, one that does not exist, or settings that it does not take.
    """
    plain = OmegaConf.to_container(node, resolve=True, throw_on_missing=True) if OmegaConf.is_config(node) else node
    for target in _targets(plain):
        _check(target)
    if not isinstance(plain, dict) or "_target_" not in plain:
        return _hydra(plain)
    build = _hydra({**plain, "_partial_": True})
    if plain.get("_partial_"):
        return partial(build, **extra)
    try:
        signature, given = inspect.signature(build.func), {**build.keywords, **extra}
        signature.bind_partial(*build.args, **given)  # names a setting too many rather than one that is missing
        signature.bind(*build.args, **given)
    except TypeError as error:
        raise UserError(f"configuration: {plain['_target_']}: {error}") from error
    return build(**extra)


def _hydra(plain: Any) -> Any:
    try:
        return hydra.utils.instantiate(plain, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise UserError(f"configuration: {' '.join(str(error).split())}") from error


def _targets(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _targets(value)


def _check(target: Any) -> None:
    """Raises UserError unless `target` is the dotted name of a class or function that this package defines."""
    refused = f"configuration: _target_ {target!r} is refused"
    if not isinstance(target, str) or not target.startswith("vaegan."):
        raise UserError(f"{refused}: only names that begin with vaegan. are built")
    try:
        found = hydra.utils.get_object(target)
    except (ImportError, ValueError) as error:
        raise UserError(f"{refused}: there is no such class in vaegan") from error
    # A dotted name can walk through a module of ours into what that module imports: what counts is where it ends.
    if not (inspect.isclass(found) or inspect.isroutine(found)) or not _defined_here(found):
        raise UserError(f"{refused}: it is no class or function that vaegan defines")


def _defined_here(found: Any) -> bool:
    return str(getattr(found, "__module__", None)).startswith("vaegan.")

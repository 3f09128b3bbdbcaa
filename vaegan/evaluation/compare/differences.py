"""What differs between runs: in their settings, and in code, data and packages."""

from typing import Any

from vaegan.evaluation.compare.runs import Run, flat

SILENT = (
    *("logger.", "callbacks.", "resume", "export", "print_config", "name"),
    *("trainer.threads", "trainer.log_every", "trainer.progress_bar"),
)
"""Settings that do not change what is learned from a picture: in no label and no table."""
LABELLED = 3
MISSING = "–"


def differences(runs: list[Run]) -> dict[str, list[str]]:
    """Settings that are not the same in all runs: dotted name -> one value a run, in the order of `runs`.

    A setting that another one was made from (`data.seed` from `seed`) is told once.
    """
    found = _differing([run.settings for run in runs])
    told: dict[tuple, str] = {}
    for name in sorted(found, key=lambda name: name.count(".")):
        told.setdefault((name.rsplit(".", 1)[-1], *found[name]), name)
    return {name: values for name, values in found.items() if name in told.values()}


def circumstances(runs: list[Run]) -> dict[str, list[str]]:
    """The same for commit, data, packages and machine, among those runs whose record tells them."""
    kept = ("git.", "data.", "packages.", "machine.")
    flats = [{k: v for k, v in flat(run.record).items() if k.startswith(kept)} for run in runs]
    for one in flats:
        if "git.commit" in one:
            one["git.commit"] = one["git.commit"][:10]
    found = _differing(flats)
    return {name: values for name, values in found.items() if len(set(values) - {MISSING}) > 1}


def telling(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Of the settings that differ, those that may change what is learned."""
    return {name: values for name, values in found.items() if not name.startswith(SILENT)}


def set_labels(runs: list[Run], found: dict[str, list[str]]) -> None:
    """Name each run by what differs, if that is little and tells all apart; else by its folder."""
    names = list(telling(found))
    shown = short(names)
    labels = [", ".join(f"{shown[name]}={found[name][i]}" for name in names) for i in range(len(runs))]
    if not 0 < len(names) <= LABELLED or len(set(labels)) < len(labels) or max(map(len, labels)) > 60:
        labels = folder_names(runs)
    for run, label in zip(runs, labels, strict=True):
        run.label = label


def labelled(runs: list[Run], found: dict[str, list[str]]) -> bool:
    """Whether the labels already say all that differs."""
    shown = short(list(found))
    return all(f"{shown[name]}={values[0]}" in runs[0].label for name, values in found.items())


def short(names: list[str]) -> dict[str, str]:
    """The shortest ending of each dotted name that no other shares."""
    return {
        name: _ending(name.split("."), [other.split(".") for other in names if other != name], ".") for name in names
    }


def folder_names(runs: list[Run]) -> list[str]:
    """The shortest ending of each run's path that no other shares."""
    parts = [run.path.resolve().parts for run in runs]
    return [_ending(list(p), [list(o) for j, o in enumerate(parts) if j != i], "/") for i, p in enumerate(parts)]


def _ending(parts: list[str], others: list[list[str]], joint: str) -> str:
    count = 1
    while count < len(parts) and any(other[-count:] == parts[-count:] for other in others):
        count += 1
    return joint.join(parts[-count:])


def _differing(flats: list[dict[str, Any]]) -> dict[str, list[str]]:
    names = dict.fromkeys(name for one in flats for name in one)
    rows = {name: [_text(one[name]) if name in one else MISSING for one in flats] for name in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)

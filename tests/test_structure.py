"""The house as DESIGN describes it: which way imports run, and what stands in one place only. Read from the sources."""

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import vaegan

PACKAGE = Path(vaegan.__file__).parent
FLOORS = (
    "errors config networks losses pca ema tensors media faces.geometry faces.regions jobs reports",
    "folder model portrait reference smoothing sources critics faces samples",
    "motion motion_file directions keyframes shots render data",
    "adjust settings stage moving pipeline frames streaming live preview notes storyboard evaluation training "
    "tracker_training",
    "job interpolation animation",
    "cli app",
)
"""Who may import whom: a module imports from its own floor and from those below (above in this list)."""

LONGEST = 350
"""Lines of a file of the package."""


@cache
def sources() -> dict[str, tuple[str, ast.Module]]:
    """Module name -> text and syntax tree, for every file of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        text = path.read_text(encoding="utf-8")
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = text, ast.parse(text)
    return found


def imported(tree: ast.AST) -> set[str]:
    """Modules of the package that run when `tree` does, inside functions as well; not those for type hints alone."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "vaegan"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vaegan":
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & sources().keys()
            found |= submodules | ({node.module} if len(submodules) < len(node.names) else set())
        else:
            found |= imported(node)
    return found


@cache
def graph() -> dict[str, set[str]]:
    return {name: imported(tree) - {name} for name, (_, tree) in sources().items()}


def floor(module: str) -> int:
    """The floor of a module: the longest name in FLOORS that it begins with decides."""
    if module == "vaegan":  # its version; what else it offers is imported where it is used
        return 0
    name = module.removeprefix("vaegan.")
    places = {room: level for level, rooms in enumerate(FLOORS) for room in rooms.split()}
    rooms = [room for room in places if name == room or name.startswith(room + ".")]
    assert rooms, f"{module} stands on no floor: name it in FLOORS"
    return places[max(rooms, key=len)]


def inside(module: str, room: str) -> bool:
    return module == f"vaegan.{room}" or module.startswith(f"vaegan.{room}.")


def test_imports_run_downwards():
    rooms = {name: used for name, used in graph().items() if name != "vaegan"}
    upwards = [f"{name} -> {other}" for name, used in rooms.items() for other in used if floor(other) > floor(name)]
    assert not upwards


def test_the_package_takes_names_from_where_they_are_made():
    known = {other.removeprefix("vaegan.") for other in sources()} | {"__version__"}
    for name, (text, _) in sources().items():
        for line in text.splitlines():
            taken = re.match(r" *from vaegan import (.*)", line)
            assert not taken or set(taken[1].split(", ")) <= known, f"{name}: {line}"


def test_no_module_imports_itself_by_a_detour():
    """Imports within functions count: so none of them is there only because two modules need each other."""
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize(("room", "other"), [("training", "evaluation"), ("evaluation", "training")])
def test_training_and_evaluation_do_not_import_each_other(room, other):
    assert not [f"{a} -> {b}" for a, used in graph().items() for b in used if inside(a, room) and inside(b, other)]


def test_no_file_is_long():
    assert not {name: n for name, (text, _) in sources().items() if (n := len(text.splitlines())) > LONGEST}


def test_transfer_needs_no_training_code():
    needed, waiting = set(), ["vaegan.job", "vaegan.cli.transfer"]
    while waiting:
        name = waiting.pop()
        needed.add(name)
        waiting += graph()[name] - needed
    assert not [name for name in needed if inside(name, "training") or inside(name, "tracker_training")]


LATENT = re.compile(r"^(.*\.|.*\[['\"])?(z|latents?)(_[a-z]+)?(['\"]\])?(\[.*\])?$")
"""How an expression is written that stands for latents: z, z_ref, self.z, rows["z"], latents[0], photo.latent[None]."""


def subtracts_latents(tree: ast.Module) -> bool:
    def latent(node: ast.expr) -> bool:
        last = node.right if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) else node
        return bool(LATENT.match(ast.unparse(last)))

    pairs = [(n.left, n.right) for n in ast.walk(tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Sub)]
    pairs += [(n.target, n.value) for n in ast.walk(tree) if isinstance(n, ast.AugAssign) and isinstance(n.op, ast.Sub)]
    return any(latent(left) and latent(right) for left, right in pairs)


def parses_index(tree: ast.Module) -> bool:
    """Whether a function both names index.csv (or takes a place of it) and reads a table."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            text = ast.unparse(function)
            if re.search(r"csv\.(Dict)?[rR]eader\(", text) and re.search(r"index\.csv|\bINDEX\b", text):
                return True
    return False


def lowers_by_cosine(tree: ast.Module) -> bool:
    return bool(re.search(r"1 \+ \w+\.cos\(|CosineAnnealing", ast.unparse(tree)))


def converts_pictures(tree: ast.Module) -> bool:
    """uint8 (N, H, W, 3) -> float (N, 3, H, W) in [0, 1]."""
    turned = r"(permute|transpose|movedim)\((0, 3, 1, 2|-1, -3)\)"
    return any(
        re.search(turned + r".*\b255", line) or re.search(r"\b255.*" + turned, line)
        for line in ast.unparse(tree).splitlines()
    )


@pytest.mark.parametrize(
    ("found", "place"),
    [
        (subtracts_latents, "vaegan.motion"),
        (parses_index, "vaegan.data.format"),
        (lowers_by_cosine, "vaegan.training.schedule"),
        (converts_pictures, "vaegan.tensors"),
    ],
)
def test_it_stands_in_one_place(found, place):
    assert [name for name, (_, tree) in sources().items() if found(tree)] == [place]

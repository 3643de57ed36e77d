"""Rules of the house: who may import whom, and that `alexnet --help` imports nothing heavy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import alexnet

ROOT = Path(alexnet.__file__).parent
# Data flows from left to right; a room imports only itself and what stands to its left.
ORDER = (
    *("files", "ranges", "config", "networks", "recipes", "progress", "native", "data", "model", "training", "study"),
    *("exchange", "explore", "demo", "bench", "reproduce", "cli", "__main__"),
)
"""The rooms, left to right."""
NOT_FOR: dict[str, set[str]] = {
    "networks": {"recipes"},
    "ranges": set(ORDER),
    "config": set(ORDER) - {"files", "ranges"},
    "recipes": set(ORDER) - {"ranges", "config", "networks"},
    "progress": set(ORDER),
    "files": set(ORDER),
    "native": set(ORDER),
    "data": {"networks", "recipes", "model"},
    "model": {"recipes", "progress", "files", "data"},
    "demo": {"explore"},
    "bench": {"cli", "explore"},
}
"""What a room may not import although it stands to its left."""
DATA_ORDER = ("classes", "image", "sources", "store", "prepare")
"""The rooms in data, left to right; loader and augment come after the store."""
WITH_TORCH = {"alexnet.data.loader"}  # of the modules in data


def name_of(path: Path) -> str:
    parts = ("alexnet", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def imported(path: Path) -> Iterator[str]:
    """Absolute names of all that a file imports, wherever in it: modules, or modules and a name in them."""
    package = ("alexnet", *path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*start, *([node.module] if node.module else [])))
            yield from (f"{base}.{alias.name}" for alias in node.names)


FILES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}
IMPORTS = {name: set(imported(path)) for name, path in FILES.items()}


def module_of(name: str) -> str | None:
    """The module of ours that an imported name belongs to."""
    while name.startswith("alexnet."):
        if name in FILES:
            return name
        name = name.rpartition(".")[0]
    return None


ARROWS = {name: {m for i in names if (m := module_of(i)) and m != name} for name, names in IMPORTS.items()}


def reachable(name: str) -> set[str]:
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        new = ARROWS[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


@pytest.mark.parametrize("name", [n for n in FILES if n != "alexnet.__init__"])
def test_a_module_imports_only_from_its_left(name: str) -> None:
    room = name.split(".")[1]
    assert room in ORDER, f"{name} is in no known room"
    allowed = {*ORDER[: ORDER.index(room)], room} - (NOT_FOR.get(room, set()) - {room})
    for target in ARROWS[name]:
        assert target.split(".")[1] in allowed, f"{name} imports {target}"


STUDY_COMMANDS = {"evaluate", "predict", "similar", "features", "compare", "figures", "verify", "describe"}


@pytest.mark.parametrize("name", sorted(STUDY_COMMANDS))
def test_no_command_of_study_imports_another(name: str) -> None:
    others = {f"alexnet.study.{other}" for other in STUDY_COMMANDS - {name}}
    assert f"alexnet.study.{name}" in FILES
    assert not reachable(f"alexnet.study.{name}") & others


def test_what_commands_of_study_share_imports_no_command() -> None:
    commands = {f"alexnet.study.{name}" for name in STUDY_COMMANDS}
    for name in (n for n in FILES if n.startswith("alexnet.study.") and n not in commands):
        assert not reachable(name) & commands, name


@pytest.mark.parametrize("name", FILES)
def test_imports_have_no_cycles(name: str) -> None:
    assert name not in reachable(name)


def test_data_flows_from_left_to_right() -> None:
    for i, left in enumerate(DATA_ORDER):
        for name in (n for n in FILES if n.split(".")[1:3] == ["data", left]):
            for right in (*DATA_ORDER[i + 1 :], "loader", "augment"):
                assert not any(n.split(".")[1:3] == ["data", right] for n in reachable(name)), f"{name} uses {right}"


def outside(name: str) -> set[str]:
    """What a module imports that is neither ours nor Python's."""
    return {i.split(".")[0] for i in IMPORTS[name]} - sys.stdlib_module_names - {"alexnet"}


@pytest.mark.parametrize("name", [n for n in FILES if n.startswith("alexnet.data") and n not in WITH_TORCH])
def test_data_is_prepared_without_torch(name: str) -> None:
    assert all("torch" not in outside(n) for n in {name, *reachable(name)})


@pytest.mark.parametrize("name", ["alexnet.config", "alexnet.networks", "alexnet.recipes"])
def test_settings_need_only_the_standard_library(name: str) -> None:
    assert not outside(name)


@pytest.mark.parametrize("name", [n for n in FILES if n.startswith("alexnet.model")])
def test_the_network_needs_only_torch(name: str) -> None:
    assert outside(name) <= ({"torch", "triton"} if name.startswith("alexnet.model.cuda.") else {"torch"})


def test_nothing_is_called_utils() -> None:
    assert not {part for name in FILES for part in name.split(".")} & {
        "utils",
        "util",
        "helpers",
        "misc",
        "common",
    }


@pytest.mark.parametrize(
    "statement",
    [
        "from alexnet.cli import main; main(['--help'])",
        "from alexnet.cli import main; main(['train', '--help'])",
        "from alexnet.cli import main; main(['completion', 'bash'])",
        "import alexnet; dir(alexnet)",
    ],
)
def test_help_imports_nothing_heavy(statement: str) -> None:
    heavy = "{'torch', 'numpy', 'pyarrow', 'matplotlib', 'PIL'}"
    check = f"import sys; print(*{heavy} & set(sys.modules), file=sys.stderr)"
    command = [sys.executable, "-c", f"{statement}; {check}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""


def test_the_package_offers_the_network_and_its_loading() -> None:
    from alexnet.model.network import AlexNet
    from alexnet.study.trained import load

    assert alexnet.AlexNet is AlexNet
    assert alexnet.load is load
    assert {"AlexNet", "load"} <= set(dir(alexnet))
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = alexnet.nothing_like_this

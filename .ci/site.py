"""Builds the documentation as a site that needs no network: `python .ci/site.py` (`make site`) writes `site/`.

docs/, README.md (the front page) and a few more pages are copied to `.site/docs`, with links as they are there, and the
reference is made from docstrings. Zensical does the rest, as mkdocs.yml says.
"""

import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "campaigns/README.md": "campaigns.md",
}
"""Pages outside docs/, and their names in the site."""
REFERENCE = {
    "The network": ("alexnet.AlexNet", "alexnet.load", "alexnet.study.trained.TrainedAlexNet"),
    "Images in, tensors out": ("alexnet.study.trained.Preprocess", "alexnet.data.store.reader.Store"),
    "What the commands do": (
        "alexnet.data.prepare.prepare.prepare",
        "alexnet.training.loop.train",
        "alexnet.study.evaluate.evaluate",
        "alexnet.study.predict.predict",
        "alexnet.study.features.features",
        "alexnet.study.similar.similar",
        "alexnet.study.compare.compare",
        "alexnet.study.figures.figures",
        "alexnet.exchange.export.export",
        "alexnet.exchange.import_.import_",
    ),
    "Settings": (
        "alexnet.config.TrainConfig",
        "alexnet.config.NetworkConfig",
        "alexnet.config.AugmentConfig",
        "alexnet.config.OptimConfig",
        "alexnet.config.ScheduleConfig",
        "alexnet.config.CheckpointConfig",
    ),
}
"""What the reference lists, by heading."""


def stage(folder: Path) -> list[Path]:
    """Write all pages to `folder`, and return them."""
    sources = {ROOT / source: name for source, name in PAGES.items()}
    sources |= {path: str(path.relative_to(ROOT / "docs")) for path in sorted((ROOT / "docs").rglob("*.md"))}
    for source, name in sources.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(relinked(source, name, sources), encoding="utf-8")
    for path in (ROOT / "docs").rglob("*"):
        if path.is_file() and path.suffix != ".md":
            copy = folder / path.relative_to(ROOT / "docs")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    (folder / "api.md").write_text(reference(), encoding="utf-8")
    return [*(folder / name for name in sources.values()), folder / "api.md"]


def relinked(source: Path, name: str, sources: dict[Path, str]) -> str:
    """A page whose links lead to where its targets are in the site. What is not in the site is no link."""

    def lead(match: re.Match[str]) -> str:
        mark, words, target, anchor = match.groups()
        if re.match(r"\w+:", target):
            return match[0]
        path = Path(os.path.normpath(source.parent / target)) if target else source
        path = path / "README.md" if path.is_dir() else path
        if path in sources:
            found = sources[path]
        elif path.is_relative_to(ROOT / "docs") and path.is_file():
            found = str(path.relative_to(ROOT / "docs"))
        else:
            return words
        return f"{mark}[{words}]({os.path.relpath(found, PurePosixPath(name).parent)}{anchor or ''})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)#\s]*)(#[^)\s]*)?\)", lead, source.read_text(encoding="utf-8"))


def reference() -> str:
    """The page of functions and classes, from their signatures and docstrings."""
    return "\n\n".join(["# Reference", "What Python code can use. " + NOTE, *_entries()]) + "\n"


NOTE = "The command line does the same: each command calls the function of its name."


def _entries() -> Iterator[str]:
    for heading, names in REFERENCE.items():
        yield f"## {heading}"
        for name in names:
            module, _, own = name.rpartition(".")
            described = getattr(importlib.import_module(module), own)
            yield f"### {own}"
            yield f"```python\nfrom {module} import {own}\n\n{signature(own, described)}\n```"
            yield prose(described)
            if inspect.isclass(described):
                yield from _methods(described)


def _methods(described: type) -> Iterator[str]:
    for name, member in vars(described).items():
        if inspect.isfunction(member) and not name.startswith("_") and member.__doc__:
            yield f"**`{signature(name, member)}`**"
            yield prose(member)


def signature(name: str, described: object) -> str:
    """Name and parameters; one a line where they are many."""
    text = name + str(inspect.signature(described))  # type: ignore[arg-type]
    text = re.sub(r"\b(?:typing|pathlib|_local|collections|abc|torch|_C|alexnet(?:\.\w+)*)\.(?=\w)", "", text)
    text = re.sub(r"Annotated\[(\w+), Range\([^)]*\)\]", r"\1", text)
    text = re.sub(r"<[^<>]*>", "...", text)  # defaults that are made anew, and functions
    if len(text) < 100:
        return text
    return re.sub(r"(?<=\w)\((?=\w)|, (?=\w+: |\*)", lambda found: found[0].rstrip() + "\n    ", text)


def prose(described: object) -> str:
    """A docstring as Markdown."""
    text = inspect.getdoc(described)
    assert text, described
    return text


def main() -> None:
    """Build the site."""
    staged = ROOT / ".site/docs"
    shutil.rmtree(staged, ignore_errors=True)
    stage(staged)
    build = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    subprocess.run(build, cwd=ROOT, check=True)
    print(f"The site is {ROOT / 'site/index.html'}")


if __name__ == "__main__":
    main()

"""The training runs behind docs/results: `make results`. Each run goes to runs/results/<name>; a finished one is kept.

python benchmarks/results.py                        every run
python benchmarks/results.py snazzy                 one of them
python benchmarks/results.py reviews --run FOLDER   only the page, of a run that is finished already

A result is one file, benchmarks/pages/<name>.py (`-` written `_`): RECIPE, OVERRIDES and `page(run) -> Markdown`;
what its figures say in words may stand beside it in <name>.md.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from types import ModuleType

from layout.run import Run
from tuningfork import load_recipe, run
from tuningfork.errors import GateFailed

PAGES = Path(__file__).parent / "pages"
DOCS = Path("docs/results")


def names() -> list[str]:
    """Every result that has a page."""
    return sorted(path.stem.replace("_", "-") for path in PAGES.glob("*.py"))


def load(name: str) -> ModuleType:
    """The module of a result."""
    return importlib.import_module(f"pages.{name.replace('-', '_')}")


def main() -> None:
    """Run what is asked for and write docs/results/<name>.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which results; all when empty")
    parser.add_argument("--run", type=Path, help="folder of a finished run to make the page from, for one name")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in names()]
    if unknown:
        parser.error(f"no result {unknown[0]!r}; there are {', '.join(names())}")
    if arguments.run and len(arguments.names) != 1:
        parser.error("--run needs the name of one result")
    for name in arguments.names or names():
        module = load(name)
        folder = arguments.run or Path("runs/results") / name
        if not arguments.run:
            try:
                run(load_recipe(module.RECIPE, module.OVERRIDES), out=folder)
            except GateFailed as error:
                print(f"{name}: {error}")
                continue
        finished = Run(name, folder, " ".join(["tuningfork run", module.RECIPE, *module.OVERRIDES]), DOCS)
        (DOCS / f"{name}.md").write_text(module.page(finished) + "\n", encoding="utf-8")
        print(f"{name}: {DOCS / name}.md")


if __name__ == "__main__":
    main()

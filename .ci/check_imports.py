"""The import boundaries: no paper imports another, and `shared` imports no paper."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def projects() -> dict[str, set[str]]:
    """Folder name -> import names of the packages under its src/."""
    found = {}
    for source in ROOT.glob("*/src"):
        found[source.parent.name] = {p.name for p in source.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    return found


def imported(path: Path) -> list[tuple[int, str]]:
    """(line, top-level package) of every import in a file, wherever it stands."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names += [(node.lineno, alias.name.partition(".")[0]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.append((node.lineno, node.module.partition(".")[0]))
    return names


def violations() -> list[str]:
    packages = projects()
    found = []
    for folder, own in packages.items():
        foreign = set().union(*(names for other, names in packages.items() if other not in (folder, "shared"))) - own
        for path in sorted((ROOT / folder).rglob("*.py")):
            if ".venv" in path.parts:
                continue
            for line, name in imported(path):
                if name in foreign:
                    found.append(f"{path.relative_to(ROOT)}:{line}: {folder} imports {name}")
    return found


if __name__ == "__main__":
    found = violations()
    print("\n".join(found) if found else f"import boundaries hold in {', '.join(sorted(projects()))}")
    sys.exit(bool(found))

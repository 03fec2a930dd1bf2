"""A second opinion outside the process that checked: the kernel again, by SafeVerify or comparator where installed.

`#print axioms` can be forged by metaprograms and does not see `debug.skipKernelTC`. So a problem's first accepted
proof is compiled to .olean files (the challenge with `sorry`, the solution with the proof) and handed to a tool that
replays declarations through a kernel. Results carry `proved` and `confirmed` apart.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .assemble import Assembled
from .statement import Statement

TOOLS = ("comparator", "safe_verify")
PERMITTED = ("propext", "Classical.choice", "Quot.sound")


@dataclass(frozen=True)
class Confirmation:
    """`confirmed` is None where no tool is installed."""

    confirmed: bool | None
    tool: str
    detail: str = ""


def find_tool(path: str | None = None) -> tuple[str, str] | None:
    """Name and path of the first confirmer that is installed."""
    for name in TOOLS:
        if found := shutil.which(name, path=path):
            return name, found
    return None


def configuration(file: Assembled) -> dict[str, object]:
    """comparator's JSON configuration for one theorem."""
    return {
        "challenge_module": "Challenge",
        "solution_module": "Solution",
        "theorem_names": [file.name],
        "permitted_axioms": list(PERMITTED),
        "external_kernels": [],
    }


def confirm(
    st: Statement, file: Assembled, folder: Path, project: Path, seconds: float = 600, path: str | None = None
) -> Confirmation:
    """Writes Challenge.lean and Solution.lean into `folder`, compiles both and asks the tool.

    Args:
        folder: a fresh folder for the files.
        project: the lake project whose `lake env` has Mathlib.
        path: where to look for the tools; the PATH by default.
    """
    tool = find_tool(path)
    if tool is None:
        return Confirmation(None, "", f"none of {', '.join(TOOLS)} is installed")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Challenge.lean").write_text(f"{st.text} sorry\n")
    (folder / "Solution.lean").write_text(file.whole)
    lake = shutil.which("lake", path=path) or "lake"
    try:
        for module in ("Challenge", "Solution"):
            command = [lake, "env", "lean", "-o", str(folder / f"{module}.olean"), str(folder / f"{module}.lean")]
            compiled = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=seconds)
            if compiled.returncode:
                return Confirmation(False, tool[0], f"{module}.lean does not compile: {compiled.stdout[-300:]}")
        if tool[0] == "comparator":
            (folder / "config.json").write_text(json.dumps(configuration(file)))
            command = [lake, "env", tool[1], str(folder / "config.json")]
        else:
            command = [lake, "env", tool[1], str(folder / "Challenge.olean"), str(folder / "Solution.olean")]
        checked = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return Confirmation(None, tool[0], f"no answer within {seconds:g} s")
    except OSError as error:
        return Confirmation(None, tool[0], f"cannot run: {error.strerror}")
    return Confirmation(checked.returncode == 0, tool[0], (checked.stdout + checked.stderr)[-300:])

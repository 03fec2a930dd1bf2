"""`formalmath lean install` and `formalmath lean doctor`: toolchain, Mathlib's cache and the REPL, for a user with
internet.

Each step looks first whether it is done, so a second call goes on where the first stopped. The plan with sizes is said
before anything is fetched; `--dry-run` says it and stops.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FormalMathError
from .verdict import Fingerprint

LEAN = "v4.11.0"
MATHLIB = "8edf04f0977c3183d3b633792e03fd570be1777f"  # of the paper's code, with Lean v4.11.0
REPL = "adbbfcb9d4e61c12db96c45d227de92f21cc17dd"
REPOSITORIES = {
    "mathlib": "https://github.com/leanprover-community/mathlib4",
    "repl": "https://github.com/leanprover-community/repl",
}
ELAN = "https://elan.lean-lang.org/elan-init.sh"
DISK_GB, DOWNLOAD_GB, MINUTES = 10, 3, 20
CACHE_GONE = (
    "Mathlib's build cache for this revision is not offered any more: choose a newer release by --lean, or compile it "
    "here by --build (hours)"
)


def home_folder(given: Path | None = None) -> Path:
    """`given`, else $FORMALMATH_LEAN, else the user's cache folder."""
    chosen = given or Path(os.environ.get("FORMALMATH_LEAN") or Path.home() / ".cache" / "tenfold" / "lean")
    return chosen.expanduser()


@dataclass(frozen=True)
class Installed:
    """A Lean that is ready: the project whose `lake env` runs the REPL, and what `lean.json` says."""

    project: Path
    repl: Path
    facts: Mapping[str, Any]

    @property
    def repl_command(self) -> tuple[str, ...]:
        lake = shutil.which("lake") or str(Path.home() / ".elan" / "bin" / "lake")
        return (lake, "env", str(self.repl))


def installed(home: Path | None = None) -> Installed:
    """What `lean install` made.

    Raises:
        FormalMathError: nothing, with what to do and what runs without.
    """
    folder = home_folder(home)
    try:
        facts = json.loads((folder / "lean.json").read_text())
    except (OSError, ValueError):
        raise FormalMathError(
            f"there is no Lean in {folder}: `make lean` installs it (about {DISK_GB} GB); without it lean=fragment, "
            "lean=structural and lean=replay run"
        ) from None
    return Installed(folder / "project", Path(facts["repl_path"]), facts)


def fingerprint(lean: Mapping[str, Any]) -> Fingerprint:
    """Of the Lean that the config group uses; empty versions where a command was given by hand."""
    limits = {k: lean.get(k) for k in ("seconds", "heartbeats", "memory_gib")}
    if lean.get("command"):
        return Fingerprint(
            "lean", str(lean.get("version") or ""), str(lean.get("mathlib") or ""), str(lean.get("repl") or ""), limits
        )
    facts = installed(Path(lean["home"]) if lean.get("home") else None).facts
    return Fingerprint("lean", facts["lean"], facts["mathlib"], facts["repl"], limits)


@dataclass(frozen=True)
class Step:
    """A step of the plan: what it is, its sizes in words, whether it is done, how to do it."""

    name: str
    size: str
    done: bool
    run: Callable[[], None]


Run = Callable[[Sequence[str], Path], None]


def plan(home: Path | None = None, lean: str = LEAN, build: bool = False, run: Run | None = None) -> list[Step]:
    """The steps, in order. Nothing is done here."""
    folder, run = home_folder(home), run or _run
    project, repl = folder / "project", folder / "repl"
    elan = shutil.which("elan") or shutil.which("elan", path=str(Path.home() / ".elan" / "bin"))
    pinned = lean == LEAN
    revision = MATHLIB if pinned else lean

    def toolchain() -> None:
        run([elan or "elan", "toolchain", "install", f"leanprover/lean4:{lean}"], folder)

    def get_elan() -> None:
        script = folder / "elan-init.sh"
        run(["curl", "--proto", "=https", "-sSfL", "-o", str(script), ELAN], folder)
        run(["sh", str(script), "-y", "--default-toolchain", "none"], folder)

    def make_project() -> None:
        project.mkdir(parents=True, exist_ok=True)
        (project / "lean-toolchain").write_text(f"leanprover/lean4:{lean}\n")
        (project / "lakefile.lean").write_text(
            f"import Lake\nopen Lake DSL\n\npackage formalmath\n\nrequire mathlib from git\n  "
            f'"{REPOSITORIES["mathlib"]}" @ "{revision}"\n'
        )
        run(["lake", "update", "mathlib"], project)

    def cache() -> None:
        try:
            run(["lake", "exe", "cache", "get"], project)
        except FormalMathError as error:
            if not build:
                raise FormalMathError(f"{error}. {CACHE_GONE}") from None
            run(["lake", "build", "Mathlib"], project)

    def make_repl() -> None:
        if not repl.exists():
            run(["git", "clone", "--quiet", REPOSITORIES["repl"], str(repl)], folder)
        run(["git", "-C", str(repl), "checkout", "--quiet", REPL if pinned else lean], folder)
        repl.mkdir(parents=True, exist_ok=True)
        (repl / "lean-toolchain").write_text(f"leanprover/lean4:{lean}\n")
        run(["lake", "build"], repl)

    def note() -> None:
        facts = {
            "lean": lean,
            "mathlib": revision,
            "repl": REPL if pinned else lean,
            "repl_path": str(repl / ".lake/build/bin/repl"),
        }
        (folder / "lean.json").write_text(json.dumps(facts, indent=1) + "\n")

    toolchains = Path.home() / ".elan" / "toolchains"
    return [
        Step("elan, Lean's toolchain manager", "15 MB", bool(elan), get_elan),
        Step(f"Lean {lean}", "0.4 GB download, 1.5 GB on disk", any(toolchains.glob(f"*lean4*{lean}")), toolchain),
        Step(
            "a project that pins Mathlib", "0.4 GB of sources", (project / "lake-manifest.json").exists(), make_project
        ),
        Step("Mathlib, compiled (lake exe cache get)", "2.2 GB download, 7 GB on disk", _oleans(project), cache),
        Step("the REPL", "some minutes of compiling", (repl / ".lake/build/bin/repl").exists(), make_repl),
        Step("lean.json, what was installed", "", (folder / "lean.json").exists(), note),
    ]


def _oleans(project: Path) -> bool:
    built = project / ".lake/packages/mathlib/.lake/build/lib"
    return (built / "Mathlib.olean").exists() or (built / "lean" / "Mathlib.olean").exists()


def describe(steps: Sequence[Step], home: Path | None = None) -> str:
    lines = [
        (
            f"Lean for formalmath, in {home_folder(home)}: about {DISK_GB} GB on disk, {DOWNLOAD_GB} GB to download, "
            f"{MINUTES} minutes"
        )
    ]
    lines += [f"  [{'x' if s.done else ' '}] {s.name}{f' ({s.size})' if s.size else ''}" for s in steps]
    return "\n".join(lines)


def install(
    home: Path | None = None,
    lean: str = LEAN,
    build: bool = False,
    dry_run: bool = False,
    say: Callable[[str], None] = print,
    run: Run | None = None,
) -> None:
    """Does the steps that are not done, then a smoke test.

    Raises:
        FormalMathError: too little disk, or a step that failed, by its name.
    """
    folder = home_folder(home)
    steps = plan(home, lean, build, run)
    say(describe(steps, home))
    if dry_run:
        return
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free / 1e9
    if free < DISK_GB and not _oleans(folder / "project"):
        raise FormalMathError(
            f"{folder} has {free:.1f} GB free, and about {DISK_GB} are needed: set FORMALMATH_LEAN to another folder"
        )
    for step in steps:
        if not step.done:
            say(f"{step.name} ...")
            step.run()
    say(smoke(home))


def smoke(home: Path | None = None) -> str:
    """A good proof, a `sorry` and an axiom cheat through the REPL; each must get its verdict."""
    import asyncio

    from .assemble import Proof, assemble
    from .policy import load_policy
    from .pool import PoolSettings, ReplPool
    from .statement import parse_statement
    from .verdict import CheckRequest, Limits

    found = installed(home)
    st = parse_statement("import Mathlib\n\ntheorem smoke (x : ℝ) (h : 2 * x = 6) : x = 3 := by")
    bodies = {"proved": "\n  linarith", "incomplete": "\n  sorry", "error": "\n  ring"}
    pool = ReplPool(PoolSettings(found.repl_command, str(found.project), 1), load_policy("strict"), fingerprint({}))

    async def ask() -> dict[int, str]:
        items = [CheckRequest("smoke", i, assemble(st, Proof(b)), Limits(120)) for i, b in enumerate(bodies.values())]
        try:
            return {r.sample_id: r.verdict async for r in pool.check(items)}
        finally:
            await pool.close()

    verdicts = asyncio.run(ask())
    wrong = [f"{w} came out as {verdicts.get(i)}" for i, w in enumerate(bodies) if verdicts.get(i) != w]
    if wrong:
        raise FormalMathError(f"Lean runs but answers oddly: {'; '.join(wrong)}")
    return "Lean works: a good proof is accepted, a sorry and a wrong tactic are not"


def doctor(home: Path | None = None) -> list[str]:
    """A line for every missing piece, with its remedy; empty when all is there."""
    folder, missing = home_folder(home), []
    for program, remedy in (
        ("elan", "make lean fetches it, or the distribution's package `elan`"),
        ("lake", "comes with elan"),
        ("git", "the distribution's package `git`"),
        ("curl", "the distribution's package `curl`"),
    ):
        if not shutil.which(program) and not (Path.home() / ".elan" / "bin" / program).exists():
            missing.append(f"{program} is not on the PATH: {remedy}")
    for step in plan(home):
        if not step.done and not step.name.startswith("elan"):
            missing.append(f"{step.name} is missing in {folder}: make lean")
    return missing


def _run(command: Sequence[str], cwd: Path) -> None:
    path = f"{Path.home() / '.elan' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    try:
        done = subprocess.run(list(command), cwd=cwd, env={**os.environ, "PATH": path})
    except OSError as error:
        raise FormalMathError(f"cannot run {command[0]}: {error.strerror}") from None
    if done.returncode:
        raise FormalMathError(f"`{' '.join(command[:4])}` ended with status {done.returncode}")

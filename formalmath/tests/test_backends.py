"""kimina against a local transport, the other adapters' refusals, installation's plan, confirmation."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from formalmath.errors import FormalMathError
from formalmath.lean import confirm, install
from formalmath.lean.assemble import Proof, assemble
from formalmath.lean.backend import open_backend, open_tactics
from formalmath.lean.dojo import DojoTactics
from formalmath.lean.kimina import BATCH, Kimina, snippet
from formalmath.lean.policy import load_policy
from formalmath.lean.statement import parse_statement
from formalmath.lean.verdict import CheckRequest, Limits

STRICT = load_policy("strict")
ST = parse_statement("import Mathlib\n\nopen Real\n\ntheorem t (x : ℝ) : x = x := by")


def requests(bodies):
    return [CheckRequest("t", i, assemble(ST, Proof(f"\n  {b}")), Limits(5)) for i, b in enumerate(bodies)]


class Server:
    """A kimina-lean-server that answers from words in the code; `faults` are statuses to give first."""

    def __init__(self, faults=(), version="4.11.0"):
        self.faults, self.version = list(faults), version
        self.calls = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.calls.append(request.url.path)
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, Exception):
                raise fault
            return fault if isinstance(fault, httpx.Response) else httpx.Response(fault)
        snippets = body.get("snippets") or [{"id": c["custom_id"], "code": c["code"]} for c in body["codes"]]
        key = "id" if "snippets" in body else "custom_id"
        return httpx.Response(
            200, json={"results": [{key: s["id"], **self.answer(s["code"])} for s in reversed(snippets)]}
        )

    def answer(self, code):
        if "versionString" in code:
            return {
                "time": 0.1,
                "response": {
                    "env": 0,
                    "messages": [{"severity": "info", "pos": {"line": 1, "column": 0}, "data": f'"{self.version}"'}],
                },
            }
        if "SLOW" in code:
            return {"error": "Lean REPL command timed out in 5 seconds"}
        if "REFUSED" in code:
            return {"response": {"message": "Unknown environment."}}
        last = code.count("\n")
        axioms = {"severity": "info", "pos": {"line": last, "column": 0}, "data": "'t' depends on axioms: [propext]"}
        if "WRONG" in code:
            line = code[: code.index("WRONG")].count("\n") + 1
            return {
                "response": {
                    "env": 0,
                    "messages": [
                        {"severity": "error", "pos": {"line": line, "column": 2}, "data": "unsolved goals"},
                        axioms,
                    ],
                }
            }
        if "FORGED" in code:
            forged = {**axioms, "pos": {"line": last - 1, "column": 0}}
            return {"response": {"env": 0, "messages": [forged]}}
        return {"time": 0.5, "response": {"env": 0, "messages": [axioms]}}


def check(server, bodies, **lean):
    async def run():
        backend = Kimina("http://kimina.test", STRICT, {"pause": 0.0, **lean}, httpx.MockTransport(server))
        try:
            return {r.sample_id: r async for r in backend.check(requests(bodies))}, backend
        finally:
            await backend.close()

    return asyncio.run(run())


@pytest.mark.parametrize("route", ["check", "verify"])
def test_verdicts_come_back_to_their_samples(route):
    bodies = ["ring"] * (2 * BATCH + 3)
    bodies[4], bodies[9], bodies[11], bodies[13] = "WRONG", "SLOW", "REFUSED", "FORGED"
    server = Server()
    found, backend = check(server, bodies, route=route)
    assert [found[i].verdict for i in (4, 9, 11, 13)] == ["error", "timeout", "infra", "rejected"]
    assert sum(r.verdict == "proved" for r in found.values()) == len(bodies) - 4
    assert set(server.calls) == {"/api/check" if route == "check" else "/verify"}
    assert backend.fingerprint.lean == "4.11.0" and found[0].axioms == ("propext",)


@pytest.mark.parametrize(
    "fault",
    [
        429,
        500,
        503,
        httpx.ConnectTimeout("slow"),
        httpx.Response(200, text="no"),
        httpx.Response(200, json={"results": 3}),
    ],
)
def test_passing_faults_are_tried_again_or_are_infra(fault):
    server = Server([fault, fault])
    if isinstance(fault, httpx.Response):
        with pytest.raises(Exception, match="malformed"):
            check(server, ["ring"])
        return
    found, _ = check(server, ["ring"])
    assert found[0].verdict == "proved" and len(server.calls) == 4


def test_a_server_that_stays_down_in_the_middle_is_infra():
    server = Server()

    def flaky(request):
        return httpx.Response(503) if "versionString" not in request.content.decode() else server(request)

    found, _ = check(flaky, ["ring"])
    assert found[0].verdict == "infra" and "503" in found[0].reason


@pytest.mark.parametrize(("status", "part"), [(401, "refuses the key"), (404, "is this a kimina-lean-server")])
def test_what_no_repetition_helps_is_refused(status, part):
    with pytest.raises(FormalMathError, match=part):
        check(Server([status]), ["ring"])


def test_another_lean_is_refused():
    with pytest.raises(FormalMathError, match=r"runs Lean 4.9.0, not v4.11.0"):
        check(Server(version="4.9.0"), ["ring"], version="v4.11.0")


def test_wrong_ids_and_missing_answers_are_infra():
    class Confused(Server):
        def __call__(self, request):
            reply = super().__call__(request)
            if b"versionString" in request.content:
                return reply
            results = reply.json()["results"]
            return httpx.Response(200, json={"results": [{**results[0], "id": "999"}]})

    found, _ = check(Confused(), ["ring", "ring"])
    assert {r.verdict for r in found.values()} == {"infra"}

    class Short(Server):
        def __call__(self, request):
            reply = super().__call__(request)
            return httpx.Response(200, json={"results": reply.json()["results"][:1]})

    found, _ = check(Short(), ["ring", "ring"])
    assert sorted(r.verdict for r in found.values()) == ["infra", "proved"]


def test_the_question_about_axioms_is_the_last_line():
    lines = snippet(requests(["ring"])[0]).splitlines()
    assert lines[-1] == "#print axioms t" and lines[0] == "import Mathlib"


# -- what is missing is said


def test_backends_say_what_they_lack(tmp_path, monkeypatch):
    monkeypatch.setenv("FORMALMATH_LEAN", str(tmp_path))
    for lean, part in (
        ({"name": "repl"}, "`make lean` installs it"),
        ({"name": "kimina"}, "lean.url"),
        ({"name": "replay"}, "lean.path"),
        ({"name": "replay", "path": str(tmp_path / "x")}, "cannot read the recording"),
        ({"name": "dojo"}, "search=best_first"),
        ({"name": "magic"}, "lean must be one of"),
    ):
        with pytest.raises(FormalMathError, match=part):
            open_backend(lean, STRICT)
    with pytest.raises(FormalMathError, match="needs lean=fragment, repl or dojo"):
        open_tactics({"name": "kimina"})
    with pytest.raises(FormalMathError):
        DojoTactics({})


def test_the_plan_says_steps_and_sizes_and_a_dry_run_does_nothing(tmp_path):
    said, ran = [], []
    install.install(tmp_path, dry_run=True, say=said.append, run=lambda command, cwd: ran.append(command))
    text = "\n".join(said)
    assert "10 GB" in text and "3 GB" in text and "Lean v4.11.0" in text and "the REPL" in text
    assert not ran


def test_steps_are_those_of_the_pinned_versions(tmp_path):
    ran = []
    steps = install.plan(tmp_path, run=lambda command, cwd: ran.append(" ".join(command)))
    for step in steps[1:]:
        if not step.name.startswith("elan"):
            step.run()
    assert (
        any("leanprover/lean4:v4.11.0" in c for c in ran)
        and any(install.REPL in c for c in ran)
        and "lake exe cache get" in ran
    )
    assert install.MATHLIB in (tmp_path / "project" / "lakefile.lean").read_text()
    facts = json.loads((tmp_path / "lean.json").read_text())
    assert facts["lean"] == "v4.11.0" and facts["mathlib"] == install.MATHLIB
    assert install.installed(tmp_path).repl_command[1] == "env"


def test_a_lost_cache_is_explained(tmp_path):
    def run(command, cwd):
        if command[:4] == ["lake", "exe", "cache", "get"]:
            raise FormalMathError("`lake exe cache get` ended with status 1")

    step = next(s for s in install.plan(tmp_path, run=run) if "cache get" in s.name)
    with pytest.raises(FormalMathError, match="choose a newer release by --lean"):
        step.run()


def test_the_doctor_names_each_missing_piece(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    found = "\n".join(install.doctor(tmp_path))
    for piece in (
        "elan",
        "lake",
        "git",
        "curl",
        "Lean v4.11.0",
        "pins Mathlib",
        "Mathlib, compiled",
        "the REPL",
        "lean.json",
    ):
        assert piece in found


@pytest.mark.parametrize(("status", "confirmed"), [(0, True), (1, False)])
def test_confirmation_by_an_installed_tool(tmp_path, status, confirmed):
    """`lake env` and comparator replaced by scripts: what is written, asked and concluded."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (
        ("lake", f"#!/bin/sh\ncase $2 in lean) exit 0;; *) exit {status};; esac\n"),
        ("comparator", "#!/bin/sh\n"),
    ):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    file = assemble(ST, Proof("\n  rfl"))
    found = confirm.confirm(ST, file, tmp_path / "work", tmp_path, path=str(tools))
    assert found.confirmed is confirmed and found.tool == "comparator"
    config = json.loads((tmp_path / "work" / "config.json").read_text())
    assert config["theorem_names"] == ["t"] and config["permitted_axioms"] == list(confirm.PERMITTED)
    assert (tmp_path / "work" / "Challenge.lean").read_text().endswith(":= by sorry\n")
    assert (tmp_path / "work" / "Solution.lean").read_text() == file.whole
    assert confirm.confirm(ST, file, tmp_path / "w2", tmp_path, path=str(tmp_path)).confirmed is None

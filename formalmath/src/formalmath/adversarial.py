"""Attempts to have a proof accepted that is none, each with the layer that must stop it; and honest proofs that look
like one.

Layers: `extraction` and `statement` (assemble.py), `size`, `characters`, `nesting`, `syntax`, `token` (policy.py),
`answer` and
`axioms` (verdict.py, on an answer that such a proof would get from a REPL), `process` (repl.py, pool.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STATEMENT = "import Mathlib\n\nopen Real\n\ntheorem target (x : ℝ) (h : 0 < x) : x ≤ x ^ 2 := by"  # false: x = 1/2
RETYPED = "theorem target (x : ℝ) (h : 0 < x) : x ≤ x ^ 2"


@dataclass(frozen=True)
class Case:
    """A completion, or for the later layers a REPL's answer (and its answer to `#print axioms`)."""

    name: str
    layer: str
    text: str = ""
    answer: Mapping[str, Any] | None = None
    axioms: Mapping[str, Any] | None = None


def block(code: str) -> str:
    return f"```lean4\n{code}\n```"


def body(text: str) -> str:
    return block(f"{RETYPED} := by\n{text}")


def info(data: str, line: int = 1, severity: str = "info") -> dict[str, Any]:
    return {
        "severity": severity,
        "pos": {"line": line, "column": 0},
        "endPos": {"line": line, "column": 6},
        "data": data,
    }


OWN = "'target' depends on axioms: [propext, Classical.choice, Quot.sound]"
TEXTS = [
    Case("sorry", "token", body("  sorry")),
    Case("admit", "token", body("  admit")),
    Case("sorryAx as a term", "token", body("  exact sorryAx _ true")),
    Case("sorry in a have", "token", body("  have h2 : x ≤ x ^ 2 := by sorry\n  exact h2")),
    Case("sorry behind another name", "token", body("  exact Lean.Elab.Term.mkSorry _ _")),
    Case("a quoted sorry", "token", body("  exact «sorry»")),
    Case("sorry assembled by a macro", "token", body('  exact x\nmacro "s" : term => `(sorry)')),
    Case("an axiom after the proof", "token", body("  exact cheat x h\naxiom cheat (x : ℝ) (h : 0 < x) : x ≤ x ^ 2")),
    Case("an axiom before the target", "statement", block(f"axiom cheat : False\n{RETYPED} := by\n  exact cheat.elim")),
    Case(
        "a lemma with sorry before the target",
        "statement",
        block(f"lemma c : False := sorry\n{RETYPED} := by\n  exact c.elim"),
    ),
    Case("native_decide", "token", body("  native_decide")),
    Case("quoted native_decide", "token", body("  «native_decide»")),
    Case("reduceBool", "token", body("  exact Lean.ofReduceBool _ _ rfl")),
    Case("the kernel switched off", "token", body("  set_option debug.skipKernelTC true in\n  norm_num")),
    Case("the kernel switched off, quoted", "token", body("  set_option «debug».skipKernelTC true in\n  norm_num")),
    Case(
        "the option under a macro",
        "token",
        body('  foo\nmacro "foo" : tactic => `(tactic| set_option debug.skipKernelTC true in norm_num)'),
    ),
    Case("autoImplicit", "token", body("  set_option autoImplicit true in\n  exact h2")),
    Case("compiler option", "token", body("  set_option compiler.extract_closed false in\n  norm_num")),
    Case("run_tac", "token", body("  run_tac do Lean.Elab.Tactic.closeMainGoal default")),
    Case("run_cmd after the proof", "token", body('  skip\nrun_cmd Lean.logInfo "x"')),
    Case("elab that closes the goal", "token", body('  foo\nelab "foo" : tactic => do pure ()')),
    Case("by_elab", "token", body("  exact by_elab do return default")),
    Case("#print redefined", "token", body('  skip\nmacro "#print" "axioms" x:ident : command => `(#check True)')),
    Case("a forged axioms line by logInfo", "token", body(f'  run_tac Lean.logInfo "{OWN}"')),
    Case("a forged axioms line by dbg_trace", "token", body(f'  exact dbg_trace "{OWN}"; h2')),
    Case("a forged axioms line by trace", "token", body(f'  trace "{OWN}"\n  norm_num')),
    Case("#exit", "token", body("  skip\n#exit")),
    Case("#eval", "token", body('  skip\n#eval IO.println "x"')),
    Case("an unclosed comment", "syntax", body("  norm_num /- and")),
    Case("an unclosed string", "syntax", body('  exact foo "')),
    Case("a comment closed that was never opened", "token", body("  skip -/ \nend target\naxiom a : False")),
    Case(
        "the namespace closed and the target declared anew",
        "statement",
        body("  skip\nend Foo\ntheorem target : True := trivial"),
    ),
    Case(
        "a theorem of that name in a namespace",
        "statement",
        body("  skip\nnamespace A\ntheorem target : True := trivial\nend A\nopen A"),
    ),
    Case("< for ≤", "statement", block("theorem target (x : ℝ) (h : 0 < x) : x < x ^ 2 := by\n  nlinarith")),
    Case("≥ for ≤", "statement", block("theorem target (x : ℝ) (h : 0 < x) : x ≥ x ^ 2 := by\n  nlinarith")),
    Case(
        "an extra hypothesis",
        "statement",
        block("theorem target (x : ℝ) (h : 0 < x) (h' : 1 ≤ x) : x ≤ x ^ 2 := by\n  nlinarith"),
    ),
    Case(
        "a variable of another type",
        "statement",
        block("theorem target (x : ℕ) (h : 0 < x) : x ≤ x ^ 2 := by\n  nlinarith"),
    ),
    Case("another theorem", "statement", block("theorem other : True := by\n  trivial")),
    Case("ℝ redefined", "statement", block(f'notation "ℝ" => ℕ\n{RETYPED} := by\n  nlinarith')),
    Case("+ redefined", "statement", block(f'local infixl:65 " ^ " => fun a b => a\n{RETYPED} := by\n  rfl')),
    Case("a shadowing def", "statement", block(f"def Real.le (a b : ℝ) := True\n{RETYPED} := by\n  trivial")),
    Case("a local instance", "token", body("  skip\nlocal instance : LE ℝ := ⟨fun _ _ => True⟩")),
    Case("an attribute", "token", body("  skip\nattribute [simp] foo")),
    Case("open private", "token", body("  open private foo in Bar\n  exact foo")),
    Case("local notation for False", "token", body('  skip\nlocal notation "False" => True')),
    Case("variable (h : False)", "token", body("  skip\nvariable (h : False)")),
    Case("open that changes a name", "token", body("  skip\nopen Nat NNReal")),
    Case("exact? left in", "token", body("  exact?")),
    Case("apply? left in", "token", body("  apply?")),
    Case("an unfinished thought", "extraction", "<think>We need to show that x ≤ x ^ 2"),
    Case("nothing", "extraction", block(f"{RETYPED} := by\n")),
    Case("a proof of 300 KiB", "size", body("  " + "norm_num; " * 31_000)),
    Case("a completion of 10 MB", "size", body("  " + "norm_num; " * 1_000_000)),
    Case("100,000 nested brackets", "nesting", body("  exact " + "(" * 100_000 + "h" + ")" * 100_000)),
    Case("a NUL", "characters", body("  norm_num\0")),
    Case("bidi controls", "characters", body("  exact h\u202e -- \u2066")),
    Case("a zero-width space in a word", "characters", body("  nor\u200bm_num")),
    Case("unsafe cast", "token", body("  exact unsafeCast h")),
    Case("implemented_by", "token", body("  skip\n@[implemented_by foo] def bar := 1")),
    Case("addDecl", "token", body("  exact (Lean.addDecl default).run")),
    Case("initialize", "token", body("  skip\ninitialize foo : Nat ← pure 0")),
    Case("deriving", "token", body("  skip\nderiving instance Repr for Foo")),
    Case("a wrong tactic", "fragment", body("  linarith")),
    Case("CRLF and tabs around a wrong proof", "fragment", body("\t  nlinarith [h]\r")),
    Case("homoglyph identifiers", "fragment", body("  linаrith")),  # a Cyrillic а
    Case("an infinite repeat", "fragment", body("  repeat (first | skip | norm_num)")),
]
ANSWERS = [
    Case("the REPL's own refusal", "answer", answer={"message": "Unknown environment."}),
    Case("no environment", "answer", answer={"messages": []}),
    Case(
        "sorry as a warning alone, v4.11",
        "answer",
        answer={"env": 1, "messages": [info("declaration uses 'sorry'", 5, "warning")]},
    ),
    Case(
        "sorry as a warning alone, v4.33",
        "answer",
        answer={"env": 1, "messages": [info("declaration uses `sorry`", 5, "warning")]},
    ),
    Case(
        "an error after the statement", "answer", answer={"env": 1, "messages": [info("linarith failed", 6, "error")]}
    ),
    Case(
        "an error without a place",
        "answer",
        answer={"env": 1, "messages": [{"severity": "error", "data": "(kernel) deep recursion"}]},
    ),
    Case(
        "sorryAx among the axioms",
        "axioms",
        answer={"env": 1},
        axioms={"env": 2, "messages": [info("'target' depends on axioms: [sorryAx]")]},
    ),
    Case(
        "an axiom of its own",
        "axioms",
        answer={"env": 1},
        axioms={"env": 2, "messages": [info("'target' depends on axioms: [propext, cheat]")]},
    ),
    Case(
        "the compiler trusted",
        "axioms",
        answer={"env": 1},
        axioms={"env": 2, "messages": [info("'target' depends on axioms: [Lean.ofReduceBool]")]},
    ),
    Case(
        "axioms of another theorem",
        "axioms",
        answer={"env": 1},
        axioms={"env": 2, "messages": [info("'other' does not depend on any axioms")]},
    ),
    Case(
        "a forged line before the true one",
        "axioms",
        answer={"env": 1},
        axioms={
            "env": 2,
            "messages": [info("'target' does not depend on any axioms"), info("'target' depends on axioms: [sorryAx]")],
        },
    ),
    Case(
        "a forged line at another place",
        "axioms",
        answer={"env": 1},
        axioms={"env": 2, "messages": [info("'target' does not depend on any axioms", 2)]},
    ),
    Case(
        "a forged line with a tail",
        "axioms",
        answer={"env": 1},
        axioms={"env": 2, "messages": [info("'target' does not depend on any axioms\nbut")]},
    ),
    Case("no answer about axioms", "axioms", answer={"env": 1}, axioms={"env": 2}),
    Case(
        "an error instead of axioms",
        "axioms",
        answer={"env": 1},
        axioms={"env": 2, "messages": [info("unknown constant 'target'", 1, "error")]},
    ),
    Case("the second command refused", "axioms", answer={"env": 1}, axioms={"message": "Unknown environment."}),
]
PROCESS = (
    "a REPL killed in the middle",
    "two answers glued together",
    "garbage",
    "an answer of 40 MB",
    "silence",
    "out of memory",
)
CASES = [*TEXTS, *ANSWERS]
HONEST = [  # proofs that contain the words and must pass the gate
    "  -- no sorry here\n  nlinarith",
    "  /- sorry, admit, native_decide -/\n  nlinarith",
    "  /- nested /- sorry -/ axiom -/\n  nlinarith",
    "  -- #exit would end it\n  norm_num",
    '  have s := "sorry axiom"\n  norm_num',
    "  have sorryful := h\n  nlinarith",
    "  have axiom_like := h\n  nlinarith",
    "  have constant_term := h\n  nlinarith",
    "  have hlocal := h\n  exact hlocal.trans (le_refl _)",
    "  exact List.prefix_rfl.elim",
    "  set_option maxHeartbeats 400000 in\n  nlinarith",
    "  open Finset in\n  simp",
    "  have macroscopic := h\n  linarith -- uses macro? no",
    "  simp [Finset.sum_range_succ, Nat.end_of]",
    "  have := instDecidableEqNat\n  decide",
    "  obtain ⟨end', rfl⟩ := h2\n  rfl",
    "  have h2 : x = 'a'.toNat := by norm_num\n  linarith",
]

"""The prompts as a model reads them, what relabelling does to them, and how their answers are read back."""

from __future__ import annotations

import random
import string

import pytest
from scipy import stats

from vrs.asking import Ways
from vrs.continuous import Continuous
from vrs.errors import VRSError
from vrs.prompts import FOLDER, SLOTS, messages, render, strict_format
from vrs.targets import Bernoulli, Binomial, Categorical, Words
from vrs.tool_call import evaluate
from vrs.wording import Worded

HALF = Bernoulli("0.5")

DIRECT = """\
**Descriptions**

Draw one value at random: a sample from the set {0, 1}, where the probability of 1 is 0.3.

Reply in this strict format, keeping the labels:

Explanations: [your own analysis, step by step; neither a computer nor a random number generator is at hand]
Output: [must be an integer in {0, 1}]

Write nothing outside this format."""


def text(ways, place=0):
    return ways[place][1].messages[-1].text


def test_the_direct_prompt_word_for_word():
    assert text(Worded(phrasing="P1").ways(Bernoulli("0.3"))) == DIRECT


def test_the_vrs_prompt_has_its_three_slots_and_no_m():
    prompt = text(Worded(phrasing="P01").judge(Bernoulli("0.3"), HALF, 1))
    assert "Target distribution P: a sample from the set {0, 1}, where the probability of 0 is 0.7 and" in prompt
    assert "Proposal distribution Q: a sample from the set {0, 1}, where the probability of 0 is 0.5 and" in prompt
    assert "Proposed value, drawn from Q: 1\n" in prompt
    assert prompt.index("Explanations: [") < prompt.index("Decision: [one letter, T or F]")
    assert " M" not in prompt and "0.42" not in prompt  # nothing computes A(x) for the model
    with_m = text(Worded(phrasing="P01").judge(Bernoulli("0.3"), HALF, 1, with_m=True))
    assert "compute the constant M" in with_m and "P(x)/(M·Q(x))" in with_m and "0.42" not in with_m


@pytest.mark.parametrize("cot, slot", [("auto", "at hand]"), (0, None), (50, "write about 50 words here]")])
def test_the_length_of_the_reasoning(cot, slot):
    prompt = text(Worded(cot=cot).ways(HALF))
    assert ("Explanations" in prompt) is (slot is not None)
    assert slot is None or slot in prompt


def test_a_system_message_and_the_recognition_prompt():
    ask = Worded(phrasing="P1", system="Be brief.").recognise(Bernoulli("0.3"), [0, 1, 1])[0][1]
    assert [m.role for m in ask.messages] == ["system", "user"] and ask.messages[0].text == "Be brief."
    assert "Here are 3 values" in ask.messages[1].text and "\n\n0, 1, 1\n\n" in ask.messages[1].text
    assert ask.reading("Answer: yes").value == 1 and ask.reading("Answer: No").value == 0 and not ask.required


def test_a_swap_exchanges_the_labels_and_what_they_mean():
    (half, plain), (_, swapped) = Worded(phrasing="P1", relabel="swap").ways(Bernoulli("0.3"))
    assert half == 0.5
    assert "the probability of 1 is 0.3" in plain.messages[0].text
    assert "the probability of 0 is 0.3" in swapped.messages[0].text
    assert plain.reading("Output: 1").value == 1 and swapped.reading("Output: 1").value == 0
    # a judge's T means the same in both; the proposal is shown under its label
    for (_, ask), label in zip(Worded(relabel="swap").judge(Bernoulli("0.3"), HALF, 1), "10", strict=True):
        assert f"drawn from Q: {label}\n" in ask.messages[0].text and ask.reading("Decision: T").value == 1


def test_random_tokens_come_in_both_orders_and_several_sets():
    ways = Worded(relabel="random_tokens", words=3).ways(Bernoulli("0.3"))
    assert len(ways) == 6 and sum(weight for weight, _ in ways) == pytest.approx(1)
    labels = [tuple(label for label, _ in ask.labels) for _, ask in ways]
    assert labels[0] == labels[1][::-1] and len(set(labels)) == 6
    for _, ask in ways:
        zero, one = (label for label, _ in ask.labels)
        assert ask.reading(f"Output: {one}").value == 1 and ask.reading(f"Output: {zero}").value == 0
        assert "0, 1" not in ask.messages[0].text


def test_forced_answers_are_the_labels_after_the_slot():
    ask = Worded(forced=True).judge(Bernoulli("0.3"), HALF, 0)[0][1]
    assert ask.prefix == "Decision: " and ask.choices == ("T", "F") and "Explanations" not in ask.messages[0].text
    # 1 is how 10, 11 and 12 begin
    ask = Worded(phrasing="P01", forced=True).ways(Binomial(12, "0.5"))[0][1]
    assert ask.choices is not None and "1\n" in ask.choices and ask.reading("1\n").value == 1


def test_other_kinds_of_answer():
    words = Worded(phrasing="P01")
    assert words.string_seed(HALF)[0][1].reading("<answer>Answer: 1</answer>").value == 1
    assert words.string_seed(HALF)[0][1].reading("<answer>perhaps</answer>").value is None
    read = words.verbalized(Categorical([0.5, 0.5], ("a", "b")), 2)[0][1].reading
    assert read("Result: a | Probability: 0.25\nResult: b | Probability: 0.75").value == pytest.approx((0.25, 0.75))
    assert words.sequence(HALF, 3)[0][1].reading("Output: 1, 0, 1, 1").value == (1, 0, 1)
    tool = words.tool(HALF)[0][1]
    assert tool.reading("Output: random.choice([0, 1])").value == ("random.choice([0, 1])", ("0", "1"))
    assert "none of the outcomes 0, 1" in tool.reading("Output: random.choice([5, 6])").reason
    assert "not allowed" in tool.reading("Output: open('x')").reason
    number = Worded().ways(Continuous(stats.norm(0, 1)))[0][1]
    assert number.reading("Output: -0.75").value == -0.75
    assert (
        Worded().ways(Words("the toss of a coin", ("heads", "tails")))[0][1].reading("Output: tails").value == "tails"
    )


def test_wordings_are_drawn_by_their_weights():
    ways = Ways([(0.25, Worded(phrasing="P1").ways(HALF)[0][1]), (0.75, Worded(phrasing="P0").ways(HALF)[0][1])])
    rng = __import__("numpy").random.default_rng(1)
    first = sum(ways.choose(rng) is ways.asks[0] for _ in range(4000))
    assert abs(first - 1000) < 4 * (4000 * 0.25 * 0.75) ** 0.5 and ways.bits == pytest.approx(1.5)


# -- templates


def test_every_template_has_its_slots_and_fills_them():
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(SLOTS)
    for name, slots in SLOTS.items():
        filled = render(name, **{slot: f"<<{slot}>>" for slot in slots})
        assert all(f"<<{slot}>>" in filled for slot in slots) and "{" not in filled.replace("<<", "")


@pytest.mark.parametrize(
    "template, sentence",
    [
        ("no slot here", r"lacks the slot \{format\}"),
        ("{target} {format} {colour}", "has the slot 'colour'"),
        ("{target.p} {format}", "has the slot 'target.p'"),
        ("{target!r} {format}", "as plain names"),
        ("{target} {format} {", "is not well formed"),
        (b"{target} {format} \xff", "cannot read the template"),
        (None, "cannot read the template"),
    ],
)
def test_templates_that_cannot_serve_are_refused(tmp_path, template, sentence):
    if template is not None:
        data = template if isinstance(template, bytes) else template.encode()
        (tmp_path / "direct.txt").write_bytes(data)
    with pytest.raises(VRSError, match=sentence):
        render("direct", folder=tmp_path, target="t", format="f")


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: render("haiku"), "there is no template 'haiku'"),
        (lambda: render("direct", target="t"), "needs the slot 'format'"),
        (lambda: messages("tool", target="t", colour="red"), "has no slot 'colour'"),
        (lambda: strict_format([("Output", "x")], -1), "cot must be auto or a number of words"),
        (lambda: strict_format([("Output", "x")], True), "not True"),
        (lambda: Worded(words=0), "at least 1 set"),
        (lambda: Worded().judge(Bernoulli("0.3"), HALF, 2), "2 is no outcome"),
        (lambda: Worded().judge(Bernoulli("0.3"), Binomial(3, "0.5"), 1), "must have one support"),
        (lambda: Worded(forced=True).checked(HALF), "cannot be forced"),
        (lambda: Worded(forced=True).ways(Continuous(stats.norm())), "needs a finite support"),
        (lambda: Worded(relabel="swap").ways(Continuous(stats.norm())), "relabel must be off"),
        (lambda: Worded().tool(Continuous(stats.norm())), "discretise it"),
        (lambda: Ways([]), "at least one wording"),
        (lambda: Ways([(0.4, Worded().ways(HALF)[0][1])]), "sum to 1"),
    ],
)
def test_refusals(make, sentence):
    with pytest.raises(VRSError, match=sentence):
        make()


# -- the tool's expressions


@pytest.mark.parametrize(
    "source, values",
    [
        ("random.random() < 0.3", {True, False}),
        ("int(random.random() < 0.3)", {0, 1}),
        ("1 if random.random() < 0.3 else 0", {0, 1}),
        ("random.choices([0, 1], weights=[0.7, 0.3])[0]", {0, 1}),
        ("random.choices(['a', 'b'], [0.7, 0.3], k=1)[0]", {"a", "b"}),
        ("random.randint(0, 1)", {0, 1}),
        ("sum(random.random() < 0.5 for _ in range(2))", {0, 1, 2}),
        ("min(2, max(0, round(random.gauss(1, 1))))", {0, 1, 2}),
        ("not random.getrandbits(1)", {True, False}),
        ("-random.randrange(2) + 1.5 // 1 * 2 % 3", {2.0, 1.0}),
    ],
)
def test_expressions_that_draw_are_evaluated(source, values):
    assert {evaluate(source, random.Random(seed)) for seed in range(200)} == values


HOSTILE = [
    "__import__('os').system('true')",
    "random.__class__",
    "random.seed(0)",
    "random._os.system('true')",
    "().__class__.__bases__[0]",
    "[x for x in ().__class__.__subclasses__()]",
    "(lambda: 0)()",
    "eval('1')",
    "open('/etc/passwd').read()",
    "'a' * 1000000000",
    "9 ** 9 ** 9",
    "10000000 * 10000000",
    "1e308 * 10",
    "[0 for x in range(10**9)]",
    "[[0 for x in range(2000)] for y in range(2000)]",
    "random.choices([0], k=10**9)",
    "random.getrandbits(10**9)",
    "random.choice(*[[1]])",
    "random.choice(**{'seq': [1]})",
    "round(1.5, 10**9)",
    "f'{1}'",
    "x := 5",
    "import os",
    "1; 2",
    "(" * 300 + ")" * 300,
    "1" * 5000,
    "\x00",
    "",
    "1 / 0",
    "[0, 1][2]",
    "random.choices([0, 1], weights=[0, 0])",
    "int('9' + 1)",
    "undefined",
    "0 < 1 < 2",
]


@pytest.mark.parametrize("source", HOSTILE)
def test_everything_else_is_refused_in_a_sentence(source):
    with pytest.raises(VRSError) as raised:
        evaluate(source, random.Random(0))
    assert len(str(raised.value)) < 300 and set(str(raised.value)) <= set(string.printable) | {"±"}

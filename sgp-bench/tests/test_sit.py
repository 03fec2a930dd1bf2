"""Instruction data: directions, and that no answer is ever cut."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgp_bench.errors import SGPError
from sgp_bench.sit import Pair, build_sit, encode, pack, pair_turn
from sgp_bench.tune_sft import alpaca, load_pairs
from shared.llm import load_causal_lm

DESCRIBED = [("<svg>1</svg>", "One."), ("<svg>2</svg>", "Two."), ("<svg>3</svg>", "Three.")]
words = st.text(st.characters(min_codepoint=32, max_codepoint=0x24F, exclude_characters="<>"), min_size=1, max_size=300)


def test_directions():
    forward = build_sit(DESCRIBED, "forward")
    reverse = build_sit(DESCRIBED, "reverse")
    mixed = build_sit(DESCRIBED, "mixed")
    assert [(p.input, p.output) for p in forward] == DESCRIBED
    assert [(p.output, p.input) for p in reverse] == DESCRIBED
    assert [p.swapped().swapped() for p in forward] == forward and [p.swapped() for p in forward] == reverse
    assert sorted(map(repr, mixed)) == sorted(map(repr, forward + reverse)) and mixed == build_sit(DESCRIBED, "mixed")
    with pytest.raises(SGPError, match="direction must be"):
        build_sit(DESCRIBED, "sideways")
    with pytest.raises(SGPError, match="pair 2 lacks"):
        build_sit([("a", "b"), ("a", " ")], "forward")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=words, answer=words, limit=st.integers(20, 400))
def test_an_answer_is_whole_or_its_turn_is_left_out(tiny, program, answer, limit):
    tokenizer = tokenizer_of(tiny)
    for on_long in ("shorten", "drop"):
        try:
            fitted = encode([pair_turn(Pair("Say.", program, answer))], tokenizer, limit, on_long)
        except SGPError as error:
            assert "raise the limit" in str(error)
            continue
        (e,) = fitted.encoded
        whole = [*tokenizer(answer, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        assert list(e.tokens[e.start :]) == whole and len(e.tokens) <= limit
        assert pack([e]).targets.tolist() == whole
        assert fitted.shortened == (program not in tokenizer.decode(e.tokens[: e.start])) or fitted.shortened == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=words, answer=words, limit=st.integers(20, 900))
def test_the_alpaca_template_never_cuts_an_output(tiny, program, answer, limit):
    tokenizer = tokenizer_of(tiny)
    made = alpaca(Pair("Say.", program, answer), tokenizer, limit)
    if made is not None:
        assert made["completion"] == answer + "</s>"
        assert "### Instruction:\nSay." in made["prompt"] and made["prompt"].endswith("### Response:\n")
        assert len(tokenizer(made["prompt"] + made["completion"], add_special_tokens=False).input_ids) <= limit


_tokenizers: dict = {}


def tokenizer_of(folder):
    if folder not in _tokenizers:
        _tokenizers[folder] = load_causal_lm(str(folder))[1]
    return _tokenizers[folder]


def test_published_pairs_are_read_from_a_file(tmp_path):
    (tmp_path / "sit.jsonl").write_text('{"instruction": "i", "input": "p", "output": "d"}\n')
    assert load_pairs(str(tmp_path / "sit.jsonl")) == [Pair("i", "p", "d")]
    with pytest.raises(SGPError, match=r"sit.size one of"):
        load_pairs("x", size="1k")


def test_what_fits_nowhere_is_refused(tiny):
    with pytest.raises(SGPError, match="none of 1 turns fits"):
        encode([pair_turn(Pair("Say.", "p", "long answer"))], tokenizer_of(tiny), 5)
    with pytest.raises(SGPError, match="nothing to train on"):
        pack([])

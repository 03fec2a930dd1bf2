"""What needs torch: the scorer against a float64 reference, the staged grammar under random logits."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pddl_gen import suite  # noqa: E402
from pddl_gen.constrain import RandomModel, Staged, Vocabulary  # noqa: E402
from pddl_gen.errors import PDDLGenError  # noqa: E402
from pddl_gen.parse import parse_domain, parse_problem  # noqa: E402
from pddl_gen.scorer import LocalScorer  # noqa: E402
from pddl_gen.valmode import val_verdict  # noqa: E402


@pytest.fixture(scope="module")
def tiny():
    """A random model of two layers and a tokenizer of single bytes."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {s: i for i, s in enumerate([*alphabet, "<eos>"])}
    raw = Tokenizer(BPE(vocab=vocab, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>")
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(vocab), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                         num_attention_heads=2, max_position_embeddings=4096)  # fmt: skip
    return LlamaForCausalLM(config).eval(), tokenizer


@pytest.mark.parametrize("tau", [1.0, 0.7])
def test_s_is_the_float64_sum_of_eq_1_and_2(tiny, tau):
    lm, tokenizer = tiny
    scorer = LocalScorer("tiny", temperature=tau, lm=tiny)
    prompt, answers = "Write a domain.", ["### Domain:\n(define (domain d))" * 30, "(define)", ""]
    found = scorer(prompt, answers)
    assert found[2] is None
    for answer, likelihood in zip(answers[:2], found, strict=False):
        tokens, start = scorer.tokens(prompt, answer)
        with torch.inference_mode():
            logits = lm(torch.tensor([tokens])).logits[0].double() / tau
        logprobs = torch.log_softmax(logits, -1)[start - 1 : -1]
        total = logprobs.gather(1, torch.tensor(tokens[start:])[:, None]).sum().item()
        assert likelihood.tokens == len(tokens) - start == len(tokenizer(answer)["input_ids"])
        assert abs(likelihood.total - total) <= 1e-3 * likelihood.tokens / 1000 + 1e-4


def test_the_temperature_must_be_positive(tiny):
    with pytest.raises(PDDLGenError, match="above 0"):
        LocalScorer("tiny", temperature=0, lm=tiny)


def test_24_random_samples_under_the_staged_grammar_pass_and_type_check(tiny):
    lm, tokenizer = tiny
    staged = Staged(tokenizer, lm.config.vocab_size)
    for number in range(24):
        example = suite.load(suite.NAMES[number % 12]).example
        rng = np.random.default_rng(number)
        text = staged.domain(RandomModel(lm.config.vocab_size, number), "x", example, rng)
        assert val_verdict(text).passes, text
        parsed = parse_domain(text)
        assert parsed.ok and parsed.value.actions
        assert not parse_problem(example, parsed.value).errors or "total-cost" in example


def test_a_vocabulary_is_read_off_a_problem():
    about = Vocabulary.of(suite.load("ferry").example)
    assert about.domain == "ferry" and about.types and dict(about.predicates)
    assert parse_domain(about.header() + "(:action a :parameters () :precondition (and) :effect (and)))").value
    with pytest.raises(PDDLGenError, match="cannot be read"):
        Vocabulary.of("")

"""Separators of real and tiny tokenizers."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from sepllm import SeparatorSet, SepLLMError
from sepllm.separators import NINE, OFFICIAL


@pytest.fixture(scope="module")
def smollm2():
    from transformers import AutoTokenizer

    from shared.llm.gguf_cache import converted_folder
    from shared.llm.packaged import packaged_gguf

    return AutoTokenizer.from_pretrained(converted_folder(packaged_gguf("smollm2-135m-instruct")))


def test_rules_on_smollm2(smollm2):
    found = {rule: SeparatorSet.from_tokenizer(smollm2, rule) for rule in ("paper", "fused", "ends")}
    assert {rule: len(s.ids) for rule, s in found.items()} == {"paper": 9, "fused": 177, "ends": 392}
    assert found["paper"].ids == (17, 28, 30, 42, 43, 47, 197, 198, 216)
    assert set(found["paper"].texts.values()) == set(NINE)
    assert set(found["paper"].ids) < set(found["fused"].ids) < set(found["ends"].ids)
    assert not set(found["ends"].ids) & set(smollm2.all_special_ids)


def test_the_list_is_shown_with_its_share(smollm2):
    marks = SeparatorSet.from_tokenizer(smollm2)
    ids = torch.tensor(smollm2("One, two. Three").input_ids)
    assert marks.coverage(ids) == pytest.approx(2 / 5)
    assert marks.describe(ids).startswith("rule paper: 9 separators, 40.0% of 5 tokens: 17 '!', 28 ','")
    assert marks.lut()[ids].tolist() == [False, True, False, True, False]
    assert len(marks.lut(size=60000)) == 60000  # embeddings may have more rows than the tokenizer has ids


def word_tokenizer(words):
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["<pad>", *words])}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>")


def test_include_and_exclude_come_last():
    tokenizer = word_tokenizer(["a", ".", ",", "b"])
    assert SeparatorSet.from_tokenizer(tokenizer, include=[0], exclude=[2]).ids == (0, 3)
    assert SeparatorSet.from_tokenizer(tokenizer, [4, 1, 4]).ids == (1, 4)


def test_a_tokenizer_without_separators_is_refused_in_one_sentence():
    with pytest.raises(SepLLMError, match="has no separator by rule 'paper'"):
        SeparatorSet.from_tokenizer(word_tokenizer(["a", "b"]))
    with pytest.raises(SepLLMError, match="one of paper, fused, ends, official"):
        SeparatorSet.from_tokenizer(word_tokenizer(["."]), "commas")
    with pytest.raises(SepLLMError, match=r"must lie in \[0, 3\)"):
        SeparatorSet.from_tokenizer(word_tokenizer(["a", "."]), [7])


def test_official_lists_are_for_their_tokenizers():
    tokenizer = word_tokenizer(["."])
    with pytest.raises(SepLLMError, match="another tokenizer"):
        SeparatorSet.from_tokenizer(tokenizer, "official", model_type="llama")
    with pytest.raises(SepLLMError, match="no list for model type 'bert'"):
        SeparatorSet.from_tokenizer(tokenizer, "official", model_type="bert")
    assert len(OFFICIAL["llama"]) == 9 and 128000 in OFFICIAL["llama"] and len(OFFICIAL["gpt_neox-streaming"]) == 20
    assert set(OFFICIAL["gpt_neox"]) < set(OFFICIAL["gpt_neox-streaming"]) and len(OFFICIAL["falcon"]) == 13

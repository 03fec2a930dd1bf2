"""Tasks: the generated problems, reading of answers, batches and their order, losses, generation, published data."""

import math
import random
import re
import sys
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from oftv2.errors import OFTError
from oftv2.tasks import (
    TASKS,
    Example,
    Task,
    answer_loss,
    answers,
    cnndm,
    dreambooth,
    gsm8k,
    guanaco,
    make_task,
    openr1,
    prose,
    wikitext,
    wordproblems,
    xsum,
)
from oftv2.tasks.answers import boxed, exact_match, number_after_hashes, same_answer, same_choice
from oftv2.tasks.batching import (
    NO_LABEL,
    Batch,
    DataOrder,
    Encoded,
    batches_of,
    chat_text,
    encode,
    encode_all,
    prompt_batch,
    training_batch,
)
from oftv2.tasks.generate import greedy
from oftv2.tasks.hub import held_out, load_rows, rouge

# In the manner of SmolLM2's and Qwen2.5's: without a system message it puts in its own.
CHATML = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are helpful<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# In the manner of Llama 3's: a BOS token, no system prompt of its own.
HEADERS = (
    "{{ '<s>' }}{% for m in messages %}{{ '[' + m['role'] + ']' + m['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
)
# In the manner of Mistral's: system messages are refused.
NO_SYSTEM = (
    "{{ '<s>' }}{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{{ '[INST]' + m['content'] + '[/INST]' }}{% endfor %}"
)


def tokenizer(template: str | None = CHATML, **special) -> PreTrainedTokenizerFast:
    """One token a printable character, and the special tokens."""
    characters = ["\n", *map(chr, range(32, 127))]
    tokens = ["<|im_start|>", "<|im_end|>", "<s>", "</s>"]
    inner = Tokenizer(models.WordLevel({c: i for i, c in enumerate(tokens + characters)}, unk_token="?"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.decoder = decoders.Fuse()
    inner.add_special_tokens(tokens)
    special = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>", **special}
    made = PreTrainedTokenizerFast(tokenizer_object=inner, **special)
    made.chat_template = template
    return made


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=1,
        pad_token_id=1,
        bos_token_id=0,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


# word problems


def recompute(prompt: str) -> int:
    """The answer, worked out from the words of the question rather than by the code that made it."""
    first, second, *rest = map(int, re.findall(r"\d+", prompt))
    if "loses" in prompt:
        return first - second
    if "boxes" in prompt:
        return first * second
    if "bags" in prompt:
        return first + second * rest[0]
    return 2 * first + second if "together" in prompt else first + second


def signature(prompt: str) -> tuple[str, ...]:
    """Template and numbers of a question."""
    kind = next((word for word in ("loses", "boxes", "bags", "together") if word in prompt), "gain")
    return (kind, *re.findall(r"\d+", prompt))


@pytest.mark.parametrize("seed", [0, 1])
def test_word_problems_have_the_answer_their_words_ask_for(seed):
    task = make_task("wordproblems", train=300)
    for example in [*task.train_examples(seed), *task.dev_examples(seed), *task.test_examples(seed)]:
        right = recompute(example.prompt)
        assert number_after_hashes(example.target) == right > 0
        equations, last = example.target.rsplit("\n", 1)
        assert last == f"#### {right}"
        for line in equations.split("\n"):
            left, result = line.split(" = ")
            a, sign, b = left.split()
            assert {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign] == int(result)
        assert int(equations.rsplit(" = ", 1)[1]) == right


def test_word_problem_splits_share_neither_text_nor_numbers_even_across_seeds():
    task = make_task("wordproblems", train=3000)
    train = [e.prompt for seed in (0, 1) for e in task.train_examples(seed)]
    dev = [e.prompt for seed in (0, 2) for e in task.dev_examples(seed)]
    test = [e.prompt for seed in (0, 3) for e in task.test_examples(seed)]
    for a, b in ((train, dev), (train, test), (dev, test)):
        assert not {signature(p) for p in a} & {signature(p) for p in b}
        assert not set(a) & set(b)


def test_word_problems_depend_on_the_seed_alone():
    task = make_task("wordproblems")
    for split in ("train_examples", "dev_examples", "test_examples"):
        first = getattr(task, split)(7)
        assert first == getattr(make_task("wordproblems"), split)(7) != getattr(task, split)(8)
        assert len({e.prompt for e in first}) == len(first)
    assert [len(f(0)) for f in (task.train_examples, task.dev_examples, task.test_examples)] == [320, 100, 200]
    held_out_numbers = [signature(e.prompt) for e in task.test_examples(0)]
    assert len(set(held_out_numbers)) == 200
    kinds = [s[0] for s in held_out_numbers]
    assert min(kinds.count(k) for k in kinds) >= 16


@given(st.sampled_from(range(len(wordproblems.TEMPLATES))))
@settings(max_examples=10, deadline=None)
def test_numbers_are_dealt_completely_and_once(template):
    pools = [wordproblems.pool(template, split) for split in wordproblems.SPLITS]
    together = [n for p in pools for n in p]
    assert sorted(together) == sorted(wordproblems.TEMPLATES[template].numbers)
    assert all(pools)


@pytest.mark.parametrize("options", [{"train": 0}, {"test": 10_000}, {"dev": -1}, {"train": True}, {"size": 3}])
def test_word_problems_refuse_sizes_they_cannot_serve(options):
    with pytest.raises(OFTError, match="wordproblems"):
        make_task("wordproblems", **options)


# answers


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3 + 4 = 7\n#### 7", 7),
        ("#### 7\n#### 8", 7),
        ("#### $1,234", 1234),
        ("####-5.", -5),
        ("#### 12.5 apples", 12.5),
        ("so 3 and then 12 of them.", 12),
        ("costs 2 or 3.5", 2),
        ("The answer is 1,000.", 1000),
        ("none", None),
        ("####", None),
    ],
)
def test_number_after_hashes(text, number):
    assert number_after_hashes(text) == number


def test_endless_number_is_read():
    assert number_after_hashes("#### " + "1" * 6000) != number_after_hashes("#### " + "1" * 6001)


def test_exact_match_is_the_share_of_equal_numbers():
    assert exact_match(["#### 7", "8", "no", "#### 5.0"], ["#### 7", "#### 8", "#### 9", "#### 5"]) == 0.75
    with pytest.raises(OFTError, match="as many"):
        exact_match(["1"], [])
    with pytest.raises(OFTError, match="no number"):
        exact_match(["1"], ["none"])


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{1} then \boxed{2", "1"),
        (r"\fbox{3}", "3"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        ("42", None),
    ],
)
def test_boxed(text, inside):
    assert boxed(text) == inside


@pytest.mark.parametrize(
    ("ours", "right"),
    [
        (r"\dfrac{1}{2}", r"\frac12"),
        ("0.5", r"\frac{1}{2}"),
        (".5", "1/2"),
        ("1,234", "1234"),
        (r"50\%", "50"),
        (r"x = 3", "3"),
        (r"90^\circ", "90"),
        (r"12 \text{ cm}^2", "12"),
        (r"\left( 1, 2 \right)", "(1,2)"),
        ("$7$", "7."),
        (r"\text{Monday}", "Monday"),
        ("0.33333", r"\frac{1}{3}"),
        (r"-\frac{3}{4}", "-0.75"),
    ],
)
def test_answers_that_are_the_same(ours, right):
    assert same_answer(ours, right) and same_answer(right, ours)


@pytest.mark.parametrize(
    ("ours", "right"),
    [("1", "2"), ("(1,2)", "(2,1)"), (None, "1"), ("1/0", "1"), ("12", "1,2"), ("0.34", "1/3"), ("", "0")],
)
def test_answers_that_differ(ours, right):
    assert not same_answer(ours, right)


@given(st.text(alphabet="0123456789.,-/\\{}fracboxedtext $%^=()", max_size=60))
@settings(max_examples=300, deadline=None)
def test_reading_an_answer_never_raises(text):
    number_after_hashes(text)
    boxed(text)
    assert same_answer(text, text)


def test_choices():
    assert all(same_choice(a, "C") for a in ("C", "(C)", "C) 21", r"\text{C}", r"\textbf{(C)}", "c"))
    assert not any(same_choice(a, "C") for a in ("B", "Cat", "21", "", None))


# templates, tokens, batches


def test_template_is_used_without_the_system_prompt_it_would_put_in():
    text = chat_text(tokenizer(), "Hello")
    assert text == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    assert "You are helpful" in tokenizer().apply_chat_template([{"role": "user", "content": "Hello"}], tokenize=False)
    assert chat_text(tokenizer(), "Hello", "Be brief") == "<|im_start|>system\nBe brief<|im_end|>\n" + text


def test_bos_stays_and_templates_that_refuse_system_messages_work():
    assert chat_text(tokenizer(HEADERS, bos_token="<s>"), "Hi") == "<s>[user]Hi</s>[assistant]"
    assert chat_text(tokenizer(NO_SYSTEM, bos_token="<s>"), "Hi") == "<s>[INST]Hi[/INST]"
    assert chat_text(tokenizer(None), "Hi") == "Hi\n"


def test_only_target_and_end_token_are_labelled():
    made = tokenizer()
    examples = [Example("Add 1 and 2.", "1 + 2 = 3\n#### 3"), Example("Hi", "5")]
    encoded = encode_all(made, examples, "chat", 200)
    batch = training_batch(encoded, made.pad_token_id)
    for row, example in enumerate(examples):
        asked = batch.labels[row] != NO_LABEL
        assert made.decode(batch.labels[row][asked]) == example.target + "<|im_end|>"
        assert torch.equal(batch.input_ids[row][asked], batch.labels[row][asked])
        assert batch.attention_mask[row].sum() == len(encoded[row])
        assert batch.attention_mask[row, : len(encoded[row])].all()


def test_long_examples_are_cut_and_hopeless_ones_left_out():
    made = tokenizer()
    short, long = Example("Hi", "5"), Example("x" * 300, "5")
    kept = encode_all(made, [short, long], "chat", 100)
    assert [len(e) for e in kept] == [len(encode(made, short))]
    with pytest.raises(OFTError, match="max_length=100"):
        encode_all(made, [long], "chat", 100)


def test_running_text_is_cut_into_full_windows():
    made = tokenizer()
    windows = encode_all(made, [Example("", "abcdefg"), Example("", "hijkl")], "text", 5)
    assert [made.decode(w.target) for w in windows] == ["abcde", "fghij"] and all(not w.prompt for w in windows)


def test_prompts_are_padded_on_the_left_with_positions_from_zero():
    batch = prompt_batch([[5, 6, 7], [8]], 1)
    assert batch.input_ids.tolist() == [[5, 6, 7], [1, 1, 8]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert batch.position_ids.tolist() == [[0, 1, 2], [0, 0, 0]]
    with pytest.raises(OFTError, match="at least one"):
        prompt_batch([[1], []], 1)


orders = st.builds(
    DataOrder,
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=60).map(tuple),
    seed=st.integers(0, 3),
    batch_size=st.integers(1, 5),
    accumulation=st.integers(1, 3),
    span_steps=st.integers(1, 5),
)


@given(orders, st.integers(1, 3), st.integers(0, 2))
@settings(max_examples=60, deadline=None)
def test_every_epoch_reads_every_example_and_every_process_its_share(order, world, epoch):
    processes = [
        DataOrder(order.lengths, order.seed, order.batch_size, order.accumulation, rank, world, order.span_steps)
        for rank in range(world)
    ]
    per_epoch = processes[0].steps_per_epoch
    seen: list[int] = []
    for step in range(epoch * per_epoch, (epoch + 1) * per_epoch):
        for process in processes:
            micro = process.indices(step)
            assert [len(m) for m in micro] == [order.batch_size] * order.accumulation
            seen += [i for m in micro for i in m]
    assert set(seen) == set(range(len(order.lengths)))
    counts = [seen.count(i) for i in range(len(order.lengths))]
    assert len(seen) < len(counts) + processes[0].step_size and max(counts) - min(counts) <= math.ceil(
        processes[0].step_size / len(counts)
    )


def test_order_is_a_function_of_seed_and_step():
    lengths = tuple(random.Random(0).choices(range(30, 70), k=320))
    order = DataOrder(lengths, 0, 8)
    forwards = [order.indices(step) for step in range(100)]
    again = DataOrder(lengths, 0, 8)
    assert [again.indices(step) for step in reversed(range(100))][::-1] == forwards
    assert DataOrder(lengths, 1, 8).indices(0) != forwards[0]
    assert forwards[0] != forwards[order.steps_per_epoch]


def test_batches_hold_sequences_of_similar_length():
    lengths = tuple(random.Random(0).choices(range(30, 70), k=320))
    order = DataOrder(lengths, 0, 8)

    def padding(batches):
        return sum(sum(max(lengths[i] for i in b) - lengths[j] for j in b) for b in batches)

    ours = [b for step in range(order.steps_per_epoch) for b in order.indices(step)]
    unsorted = [list(range(i, i + 8)) for i in range(0, 320, 8)]
    assert padding(ours) < padding(unsorted) / 4


def test_batches_of_makes_the_batches_of_a_step():
    encoded = [Encoded([2, 3], [4] * n) for n in range(1, 9)]
    order = DataOrder(tuple(map(len, encoded)), 0, 2, accumulation=2)
    made = batches_of(encoded, order, 1)(1)
    assert [b.input_ids.shape[0] for b in made] == [2, 2]
    assert [int(b.attention_mask.sum()) for b in made] == [sum(len(encoded[i]) for i in m) for m in order.indices(1)]


@pytest.mark.parametrize("bad", [{"lengths": ()}, {"batch_size": 0}, {"world": 0}, {"rank": 1}])
def test_orders_that_cannot_be(bad):
    with pytest.raises(OFTError):
        DataOrder(**{"lengths": (1, 2), "seed": 0, "batch_size": 1, **bad})


# loss and generation


def some_batch() -> Batch:
    draw = random.Random(0)
    rows = [
        Encoded(draw.choices(range(2, 100), k=n), [*draw.choices(range(2, 100), k=m), 1]) for n, m in ((3, 4), (6, 2))
    ]
    return training_batch(rows, 1)


@pytest.mark.parametrize("chunk", [3, 2048])
def test_loss_equals_that_of_all_logits(model, monkeypatch, chunk):
    monkeypatch.setattr(answer_loss, "CHUNK", chunk)
    batch = some_batch()
    logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    whole = cross_entropy(logits[:, :-1].flatten(0, 1), batch.labels[:, 1:].flatten(), reduction="sum")
    ours, count = answer_loss.answer_loss(model, batch)
    assert count == 5 + 3
    torch.testing.assert_close(ours, whole)
    wanted = torch.autograd.grad(whole, list(model.parameters()))
    got = torch.autograd.grad(ours, list(model.parameters()))
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_head_sees_the_target_positions_only(model):
    rows = []
    handle = model.lm_head.register_forward_hook(lambda module, inputs, output: rows.append(inputs[0].shape))
    answer_loss.answer_loss(model, some_batch())
    handle.remove()
    assert rows == [(8, 32)]


def test_models_that_rescale_logits_run_whole(model, monkeypatch):
    assert answer_loss.decoder_and_head(model)[0] is model.model
    monkeypatch.setattr(model.config, "final_logit_softcapping", 30.0, raising=False)
    assert answer_loss.decoder_and_head(model) == (None, None)
    monkeypatch.setattr(model.config, "final_logit_softcapping", None)
    plain, _ = answer_loss.answer_loss(model, some_batch())
    monkeypatch.setattr(answer_loss, "decoder_and_head", lambda model: (None, None))
    torch.testing.assert_close(answer_loss.answer_loss(model, some_batch())[0], plain)


def test_loss_without_labels_is_refused(model):
    ids = torch.tensor([[2, 3]])
    for labels in (None, torch.full_like(ids, NO_LABEL)):
        with pytest.raises(OFTError, match="label"):
            answer_loss.answer_loss(model, Batch(ids, torch.ones_like(ids), labels))


def test_padding_does_not_change_the_loss(model):
    row = Encoded([5, 6, 7], [8, 9, 1])
    alone, _ = answer_loss.answer_loss(model, training_batch([row], 1))
    beside, _ = answer_loss.answer_loss(model, training_batch([row, Encoded([4] * 9, [3, 1])], 1))
    other, _ = answer_loss.answer_loss(model, training_batch([Encoded([4] * 9, [3, 1])], 1))
    torch.testing.assert_close(beside, alone + other)


def test_batched_answers_equal_answers_one_by_one(model):
    made, draw, seen = tokenizer(), random.Random(1), []
    prompts = [draw.choices(range(4, 99), k=n) for n in (3, 9, 1, 6, 4)]
    together = greedy(
        model, made, prompts, max_new_tokens=8, batch_size=2, progress=lambda done, of: seen.append((done, of))
    )
    assert together == [greedy(model, made, [p], max_new_tokens=8)[0] for p in prompts]
    assert len(set(together)) > 1 and seen == [(2, 5), (4, 5), (5, 5)]


def test_answers_end_at_the_end_token(model):
    made = tokenizer()
    prompt = [5, 6, 7]
    first = model.generate(torch.tensor([prompt]), max_new_tokens=1, do_sample=False, eos_token_id=98, pad_token_id=1)
    end = int(first[0, -1])
    model.generation_config.eos_token_id, before = end, model.generation_config.eos_token_id
    try:
        answer = greedy(model, made, [prompt], max_new_tokens=8)[0]
    finally:
        model.generation_config.eos_token_id = before
    assert answer == made.decode([end], skip_special_tokens=True).strip()
    assert not model.training


def test_encoder_decoders_train_and_answer():
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=100,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_position_embeddings=64,
        eos_token_id=1,
        pad_token_id=1,
        bos_token_id=0,
        decoder_start_token_id=1,
        forced_eos_token_id=None,
    )
    summariser, made = BartForConditionalGeneration(config).eval(), tokenizer()
    encoded = encode_all(made, [Example("a long story", "short"), Example("b", "bee")], "pair", 40)
    batch = training_batch(encoded, 1, "pair")
    ours, count = answer_loss.answer_loss(summariser, batch)
    torch.testing.assert_close(
        ours / count,
        summariser(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels).loss,
    )
    assert count == 8 and len(greedy(summariser, made, [e.prompt for e in encoded], max_new_tokens=4)) == 2


# prose


def test_prose_is_twelve_windows_of_every_module():
    made = tokenizer()
    windows = prose.prose_windows(made)
    assert windows.shape == (12, 256)
    assert torch.equal(windows, prose.prose_windows(made))
    starts = [made.decode(w[:40]) for w in windows[:7]]
    for text, module in zip(starts, prose.MODULES, strict=True):
        assert prose.docstrings(module).startswith(text[:20])


def test_prose_loss_is_the_mean_over_all_predictions(model, monkeypatch):
    ids = torch.randint(0, 100, (6, 20), generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(prose, "prose_windows", lambda made: ids)
    with torch.no_grad():
        whole = cross_entropy(model(ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    assert prose.prose_loss(model, None) == pytest.approx(float(whole), rel=1e-5)


# published data sets


class Rows(list):
    """Rows as `datasets` gives them."""

    @property
    def column_names(self) -> list[str]:
        return list(self[0])


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the package `datasets`: (path, config, split) -> rows, or an error to raise."""
    content: dict = {}

    def load_dataset(path, config=None, *, split):
        found = content[path, config, split]
        if isinstance(found, Exception):
            raise found
        return Rows(found)

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    return content


def test_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(OFTError, match=r"needs the package datasets.*eval") as caught:
        make_task("gsm8k").test_examples(0)
    assert "\n" not in str(caught.value)


def test_missing_network_and_missing_fields_are_one_sentence(hub):
    hub["openai/gsm8k", "main", "test"] = ConnectionError("Couldn't reach the hub\nafter 5 tries")
    with pytest.raises(OFTError, match=r"openai/gsm8k.*needs the network") as caught:
        make_task("gsm8k").test_examples(0)
    assert "\n" not in str(caught.value)
    hub["openai/gsm8k", "main", "test"] = [{"question": "?"}]
    with pytest.raises(OFTError, match="no field 'answer'"):
        load_rows("openai/gsm8k", "test", "main", ("question", "answer"))


def test_gsm8k(hub):
    solution = "She sold 48/2 = <<48/2=24>>24 clips.\nIn all 48+24 = <<48+24=72>>72.\n#### 72"
    rows = [{"question": f"Question {i}?", "answer": solution} for i in range(10)]
    hub["openai/gsm8k", "main", "train"], hub["openai/gsm8k", "main", "test"] = rows, rows[:3]
    task = make_task("gsm8k", dev=4, test=2)
    train, dev = task.train_examples(0), task.dev_examples(0)
    assert len(train) == 6 and len(dev) == 4 and not {e.prompt for e in train} & {e.prompt for e in dev}
    assert dev == task.dev_examples(5) and len(task.test_examples(0)) == 2
    assert train[0].target == "She sold 48/2 = 24 clips.\nIn all 48+24 = 72.\n#### 72"
    assert task.score(dev, ["#### 72", "so 72", "71", ""]) == {"exact_match": 0.5}
    with pytest.raises(OFTError, match="####"):
        gsm8k.example_of({"question": "?", "answer": "72"})


def test_wikitext(hub, model):
    texts = ["", " = Title = \n", " Some text . \n"]
    hub[wikitext.HUB, wikitext.CONFIG, "test"] = [{"text": t} for t in texts]
    examples = make_task("wikitext").test_examples(0)
    assert "".join(e.target for e in examples) == "".join(texts)
    windows = encode_all(tokenizer(), examples, "text", 8)
    ids = torch.tensor([w.target for w in windows])
    with torch.no_grad():
        loss = cross_entropy(model(ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    assert wikitext.perplexity(model, windows, batch_size=2) == pytest.approx(float(loss.exp()), rel=1e-4)


def test_summaries(hub):
    hub[xsum.HUB, None, "validation"] = [{"document": " long ", "summary": "short\n", "id": "1"}]
    assert make_task("xsum").dev_examples(0) == [Example("long", "short")]
    hub[cnndm.HUB, "3.0.0", "test"] = [{"article": "long", "highlights": "a .\nb .", "id": "1"}]
    assert make_task("cnndm").test_examples(0) == [Example("long", "a .\nb .")]


def test_rouge_without_its_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(OFTError, match="rouge-score"):
        rouge(["a"], ["a"])


def test_rouge():
    pytest.importorskip("rouge_score")
    assert rouge(["the cat sat"], ["the cat sat"]) == pytest.approx({"rouge1": 100, "rouge2": 100, "rougeL": 100})
    assert rouge(["a cat"], ["the dog"])["rouge1"] == 0


def test_guanaco(hub):
    hub[guanaco.HUB, None, "train"] = [
        {"text": "### Human: Hello?### Assistant: Yes.### Human: More?### Assistant: No."}
    ]
    assert make_task("guanaco").train_examples(0) == [Example("Hello?", "Yes.")]
    with pytest.raises(OFTError, match="Guanaco"):
        guanaco.example_of({"text": "Hello"})


def openr1_row(i: int) -> dict:
    return {
        "problem": f"Problem {i}",
        "answer": str(i),
        "generations": ["first", "second"],
        "messages": [{"role": "user", "content": f"Problem {i}"}, {"role": "assistant", "content": f"\\boxed{{{i}}}"}],
    }


def test_openr1_training(hub):
    hub[openr1.HUB, "default", "train"] = [openr1_row(i) for i in range(20)]
    task = make_task("openr1", samples=5, dev=3)
    train = task.train_examples(0)
    assert len(train) == 5 and train == task.train_examples(0) != task.train_examples(1)
    assert all(e.target == f"\\boxed{{{e.prompt.split()[1]}}}" and e.system == openr1.SYSTEM for e in train)
    assert not {e.prompt for e in train} & {e.prompt for e in task.dev_examples(0)}
    assert openr1.example_of({**openr1_row(1), "messages": []}).target == "first"
    with pytest.raises(OFTError, match="no solution"):
        openr1.example_of({**openr1_row(1), "messages": None, "generations": []})


@pytest.mark.parametrize(
    ("benchmark", "row", "asked", "right"),
    [
        ("amc23", {"question": "2+2?", "answer": "4.0"}, "2+2?", "4"),
        (
            "aqua",
            {"question": "Which?", "options": ["A)21", "B)22"], "rationale": "", "correct": "B"},
            "Which?\nAnswer Choices: (A) 21 (B) 22",
            "(B) 22",
        ),
        ("cmath", {"question": "一加一?", "golden": "2", "grade": 1}, "一加一?", "2"),
        ("gaokao2023en", {"question": "q", "answer": "$\\frac{1}{2}$"}, "q", "0.5"),
        ("minerva", {"question": "q", "answer": "0.25"}, "q", "1/4"),
        ("olympiadbench", {"question": "q", "final_answer": ["$10$"], "id": 1}, "q", "10"),
        ("sat_math", {"Question": "q", "Possible Answers": "A) 1 B) 2", "Answer": "A"}, "q\nA) 1 B) 2", "A"),
    ],
)
def test_benchmarks_are_read_and_scored(hub, benchmark, row, asked, right):
    source = openr1.BENCHMARKS[benchmark]
    hub[source.hub, source.config, source.split] = [row, row]
    task = make_task("openr1").with_benchmark(benchmark)
    examples = task.test_examples(0)
    assert examples[0].prompt == asked and examples[0].system == openr1.SYSTEM
    assert task.score(examples, [f"thus \\boxed{{{right}}}", "\\boxed{E7}"]) == {"pass_at_1": 0.5}


def test_held_out_rows_do_not_depend_on_the_run():
    train, dev = held_out([{"i": i} for i in range(50)], 10)
    assert dev == held_out([{"i": i} for i in range(50)], 10)[1] and len(train) == 40
    with pytest.raises(OFTError, match="dev set"):
        held_out([{"i": 0}], 1)


def test_dreambooth_picture_and_loss(hub):
    image = pytest.importorskip("PIL.Image")
    picture = image.new("RGB", (40, 20), (255, 0, 0))
    hub[dreambooth.HUB, "dog", "train"] = [{"image": picture.convert("RGBA"), "label": 0}]
    subject = dreambooth.DreamBooth(resolution=16)
    assert subject.prompt == "a photo of sks dog"
    values = dreambooth.pixels(subject.pictures()[0], subject.resolution)
    assert values.shape == (3, 16, 16)
    assert values[0].eq(1).all() and values[1:].eq(-1).all()

    latents, seen = torch.randn(3, 4, 8, 8), {}

    def knows_the_answer(hidden_states, timestep, **rest):
        seen.update(rest)
        # x_t = (1-t) x + t ε, so ε - x = (x_t - x) / t
        return ((hidden_states - latents) / (timestep / 1000).view(-1, 1, 1, 1),)

    def predicts_nothing(hidden_states, **rest):
        return (torch.zeros_like(hidden_states),)

    text, pooled = torch.ones(3, 5, 2), torch.ones(3, 2)
    loss, count = dreambooth.velocity_loss(knows_the_answer, latents, text, pooled, torch.Generator().manual_seed(0))
    assert count == 3 and float(loss) < 1e-6 and seen["encoder_hidden_states"] is text
    loss, _ = dreambooth.velocity_loss(predicts_nothing, latents, text, pooled, torch.Generator().manual_seed(0))
    assert 1 < float(loss) / 3 < 3  # the mean of (ε - x)² over unit normals is 2


# the protocol


@pytest.mark.parametrize("name", TASKS)
def test_tasks_keep_the_protocol(name):
    task = make_task(name)
    assert isinstance(task, Task) and task.name == name and task.form in ("chat", "text", "pair")


def test_unknown_tasks_and_options_are_named():
    with pytest.raises(OFTError, match="wordproblems, gsm8k"):
        make_task("mmlu")
    with pytest.raises(OFTError, match="no option 'shots'"):
        make_task("gsm8k", shots=8)
    with pytest.raises(OFTError, match="benchmark must be one of"):
        make_task("openr1", benchmark="aime")


def test_module_of_answers_accepts_whatever_a_model_writes():
    assert answers.normalise("") == "" and answers.as_number("1" * 50) is None

"""The text of the default run and the stream of C4."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest
import torch
from sentences import SENTENCES

from poet import PoetError
from poet.corpus import ShuffledWindows, encode, overlap, split, train_tokenizer
from poet.data import StdlibData
from poet.evaluation import Batch, evaluate
from poet.settings import DataSettings


def documents() -> dict[str, str]:
    texts = {f"file{i}.py": "\n\n".join(SENTENCES[5 * i : 5 * i + 5]) for i in range(80)}
    texts["copy.py"] = texts["file0.py"].upper()  # repeats every paragraph of another file
    texts["quoting.py"] = "A new line.\n" + SENTENCES[30]  # quotes a line inside a paragraph of its own
    return texts


def test_splits_share_no_paragraph_and_no_long_line():
    parts = split(documents())
    assert all(parts[name] for name in ("train", "dev", "validation"))
    lines = {
        name: {s.strip() for text in texts for s in text.splitlines() if len(s) > 30} for name, texts in parts.items()
    }
    assert not lines["train"] & lines["validation"] and not lines["train"] & lines["dev"]
    assert not lines["dev"] & lines["validation"]
    everything = "\n".join(text for texts in parts.values() for text in texts)
    assert "SENTENCE" not in everything and len(parts["train"]) > 4 * len(parts["validation"])


def test_overlap_counts_windows():
    train = torch.arange(100)
    assert overlap(torch.arange(20, 60), train) == 1.0
    assert overlap(torch.arange(200, 240), train) == 0.0
    half = torch.cat([torch.arange(0, 20), torch.arange(300, 320)])  # 5 of its 25 windows are whole
    assert overlap(half, train) == pytest.approx(5 / 25)


def test_bytes_of_tokens_and_bits_per_byte(tmp_path):
    tokenizer = train_tokenizer(SENTENCES, 320)
    text = "Sentence ä 1"
    ids = encode(tokenizer, [text])
    assert ids[-1] == tokenizer.eos_token_id and tokenizer.decode(ids[:-1]) == text
    lengths = torch.tensor(
        [len(t) if t != "<|end|>" else 0 for t in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))]
    )
    assert int(lengths[ids].sum()) == len(text.encode())


class Uniform(torch.nn.Module):
    def __init__(self, vocabulary: int):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.vocabulary = vocabulary

    def forward(self, input_ids, attention_mask=None):
        logits = torch.zeros(*input_ids.shape, self.vocabulary) + self.weight
        return type("Output", (), {"logits": logits})


def test_evaluation_of_a_uniform_model_is_the_vocabulary_s_size():
    labels = torch.arange(8).view(2, 4)
    batches = [Batch(labels, labels), Batch(labels[:1], labels[:1].masked_fill(labels[:1] == 3, -100))]
    found = evaluate(Uniform(16), batches, torch.full((16,), 2))
    assert found["ppl"] == pytest.approx(16) and found["tokens"] == 6 + 2
    assert found["bits_per_byte"] == pytest.approx(4 / 2)
    # two batches of equal mean, divided by three
    assert found["ppl_galore_protocol"] == pytest.approx(16 ** (2 / 3))


def test_batches_are_a_function_of_the_step_and_shared_out_among_processes():
    windows = ShuffledWindows(torch.arange(40), 4, 3, seed=0)
    epoch = torch.cat([windows(step) for step in range(4)])[:10]
    assert sorted(epoch[:, 0].tolist()) == list(range(0, 40, 4))
    assert torch.equal(windows(1), ShuffledWindows(torch.arange(40), 4, 3, seed=0)(1))
    assert not torch.equal(windows(0), ShuffledWindows(torch.arange(40), 4, 3, seed=1)(0))

    class Made:  # of a Corpus, what batches need
        tokens: ClassVar = {"train": torch.arange(40), "validation": torch.arange(40)}
        tokenizer: ClassVar = [0] * 40
        byte_lengths = None

    whole = StdlibData(Made, 4, 4, 0).batch(2).ids
    halves = [StdlibData(Made, 4, 4, 0, rank, 2).batch(2).ids for rank in (0, 1)]
    assert torch.equal(whole[0::2], halves[0]) and torch.equal(whole[1::2], halves[1])
    assert sum(len(b.ids) for b in StdlibData(Made, 4, 4, 0).held_out("validation", 5)) == 5


# -- C4, from files


def stream(settings, **changes):
    from poet.c4 import C4Data

    return C4Data(settings, 32, 6, **{"seed": 0, **changes})


def test_c4_resumes_at_the_same_documents(c4):
    data = stream(c4)
    expected = [data.batch(step).ids for step in range(40)]  # more than an epoch: 100 documents
    for stop in (1, 5, 17, 30):
        first = stream(c4)
        for step in range(stop):
            first.batch(step)
        state = json.loads(json.dumps(first.state()))
        again = stream(c4)
        again.restore(state)
        for step in range(stop, 40):
            assert torch.equal(again.batch(step).ids, expected[step])


def test_c4_pads_and_masks_and_reads_every_document_once_an_epoch(c4):
    data = stream(c4)
    batch = data.batch(0)
    assert batch.ids.shape == (6, 32) and batch.mask is not None
    assert torch.equal(batch.labels == -100, batch.mask == 0)
    texts = stream(c4)
    seen = [texts._next() for _ in range(100)]
    assert len(set(seen)) == 100 and seen != sorted(seen)
    other = stream(c4, seed=1)
    assert seen != [other._next() for _ in range(100)]


def test_c4_shares_shards_out_and_evaluates_alike(c4):
    halves = [stream(c4, rank=rank, world=2) for rank in (0, 1)]
    seen = [{half._next() for _ in range(50)} for half in halves]
    assert not seen[0] & seen[1] and len(seen[0] | seen[1]) == 100
    held = [[b.ids for b in half.held_out("validation")] for half in halves]
    assert all(torch.equal(a, b) for a, b in zip(*held, strict=True))
    with pytest.raises(PoetError, match="training.sequences=6 must be a multiple of the 4 processes"):
        stream(c4, world=4)


def test_c4_packed_has_no_padding(c4):
    batch = stream(DataSettings(**{**vars(c4), "packing": True})).batch(0)
    assert batch.ids.shape == (6, 32) and batch.mask is None


def test_c4_that_cannot_be_reached_is_a_sentence(c4, tmp_path):
    with pytest.raises(PoetError, match="cannot open .*"):
        stream(DataSettings(**{**vars(c4), "path": str(tmp_path)}))
    with pytest.raises(PoetError, match="cannot load the tokenizer"):
        stream(DataSettings(**{**vars(c4), "tokenizer": str(tmp_path)}))

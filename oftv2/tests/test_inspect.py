"""The command line as a user runs it, in a subprocess."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest
import torch
from adapter_files import PATHS, lycoris_file, peft_folder, random_packed, v1_folder, v1_matrices
from models import tiny_llama
from safetensors.torch import load_file

from oftv2.__main__ import main
from oftv2.config import OFTConfig
from oftv2.formats.adapter import Adapter
from oftv2.formats.lycoris import lycoris_merged_weight
from oftv2.io import read_adapter, write_adapter
from oftv2.rotation import rotation_from


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "oftv2", *map(str, arguments)], capture_output=True, text=True, timeout=120, **options
    )


def fields(text):
    """name -> value of one adapter's printed lines."""
    return {m[1]: m[2] for m in re.finditer(r"^  (\w[\w ]*?)  +(\S.*)$", text, re.MULTILINE)}


def largest_angle(Q):
    return float(torch.linalg.matrix_norm(Q.double(), 2).max())


def test_inspect_prints_every_format(tmp_path):
    """Format, parameterization, sizes, largest angle and worst orthogonality error, from formulas written here."""
    packed = random_packed(scale=0.05)
    packed[PATHS[1]] *= 3
    peft_folder(tmp_path / "peft", packed)
    peft_folder(tmp_path / "peft-017", packed, peft_version="0.17.1")
    v1_folder(tmp_path / "v1")
    config = OFTConfig(block_size=16, parameterization="cayley", target_modules=("q_proj",))
    write_adapter(Adapter(config, packed=packed), tmp_path / "native", "native")
    lycoris = lycoris_file(tmp_path / "lycoris" / "x.safetensors")
    ran = run("inspect", *(tmp_path / name for name in ("peft", "peft-017", "v1", "native", "lycoris")), lycoris)
    assert (ran.returncode, ran.stderr) == (0, "")
    peft, old, v1, native, lyco, lyco_file = (fields(part) for part in ran.stdout.split("\n\n"))

    assert peft["format"] == "PEFT 0.18 or later" and peft["parameterization"] == "cayley_neumann(5)"
    assert old["format"] == "PEFT 0.16 or 0.17" and old["parameterization"] == "cayley_neumann_017(5)"
    assert v1["format"].endswith("(OFTv1)") and v1["parameterization"] == "cayley_peft_exact"
    assert native["format"] == "oftv2 (native)" and native["parameterization"] == "cayley"
    assert lyco["format"] == "LyCORIS/kohya diag-oft" and "outputs of a layer" in lyco["note"]
    assert lyco_file["theta_max"] == lyco["theta_max"]

    for got in (peft, old, v1, native, lyco):
        assert got["modules"] == "3"
    assert peft["block sizes"] == native["block sizes"] == "16 (3 modules)" and lyco["block sizes"] == "8 (3 modules)"
    assert (
        peft["parameters"]
        == native["parameters"]
        == str(sum(t.numel() for t in packed.values())).replace("1680", "1 680")
    )
    theta, module = peft["theta_max"].split(" in ")
    rows, cols = torch.triu_indices(16, 16, 1)
    Q = torch.zeros(6, 16, 16)
    Q[:, rows, cols] = packed[PATHS[1]]
    assert module == PATHS[1] and float(theta) == pytest.approx(largest_angle(Q - Q.mT), rel=1e-4)
    S = v1_matrices()
    expected = max(largest_angle((data - data.mT) / 2) for data, _ in S.values())
    assert float(v1["theta_max"].split()[0]) == pytest.approx(expected, rel=1e-4)

    R = rotation_from(packed[PATHS[1]].double(), "cayley_neumann", 5)
    defect = float((R.mT @ R - torch.eye(16)).flatten(1).norm(dim=1).max())
    assert float(peft["orthogonality error"].split()[0]) == pytest.approx(defect, rel=1e-2)
    assert float(native["orthogonality error"].split()[0]) < 1e-12
    assert "series is no longer a rotation" in ran.stdout


def test_convert_and_merge_adapters(tmp_path, capsys):
    peft_folder(tmp_path / "a", random_packed(0))
    peft_folder(tmp_path / "b", random_packed(1))
    a, b, m, n = (str(tmp_path / name) for name in "abmn")
    assert main(["merge-adapters", a, b, "--method", "compose", "--out", m]) == 0
    assert read_adapter(m).config.parameterization == "cayley_peft_exact"
    assert main(["convert", m, n, "--to", "native"]) == 0
    assert read_adapter(n).source == "native"
    assert capsys.readouterr().out.splitlines()[-2:] == [f"wrote {m}", f"wrote {n}"]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A tiny Llama with a tokenizer, as a model's folder holds them."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    tiny_llama().save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(128)}, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("source", ["peft", "block_share", "v1", "lycoris"])
def test_merge_into(source, model_folder, tmp_path, capsys):
    """The saved model is a plain one, whose weights are those of each format's own formula."""
    from transformers import AutoModelForCausalLM

    adapter, out = tmp_path / "adapter", tmp_path / "out"
    if source == "lycoris":
        tensors = load_file(lycoris_file(adapter / "x.safetensors"))
    elif source == "v1":
        tensors = load_file(v1_folder(adapter) / "adapter_model.safetensors")
    else:
        shared = source == "block_share"
        packed = random_packed(shared=shared)
        tensors = load_file(peft_folder(adapter, packed, block_share=shared) / "adapter_model.safetensors")
    assert main(["merge-into", str(model_folder), str(adapter), str(out)]) == 0, capsys.readouterr().err
    assert f"merged 3 modules and wrote {out}" in capsys.readouterr().out
    base, merged = (AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (model_folder, out))
    assert base.keys() == merged.keys()
    for name, W in base.items():
        path = name.removesuffix(".weight")
        if path not in PATHS:
            assert torch.equal(merged[name], W), name
            continue
        if source == "lycoris":
            key = "lycoris_" + path.replace(".", "_")
            expected = lycoris_merged_weight(W, tensors[f"{key}.oft_blocks"], tensors[f"{key}.rescale"])
        elif source == "v1":
            data, s = (tensors[f"base_model.model.{path}.{kind}"] for kind in ("oft_r", "oft_s"))
            S, eye = (data - data.mT) / 2, torch.eye(16)
            expected = (W @ torch.block_diag(*((eye - S) @ torch.linalg.inv(eye + S))).T) * s
        else:
            R = rotation_from(tensors[f"base_model.model.{path}.oft_R.weight"], "cayley_neumann", 5)
            expected = W @ torch.block_diag(*R.repeat(W.shape[1] // (len(R) * 16), 1, 1)).T
        assert torch.allclose(merged[name], expected, atol=1e-5)
        assert not torch.allclose(merged[name], W, atol=1e-3)


def test_merge_into_keeps_what_is_there(model_folder, tmp_path, capsys):
    peft_folder(tmp_path / "adapter")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("x")
    assert main(["merge-into", str(model_folder), str(tmp_path / "adapter"), str(tmp_path / "out")]) == 2
    assert "not an empty folder" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_accelerate_check(model_folder, tmp_path, capsys):
    """PEFT's logits and ours agree, and both times are printed; formats that PEFT does not open are refused."""
    peft_folder(tmp_path / "adapter", target_modules=list(PATHS))
    arguments = ["--tokens", "8", "--batch", "2", "--repeats", "1"]
    assert main(["accelerate-check", str(model_folder), str(tmp_path / "adapter"), *arguments]) == 0
    said = capsys.readouterr().out
    assert "3 Linear" in said and "ratio" in said
    assert float(re.search(r"largest difference (\S+)", said)[1]) < 1e-5
    v1_folder(tmp_path / "v1")
    assert main(["accelerate-check", str(model_folder), str(tmp_path / "v1"), *arguments]) == 2
    assert "peft-v1" in capsys.readouterr().err


def test_mistakes_are_one_sentence_and_exit_2(tmp_path, capsys):
    """Wrong file, wrong arguments, no command: one line on stderr, nothing on stdout."""
    peft_folder(tmp_path / "cut")
    content = (tmp_path / "cut" / "adapter_model.safetensors").read_bytes()
    (tmp_path / "cut" / "adapter_model.safetensors").write_bytes(content[:100])
    missing, cut = str(tmp_path / "missing"), str(tmp_path / "cut")
    for arguments in (
        [],
        ["unheard-of"],
        ["inspect"],
        ["inspect", missing],
        ["inspect", cut],
        ["convert", cut, missing],
        ["convert", cut, missing, "--to", "bin"],
        ["merge-adapters", missing, "--out", missing],
        ["merge-into", missing, cut, missing],
        ["accelerate-check", missing, missing, "--tokens", "0"],
    ):
        try:
            code = main(arguments)
        except SystemExit as stopped:
            code = stopped.code
        said = capsys.readouterr()
        assert code == 2 and said.out == "", arguments
        assert said.err.count("\n") == 1 and said.err.startswith("oftv2") and len(said.err) < 600, said.err


def test_ctrl_c_exits_130(tmp_path):
    """Interrupted while it measures the second adapter, which takes a while."""
    peft_folder(tmp_path / "small")
    packed = {f"model.layers.{i}.self_attn.q_proj": torch.randn(8, 130816) * 1e-3 for i in range(6)}
    write_adapter(Adapter(OFTConfig(block_size=512), packed=packed), tmp_path / "large", "native")
    process = subprocess.Popen(
        [sys.executable, "-m", "oftv2", "inspect", str(tmp_path / "small"), str(tmp_path / "large")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell that starts things in the background has them ignore Ctrl-C, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None and "small" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and said == "interrupted\n"

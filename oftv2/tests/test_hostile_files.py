"""Damaged and malicious files: one sentence, whatever was done to them, and never another exception."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc

import pytest
import torch
from adapter_files import PATHS, lycoris_file, peft_folder, peft_settings, random_packed, v1_folder

from oftv2.config import OFTConfig
from oftv2.errors import OFTError
from oftv2.formats.adapter import Adapter
from oftv2.io import open_adapter, write_adapter

TENSORS = "adapter_model.safetensors"
KINDS = ("peft", "v1", "native")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """The bytes of a small sound adapter in each format; PEFT's was not written by us and has no checksum."""
    folder = tmp_path_factory.mktemp("sound")
    packed = {path: t[:2] for path, t in random_packed(b=4).items()}
    peft_folder(folder / "peft", packed, oft_block_size=4)
    v1_folder(folder / "v1")
    config = OFTConfig(block_size=4, target_modules=("q_proj", "down_proj"), modules_to_save=("lm_head",))
    adapter = Adapter(config, packed=packed, saved={"lm_head.weight": torch.randn(3, 4)})
    write_adapter(adapter, folder / "native", "native")
    lycoris_file(folder / "lycoris" / TENSORS)
    return {kind.name: {f.name: f.read_bytes() for f in kind.iterdir()} for kind in folder.iterdir()}


def refusal(folder, files):
    """The sentence with which these files are refused, or None where they are read."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    try:
        adapter = open_adapter(folder)
    except OFTError as error:
        return str(error)
    except Exception as error:
        pytest.fail(f"{type(error).__name__} instead of OFTError: {error}")
    if isinstance(adapter, Adapter):
        assert adapter.rotations
        assert all(bool(torch.isfinite(t).all()) and t.dtype == torch.float32 for t in adapter.rotations.values())
    return None


def is_sentence(text):
    return "\n" not in text and text.isprintable() and 20 < len(text) < 1500 and "Traceback" not in text


def split(content):
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join(header, data, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def first_tensor(header):
    return next(name for name in header if name != "__metadata__")


def header_mutations():
    """Name and function of (header, data) to a file's bytes, each of which must be refused."""

    def change(**fields):
        def apply(header, data):
            header[first_tensor(header)] |= fields
            return join(header, data)

        return apply

    def entry(value):
        def apply(header, data):
            header[first_tensor(header)] = value
            return join(header, data)

        return apply

    def rename(new):
        def apply(header, data):
            old = first_tensor(header)
            return join({(new if k == old else k): v for k, v in header.items()}, data)

        return apply

    def shift(by):
        def apply(header, data):
            names = [n for n in header if n != "__metadata__"]
            header[names[-1]]["data_offsets"] = [o + by for o in header[names[-1]]["data_offsets"]]
            return join(header, data)

        return apply

    def overlap(header, data):
        names = [n for n in header if n != "__metadata__"]
        header[names[1]]["data_offsets"] = list(header[names[0]]["data_offsets"])
        return join(header, data)

    def duplicate(header, data):
        text = json.dumps(header).encode()
        name = json.dumps(first_tensor(header)).encode()
        return join(text[:-1] + b", " + name + b": " + json.dumps(header[first_tensor(header)]).encode() + b"}", data)

    def length(value):
        return lambda header, data: join(header, data, length=value)

    def raw(text):
        return lambda header, data: join(text, data)

    cases = {f"dtype {d!r}": change(dtype=d) for d in ("F31", "f32", "", 7, None, ["F32"], "C64", "F64", "F16", "I8")}
    cases |= {
        f"shape {str(s)[:30]}": change(shape=s)
        for s in (
            [], [7], [-2, -3], [2, 6.0], ["2", "3"], "23", None, {"0": 2}, [2**62, 2**62], [2**63], [True, 6],
            [0, 6], [1] * 5000, [10**400], [[2, 6]], [3, 2, 2, 1000],
        )
    }  # fmt: skip
    cases |= {
        f"offsets {str(o)[:30]}": change(data_offsets=o)
        for o in (
            [], [0], [0, 1, 2], [48, 0], [-48, 0], [0, 2**62], [0, 10**400], [2**63, 2**63 + 48], ["0", "48"],
            [0.0, 48.0], None, 48, {"begin": 0}, [True, False], [0, 47], [0, 49],
        )
    }  # fmt: skip
    cases |= {f"entry {str(v)[:30]}": entry(v) for v in (None, 3, "x", [], {}, {"dtype": "F32"}, True, [[[]]])}
    cases |= {
        f"name {n[:30]!r}": rename(n)
        for n in (
            "", "x" * 5000, "base_model.model.\n.oft_R.weight", "base_model.model.\ud800.oft_R.weight",
            "base_model.model.\x1b[31m.oft_R.weight", "oft_R.weight", "base_model.model.a.lora_A.weight",
            "base_model.model.a.oft_R.default.weight", "../../etc/passwd", "base_model.model.a.weight",
        )
    }  # fmt: skip
    cases |= {f"length {v}": length(v) for v in (0, 1, 3, 50, 2**24 + 1, 2**31, 2**40, 2**63, 2**64 - 1)}
    cases |= {f"shift {by}": shift(by) for by in (-8, -4, 4, 8, 2**40)}
    cases |= {
        f"header {h[:20]!r}": raw(h)
        for h in (
            b"{}", b"[]", b"null", b"3", b'"x"', b"{", b"}" * 9, b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe{}",
            b"\x00" * 64, b'{"a": NaN}', b'{"a": 1e999}', b'{"a": ' + b"9" * 5000 + b"}", b"{'a': 1}", b'{"a": 1,}',
            b'{"__metadata__": 3}', b'{"__metadata__": {"a": 1}}', b'{"__metadata__": null}',
        )
    }  # fmt: skip
    cases |= {"overlap": overlap, "duplicate name": duplicate}
    cases |= {
        "cut data": lambda h, d: join(h, d[:-1]),
        "no data": lambda h, d: join(h, b""),
        "appended": lambda h, d: join(h, d + b"x"),
        "data twice": lambda h, d: join(h, d + d),
        "empty file": lambda h, d: b"",
        "seven bytes": lambda h, d: b"\x00" * 7,
        "zip": lambda h, d: b"PK\x03\x04" + d,
        "pickle": lambda h, d: b"\x80\x04\x95" + d,
        "gap": lambda h, d: join(
            h | {"z": {"dtype": "U8", "shape": [1], "data_offsets": [len(d) + 1, len(d) + 2]}}, d + b"xx"
        ),
    }
    return cases


HEADER = header_mutations()


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_headers(kind, originals, tmp_path):
    """Every mutation of the table is refused by one sentence that names the file."""
    assert len(HEADER) >= 100
    for name, mutate in HEADER.items():
        header, data = split(originals[kind][TENSORS])
        said = refusal(tmp_path / "x", originals[kind] | {TENSORS: mutate(header, data)})
        assert said is not None, f"{name} was read"
        assert is_sentence(said), (name, said)
        assert str(tmp_path / "x") in said, (name, said)


@pytest.mark.parametrize("kind", [*KINDS, "lycoris"])
def test_truncated_files(kind, originals, tmp_path):
    """Cut at any of 60 places, the tensor file is refused."""
    content = originals[kind][TENSORS]
    for cut in sorted(random.Random(0).sample(range(len(content)), 60)):
        said = refusal(tmp_path / "x", originals[kind] | {TENSORS: content[:cut]})
        assert said is not None and is_sentence(said), (cut, said)


@pytest.mark.parametrize("kind", [*KINDS, "lycoris"])
def test_flipped_bytes(kind, originals, tmp_path):
    """A flipped byte anywhere gives an adapter or a sentence; what we wrote ourselves, always a sentence."""
    content = originals[kind][TENSORS]
    generator = random.Random(1)
    header_length = 8 + struct.unpack("<Q", content[:8])[0]
    refused = 0
    for _ in range(150):
        end = header_length if generator.random() < 0.7 else len(content)
        position, bit = generator.randrange(end), generator.randrange(8)
        mutated = bytearray(content)
        mutated[position] ^= 1 << bit
        said = refusal(tmp_path / "x", originals[kind] | {TENSORS: bytes(mutated)})
        assert said is None or is_sentence(said), (position, said)
        harmless = _same_meaning(content, bytes(mutated))
        assert kind != "native" or harmless or said is not None, f"a flip at {position} went unseen"
        refused += said is not None
    assert refused > 50


def _same_meaning(before, after):
    """Whether a flip left every name, shape, offset and byte of the tensors alone and hit the metadata."""
    try:
        (a, data_a), (b, data_b) = split(before), split(after)
    except (ValueError, struct.error):
        return False
    a.pop("__metadata__", None)
    b.pop("__metadata__", None)
    return a == b and data_a == data_b


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", [*KINDS, "lycoris"])
def test_values_that_are_not_finite_are_named(kind, value, originals, tmp_path):
    """The sentence names the tensor."""
    header, data = split(originals[kind][TENSORS])
    header.pop("__metadata__", None)
    for name in header:
        begin, end = header[name]["data_offsets"]
        position = begin + 4 * random.Random(name).randrange((end - begin) // 4)
        mutated = data[:position] + struct.pack("<f", value) + data[position + 4 :]
        said = refusal(tmp_path / "x", originals[kind] | {TENSORS: join(header, mutated)})
        assert said is not None and name in said and "NaN or infinite" in said


CONFIG_TEXTS = [
    b"", b"{", b"[]", b"null", b"3", b"\xff\xff", b"[" * 50_000, b'{"peft_type": "OFT"', b'{"peft_type": "LORA"}',
    b'{"peft_type": "OFT", "peft_type": "OFT"}', b"{}", b'{"peft_type": ["OFT"]}', b'{"peft_type": "OFT", "eps": NaN}',
    b" " * (2**20 + 1),
]  # fmt: skip


def config_values():
    """Settings of a PEFT file that are refused, field by field."""
    wrong = {
        "r": [-1, 1.5, "8", [8], True, 2**40],
        "oft_block_size": [-16, 1, 2.5, "16", [], {}, True, 10**30],
        "module_dropout": [-0.1, 1.0, 2, "0.1", [], True],
        "target_modules": [3, {"a": 1}, [1, 2], ["q_proj", None], [["q_proj"]], True, "(a+)+" * 300, ["x" * 1001]],
        "exclude_modules": [3, [1], {"a": 1}, "y" * 1001],
        "bias": ["some", 3, ["none"], True],
        "layers_to_transform": ["0", [0.5], {"0": 1}, ["1"], True],
        "layers_pattern": [3, ["a", "b"], {"a": 1}, []],
        "modules_to_save": ["lm_head", 3, [3], {"a": 1}],
        "coft": ["yes", 1, []],
        "eps": [0, -1, "6e-5", [], True],
        "block_share": ["no", 0, []],
        "use_cayley_neumann": ["true", 1, []],
        "num_cayley_neumann_terms": [0, -1, 65, 10**20, 5.0, "5", True],
        "peft_version": [18, "new", "", ["0.18"], "0..1", True],
        "fan_in_fan_out": ["no", 1],
        "task_type": [3, ["CAUSAL_LM"]],
        "base_model_name_or_path": [3, ["x"], {"a": 1}],
    }
    return [(field, value) for field, values in wrong.items() for value in values]


@pytest.mark.parametrize("kind", ["peft", "v1"])
def test_wrong_settings(kind, originals, tmp_path):
    """A wrong value of any field is refused, and the sentence names the file."""
    cases = list(CONFIG_TEXTS)
    for field, value in config_values():
        cases.append(json.dumps(peft_settings(oft_block_size=4) | {field: value}).encode())
    assert len(cases) > 90
    for text in cases:
        said = refusal(tmp_path / "x", originals[kind] | {"adapter_config.json": text})
        assert said is not None and is_sentence(said), (text[:200], said)
        assert str(tmp_path / "x") in said


def test_wrong_native_settings(originals, tmp_path):
    """Format, version and every field of the native settings are checked."""
    sound = json.loads(originals["native"]["oft_config.json"])
    cases = [{}, {"format": "oftv2"}, sound | {"format": "other"}, sound | {"format_version": 2}]
    cases += [sound | {"format_version": v} for v in (0, -1, "1", True, None)]
    cases += [sound | {"config": v} for v in (None, [], "x", 3)]
    wrong = {
        "block_size": [1, -4, 4.0, "4", None],
        "num_blocks": [4, "4"],  # beside a block size
        "parameterization": ["exp", 3, ["cayley"]],
        "terms": [0, 65, "5"],
        "rotation_dtype": ["float8", 16],
        "rescale": ["yes"],
        "block_dropout": [1, -1, "0"],
        "unheard_of": [1],
        "target_modules": [[], 3, "x" * 1001],
    }
    cases += [sound | {"config": sound["config"] | {f: v}} for f, values in wrong.items() for v in values]
    for case in cases:
        said = refusal(tmp_path / "x", originals["native"] | {"oft_config.json": json.dumps(case).encode()})
        assert said is not None and is_sentence(said), (case, said)


def test_shapes_that_are_no_rotation(originals, tmp_path):
    """Rows must hold b(b-1)/2 numbers of a floating dtype; v1 blocks must be square."""
    from safetensors.torch import save

    name = f"base_model.model.{PATHS[0]}.oft_R.weight"
    for tensor in (
        torch.zeros(2, 5),
        torch.zeros(0, 6),
        torch.zeros(6),
        torch.zeros(2, 0),
        torch.zeros(2, 3, 6),
        torch.zeros(2, 6, dtype=torch.int32),
        torch.zeros(2, 6, dtype=torch.bool),
    ):
        said = refusal(tmp_path / "x", originals["peft"] | {TENSORS: save({name: tensor})})
        assert said is not None and is_sentence(said) and PATHS[0] in said
    prefix = f"base_model.model.{PATHS[0]}"
    for data, scale in (
        (torch.zeros(2, 4, 3), torch.ones(8, 1)),
        (torch.zeros(4, 4), torch.ones(8, 1)),
        (torch.zeros(2, 1, 1), torch.ones(8, 1)),
        (torch.zeros(0, 4, 4), torch.ones(8, 1)),
        (torch.zeros(2, 4, 4), torch.ones(8)),
        (torch.zeros(2, 4, 4), torch.ones(8, 2)),
        (torch.zeros(2, 4, 4, dtype=torch.int64), torch.ones(8, 1)),
    ):
        content = save({f"{prefix}.oft_r": data, f"{prefix}.oft_s": scale})
        said = refusal(tmp_path / "x", originals["v1"] | {TENSORS: content})
        assert said is not None and is_sentence(said) and PATHS[0] in said


def test_announced_sizes_are_not_allocated(originals, tmp_path):
    """A file of a kilobyte that announces terabytes costs next to nothing."""
    header, data = split(originals["peft"][TENSORS])
    header[first_tensor(header)] |= {"shape": [2**20, 2**20], "data_offsets": [0, 2**42]}
    tracemalloc.start()
    try:
        for content in (join(header, data), struct.pack("<Q", 2**39) + b"{" + data):
            assert refusal(tmp_path / "x", originals["peft"] | {TENSORS: content}) is not None
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_folders_that_are_none(tmp_path):
    """Missing, empty, ambiguous, or not a folder."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    peft_folder(tmp_path / "config-is-a-folder")
    (tmp_path / "config-is-a-folder" / "adapter_config.json").unlink()
    (tmp_path / "config-is-a-folder" / "adapter_config.json").mkdir()
    peft_folder(tmp_path / "both")
    (tmp_path / "both" / "oft_config.json").write_text("{}")
    peft_folder(tmp_path / "no-config")
    (tmp_path / "no-config" / "adapter_config.json").unlink()
    for name in ("missing", "file", "empty", "config-is-a-folder", "both", "no-config"):
        with pytest.raises(OFTError) as refused:
            open_adapter(tmp_path / name)
        assert is_sentence(str(refused.value)) and name in str(refused.value)

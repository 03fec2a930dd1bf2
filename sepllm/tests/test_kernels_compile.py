"""Every kernel compiled to machine code for sm_80 and sm_90, without a GPU.

Triton's compiler and its interpreter do not go together in one process, so this file runs itself as a script.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="the kernels need the package triton")

SMALLEST_SHARED_MEMORY = 99 * 1024  # bytes a program may take on sm_86 and sm_89, the least among sm_80 and later


def sources():
    """By name: (kernel, types of run-time arguments, constants, whether products run on tensor cores)."""
    from sepllm.kernels import compact, decode

    strides = dict.fromkeys(("kb", "kh", "kc", "vb", "vh", "vc", "ob", "oh", "oc"), "i64")
    for dtype, group, d in (("bf16", 4, 128), ("fp16", 3, 64), ("fp32", 3, 64)):
        tensors = dict.fromkeys(("Q", "K", "V", "OUT"), f"*{dtype}")
        tensors |= {"ALIVE": "*i8", "EXTENT": "*i32", "M": "*fp32", "L": "*fp32", "ACC": "*fp32"}
        constants = {"G": group, "D": d, "ROWS": 16, "TILE": decode.TILE, "SPLITS": decode.SPLITS}
        types = {**tensors, **strides, "scale": "fp32", "C": "i32", "H": "i32"}
        yield f"decode {dtype}", decode.decode_kernel, types, constants, dtype != "fp32"
        yield f"merge {dtype}", decode.merge_kernel, types, constants, False
        types = dict.fromkeys(("K", "V", "KOUT", "VOUT"), f"*{dtype}") | {"COLUMNS": "*i64", "MOVES": "*i64"}
        types |= {"FREQUENCIES": "*fp32", "m": "i32", "H": "i32", **strides}
        constants = {"HALF": d // 2, "HALF2": d // 2, "D": d, "D2": d, "TURN": True, "TILE": compact.TILE}
        yield f"compact {dtype}", compact.compact_kernel, types, constants, False


def compile_all(architecture: int) -> dict[str, dict]:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    results = {}
    for name, kernel, types, constants, products in sources():
        wanted = {a: types.get(a, "constexpr") for a in kernel.arg_names}
        kept = {a: v for a, v in constants.items() if a in kernel.arg_names}
        source = ASTSource(kernel, signature=wanted, constexprs=kept)
        compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32))
        ptx = compiled.asm["ptx"]
        results[name] = {
            "target": f".target sm_{architecture}" in ptx,
            "machine code": len(compiled.asm["cubin"]),
            "tensor cores": ("mma.sync" in ptx or "wgmma.mma_async" in ptx) == products,
            "tf32": "tf32" in ptx,
            "shared memory": compiled.metadata.shared,
        }
    return results


@pytest.mark.parametrize("architecture", [80, 90])
def test_kernels_compile_for_gpus_that_are_not_here(architecture, tmp_path):
    import triton

    if not Path(triton.knobs.nvidia.ptxas.path).is_file():
        pytest.skip("this build of triton has no ptxas")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    run = subprocess.run(
        [sys.executable, __file__, str(architecture)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    results = json.loads(run.stdout)
    assert len(results) == 9
    for name, result in results.items():
        assert result["target"] and result["machine code"] > 1000 and not result["tf32"], name
        assert result["tensor cores"], name
        assert result["shared memory"] <= SMALLEST_SHARED_MEMORY, name


if __name__ == "__main__":
    print(json.dumps(compile_all(int(sys.argv[1]))))

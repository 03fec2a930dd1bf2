"""The producers' kernels compiled to machine code for sm_80 and sm_90, without a GPU.

Triton's compiler and its interpreter do not go together in one process, so this file runs itself as a script.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="the kernels need the package triton")

ARCHITECTURES = (80, 90)
SMALLEST_SHARED_MEMORY = 99 * 1024  # bytes a program may take on sm_86 and sm_89, the least among sm_80 and later
FLOAT32 = ("RSTD", "DOTS", "PARTS")
NUMBERS = {"N": "i32", "d": "i32", "rows": "i32", "eps": "fp32"}


def compile_all(architecture: int) -> dict[str, dict]:
    """In bfloat16 with b = 32: the norm under three rotations, the product under one."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from oftv2 import producers_triton
    from shared.orthogonal.triton_tile import tile_of

    kernels = {name: k for name, k in vars(producers_triton).items() if name.endswith("_kernel")}
    results = {}
    for name, kernel in kernels.items():
        S = 3 if "rmsnorm" in name else 1
        W, BN, num_warps, num_stages = tile_of(32, 2, S, 8192, backward="backward" in name)
        constants = {"b": 32, "S": S, "W": W, "BN": BN, "BW": 4096}
        constants |= {"NEED_H": True, "NEED_INPUTS": True, "NEED_R": True}
        signature = {}
        for argument in kernel.arg_names:
            if argument in constants:
                signature[argument] = "constexpr"
            elif argument in NUMBERS:
                signature[argument] = NUMBERS[argument]
            elif argument in ("Rs", "Ys", "Gs"):
                signature[argument] = ("*bf16",) * S
            else:
                signature[argument] = "*fp32" if argument in FLOAT32 else "*bf16"
        source = ASTSource(kernel, signature, {a: v for a, v in constants.items() if a in signature})
        options = {"num_warps": num_warps, "num_stages": num_stages}
        compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
        ptx = compiled.asm["ptx"]
        results[name] = {
            "machine code": len(compiled.asm["cubin"]),
            "tensor cores": "mma.sync" in ptx or "wgmma.mma_async" in ptx,
            "shared memory": compiled.metadata.shared,
        }
    return results


def test_kernels_compile_for_gpus_that_are_not_here(tmp_path):
    import triton

    if not Path(triton.knobs.nvidia.ptxas.path).is_file():
        pytest.skip("this build of triton has no ptxas")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    command = [sys.executable, __file__]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    results = json.loads(run.stdout.splitlines()[-1])
    assert len(results) == 6 * len(ARCHITECTURES)
    for name, result in results.items():
        assert result["machine code"] > 1000, name
        assert result["shared memory"] <= SMALLEST_SHARED_MEMORY, name
        assert result["tensor cores"] == ("_rotate_" in name), name


if __name__ == "__main__":
    print(json.dumps({f"{name} sm_{a}": r for a in ARCHITECTURES for name, r in compile_all(a).items()}))

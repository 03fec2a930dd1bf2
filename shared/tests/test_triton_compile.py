"""Every kernel compiled to machine code for sm_80 and sm_90, without a GPU.

Triton's compiler and its interpreter do not go together in one process, so this file runs itself as a script, once
per architecture, and the tests read what the script prints.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="the kernels need the package triton")

ARCHITECTURES = (80, 90)
ROTATIONS = [  # (dtype, b, S)
    ("bf16", 4, 1),
    ("bf16", 32, 3),
    ("fp16", 64, 1),
    ("fp32", 32, 1),
]
POLYNOMIALS = [8, 32]  # b
SMALLEST_SHARED_MEMORY = 99 * 1024  # bytes a program may take on sm_86 and sm_89, the least among sm_80 and later


def kernel_sources() -> dict[str, tuple]:
    """By a readable name: (kernel, type of each run-time argument, constants, launch options)."""
    from shared.orthogonal import polynomial_triton, rotate_triton
    from shared.orthogonal.neumann import neumann_coefficients
    from shared.orthogonal.triton_tile import tile_of

    sources = {}
    for dtype, b, S in ROTATIONS:
        size = 4 if dtype == "fp32" else 2
        tensors = (f"*{dtype}",) * S
        shape = {"N": "i32", "d": "i32", "rows": "i32"}
        for backward in (False, True):
            W, BN, num_warps, num_stages = tile_of(b, size, S, 8192, backward=backward)
            constants = {"b": b, "S": S, "W": W, "BN": BN}
            types = {"X": f"*{dtype}", "Rs": tensors}
            if backward:
                types |= {"Gs": tensors, "DX": f"*{dtype}", "PARTS": "*fp32"}
                constants |= {"NEED_X": True, "NEED_R": True}
            else:
                types["Ys"] = tensors
            sources[f"rotate{' backward' * backward} {dtype} b={b} S={S}"] = (
                rotate_triton._rotate_backward_kernel if backward else rotate_triton._rotate_kernel,
                types | shape,
                constants,
                {"num_warps": num_warps, "num_stages": num_stages},
            )
    for b in POLYNOMIALS:
        T = max(b, 16)
        constants = {"C": polynomial_triton.pairs(neumann_coefficients(5)), "b": b, "T": T}
        sources[f"polynomial b={b}"] = (
            polynomial_triton._polynomial_kernel,
            {"PACKED": "*fp32", "OUT": "*bf16", "blocks": "i32"},
            constants,
            polynomial_triton.FORWARD_OPTIONS[T],
        )
        sources[f"polynomial backward b={b}"] = (
            polynomial_triton._polynomial_backward_kernel,
            {"PACKED": "*fp32", "DR": "*bf16", "DPACKED": "*fp32", "blocks": "i32"},
            constants,
            polynomial_triton.BACKWARD_OPTIONS[T],
        )
    return sources


def compile_kernel(kernel, types: dict, constants: dict, options: dict, architecture: int) -> dict:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
    aligned = {}  # what a launch finds out by itself: pointers and sizes divisible by 16
    for position, kind in enumerate(signature.values()):
        if isinstance(kind, tuple):
            aligned |= {(position, index): [["tt.divisibility", 16]] for index in range(len(kind))}
        elif kind != "constexpr":
            aligned[position,] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature=signature, constexprs=constants, attrs=aligned)
    compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
    ptx = compiled.asm["ptx"]
    return {
        "target": f".target sm_{architecture}" in ptx,
        "machine code": len(compiled.asm["cubin"]),
        "tensor cores": "mma.sync" in ptx or "wgmma.mma_async" in ptx,
        "tf32": "tf32" in ptx,
        "16-byte loads": "cp.async.cg" in ptx and "cp.async.ca" not in ptx,  # .cg copies 16 bytes, .ca fewer
        "atomics": bool(re.search(r"\b(atom|red)\.", ptx)),
        "shared memory": compiled.metadata.shared,
    }


@pytest.fixture(scope="module", params=ARCHITECTURES, ids=lambda a: f"sm_{a}")
def compiled(request, tmp_path_factory) -> dict[str, dict]:
    import triton

    if not Path(triton.knobs.nvidia.ptxas.path).is_file():
        pytest.skip("this build of triton has no ptxas")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    run = subprocess.run(
        [sys.executable, __file__, str(request.param)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_kernels_compile_for_gpus_that_are_not_here(compiled):
    for name, result in compiled.items():
        if name == "refusal":
            continue
        assert result["target"] and result["machine code"] > 1000, name
        assert result["shared memory"] <= SMALLEST_SHARED_MEMORY, name
        assert not result["atomics"], f"{name}: sums would depend on the order of programs"
        if name.startswith("rotate"):
            assert result["16-byte loads"], name
        if "bf16" in name or "fp16" in name:
            assert result["tensor cores"], name
        else:
            assert not result["tf32"], f"{name}: float32 products must keep float32's digits"


def test_cpu_tensors_are_refused_outside_the_interpreter(compiled):
    assert compiled["refusal"].startswith("backend='triton' needs CUDA tensors, not cpu ones")


def refusal() -> str:
    import torch

    from shared.orthogonal import rotate

    try:
        rotate(torch.ones(2, 4), torch.ones(1, 4, 4), backend="triton")
    except ValueError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    architecture = int(sys.argv[1])
    results: dict = {name: compile_kernel(*source, architecture) for name, source in kernel_sources().items()}
    results["refusal"] = refusal()
    print(json.dumps(results))

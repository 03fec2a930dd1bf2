"""The Triton kernels against dense float64 products: on a GPU where there is one, else in Triton's interpreter."""

import pytest
import torch

from shared.orthogonal import cayley_neumann, neumann_coefficients, rotate_many, skew_polynomial, unpack_skew

pytest.importorskip("triton", reason="the kernels need the package triton")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BLOCK_SIZES = (2, 4, 8, 16, 32, 64)
# of the largest number in the result: sums of at most a few hundred products in float32, and one rounding to bfloat16
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 2**-7}


def random(*shape: int, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> torch.Tensor:
    """The same numbers on every device."""
    generator = torch.Generator().manual_seed(sum(shape) + len(shape))
    return (scale * torch.randn(*shape, generator=generator)).to(DEVICE, dtype)


def assert_near(actual: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    error = (actual.double() - expected).abs().max()
    assert error <= tolerance * expected.abs().max(), f"off by {error / expected.abs().max():.1e} of the largest number"


def dense_polynomial(packed: torch.Tensor, coefficients: tuple[float, ...]) -> torch.Tensor:
    Q = unpack_skew(packed)
    power = torch.eye(Q.shape[-1], dtype=Q.dtype, device=Q.device).expand_as(Q)
    R = coefficients[0] * power
    for c in coefficients[1:]:
        power = power @ Q
        R = R + c * power
    return R


def dense_rotation(x: torch.Tensor, R: torch.Tensor) -> torch.Tensor:
    return x @ torch.block_diag(*R)


def check_polynomial(b: int, coefficients: tuple[float, ...], dtype: torch.dtype, blocks: int) -> None:
    packed = random(blocks, b * (b - 1) // 2, dtype=dtype, scale=0.4 / b**0.5).requires_grad_()
    dR = random(blocks, b, b, dtype=dtype)
    R = skew_polynomial(packed, coefficients, backend="triton")
    (gradient,) = torch.autograd.grad(R, packed, dR)
    wide = packed.detach().double().requires_grad_()
    expected = dense_polynomial(wide, coefficients)
    (expected_gradient,) = torch.autograd.grad(expected, wide, dR.double())
    assert R.dtype == gradient.dtype == dtype
    assert_near(R, expected, TOLERANCE[dtype])
    assert_near(gradient, expected_gradient, TOLERANCE[dtype])


@pytest.mark.parametrize("terms, series", [(1, "truncated"), (2, "product"), (3, "product"), (7, "truncated")])
@pytest.mark.parametrize("b", BLOCK_SIZES)
def test_polynomial_and_its_gradient(b, terms, series):
    check_polynomial(b, neumann_coefficients(terms, series), torch.float32, blocks=max(2, 16 // b + 1))


@pytest.mark.parametrize(
    "coefficients", [(2.0, 0.0), (0.5, -1.0), (0.3, 0.0, 1.5), (0.0, 1.0, -0.7, 0.2, 0.9, -1.1, 0.4)]
)
def test_polynomial_of_any_coefficients(coefficients):
    check_polynomial(8, coefficients, torch.float32, blocks=3)


def test_polynomial_of_the_highest_degree():
    check_polynomial(4, neumann_coefficients(64, "product"), torch.float32, blocks=5)


def test_polynomial_of_bfloat16_is_computed_in_float32():
    check_polynomial(16, neumann_coefficients(3), torch.bfloat16, blocks=2)


@pytest.mark.parametrize("b", BLOCK_SIZES)
def test_zero_gives_the_identity_bit_for_bit(b):
    R = cayley_neumann(torch.zeros(3, b * (b - 1) // 2, device=DEVICE), 3, backend="triton", dtype=torch.bfloat16)
    assert torch.equal(R, torch.eye(b, device=DEVICE, dtype=torch.bfloat16).expand(3, b, b))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("S", [1, 2, 3])
@pytest.mark.parametrize("b", BLOCK_SIZES)
def test_rotations_and_their_gradients(b, S, dtype):
    # one column group and a block of a second one, and rows that fill no whole tile
    N, r = 39, 64 // b + 1
    x = random(N, r * b, dtype=dtype).requires_grad_()
    Rs = [random(r, b, b, dtype=dtype).mul(s + 1).requires_grad_() for s in range(S)]
    grads = [random(N, r * b, dtype=dtype).roll(s, 0) for s in range(S)]
    ys = rotate_many(x, Rs, backend="triton")
    gradients = torch.autograd.grad(ys, [x, *Rs], grads)

    wide = [t.detach().double().requires_grad_() for t in (x, *Rs)]
    expected = [dense_rotation(wide[0], R) for R in wide[1:]]
    expected_gradients = torch.autograd.grad(expected, wide, [g.double() for g in grads])
    for actual, reference in zip((*ys, *gradients), (*expected, *expected_gradients), strict=True):
        assert actual.dtype == dtype
        assert_near(actual, reference, TOLERANCE[dtype])


def test_half_precision_and_leading_dimensions():
    x, R = random(2, 3, 32, dtype=torch.float16), random(2, 16, 16, dtype=torch.float16)
    (y,) = rotate_many(x, [R], backend="triton")
    assert y.shape == x.shape
    assert_near(y, dense_rotation(x.double(), R.double()), 1e-3)


def test_a_shared_block_collects_the_gradients_of_all_positions():
    x, R = random(5, 48), random(1, 16, 16).requires_grad_()
    (y,) = rotate_many(x, [R], backend="triton")
    (gradient,) = torch.autograd.grad(y, R, torch.ones_like(y))
    blocks = x.double().reshape(-1, 16)
    assert_near(gradient[0], blocks.T @ torch.ones_like(blocks), 2e-6)


def test_more_rotations_than_one_launch_takes():
    x = random(9, 32).requires_grad_()
    Rs = [random(2, 16, 16).mul(s + 1) for s in range(5)]
    ys = rotate_many(x, Rs, backend="triton")
    (dx,) = torch.autograd.grad(sum(y.sum() for y in ys), x)
    for y, R in zip(ys, Rs, strict=True):
        assert_near(y, dense_rotation(x.double(), R.double()), 2e-6)
    assert_near(dx, dense_rotation(torch.ones_like(x).double(), sum(Rs).double().mT), 2e-6)


def test_an_output_that_is_not_used_adds_nothing():
    x = random(9, 32).requires_grad_()
    Rs = [random(2, 16, 16).mul(s + 1).requires_grad_() for s in range(3)]
    y = rotate_many(x, Rs, backend="triton")[1]
    gradients = torch.autograd.grad(y, [x, *Rs], torch.ones_like(y), allow_unused=True)
    assert_near(gradients[0], dense_rotation(torch.ones_like(x).double(), Rs[1].double().mT), 2e-6)
    assert_near(gradients[2], rotate_gradient(x, 16), 2e-6)
    for unused in (gradients[1], gradients[3]):
        assert unused is None or not unused.any()


def test_only_the_gradients_that_are_needed():
    x, R = random(9, 32), random(2, 16, 16)
    (y,) = rotate_many(x.clone().requires_grad_(), [R], backend="triton")
    y.sum().backward()
    (y,) = rotate_many(x, [R.requires_grad_()], backend="triton")
    y.sum().backward()
    assert_near(R.grad, rotate_gradient(x, 16), 2e-6)


def test_rotations_wider_than_x_keep_a_wide_gradient():
    from shared.orthogonal import rotate_triton

    x = random(71, 32, dtype=torch.bfloat16)
    R = random(2, 16, 16).requires_grad_()
    (y,) = rotate_triton.rotate_many(x, [R])
    (gradient,) = torch.autograd.grad(y, R, torch.ones_like(y))
    assert y.dtype == torch.bfloat16 and gradient.dtype == torch.float32
    assert_near(gradient, rotate_gradient(x, 16), 2e-6)


def rotate_gradient(x: torch.Tensor, b: int) -> torch.Tensor:
    """dR of a rotation whose output gradient is 1 everywhere."""
    sums = x.detach().double().sum(0).reshape(-1, b, 1)
    return sums.expand(-1, b, b)


def test_backward_keeps_packed_x_and_rotations_only():
    packed, x = random(3, 120).requires_grad_(), random(5, 48).requires_grad_()
    assert kept(lambda: skew_polynomial(packed, (1.0, 2.0, 2.0, 1.0), backend="triton")) == [packed.data_ptr()]
    Rs = [random(3, 16, 16).requires_grad_() for _ in range(2)]
    pointers = kept(lambda: rotate_many(x, Rs, backend="triton"))
    assert sorted(pointers) == sorted(t.data_ptr() for t in (x, *Rs))


def kept(call) -> list[int]:
    pointers: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: pointers.append(t.data_ptr()), lambda _: None):
        call()
    return pointers


def test_nothing_to_rotate_and_nothing_to_build():
    x, R = torch.empty(0, 32, device=DEVICE, requires_grad=True), random(2, 16, 16).requires_grad_()
    (y,) = rotate_many(x, [R], backend="triton")
    dx, dR = torch.autograd.grad(y.sum(), [x, R])
    assert y.shape == dx.shape == (0, 32)
    assert not dR.any() and dR.shape == R.shape
    assert cayley_neumann(torch.empty(0, 120, device=DEVICE), backend="triton").shape == (0, 16, 16)


def test_compiled_without_a_graph_break_equals_eager():
    from shared.orthogonal import rotate_triton

    def loss(packed, x):
        R = cayley_neumann(packed, 3, backend="triton")
        y, z = rotate_triton.rotate_many(x, [R, R.mT])
        return (y * z.sigmoid()).sum()

    arguments = [random(3, 120, scale=0.1).requires_grad_(), random(5, 48).requires_grad_()]
    eager = torch.autograd.grad(loss(*arguments), arguments)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for actual, expected in zip(torch.autograd.grad(compiled(*arguments), arguments), eager, strict=True):
        assert torch.equal(actual, expected)


def test_operators_keep_what_they_declare():
    from shared.orthogonal import polynomial_triton, rotate_triton

    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    packed, x, R = random(2, 6), random(3, 8), random(2, 4, 4)
    for operator, arguments in (
        (polynomial_triton._skew_polynomial, (packed.requires_grad_(), [1.0, 2.0, 1.0], torch.bfloat16)),
        (polynomial_triton._skew_polynomial_backward, (packed.detach(), [1.0, 2.0, 1.0], R)),
        (rotate_triton._rotate_many, (x.requires_grad_(), [R, R + 1])),
        (rotate_triton._rotate_many_backward, (x.detach(), [R], [x.detach()], True, True)),
        (rotate_triton._rotate_many_backward, (x.detach(), [R], [x.detach()], False, False)),
    ):
        torch.library.opcheck(operator, arguments, test_utils=checks)


@pytest.mark.skipif(DEVICE == "cpu", reason="programs run one after another in the interpreter")
def test_gradients_repeat_bit_for_bit():
    x, g, R = random(5000, 512), random(5000, 512).roll(1, 0), random(16, 32, 32).requires_grad_()
    first, second = (torch.autograd.grad(rotate_many(x, [R], backend="triton"), R, [g]) for _ in range(2))
    assert torch.equal(first[0], second[0])


def test_float64_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"takes float32, bfloat16 and float16, not torch\.float64"):
        rotate_many(random(3, 8).double(), [random(2, 4, 4)], backend="triton")
    with pytest.raises(ValueError, match=r"takes float32, bfloat16 and float16, not torch\.float64"):
        cayley_neumann(random(3, 6).double(), backend="triton")

"""Derives the polynomial coefficients of cpp/src/kernels/math/: `python cpp/tools/coefficients.py`.

Each is a minimax polynomial by Remez' exchange in 60-digit arithmetic, for the error relative to the function that the
polynomial serves, then rounded to the working type. Prints C++ hexadecimal literals and the minimax error as a power
of two. Needs mpmath.
"""

import struct

from mpmath import atanh, cos, exp, expm1, linspace, log, log1p, lu_solve, matrix, mp, mpf, pi, polyval, sqrt

mp.dps = 60


def remez(f, weight, lo, hi, degree, rounds=12, grid=600):
    """Coefficients (constant first) of the polynomial p minimising max |weight * (p - f)| on [lo, hi]."""
    n = degree + 2
    nodes = [(lo + hi) / 2 - (hi - lo) / 2 * cos(pi * i / (n - 1)) for i in range(n)]
    xs = linspace(lo, hi, grid)
    fs, ws = [f(x) for x in xs], [weight(x) for x in xs]
    for _ in range(rounds):
        a = matrix(n, n)
        b = matrix(n, 1)
        for i, x in enumerate(nodes):
            for j in range(degree + 1):
                a[i, j] = weight(x) * x**j
            a[i, degree + 1] = (-1) ** i
            b[i] = weight(x) * f(x)
        solution = lu_solve(a, b)
        c = [solution[j] for j in range(degree + 1)]
        errors = [w * (polyval(c[::-1], x) - y) for x, y, w in zip(xs, fs, ws, strict=True)]
        # One extremum per run of equal sign; the n largest consecutive runs are the next nodes.
        runs, start = [], 0
        for i in range(1, grid + 1):
            if i == grid or (errors[i] > 0) != (errors[start] > 0):
                runs.append(max(range(start, i), key=lambda k: abs(errors[k])))
                start = i
        while len(runs) > n:
            runs.pop(0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1)
        if len(runs) < n:
            break
        nodes = [xs[k] for k in runs]
    return c, max(abs(e) for e in errors)


def rounded_in_turn(f, weight, lo, hi, degree):
    """The same with coefficients of float, and the error of that polynomial: each is rounded before those after it are
    fitted to what is left. Rounded all at once, those of log(1 + e) / e on [0, 1] lose three bits."""
    fixed = []
    for k in range(degree + 1):
        rest = lambda x, k=k: (f(x) - polyval(fixed[::-1], x) if fixed else f(x)) / x**k
        c, _ = remez(rest, lambda x, k=k: weight(x) * x**k, lo, hi, degree - k)
        fixed.append(mpf(struct.unpack("f", struct.pack("f", float(c[0])))[0]))
    return fixed, max(abs(weight(x) * (polyval(fixed[::-1], x) - f(x))) for x in linspace(lo, hi, 2000))


def literal(value, double):
    """The value rounded to the type, as a C++ hexadecimal literal."""
    value = float(value)
    return value.hex() if double else struct.unpack("f", struct.pack("f", value))[0].hex() + "f"


def show(name, f, weight, lo, hi, degrees):
    """Prints one polynomial per type: float, double; a degree of None leaves the type out."""
    for double, degree in zip((False, True), degrees, strict=True):
        if degree is None:
            continue
        c, error = remez(f, weight, lo, hi, degree)
        print(f"{name} {'double' if double else 'float'}: degree {degree}, error 2^{float(log(error, 2)):.1f}")
        print("  {" + ", ".join(literal(v, double) for v in c) + "}")


if __name__ == "__main__":
    # e^h = 1 + h + h^2 q(h) on |h| <= ln2 / 2 (a little more, for rounding to the nearest multiple of ln2)
    edge, edge_of_eighths = log(2) / 2 * mpf("1.0001"), log(2) / 16 * mpf("1.001")
    q = lambda h: (expm1(h) - h) / h**2 if abs(h) > mpf("1e-20") else mpf(1) / 2 + h / 6
    show("exp q, steps of 1/8", q, lambda h: h**2 / exp(h), -edge_of_eighths, edge_of_eighths, (2, None))
    show("exp q, steps of 1", q, lambda h: h**2 / exp(h), -edge, edge, (None, 9))
    show("expm1 q", q, lambda h: abs(h**2 / expm1(h)) if h else mpf(0), -edge, edge, (5, 10))
    # e^h = 1 + h r(h), to what float32 rows need
    r = lambda h: expm1(h) / h if abs(h) > mpf("1e-25") else mpf(1)
    show("short exp r", r, lambda h: abs(h) / exp(h), -edge, edge, (None, 7))
    # (e^-d - 1 + d) / d^2, which the forward divergence has near 0: its gradient is relative to nothing larger
    near = lambda d: (expm1(-d) + d) / d**2 if abs(d) > mpf("1e-20") else mpf(1) / 2 - d / 6
    show("near phi*", near, lambda d: 1 / near(d), mpf(-2), mpf(1), (8, None))
    # What a class adds to three divergences, over the square of its distance a = |log(t/s)|, on [0, 2]
    tiny, one, two = mpf("1e-15"), mpf(1), mpf(2)
    of_larger = lambda a: (expm1(-a) + a) / a**2 if a > tiny else one / 2 - a / 6
    of_smaller = lambda a: (-expm1(-a) - a * exp(-a)) / a**2 if a > tiny else one / 2 - a / 3
    js = lambda a: ((1 + exp(-a)) * log(2 / (1 + exp(-a))) - a * exp(-a)) / (2 * a**2) if a > tiny else one / 8 - a / 16
    for name, f, degree in (("KL of larger", of_larger, 7), ("KL of smaller", of_smaller, 7), ("js", js, 8)):
        show(f"near {name}", f, lambda a, f=f: 1 / f(a), mpf(0), two, (degree, None))
    # log(1 + f) = 2 atanh(s), s = f / (2 + f), = 2s + s z p(z), z = s^2, for 1 + f in [sqrt(1/2), sqrt(2)]
    edge = ((sqrt(2) - 1) / (sqrt(2) + 1)) ** 2 * mpf("1.0001")
    p = lambda z: (2 * atanh(sqrt(z)) / sqrt(z) - 2) / z if z > mpf("1e-30") else mpf(2) / 3 + 2 * z / 5
    show("log p", p, lambda z: z / 2, mpf(0), edge, (3, 6))
    show("short log p", p, lambda z: z / 2, mpf(0), edge, (None, 3))
    # log(1 + e) = e - e^2 / 2 + e^3 q(e) on [0, 1]
    q = lambda e: (log1p(e) - e + e**2 / 2) / e**3
    c, error = rounded_in_turn(q, lambda e: e**3 / log1p(e), mpf("1e-6"), mpf(1), 7)
    print(f"log1p q float: degree 7, error 2^{float(log(error, 2)):.1f}")
    print("  {" + ", ".join(literal(v, False) for v in c) + "}")
    # ln 2 in two parts. The high part of a product with a whole number n must be exact; with FMA any length is, and it
    # ends so early that (1 + x - n high) is exact too; without, n (11 or 13 bits) and the high part share the mantissa.
    lengths = (("float", 0, 21), ("double", 1, 48), ("float, no FMA", 0, 10), ("double, no FMA", 1, 38))
    for name, double, digits in lengths:
        high = mpf(int(log(2) * 2**digits + mpf("0.5"))) / 2**digits
        print(f"ln2 {name}: {literal(high, double)}, {literal(log(2) - high, double)}")
    for name, digits in (("float", 24), ("float, no FMA", 14)):
        high = mpf(int(log(2) / 8 * 2**digits + mpf("0.5"))) / 2**digits
        print(f"ln2 / 8 {name}: {literal(high, False)}, {literal(log(2) / 8 - high, False)}")
    for double in (False, True):
        print("log2 e:", literal(1 / log(2), double))
    print("8 log2 e:", literal(8 / log(2), False))
    # 2^(i/8) rounded to float, as its bits less those of 1 and less i at the place where the shifted n has it; and the
    # logarithm of what the rounding left out.
    eighths = [struct.unpack("f", struct.pack("f", float(mpf(2) ** (mpf(i) / 8))))[0] for i in range(8)]
    bits = [struct.unpack("I", struct.pack("f", v))[0] - 0x3F800000 - (i << 20) for i, v in enumerate(eighths)]
    print("eighths:", ", ".join(f"{b & 0xFFFFFFFF:#010x}" for b in bits))
    rest = [literal(log(mpf(2) ** (mpf(i) / 8) / mpf(v)), False) for i, v in enumerate(eighths)]
    print("eighths_low:", ", ".join(rest))

// exp and expm1 on packs, without branches, within 1 ULP at the levels with FMA.
//
// The exponential of the kernels is `exp_scaled`; the function `exp` is the same code with the full range of results put back.
#pragma once

#include "kernels/math/constants.hpp"

namespace crossent {
namespace {

// ---- The exponential of the kernels ----------------------------------------------------------------------------------
//
// exp_scaled(x, error, magic) is e^(x + error) 2^exponent for `magic` = magic_of(exponent), where the exponent of the result is
// in range: x log2(e) is rounded to a whole number n of steps by adding `magic`, whose low bits then are the exponent field of
// the scale 2^(n/steps + exponent): one addition serves the rounding, the exponent and the bias. A field of 0 makes the scale,
// and so the result, exactly 0: that is where `lowest_exponent` clamps. g = x - n ln2/steps is exact however large x is: there
// is no maximum to subtract first, and no rounding error of that subtraction to lose the result by.

template <class T> CROSSENT_INLINE pack<T> magic_of(pack<T> exponent) {
  using k = constants<T>;
  return fma(exponent, set1(k::exp_steps), set1<T>(k::round + k::exp_steps * static_cast<T>(k::exponent_bias)));
}

// Float: steps of 1/8. The scale is 2^(n/8) rounded to float: exponent and mantissa in one addition of integers, from a
// table of mantissas less the bits of n that the shift leaves there. The relative rounding error of the scale is added to
// expm1 of the reduced argument h, which is so small that the last rounding is nearly the only error (0.6 ULP:
// docs/explanation/design/vmath.md).
constexpr std::uint32_t eighths[8] = {0x00000000, 0xfffb95c2, 0xfff837f0, 0xfff5fed7,
                                      0xfff504f3, 0xfff5672a, 0xfff744fd, 0xfffac0c7};
constexpr float eighths_lo[8] = {0x0p+0f,         -0x1.9c0c22p-27f, 0x1.125002p-25f,  -0x1.0a3552p-25f,
                                 0x1.26055cp-26f, 0x1.67a1cap-28f,  -0x1.f9c306p-27f, -0x1.a5217cp-28f};

CROSSENT_INLINE pack<float> step_of(pack<float> x, pack<float> magic) {
  return fma(x, set1(constants<float>::steps_per_unit), magic);
}
// e^h of step t, h being what the step leaves of the argument.
CROSSENT_INLINE pack<float> exp_of_step(pack<float> t, pack<float> h) {
  const pack<float> lo = from_bits<float>(lookup(to_bits<float>(t), eighths_lo));
  const pack<float> p = fma(h, fma(h, polynomial(h, constants<float>::exp_q), set1(1.0f)), lo);
  const pack<float> scale = from_bits<float>((to_bits<float>(t) << 20) + lookup(to_bits<float>(t), eighths));
  return fma(scale, p, scale);
}
CROSSENT_INLINE pack<float> exp_scaled(pack<float> x, pack<float> magic) {
  using k = constants<float>;
  const pack<float> t = step_of(x, magic), n = t - magic;
  return exp_of_step(t, fma(n, set1(-k::step_lo), fma(n, set1(-k::step_hi), x)));
}
CROSSENT_INLINE pack<float> exp_scaled(pack<float> x, pack<float> error, pack<float> magic) {
  using k = constants<float>;
  const pack<float> t = step_of(x, magic), n = t - magic;
  return exp_of_step(t, fma(n, set1(-k::step_hi), x) + fma(n, set1(-k::step_lo), error));
}

// Double: steps of 1. (1 + g) 2^n is exact when g has no bits below the last of 1, so the few that a small x has there go
// into the correction c: within 0.75 ULP (measured). No level but AVX-512 has a table of doubles at hand.
struct exp_parts {
  pack<double> g, w, scale;   // the exponential is (1 + g + w) scale
};
CROSSENT_INLINE exp_parts exp_scaled_parts(pack<double> x, pack<double> error, pack<double> magic) {
  using k = constants<double>;
  const pack<double> coarse = (x + set1(3.0)) - set1(3.0);   // a multiple of 1/4 of the last place of 1, or x itself
  const pack<double> t = fma(x, set1(k::log2_e), magic);
  const pack<double> n = t - magic;
  const pack<double> g = fma(n, set1(-k::ln2_hi), coarse);
  const pack<double> c = fma(n, set1(k::ln2_lo), (coarse - x) - error);
  const pack<double> h = g - c;
  const pack<double> w = fma(h * h, polynomial(h, k::exp_q), -c);
  return {g, w, from_bits<double>(to_bits<double>(t) << k::mantissa_bits)};
}
CROSSENT_INLINE pack<double> exp_scaled(pack<double> x, pack<double> error, pack<double> magic) {
  const exp_parts e = exp_scaled_parts(x, error, magic);
  return fma(e.w, e.scale, fma(e.g, e.scale, e.scale));
}
CROSSENT_INLINE pack<double> exp_scaled(pack<double> x, pack<double> magic) { return exp_scaled(x, set1(0.0), magic); }

// exp_scaled of doubles for what is rounded to float32 in the end: within 2^-40, and exactly 2^exponent at 0.
CROSSENT_INLINE pack<double> short_exp_scaled(pack<double> x, pack<double> error, pack<double> magic) {
  using k = constants<double>;
  const pack<double> t = fma(x, set1(k::log2_e), magic);
  const pack<double> g = fma(t - magic, set1(-k::ln2), x) + error;
  const pack<double> scale = from_bits<double>(to_bits<double>(t) << k::mantissa_bits);
  return fma(scale, g * polynomial(g, k::short_exp_r), scale);
}

// The x at which exp_scaled reaches 0: clamp to it before.
template <class T> CROSSENT_INLINE pack<T> lowest_exponent(pack<T> exponent) {
  using k = constants<T>;
  return (exponent + set1<T>(static_cast<T>(k::exponent_bias))) * set1(-(k::ln2_hi + k::ln2_lo));
}

// e^(x + error), the error being a rounding error of x.
template <class T> CROSSENT_ONCE pack<T> exp(pack<T> x, pack<T> error) {
  using k = constants<T>;
  const pack<T> zero = set1<T>(0);
  // Results may be subnormal (x < 0) or beyond the exponent field by one (x > 0): scale there, and back at the end.
  const T s = static_cast<T>(k::subnormal_scale);
  const pack<T> exponent = select(x < zero, set1(s), set1<T>(-2));
  const pack<T> back = select(x < zero, exp2_whole(set1(-s)), set1<T>(4));
  const pack<T> lowest = set1(k::exp_lowest), highest = set1(k::exp_highest);
  const pack<T> inside = at_most(at_least(x, lowest), highest);
  pack<T> y = exp_scaled(inside, select(inside == x, error, zero), magic_of(exponent)) * back;
  y = select(x < lowest, zero, y);
  return select(highest < x, set1(k::infinity), y);
}
template <class T> CROSSENT_INLINE pack<T> exp(pack<T> x) { return exp(x, set1<T>(0)); }

// x = n ln2 + g - c, |g - c| <= ln2 / 2, g exact; h + h_lo = g - c; `half` = 2^(n-1), for 2^n may be beyond the range.
template <class T> struct reduced_argument {
  pack<T> n, half, g, c, h, h_lo;

  CROSSENT_INLINE_MEMBER explicit reduced_argument(pack<T> x) {
    using k = constants<T>;
    const pack<T> magic = set1<T>(k::round + static_cast<T>(k::exponent_bias - 1));
    const pack<T> t = fma(x, set1(k::log2_e), magic);
    n = t - magic;
    g = fma(n, set1(-k::ln2_hi), x);
    c = n * set1(k::ln2_lo);
    h = g - c;
    h_lo = (g - h) - c;
    half = from_bits<T>(to_bits<T>(t) << k::mantissa_bits);
  }
};

// e^x - 1. The sum 2^n (g + w) + (2^n - 1) carries the rounding error of its large part.
template <class T> CROSSENT_ONCE pack<T> expm1(pack<T> x) {
  using k = constants<T>;
  const pack<T> lowest = set1(k::expm1_lowest), highest = set1(k::exp_highest);
  const reduced_argument<T> r(at_most(at_least(x, lowest), highest));
  const pack<T> w = fma(r.h * r.h, polynomial(r.h, k::expm1_q), fma(r.h, r.h_lo, -r.c));
  const pack<T> half = set1<T>(T(0.5));
  const pack<T> whole = r.half - half;
  const auto sum = two_sum(whole, r.g * r.half);
  pack<T> y = (sum.hi + (fma(w, r.half, sum.lo) + ((r.half - whole) - half))) * set1<T>(2);
  y = select(r.n == set1<T>(0), r.g + w, y);
  y = select(x < lowest, set1<T>(-1), y);
  y = select(highest < x, set1(k::infinity), y);
  return select(x == set1<T>(0), x, y);   // keeps -0
}

}  // namespace
}  // namespace crossent

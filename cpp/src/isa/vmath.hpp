// exp, expm1, log and log1p on packs, without branches, each within 1 ULP at the levels with FMA.
//
// Polynomials and constants come from cpp/tools/coefficients.py. The exponential of the kernels is `exp_scaled`; the
// function `exp` is the same code with the full range of results put back.
#pragma once

#include "double_double.hpp"

namespace crossent {
namespace {

template <class T> struct constants;

template <> struct constants<float> {
  static constexpr int mantissa_bits = 23;
  static constexpr int exponent_bias = 127;
  static constexpr float round = 0x1.8p23f;       // x + round - round is x to the nearest integer
  static constexpr float integer = 0x1p23f;       // its mantissa holds an integer below 2^23
  static constexpr float smallest_normal = 0x1p-126f;
  static constexpr float infinity = __builtin_inff();
  static constexpr float nan = __builtin_nanf("");
  static constexpr float largest = 0x1.fffffep127f;
  static constexpr float log2_e = 0x1.715476p+0f;
  static constexpr float ln2_high = has_fma ? 0x1.62e43p-1f : 0x1.63p-1f;
  static constexpr float ln2_low = has_fma ? -0x1.05c61p-29f : -0x1.bd0106p-13f;
  static constexpr float exp_steps = 8, steps_per_unit = 0x1.715476p+3f;
  static constexpr float step_high = has_fma ? 0x1.62e43p-4f : 0x1.63p-4f;   // ln2 / 8
  static constexpr float step_low = has_fma ? -0x1.05c61p-32f : -0x1.bd0106p-16f;
  static constexpr float exp_q[] = {0x1p-1f, 0x1.555c7ap-3f, 0x1.55483cp-5f};
  static constexpr float expm1_q[] = {
      0x1p-1f, 0x1.555554p-3f, 0x1.5554b2p-5f, 0x1.11118ap-7f, 0x1.6d71f8p-10f, 0x1.a032bep-13f};
  static constexpr float log_p[] = {0x1.555554p-1f, 0x1.999a7ap-2f, 0x1.2438d2p-2f, 0x1.e2f72p-3f};
  static constexpr float exp_highest = 0x1.62e6p6f;   // exp is inf from here on (and below it by itself)
  static constexpr float exp_lowest = -0x1.a2p6f;     // exp is 0 up to here
  static constexpr int subnormal_scale = 64;          // exponents added while a result may be subnormal
  static constexpr float expm1_lowest = -0x1.4p4f;    // expm1 is -1 up to here
};

template <> struct constants<double> {
  static constexpr int mantissa_bits = 52;
  static constexpr int exponent_bias = 1023;
  static constexpr double round = 0x1.8p52;
  static constexpr double integer = 0x1p52;
  static constexpr double smallest_normal = 0x1p-1022;
  static constexpr double infinity = __builtin_inf();
  static constexpr double nan = __builtin_nan("");
  static constexpr double largest = 0x1.fffffffffffffp1023;
  static constexpr double log2_e = 0x1.71547652b82fep+0;
  static constexpr double ln2_high = has_fma ? 0x1.62e42fefa39ep-1 : 0x1.62e42fefa0000p-1;
  static constexpr double ln2_low = has_fma ? 0x1.e6af278ece601p-50 : 0x1.cf79abc9e3b3ap-40;
  static constexpr double exp_steps = 1;
  static constexpr double exp_q[] = {
      0x1.000000000000ap-1, 0x1.55555555554fap-3, 0x1.555555555087dp-5, 0x1.1111111127bdap-7, 0x1.6c16c18429fa9p-10,
      0x1.a01a012a5a13cp-13, 0x1.a0199a0c8d29ap-16, 0x1.71df254f29085p-19, 0x1.28ad72bb053d9p-22,
      0x1.ad7f7177dd37cp-26};
  static constexpr double expm1_q[] = {
      0x1p-1, 0x1.5555555555559p-3, 0x1.555555555553fp-5, 0x1.111111110f6dap-7, 0x1.6c16c16c1f0a9p-10,
      0x1.a01a01afd3ac2p-13, 0x1.a01a017bb6acap-16, 0x1.71ddf87f4613fp-19, 0x1.27e5364f6ef54p-22,
      0x1.af5e740b45e03p-26, 0x1.1ee84f600a45dp-29};
  static constexpr double log_p[] = {
      0x1.5555555555592p-1, 0x1.999999997fd72p-2, 0x1.24924941f52f6p-2, 0x1.c71c5205e49e5p-3, 0x1.74663fa87795ep-3,
      0x1.39a1a66514b75p-3, 0x1.2f0639ca985b3p-3};
  static constexpr double exp_highest = 0x1.62e7p9;
  static constexpr double exp_lowest = -0x1.75p9;
  static constexpr int subnormal_scale = 128;
  static constexpr double expm1_lowest = -0x1.4p5;
};

// c[first] + c[first + 1] x + ..
template <int first, class T, int n> CROSSENT_INLINE pack<T> polynomial_from(pack<T> x, const T (&c)[n]) {
  pack<T> y = set1(c[n - 1]);
  for (int i = n - 2; i >= first; --i) y = fma(y, x, set1(c[i]));
  return y;
}
template <class T, int n> CROSSENT_INLINE pack<T> polynomial(pack<T> x, const T (&c)[n]) { return polynomial_from<0>(x, c); }

// 2^e for whole e with exponent_bias + e in 0 .. 2 exponent_bias (2^-exponent_bias gives 0).
template <class T> CROSSENT_INLINE pack<T> exp2_whole(pack<T> e) {
  using k = constants<T>;
  return from_bits<T>(to_bits<T>(e + set1<T>(k::round + static_cast<T>(k::exponent_bias))) << k::mantissa_bits);
}

// ---- The exponential of the kernels ----------------------------------------------------------------------------------
//
// exp_scaled(x, error, magic) is e^(x + error) 2^exponent for `magic` = magic_of(exponent), where the exponent of the result is
// in range: x log2(e) is rounded to a whole number n of steps by adding `magic`, whose low bits then are the exponent field
// of the scale 2^(n/steps + exponent): one addition serves the rounding, the exponent and the bias. A field of 0 makes the scale,
// and so the result, exactly 0: that is where `lowest_exponent` clamps. g = x - n ln2/steps is exact however large x is:
// there is no maximum to subtract first, and no rounding error of that subtraction to lose the result by.

template <class T> CROSSENT_INLINE pack<T> magic_of(pack<T> exponent) {
  using k = constants<T>;
  return fma(exponent, set1(k::exp_steps), set1<T>(k::round + k::exp_steps * static_cast<T>(k::exponent_bias)));
}

// Float: steps of 1/8. The scale is 2^(n/8) rounded to float: exponent and mantissa in one addition of integers, from a
// table of mantissas less what the shifted n has put there. What the rounding left out is added to what is left of x, of
// which so little remains that the last rounding is nearly the only one (0.56 ULP, measured: docs/design.md).
constexpr std::uint32_t eighths[8] = {0x00000000, 0xfffb95c2, 0xfff837f0, 0xfff5fed7,
                                      0xfff504f3, 0xfff5672a, 0xfff744fd, 0xfffac0c7};
constexpr float eighths_low[8] = {0x0p+0f,          -0x1.9c0c22p-27f, 0x1.125002p-25f,  -0x1.0a3552p-25f,
                                  0x1.26055cp-26f, 0x1.67a1cap-28f,  -0x1.f9c306p-27f, -0x1.a5217cp-28f};

CROSSENT_INLINE pack<float> exp_rest(pack<float> x, pack<float> magic, pack<float> t, pack<float> low) {
  using k = constants<float>;
  const pack<float> n = t - magic;
  const pack<float> g = fma(n, set1(-k::step_high), x);
  const pack<float> h = g + fma(n, set1(-k::step_low), low);
  const pack<float> p = fma(h * h, polynomial(h, k::exp_q), h);
  const pack<float> scale = from_bits<float>((to_bits<float>(t) << 20) + lookup(to_bits<float>(t), eighths));
  return fma(scale, p, scale);
}
CROSSENT_HOT pack<float> exp_scaled(pack<float> x, pack<float> magic) {
  const pack<float> t = fma(x, set1(constants<float>::steps_per_unit), magic);
  return exp_rest(x, magic, t, from_bits<float>(lookup(to_bits<float>(t), eighths_low)));
}
CROSSENT_HOT pack<float> exp_scaled(pack<float> x, pack<float> error, pack<float> magic) {
  const pack<float> t = fma(x, set1(constants<float>::steps_per_unit), magic);
  return exp_rest(x, magic, t, from_bits<float>(lookup(to_bits<float>(t), eighths_low)) + error);
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
  const pack<double> g = fma(n, set1(-k::ln2_high), coarse);
  const pack<double> c = fma(n, set1(k::ln2_low), (coarse - x) - error);
  const pack<double> h = g - c;
  const pack<double> w = fma(h * h, polynomial(h, k::exp_q), -c);
  return {g, w, from_bits<double>(to_bits<double>(t) << k::mantissa_bits)};
}
CROSSENT_HOT pack<double> exp_scaled(pack<double> x, pack<double> error, pack<double> magic) {
  const exp_parts e = exp_scaled_parts(x, error, magic);
  return fma(e.w, e.scale, fma(e.g, e.scale, e.scale));
}
CROSSENT_INLINE pack<double> exp_scaled(pack<double> x, pack<double> magic) { return exp_scaled(x, set1(0.0), magic); }

// The x at which exp_scaled reaches 0: clamp to it before.
template <class T> CROSSENT_INLINE pack<T> lowest_exponent(pack<T> exponent) {
  using k = constants<T>;
  return (exponent + set1<T>(static_cast<T>(k::exponent_bias))) * set1(-(k::ln2_high + k::ln2_low));
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

// x = n ln2 + g - c, |g - c| <= ln2 / 2, g exact; h = g - c - lost; `half` = 2^(n-1), for 2^n may be beyond the range.
template <class T> struct reduced_argument {
  pack<T> n, half, g, c, h, lost;

  explicit reduced_argument(pack<T> x) {
    using k = constants<T>;
    const pack<T> magic = set1<T>(k::round + static_cast<T>(k::exponent_bias - 1));
    const pack<T> t = fma(x, set1(k::log2_e), magic);
    n = t - magic;
    g = fma(n, set1(-k::ln2_high), x);
    c = n * set1(k::ln2_low);
    h = g - c;
    lost = (g - h) - c;
    half = from_bits<T>(to_bits<T>(t) << k::mantissa_bits);
  }
};

// e^x - 1. The sum 2^n (g + w) + (2^n - 1) carries the rounding error of its large part.
template <class T> CROSSENT_ONCE pack<T> expm1(pack<T> x) {
  using k = constants<T>;
  const pack<T> lowest = set1(k::expm1_lowest), highest = set1(k::exp_highest);
  const reduced_argument<T> r(at_most(at_least(x, lowest), highest));
  const pack<T> w = fma(r.h * r.h, polynomial(r.h, k::expm1_q), fma(r.h, r.lost, -r.c));
  const pack<T> half = set1<T>(T(0.5));
  const pack<T> whole = r.half - half;
  const auto sum = two_sum(whole, r.g * r.half);
  pack<T> y = (sum.hi + (fma(w, r.half, sum.lo) + ((r.half - whole) - half))) * set1<T>(2);
  y = select(r.n == set1<T>(0), r.g + w, y);
  y = select(x < lowest, set1<T>(-1), y);
  y = select(highest < x, set1(k::infinity), y);
  return select(x == set1<T>(0), x, y);   // keeps -0
}

// A logarithm as e ln2_high + (f - less): |less| < 0.09, and of it 2^-4 ULP of 1 are known.
template <class T> struct log_parts {
  pack<T> e, f, less;

  pack<T> sum() const { return fma(e, set1(constants<T>::ln2_high), f - less); }
};
// log(2^e (1 + f)) + c, 1 + f in [sqrt(1/2), sqrt(2)], inverse = 1 / (2 + f)
template <class T> CROSSENT_INLINE log_parts<T> log_reduced(pack<T> e, pack<T> f, pack<T> inverse, pack<T> c) {
  using k = constants<T>;
  const pack<T> s = f * inverse;
  const pack<T> z = s * s;
  const pack<T> half_square = set1<T>(T(0.5)) * f * f;
  const pack<T> low = fma(s, fma(z, polynomial(z, k::log_p), half_square), fma(e, set1(k::ln2_low), c));
  return {e, f, half_square - low};
}

template <class T> struct frexp_parts {
  pack<T> exponent, mantissa;   // mantissa in [sqrt(1/2), sqrt(2))
};
// Positive normal numbers only.
template <class T> CROSSENT_INLINE frexp_parts<T> frexp(pack<T> x) {
  using k = constants<T>;
  using uint = typename pack<T>::uint;
  constexpr uint one = static_cast<uint>(k::exponent_bias) << k::mantissa_bits;
  constexpr uint root = sizeof(T) == 4 ? static_cast<uint>(0x3f3504f3u) : static_cast<uint>(0x3fe6a09e667f3bcdu);
  const bits<T> b = to_bits<T>(x) + (one - root);
  const pack<T> biased = from_bits<T>((b >> k::mantissa_bits) | to_bits<T>(set1(k::integer)).r[0][0]);
  frexp_parts<T> out;
  out.exponent = biased - set1<T>(k::integer + static_cast<T>(k::exponent_bias));
  out.mantissa = from_bits<T>((b & ((uint{1} << k::mantissa_bits) - 1)) + root);
  return out;
}

// What log and log1p share at the ends of their domain, given the argument of the logarithm.
template <class T> CROSSENT_INLINE pack<T> log_limits(pack<T> argument, pack<T> y) {
  using k = constants<T>;
  const pack<T> zero = set1<T>(0), inf = set1(k::infinity);
  y = select(argument == zero, -inf, y);
  y = select(argument < zero, set1<T>(__builtin_nanf("")), y);
  return select(argument < inf, y, argument);   // inf, NaN
}

template <class T> CROSSENT_ONCE pack<T> log(pack<T> x) {
  using k = constants<T>;
  const pack<T> normal = set1(k::smallest_normal);
  const T s = static_cast<T>(k::subnormal_scale);
  const pack<T> up = select(x < normal, exp2_whole(set1(s)), set1<T>(1));
  const frexp_parts<T> m = frexp(x * up);
  const pack<T> e = m.exponent - select(x < normal, set1(s), set1<T>(0));
  const pack<T> f = m.mantissa - set1<T>(1);
  return log_limits(x, log_reduced(e, f, set1<T>(1) / (f + set1<T>(2)), set1<T>(0)).sum());
}

// log(1 + x): the rounding error of 1 + x is carried as c = error / (1 + x), for which (2 / (2 + f))^2 is near enough
// to 1 / (1 + f) (within 5 % of half a unit in the last place).
template <class T> CROSSENT_INLINE log_parts<T> log1p_parts(pack<T> x, pack<T>& u) {
  const pack<T> zero = set1<T>(0), one = set1<T>(1);
  const auto sum = two_sum(one, x);
  u = sum.hi;
  const frexp_parts<T> m = frexp(u);
  const pack<T> f = select(m.exponent == zero, x, m.mantissa - one);
  const pack<T> inverse = one / (f + set1<T>(2));
  const pack<T> twice = inverse + inverse;
  // Beyond 2^60 the error is below reach; 2^-exponent would leave the range with it.
  const pack<T> bounded = select(m.exponent < set1<T>(60), m.exponent, set1<T>(60));
  const pack<T> c = select(m.exponent == zero, zero, sum.lo * exp2_whole(-bounded) * (twice * twice));
  return log_reduced(m.exponent, f, inverse, c);
}
template <class T> CROSSENT_ONCE pack<T> log1p(pack<T> x) {
  pack<T> u;
  const pack<T> y = log1p_parts(x, u).sum();
  return select(x == set1<T>(0), x, log_limits(u, y));   // keeps -0
}

}  // namespace
}  // namespace crossent

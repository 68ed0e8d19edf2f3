// log and log1p on packs, without branches, within 1 ULP at the levels with FMA.
#pragma once

#include "kernels/math/constants.hpp"

namespace crossent {
namespace {

// A logarithm as e ln2_hi + (f - less): |less| < 0.09, and of it 2^-4 ULP of 1 are known.
template <class T> struct log_parts {
  pack<T> e, f, less;

  CROSSENT_INLINE_MEMBER pack<T> sum() const { return fma(e, set1(constants<T>::ln2_hi), f - less); }
};
// log(2^e (1 + f)) + c, 1 + f in [sqrt(1/2), sqrt(2)], inverse = 1 / (2 + f)
template <class T> CROSSENT_INLINE log_parts<T> log_reduced(pack<T> e, pack<T> f, pack<T> inverse, pack<T> c) {
  using k = constants<T>;
  const pack<T> s = f * inverse;
  const pack<T> z = s * s;
  const pack<T> half_square = set1<T>(T(0.5)) * f * f;
  const pack<T> low = fma(s, fma(z, polynomial(z, k::log_p), half_square), fma(e, set1(k::ln2_lo), c));
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

// The ends of the domain, for log and log1p: 0, negative numbers, infinity, NaN.
template <class T> CROSSENT_INLINE pack<T> log_limits(pack<T> argument, pack<T> y) {
  using k = constants<T>;
  const pack<T> zero = set1<T>(0), inf = set1(k::infinity);
  y = select(argument == zero, -inf, y);
  y = select(argument < zero, set1<T>(__builtin_nanf("")), y);
  return select(argument < inf, y, argument);   // inf, NaN
}

template <class T> CROSSENT_INLINE pack<T> log_in_line(pack<T> x) {
  using k = constants<T>;
  const pack<T> normal = set1(k::smallest_normal);
  const T s = static_cast<T>(k::subnormal_scale);
  const pack<T> up = select(x < normal, exp2_whole(set1(s)), set1<T>(1));
  const frexp_parts<T> m = frexp(x * up);
  const pack<T> e = m.exponent - select(x < normal, set1(s), set1<T>(0));
  const pack<T> f = m.mantissa - set1<T>(1);
  return log_limits(x, log_reduced(e, f, set1<T>(1) / (f + set1<T>(2)), set1<T>(0)).sum());
}
template <class T> CROSSENT_ONCE pack<T> log(pack<T> x) { return log_in_line(x); }

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
  const pack<T> c = select(m.exponent != zero, sum.lo * exp2_whole(-bounded) * (twice * twice), zero);
  return log_reduced(m.exponent, f, inverse, c);
}
template <class T> CROSSENT_INLINE pack<T> inlined_log1p(pack<T> x) {
  pack<T> u;
  const pack<T> y = log1p_parts(x, u).sum();
  return select(x == set1<T>(0), x, log_limits(u, y));   // keeps -0
}
template <class T> CROSSENT_ONCE pack<T> log1p(pack<T> x) { return inlined_log1p(x); }

// log1p of doubles for what is rounded to float32 in the end: within 2^-37, relative to the result. x is 0, or 2^-1000 and more.
CROSSENT_INLINE pack<double> short_log1p(pack<double> x) {
  using k = constants<double>;
  const pack<double> zero = set1(0.0), one = set1(1.0), u = one + x;
  const frexp_parts<double> m = frexp(u);
  const pack<double> f = select(m.exponent == zero, x, m.mantissa - one);
  const pack<double> s = f / (f + set1(2.0)), z = s * s;
  const pack<double> y = fma(m.exponent, set1(k::ln2), fma(s * z, polynomial(z, k::short_log_p), s + s));
  return select(u < set1(k::infinity), y, u);   // inf, NaN
}

}  // namespace
}  // namespace crossent

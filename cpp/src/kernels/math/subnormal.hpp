// Numbers that may be subnormal: one rule, and all of its thresholds.
//
// A subnormal number has lost digits, and products with it stay without them. So a quantity that may be subnormal is held times
// 2^exponent, as `scaled`; coefficients multiply it there; `unscale`, last, is the one rounding.
#pragma once

#include "kernels/math/exp.hpp"

namespace crossent {
namespace {

template <class T> struct subnormal;
template <> struct subnormal<float> {
  static constexpr float tiny = 0x1p-100f;  // numbers below this are scaled
  static constexpr float normal_exponential = -64;  // e^y is normal from this y on
  static constexpr float no_exponential = -195;  // e^y is 0 up to this y, also times a coefficient of any size
  static constexpr int exponential_exponent = 160;  // of the scaled e^y between the two
  static constexpr int reciprocal_exponent = 64;  // of numbers that are divided by
};
template <> struct subnormal<double> {
  static constexpr double tiny = 0x1p-900;
  static constexpr double normal_exponential = -700;
  static constexpr double no_exponential = -1460;
  static constexpr int exponential_exponent = 1100;
  static constexpr int reciprocal_exponent = 512;
  // Of the coefficients in sums over a row: their products have rounding errors, which must be normal too.
  static constexpr double tiny_coefficient = 0x1p-400, tiny_log_coefficient = -277;
  static constexpr int coefficient_exponent = tiny_sums_exponent;
  static constexpr double log_coefficient_scale = 0x1.5a92d6d005c94p+8, log_coefficient_scale_lo = -0x1.971e6bd14ec61p-46;
};

// Exponents added to the terms of a row, so that none that matters is subnormal.
template <class T> constexpr T bias = static_cast<T>(constants<T>::subnormal_scale);
// Exponents added to the factor of a block's terms, which may be far smaller than their sum is large.
constexpr double block_headroom = 256;
// Exponents between a term with its factor and the end of the range: a divergence multiplies it by logarithms.
constexpr double term_headroom = 16;
// Exponents between a cached term with its factor and the ends of the range.
constexpr int cached_headroom = 4;

template <class T> constexpr T power_of_two(int exponent) {
  T power = 1;
  for (; exponent > 0; --exponent) power *= 2;
  for (; exponent < 0; ++exponent) power /= 2;
  return power;
}

// A number times 2^exponent.
template <class T, int exponent = constants<T>::subnormal_scale> struct scaled {
  pack<T> value;
};
template <class T, int exponent> CROSSENT_INLINE scaled<T, exponent> operator*(pack<T> a, scaled<T, exponent> b) {
  return {a * b.value};
}
template <class T, int exponent> CROSSENT_INLINE scaled<T, exponent> operator-(scaled<T, exponent> a) { return {-a.value}; }
template <class T, int exponent> CROSSENT_INLINE pack<T> unscale(scaled<T, exponent> a) {
  return a.value * set1(power_of_two<T>(-exponent));
}

// e^y v below normal_exponential, rounded once; 0 for y = -inf. v is scaled back half of the way first: 2^-exponent may be out
// of range, and the product may only vanish where the result does.
template <class T> CROSSENT_ONCE pack<T> exp_times_scaled(pack<T> y, pack<T> v) {
  using k = subnormal<T>;
  const pack<T> half_back = set1(power_of_two<T>(-k::exponential_exponent / 2));
  const pack<T> inside = at_most(at_least(y, set1(k::no_exponential)), set1(k::normal_exponential));
  const pack<T> e = exp_scaled(inside, magic_of(set1(static_cast<T>(k::exponential_exponent))));
  return select(y != set1(-constants<T>::infinity), (e * (v * half_back)) * half_back, set1<T>(0));
}
// e^y v of any y.
template <class T> CROSSENT_INLINE pack<T> exp_times(pack<T> y, pack<T> v) {
  return select(y < set1(subnormal<T>::normal_exponential), exp_times_scaled(y, v), exp(y) * v);
}

}  // namespace
}  // namespace crossent

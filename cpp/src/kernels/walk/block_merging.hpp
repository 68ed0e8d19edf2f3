// The factor that takes the terms of a block to others: exponentials of differences of maxima, in float64.
#pragma once

#include "kernels/simd/double_double.hpp"
#include "kernels/walk/definition.hpp"

namespace crossent {
namespace {

// 1/T in two parts of the arithmetic type.
template <class T> inverse_temperature inverse_temperature_of(double temperature) {
  const doubles one = set1(1.0), t = set1(temperature), inverse = one / t, product = inverse * t;
  const double whole = inverse.r[0][0];
  const double error = (((one - product) - product_error(inverse, t, product)) / t).r[0][0];
  // Beyond the range of the type, exp(-d/T) of a difference d of logits is 0; with the largest number it is, too, unless the
  // logits themselves are nearly subnormal.
  constexpr double largest = static_cast<double>(constants<T>::largest);
  if (!(whole < largest)) return {largest, 0, false, temperature};
  const double hi = static_cast<double>(static_cast<T>(whole));
  return {hi, (whole - hi) + error, temperature == 1};
}

// The argument of an exponential as x + error, and the `magic` that sets its power of two.
struct exp_argument {
  doubles x, error, magic;
};
CROSSENT_INLINE doubles exp_of(exp_argument e) { return exp_scaled(e.x, e.error, e.magic); }
// The exponential with its rounding error: 1 + g is exact.
CROSSENT_INLINE double_double<doubles> extended_exp_of(exp_argument e) {
  const exp_parts p = exp_scaled_parts(e.x, e.error, e.magic);
  const doubles whole = set1(1.0) + p.g, sum = whole + p.w;
  return {sum * p.scale, ((whole - sum) + p.w) * p.scale};
}

// (a - b)/T for exp(..) 2^exponent, a and b at any distance; 0 where both are infinite.
CROSSENT_INLINE exp_argument exp_argument_of(doubles a, doubles b, const inverse_temperature& t, doubles exponent) {
  const doubles zero = set1(0.0), one = set1(1.0);
  const auto difference = two_sum(a, -b);
  doubles d = at_least(select(a != b, difference.hi, zero), set1(-constants<double>::largest));
  doubles error = select(absolute(difference.lo) < one, difference.lo, zero);  // NaN beside an infinite d
  if (!t.is_one) {
    const doubles inverse_hi = set1(t.hi), z = d * inverse_hi;
    error = fma(error, inverse_hi, fma(d, set1(t.lo), product_error(d, inverse_hi, z)));
    error = select(absolute(error) < one, error, zero);
    d = z;
  }
  const doubles lowest = lowest_exponent(exponent);
  return {at_least(d, lowest), select(d < lowest, zero, error), magic_of(exponent)};
}

// exp(..) takes a block's terms to exp((x - max)/T), times 2^block_headroom.
CROSSENT_INLINE exp_argument block_argument(doubles reference, doubles exponent, doubles max, const inverse_temperature& t) {
  const doubles finite = select(max != set1(-constants<double>::infinity), max, set1(0.0));
  return exp_argument_of(reference, finite, t, exponent + set1(block_headroom));
}
// The same where that block is the row, with T = 1: `reference` is 0 or the maximum, and the exponent keeps the result near 1.
CROSSENT_INLINE exp_argument row_argument(doubles reference, doubles exponent, doubles max) {
  const doubles zero = set1(0.0), d = select(reference == zero, -max, zero);
  return {select(max != set1(-constants<double>::infinity), d, zero), zero, magic_of(exponent + set1(block_headroom))};
}

template <class T> struct block_merging {
  static constexpr bool extended = sizeof(T) == 8;
  using number = double_double<doubles>;
  const doubles unscaled = exp2_whole(set1(-block_headroom));
  const double unbiased = exp2_whole(set1(-block_headroom - static_cast<double>(bias<T>))).r[0][0];

  // The factor of a block's terms, times 2^block_headroom; of float64 rows with its rounding error.
  CROSSENT_INLINE_MEMBER number factor(exp_argument e) const {
    if constexpr (extended) return extended_exp_of(e);
    else return exact(short_exp_scaled(e.x, e.error, e.magic));
  }
  // A sum of terms times their factor. Only the result may be subnormal.
  CROSSENT_INLINE_MEMBER number product(accumulator<T> sum, number factor) const {
    const doubles p = first_part(sum) * factor.hi;
    if constexpr (extended) {
      const doubles error = fma(sum.hi, factor.lo, product_error(sum.hi, factor.hi, p));
      return normalised(number{p, fma(sum.lo, factor.hi, error)});
    } else {
      return exact(p);
    }
  }
  // The tail of a row from the sum of its terms without one group's maxima, and how many those are.
  CROSSENT_INLINE_MEMBER number tail(number sum, doubles max_count) const {
    const doubles more = max_count - set1(1.0), whole = sum.hi * set1(unbiased);
    if constexpr (extended) return normalised(number{whole, sum.lo * set1(unbiased)} + exact(more));
    else return exact(whole + more);
  }
};

}  // namespace
}  // namespace crossent

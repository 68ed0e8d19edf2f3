// An unevaluated sum hi + lo of two numbers, |lo| being a rounding error beside |hi|: about twice the digits of one.
#pragma once

#include "core/always_inline.hpp"

namespace crossent {

// V: double, or a pack of lanes.
template <class V> struct double_double {
  V hi, lo;
};
template <class V> double_double(V, V) -> double_double<V>;

// hi = fl(a + b), lo = a + b - hi, exactly (Knuth's TwoSum). NaN for lo where the sum is infinite.
template <class V> CROSSENT_ALWAYS double_double<V> two_sum(V a, V b) {
  const V sum = a + b, b_rounded = sum - a;
  return {sum, (a - (sum - b_rounded)) + (b - b_rounded)};
}

template <class V> CROSSENT_ALWAYS double_double<V> operator+(double_double<V> a, V b) {
  const double_double<V> sum = two_sum(a.hi, b);
  return {sum.hi, a.lo + sum.lo};
}
template <class V> CROSSENT_ALWAYS double_double<V> operator+(double_double<V> a, double_double<V> b) {
  const double_double<V> sum = two_sum(a.hi, b.hi);
  return {sum.hi, sum.lo + (a.lo + b.lo)};
}
template <class V, class W> CROSSENT_ALWAYS void operator+=(double_double<V>& a, W b) {
  const double_double<V> sum = a + b;
  a.hi = sum.hi;
  a.lo = sum.lo;
}
template <class V> CROSSENT_ALWAYS double_double<V> operator-(double_double<V> a) { return {-a.hi, -a.lo}; }

// hi + lo as one number; an infinite sum has NaN for its lo.
CROSSENT_ALWAYS double rounded(double_double<double> a) { return a.lo == a.lo ? a.hi + a.lo : a.hi; }

}  // namespace crossent

// double_double of packs: products and quotients, and sums over lanes.
#pragma once

#include <type_traits>

#include "core/double_double.hpp"
#include "kernels/simd/bits.hpp"
#include "kernels/simd/convert.hpp"

namespace crossent {
namespace {

template <class T> CROSSENT_INLINE double_double<pack<T>> exact(pack<T> a) { return {a, set1<T>(0)}; }

// The rounding error of p = fl(a b). Without FMA: products of numbers cut to half their bits, which are exact.
template <class T> CROSSENT_INLINE pack<T> product_error(pack<T> a, pack<T> b, pack<T> p) {
  if constexpr (has_fma) {
    return fma(a, b, -p);
  } else {
    constexpr int low_bits = sizeof(T) == 4 ? 12 : 27;
    constexpr auto upper = static_cast<typename pack<T>::uint>(~typename pack<T>::uint{0} << low_bits);
    const pack<T> a_hi = from_bits<T>(to_bits<T>(a) & upper), a_lo = a - a_hi;
    const pack<T> b_hi = from_bits<T>(to_bits<T>(b) & upper), b_lo = b - b_hi;
    return ((a_hi * b_hi - p) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo;
  }
}

// a b + c of finite numbers, rounded once: without FMA within a little of it.
template <class T> CROSSENT_INLINE pack<T> rounded_once(pack<T> a, pack<T> b, pack<T> c) {
  if constexpr (has_fma) return fma(a, b, c);
  const pack<T> p = a * b;
  const auto sum = two_sum(p, c);
  return sum.hi + (sum.lo + product_error(a, b, p));
}

template <class T> CROSSENT_INLINE double_double<pack<T>> operator*(double_double<pack<T>> a, double_double<pack<T>> b) {
  const pack<T> p = a.hi * b.hi;
  return {p, product_error(a.hi, b.hi, p) + (a.hi * b.lo + a.lo * b.hi)};
}
template <class T> CROSSENT_INLINE double_double<pack<T>> operator/(double_double<pack<T>> a, double_double<pack<T>> b) {
  const pack<T> q = a.hi / b.hi, p = q * b.hi;
  const pack<T> error = ((a.hi - p) - product_error(q, b.hi, p)) + (a.lo - q * b.lo);
  return {q, error / b.hi};
}
template <class T> CROSSENT_INLINE double_double<pack<T>> select(mask<T> m, double_double<pack<T>> yes,
                                                                 double_double<pack<T>> no) {
  return {select(m, yes.hi, no.hi), select(m, yes.lo, no.lo)};
}

// hi + lo as one number; an infinite sum or product has NaN or an infinity for its lo.
CROSSENT_INLINE mask<double> has_error(double_double<doubles> a) { return absolute(a.lo) < set1(__builtin_inf()); }
CROSSENT_INLINE doubles rounded(double_double<doubles> a) { return select(has_error(a), a.hi + a.lo, a.hi); }
// The same sum with hi = fl(hi + lo).
CROSSENT_INLINE double_double<doubles> normalised(double_double<doubles> a) {
  const doubles zero = set1(0.0), lo = select(has_error(a), a.lo, zero), sum = a.hi + lo, error = lo - (sum - a.hi);
  return {sum, select(error == error, error, zero)};
}

// lo, the rounding error of a number hi, as a multiple of 2^(shift - 52) of that: however far both are scaled down, as far as hi
// keeps its headroom, no digit is lost that would tell in a tie.
template <int shift> CROSSENT_INLINE doubles cut(doubles hi, doubles lo) {
  const doubles c = hi * set1(shift < 0 ? 1 / static_cast<double>(std::int64_t{1} << (shift < 0 ? -shift : 0))
                                        : static_cast<double>(std::int64_t{1} << (shift < 0 ? 0 : shift)));
  return (lo + c) - c;
}
// A factor of a row, hi + lo: of doubles.
CROSSENT_INLINE double_double<doubles> factor_pair(double_double<doubles> a) {
  const auto n = normalised(a);
  const doubles lo = cut<-49>(n.hi, n.lo);
  return {n.hi, select(lo == lo, lo, set1(0.0))};
}
CROSSENT_INLINE double_double<doubles> factor_pair(doubles a) { return exact(a); }

// The sum of all lanes, by a binary tree over lane l and l + 4, l + 2, l + 1.
CROSSENT_INLINE double_double<double> add_lanes(double_double<doubles> a) {
  double hi[8], lo[8];
  store(hi, a.hi);
  store(lo, a.lo);
  for (int half = 4; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) {
      const auto sum = double_double{hi[l], lo[l]} + double_double{hi[l + half], lo[l + half]};
      hi[l] = sum.hi;
      lo[l] = sum.lo;
    }
  return {hi[0], lo[0]};
}
CROSSENT_INLINE double sum_lanes(double_double<doubles> a) { return rounded(add_lanes(a)); }

// A sum in float64 of terms of T: with its rounding errors for float64.
template <class T> using accumulator = std::conditional_t<sizeof(T) == 4, doubles, double_double<doubles>>;
CROSSENT_INLINE doubles rounded(doubles a) { return a; }
CROSSENT_INLINE doubles first_part(doubles a) { return a; }
CROSSENT_INLINE doubles first_part(double_double<doubles> a) { return a.hi; }
template <class T> CROSSENT_INLINE accumulator<T> accumulator_of(doubles first) {
  if constexpr (sizeof(T) == 4) return first;
  else return exact(first);
}

// A pack of terms as an accumulator has them: float32 lanes l and l + 8 are added first.
CROSSENT_INLINE doubles accumulated(pack<float> terms) { return widen_sum(terms); }
CROSSENT_INLINE double_double<doubles> accumulated(doubles terms) { return exact(terms); }
CROSSENT_INLINE double_double<doubles> accumulated(doubles a, doubles b) { return two_sum(a, b); }

}  // namespace
}  // namespace crossent

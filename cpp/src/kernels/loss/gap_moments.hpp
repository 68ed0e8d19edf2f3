// The mean and the variance of the gaps to the maximum under the softmax of a row: the derivatives of its log-normalizer in the
// inverse temperature.
#pragma once

#include "kernels/loss/information.hpp"

namespace crossent {
namespace {

// sum e (max - x), and sum e (max - x)^2 in float64.
template <class T> struct gap_moments;
template <> struct gap_moments<double> {
  static constexpr double missing = -constants<double>::infinity;
  static constexpr int numbers = 2;
  gap_sums<double> gaps;
  doubles squares;

  double_double<double> over_classes(int k) const {
    return k == 0 ? gaps.over_classes(0) : double_double<double>{sum_lanes(squares), 0};
  }
  double_double<doubles> over_rows(int k, int half) const { return k == 0 ? gaps.over_rows(0, half) : exact(squares); }
};
template <> struct gap_moments<float> {
  static constexpr float missing = -constants<float>::infinity;
  static constexpr int numbers = 2;
  gap_sums<float> gaps;
  gap_sums<float> squares;

  double_double<double> over_classes(int k) const { return (k == 0 ? gaps : squares).over_classes(0); }
  double_double<doubles> over_rows(int k, int half) const { return (k == 0 ? gaps : squares).over_rows(0, half); }
};
CROSSENT_INLINE void add_gap(gap_moments<double>& s, doubles e, doubles x, doubles max) {
  add_gap(s.gaps, e, x, max);
  const doubles gap = max - select(e == set1(0.0), max, x);
  s.squares = fma(e * gap, gap, s.squares);
}
CROSSENT_INLINE void add_gap(gap_moments<float>& s, pack<float> e, pack<float> x, pack<float> max) {
  const halves p = widen(e), v = widen(select(e == set1(0.0f), max, x)), m = widen(max);
  const doubles gap[2] = {m.lower - v.lower, m.upper - v.upper}, product[2] = {p.lower * gap[0], p.upper * gap[1]};
  each<2>([&](int k) {
    s.gaps.lane[k] = s.gaps.lane[k] + product[k];
    s.squares.lane[k] = fma(product[k], gap[k], s.squares.lane[k]);
  });
}
CROSSENT_INLINE gap_moments<double> operator+(const gap_moments<double>& a, const gap_moments<double>& b) {
  return {a.gaps + b.gaps, a.squares + b.squares};
}
CROSSENT_INLINE gap_moments<float> operator+(const gap_moments<float>& a, const gap_moments<float>& b) {
  return {a.gaps + b.gaps, a.squares + b.squares};
}

// Both sums of each block, in units of the terms.
template <class T>
void gap_moment_sums(const source& x, const row_statistics& statistics, index begin, index end, const inverse_temperature& t,
                     const block_sums& out) {
  sum_rows<T, gap_moments<T>, 1>({x}, begin, end, out, [&](index row, auto o) {
    const exponential<T, temperature::any> term(set1(bias<T>) - per_row<T>(statistics.exponent, row, o), t);
    const pack<T> reference = per_row<T>(statistics.reference, row, o), max = per_row<T>(statistics.max, row, o);
    return [=](gap_moments<T>& s, const pack<T>* v) { add_gap(s, term(v[0] - reference), v[0], max); };
  });
}

// The moments of each row from its sums, in place: sum p (max - x), and sum p (max - x)^2 less the square of that.
template <class T> void gap_moments_of_rows(index rows, const row_statistics& statistics, double* mean, double* variance) {
  const doubles one = set1(1.0), zero = set1(0.0), unbias = exp2_whole(set1(-static_cast<double>(bias<T>)));
  for (index i = 0; i < rows; i += 8) {
    const auto factor = load_inverse_max_term(statistics, i) / (exact(one) + load_tail(statistics, i));
    const doubles of_gaps = load<double>(mean + i) * factor.hi * unbias;
    const doubles difference = load<double>(variance + i) * factor.hi * unbias - of_gaps * of_gaps;
    store(mean + i, of_gaps);
    store(variance + i, select(difference < zero, zero, difference));
  }
}

}  // namespace
}  // namespace crossent

// What a row says of its target and of itself: the rank of the target, the entropy, the sum of squares, the largest classes.
#pragma once

#include "kernels/loss/information.hpp"

namespace crossent {
namespace {

// sum e (max - x) and sum e^2, in units of the terms; and how many logits are above and equal to the target's.
template <class T> struct prediction_lanes;
template <> struct prediction_lanes<double> {
  static constexpr double missing = -constants<double>::infinity;
  static constexpr int numbers = 4;
  gap_sums<double> gaps;
  double_double<doubles> squares;
  doubles above, equal;

  double_double<double> over_classes(int k) const {
    if (k == 0) return gaps.over_classes(0);
    if (k == 1) return add_lanes(squares);
    return {sum_lanes(k == 2 ? above : equal), 0};
  }
  double_double<doubles> over_rows(int k, int) const {
    return k == 0 ? gaps.sum : k == 1 ? squares : exact(k == 2 ? above : equal);
  }
};
template <> struct prediction_lanes<float> {
  static constexpr float missing = -constants<float>::infinity;
  static constexpr int numbers = 4;
  gap_sums<float> gaps;
  doubles squares[2];
  pack<float> above, equal;

  double_double<double> over_classes(int k) const {
    if (k == 0) return gaps.over_classes(0);
    if (k == 1) return {sum_lanes(squares[0] + squares[1]), 0};
    return {sum_lanes(k == 2 ? above : equal), 0};
  }
  double_double<doubles> over_rows(int k, int half) const {
    if (k == 0) return gaps.over_rows(0, half);
    const halves h = widen(k == 2 ? above : equal);
    return exact(k == 1 ? squares[half] : half == 0 ? h.lower : h.upper);
  }
};
CROSSENT_INLINE void add_square(prediction_lanes<double>& s, doubles e) { add_product(s.squares, e, exact(e)); }
CROSSENT_INLINE void add_square(prediction_lanes<float>& s, pack<float> e) {
  const halves p = widen(e);
  s.squares[0] = fma(p.lower, p.lower, s.squares[0]);
  s.squares[1] = fma(p.upper, p.upper, s.squares[1]);
}
CROSSENT_INLINE prediction_lanes<double> operator+(const prediction_lanes<double>& a, const prediction_lanes<double>& b) {
  return {a.gaps + b.gaps, a.squares + b.squares, a.above + b.above, a.equal + b.equal};
}
CROSSENT_INLINE prediction_lanes<float> operator+(const prediction_lanes<float>& a, const prediction_lanes<float>& b) {
  return {a.gaps + b.gaps, {a.squares[0] + b.squares[0], a.squares[1] + b.squares[1]}, a.above + b.above, a.equal + b.equal};
}

template <class T, temperature how>
CROSSENT_INLINE void prediction_sums_at(const source& x, const row_statistics& statistics, const double* target_logit,
                                        index begin, index end, const inverse_temperature& t, const block_sums& out) {
  sum_rows<T, prediction_lanes<T>, 1>({x}, begin, end, out, [&](index row, auto o) {
    const exponential<T, how> term(set1(bias<T>) - per_row<T>(statistics.exponent, row, o), t);
    const pack<T> reference = per_row<T>(statistics.reference, row, o), max = per_row<T>(statistics.max, row, o);
    const pack<T> logit = per_row<T>(target_logit, row, o);
    return [=](prediction_lanes<T>& s, const pack<T>* v) CROSSENT_INLINE_LAMBDA {
      const pack<T> e = term(v[0] - reference), zero = set1<T>(0), one = set1<T>(1);
      add_gap(s.gaps, e, v[0], max);
      add_square(s, e);
      s.above = s.above + select(logit < v[0], one, zero);
      s.equal = s.equal + select(logit == v[0], one, zero);
    };
  });
}
template <class T>
void prediction_sums(const source& x, const row_statistics& statistics, const double* target_logit, index begin, index end,
                     const inverse_temperature& t, const block_sums& out) {
  if (t.is_one) prediction_sums_at<T, temperature::one>(x, statistics, target_logit, begin, end, t, out);
  else prediction_sums_at<T, temperature::any>(x, statistics, target_logit, begin, end, t, out);
}

// Among the first `classes` of a row.
template <class T> index count_equal(const source& s, index row, index classes, double logit) {
  constexpr index lanes = pack<T>::lanes;
  const pack<T> wanted = set1(static_cast<T>(logit)), zero = set1<T>(0), one = set1<T>(1);
  alignas(pack_bytes) T buffer[block_classes];
  index found = 0;
  for (index b = 0; b < block_count(classes); ++b) {
    const class_range r = block_range(b, classes);
    const char* from = load_classes(s, row, r, buffer);
    pack<T> equal = zero;
    for (index c = 0; c < r.n; c += lanes) {
      const char* at = from + c * size_of<T>;
      const pack<T> v = r.n - c >= lanes ? load<T>(at) : load_partial<T>(at, r.n - c, constants<T>::nan);
      equal = equal + select(v == wanted, one, zero);
    }
    found += static_cast<index>(sum_lanes(equal));
  }
  return found;
}

template <class T> void sum_of_squares(index rows, const row_statistics& statistics, double* square_sum) {
  const doubles one = set1(1.0), unbias = exp2_whole(set1(-static_cast<double>(bias<T>)));
  for (index i = 0; i < rows; i += 8) {
    const auto factor = load_inverse_max_term(statistics, i) / (exact(one) + load_tail(statistics, i));
    const auto scaled = double_double{factor.hi * unbias, factor.lo * unbias};
    const auto sum = exact(load<double>(square_sum + i)) * scaled * scaled;
    store(square_sum + i, sum.hi + sum.lo);
  }
}

// The largest numbers of eight packs, lane by lane.
template <class T> CROSSENT_INLINE pack<T> largest_of_group(const char* from) {
  pack<T> largest = load<T>(from);
  each<7>([&](int j) CROSSENT_INLINE_LAMBDA { largest = larger(load<T>(from + (j + 1) * pack_bytes), largest); });
  return largest;
}

// The largest first, of equal ones the lower class. NaN is none of them; where there are too few others, -1 and NaN.
template <class T> void top_classes(const source& s, index row, index k, index* classes, double* logits) {
  constexpr index lanes = pack<T>::lanes, group = 8 * lanes;
  alignas(pack_bytes) T buffer[block_classes];
  index count = 0;
  pack<T> least = set1(-constants<T>::infinity);   // of the k there are
  const auto add = [&](index c, double v) {
    if (v != v || (count == k && !(v > logits[k - 1]))) return;
    index at = count < k ? count++ : k - 1;
    for (; at > 0 && v > logits[at - 1]; --at) {
      logits[at] = logits[at - 1];
      classes[at] = classes[at - 1];
    }
    logits[at] = v;
    classes[at] = c;
    if (count == k) least = set1(static_cast<T>(logits[k - 1]));
  };
  for (index b = 0; b < block_count(s.classes); ++b) {
    const class_range r = block_range(b, s.classes);
    const char* from = load_classes(s, row, r, buffer);
    for (index c = 0; c < r.n; c += group) {
      const char* at = from + c * size_of<T>;
      const index n = r.n - c < group ? r.n - c : group;
      if (count == k && n == group) {
        prefetch_ahead(at);
        const pack<T> largest = largest_of_group<T>(at);
        if (!any(least < largest)) continue;
      }
      for (index l = 0; l < n; ++l) add(r.begin + c + l, load_one<T>(at + l * size_of<T>));
    }
  }
  for (; count < k; ++count) {
    classes[count] = -1;
    logits[count] = constants<double>::nan;
  }
}

}  // namespace
}  // namespace crossent

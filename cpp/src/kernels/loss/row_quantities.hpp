// Numbers of rows that follow from their statistics, eight rows to a pack, in float64: factors and logarithms.
#pragma once

#include "kernels/math/log.hpp"
#include "kernels/walk/merge_blocks.hpp"

namespace crossent {
namespace {

// The tail as losses see it: a row whose maximum is infinite has none.
CROSSENT_INLINE doubles tail_of_finite(doubles max, doubles tail) {
  return select(absolute(max) == set1(constants<double>::infinity), set1(constants<double>::nan), tail);
}
CROSSENT_INLINE double_double<doubles> load_tail(const row_statistics& s, index i) {
  return {
      tail_of_finite(load<double>(s.max + i), load<double>(s.tail + i)),
      s.is_extended ? load<double>(s.tail_lo + i) : set1(0.0)};
}
CROSSENT_INLINE double_double<doubles> load_inverse_max_term(const row_statistics& s, index i) {
  return {load<double>(s.inverse_max_term + i), s.is_extended ? load<double>(s.inverse_max_term_lo + i) : set1(0.0)};
}

// log(1 + x), x >= 0, with the rounding errors of the last two sums of log1p.
CROSSENT_ONCE double_double<doubles> log1p(double_double<doubles> x) {
  doubles u;
  const log_parts<double> y = log1p_parts(x.hi, u);
  const auto sum = two_sum(y.e * set1(constants<double>::ln2_hi), y.f);
  return normalised({log_limits(u, sum.hi), (sum.lo - y.less) + x.lo / u});
}

// log(1 + tail) of float32 rows, and of float64 rows.
CROSSENT_INLINE doubles log_sum_of(doubles tail) { return short_log1p(tail); }
CROSSENT_INLINE double_double<doubles> log_sum_of(double_double<doubles> tail) { return log1p(tail); }

void softmax_factor(index rows, const row_statistics& s, const row_coefficient& c, double* out, double* out_lo) {
  const doubles one = set1(1.0), zero = set1(0.0);
  const bool is_plain = c.upstream == nullptr && c.weight == nullptr && !s.is_extended;
  const auto multiplier = exact(set1(c.multiplier[0])) * exact(set1(c.multiplier[1])) * exact(set1(c.multiplier[2]));
  const auto divisor = exact(set1(c.divisor[0])) * exact(set1(c.divisor[1]));
  for (index i = 0; i < rows; i += 8) {
    const auto inverse_max_term = c.from_max ? exact(one) : load_inverse_max_term(s, i), tail = load_tail(s, i);
    if (is_plain) {
      store(out + i, inverse_max_term.hi / (one + tail.hi));
      if (out_lo != nullptr) store(out_lo + i, zero);
      continue;
    }
    const doubles g = c.upstream ? load<double>(c.upstream + i) : one, v = c.weight ? load<double>(c.weight + i) : one;
    const auto factor = inverse_max_term / (exact(one) + tail);
    const auto product = (exact(g) * exact(v)) * (multiplier * factor) / divisor;
    const doubles rounded = product.hi + product.lo;
    store(out + i, select((g == zero) | (v == zero), zero, rounded));
    if (out_lo == nullptr) continue;
    const doubles lo = cut<-49>(rounded, product.lo - (rounded - product.hi));
    store(out_lo + i, select((rounded == zero) | (lo != lo), zero, lo));
  }
}

void log_sum(index rows, const row_statistics& s, double* out) {
  for (index i = 0; i < rows; i += 8) {
    const auto tail = load_tail(s, i);
    store(out + i, s.is_extended ? log_sum_of(tail).hi : log_sum_of(tail.hi));
  }
}

// Near each other the tails are compared, not their logarithms: an error of log_sum may be large beside small divergences.
void log_sum_difference(index rows, const row_statistics& a, const row_statistics& b, double* out, double* lo, double* scaled) {
  const doubles one = set1(1.0), half = set1(0.5), zero = set1(0.0), tiny = set1(subnormal<double>::tiny);
  for (index i = 0; i < rows; i += 8) {
    const auto tail_a = load_tail(a, i), tail_b = load_tail(b, i);
    const doubles sum_a = one + tail_a.hi, sum_b = one + tail_b.hi;
    const mask<double> far = (sum_a < half * sum_b) | (sum_b < half * sum_a);
    if (!a.is_extended) {
      store(out + i, select(far, log1p(tail_a.hi) - log1p(tail_b.hi), log1p((tail_a.hi - tail_b.hi) / sum_b)));
      store(lo + i, zero);
      store(scaled + i, zero);
      continue;
    }
    const mask<double> are_tiny = (tail_a.hi < tiny) & (tail_b.hi < tiny);
    const auto difference =
        select(far, normalised(log1p(tail_a) + -log1p(tail_b)), log1p((tail_a + -tail_b) / (exact(one) + tail_b)));
    store(out + i, select(are_tiny, zero, difference.hi));
    store(lo + i, select(are_tiny, zero, difference.lo));
    store(scaled + i, select(are_tiny, load<double>(a.tail_scaled + i) - load<double>(b.tail_scaled + i), zero));
  }
}

void logsumexp(index rows, const row_statistics& s, double temperature, double* out) {
  const doubles inf = set1(constants<double>::infinity), t = set1(temperature);
  for (index i = 0; i < rows; i += 8) {
    const doubles max = load<double>(s.max + i), tail = load<double>(s.tail + i);
    // An infinite maximum is the result, unless a NaN stands beside it.
    store(out + i, max / t + select(absolute(max) == inf, tail - tail, s.is_extended ? log1p(tail) : log_sum_of(tail)));
  }
}

double exp_quotient(double hi, double lo, double divisor) {
  const auto q = double_double{set1(hi), set1(lo)} / exact(set1(divisor));
  return exp(q.hi, q.lo).r[0][0];
}

// Lane l has the elements l, l + 8, ..; the lanes are added in order.
void sum(index n, const double* x, double* hi, double* lo) {
  double_double<doubles> s{};
  index i = 0;
  for (; i + 8 <= n; i += 8) s += load<double>(x + i);
  if (i < n) s += load_partial<double>(x + i, n - i, 0.0);
  double lane_hi[8], lane_lo[8];
  store(lane_hi, s.hi);
  store(lane_lo, s.lo);
  double_double<double> total{lane_hi[0], lane_lo[0]};
  for (int k = 1; k < 8; ++k) total += double_double{lane_hi[k], lane_lo[k]};
  *hi = total.hi;
  *lo = total.lo;
}

}  // namespace
}  // namespace crossent

// Measures of information: of given probabilities, which need not sum to 1, in float64 for every dtype; and of logits.
//
// All are sums over a row of a coefficient times a logarithm or the like. The products and the sums have their rounding
// errors added; only the errors of the factors remain.
#pragma once

#include "kernels/loss/row_quantities.hpp"
#include "kernels/math/phi.hpp"
#include "kernels/walk/row_sums.hpp"

namespace crossent {
namespace {

// Adds c v.
CROSSENT_INLINE void add_product(double_double<doubles>& a, doubles c, double_double<doubles> v) {
  const doubles p = c * v.hi;
  a += double_double{p, fma(c, v.lo, product_error(c, v.hi, p))};
}

// Terms with tiny coefficients are summed apart, scaled: they may be subnormal, and would be rounded one by one.
struct information_lanes {
  static constexpr double missing = 0;
  static constexpr int numbers = 2;
  double_double<doubles> sum, tiny_sum;

  double_double<double> over_classes(int k) const { return add_lanes(k == 0 ? sum : tiny_sum); }
  double_double<doubles> over_rows(int k, int) const { return k == 0 ? sum : tiny_sum; }
};
CROSSENT_INLINE information_lanes operator+(const information_lanes& a, const information_lanes& b) {
  return {a.sum + b.sum, a.tiny_sum + b.tiny_sum};
}

// The term of a class: c[0] v[0] + c[1] v[1], each product 0 where its coefficient is.
struct information_term {
  doubles c[2], v[2];
};

// p log(p/q). Where p and q are near, as p log(p/q) - p + q, by phi and never negative, and p - q.
CROSSENT_INLINE information_term kl_term(doubles p, doubles q, doubles scale) {
  const doubles zero = set1(0.0), one = set1(1.0), half = set1(0.5);
  const mask<double> far = (p < half * q) | (q < half * p), p_is_larger = q < p;
  const doubles d = select(far, log(p) - log(q), log1p((p - q) / q));
  const doubles phi_of_d = phi_or_star(-absolute(d), zero, p_is_larger);
  return {
      {select(far, p, select(p_is_larger, p, q)) * scale, select(far, zero, p - q) * scale}, {select(far, d, phi_of_d), one}};
}

// (p log(p/m) + q log(q/m))/2, m = (p + q)/2, as m phi(log p/m) + q phi*(log q/m), of which the halves are given, for p < q.
CROSSENT_INLINE information_term js_term(doubles half_p, doubles half_q) {
  const doubles half = set1(0.5), m = half_p + half_q;
  const doubles small = select(half_q < half_p, half_q, half_p), large = select(half_q < half_p, half_p, half_q);
  const doubles x = (large - small) / m;
  const doubles d = select(half < x, log((small + small) / m), log1p(-x));
  return {{half * m, large}, {phi(d), phi_star(log1p(x))}};
}

// exp(x) (x - y), x = log p; scaled where exp(x) is tiny.
CROSSENT_INLINE information_term kl_log_term(doubles x, doubles y, mask<double> is_tiny) {
  using k = subnormal<double>;
  const doubles zero = set1(0.0);
  const auto moved = two_sum(x, set1(k::log_coefficient_scale));
  const doubles p = exp(select(is_tiny, moved.hi, x), select(is_tiny, moved.lo + set1(k::log_coefficient_scale_lo), zero));
  return {{p, zero}, {x - y, zero}};
}

void information_sums(information kind, const source& p, const source& q, index begin, index end, const block_sums& out) {
  using k = subnormal<double>;
  sum_rows<double, information_lanes, 2>({p, q}, begin, end, out, [=](index, auto) {
    return [=](information_lanes& s, const doubles* x) {
      const doubles zero = set1(0.0), half = set1(0.5);
      const bool of_logs = kind == information::kl_div_log;
      const doubles coefficient = kind == information::js_divergence       ? larger(x[0], x[1])
                                  : kind == information::kl_div || of_logs ? x[1]
                                                                           : x[0];
      const doubles nothing = set1(of_logs ? -constants<double>::infinity : 0.0);
      const mask<double> is_tiny =
          (coefficient < set1(of_logs ? k::tiny_log_coefficient : k::tiny_coefficient)) & (coefficient != nothing);
      const doubles scale = select(is_tiny, set1(power_of_two<double>(k::coefficient_exponent)), set1(1.0));
      information_term t{{coefficient * scale, zero}, {zero, zero}};
      switch (kind) {
        case information::entropy: t.v[0] = -log(x[0]); break;
        case information::cross_entropy: t.v[0] = -log(x[1]); break;
        case information::kl_divergence: t = kl_term(x[0], x[1], scale); break;
        case information::js_divergence: t = js_term((half * scale) * x[0], (half * scale) * x[1]); break;
        case information::kl_div: t.v[0] = log(x[1]) - x[0]; break;
        case information::kl_div_log: t = kl_log_term(x[1], x[0], is_tiny); break;
      }
      const bool two = kind == information::kl_divergence || kind == information::js_divergence;
      const bool some_tiny = any(is_tiny);   // adding 0 changes nothing
      const auto add = [&](double_double<doubles>& to, doubles c, doubles v)
                           CROSSENT_INLINE_LAMBDA { add_product(to, c, exact(select(c != zero, v, zero))); };
      for (int i = 0; i < (two ? 2 : 1); ++i) {
        add(s.sum, select(is_tiny, zero, t.c[i]), t.v[i]);
        if (some_tiny) add(s.tiny_sum, select(is_tiny, t.c[i], zero), t.v[i]);
      }
    };
  });
}

// Of logits: a sum of e (max - x), which needs no more than float64 where e is a float.
template <class T> struct gap_sums;
template <> struct gap_sums<double> {
  static constexpr double missing = -constants<double>::infinity;
  static constexpr int numbers = 1;
  double_double<doubles> sum;

  double_double<double> over_classes(int) const { return add_lanes(sum); }
  double_double<doubles> over_rows(int, int) const { return sum; }
};
template <> struct gap_sums<float> {
  static constexpr float missing = -constants<float>::infinity;
  static constexpr int numbers = 1;
  doubles lane[2];

  double_double<double> over_classes(int) const { return {sum_lanes(lane[0] + lane[1]), 0}; }
  double_double<doubles> over_rows(int, int half) const { return exact(lane[half]); }
};
CROSSENT_INLINE void add_gap(gap_sums<double>& s, doubles e, doubles x, doubles max) {
  add_product(s.sum, e, two_sum(max, -select(e == set1(0.0), max, x)));
}
CROSSENT_INLINE void add_gap(gap_sums<float>& s, pack<float> e, pack<float> x, pack<float> max) {
  const halves p = widen(e), v = widen(select(e == set1(0.0f), max, x)), m = widen(max);
  s.lane[0] = fma(p.lower, m.lower - v.lower, s.lane[0]);
  s.lane[1] = fma(p.upper, m.upper - v.upper, s.lane[1]);
}
CROSSENT_INLINE gap_sums<double> operator+(const gap_sums<double>& a, const gap_sums<double>& b) { return {a.sum + b.sum}; }
CROSSENT_INLINE gap_sums<float> operator+(const gap_sums<float>& a, const gap_sums<float>& b) {
  return {{a.lane[0] + b.lane[0], a.lane[1] + b.lane[1]}};
}

// sum e (max - x) of each block: the terms are biased, so that it is subnormal only as a whole.
template <class T>
void gap_sums_of_logits(const source& x, const row_statistics& statistics, index begin, index end, const block_sums& out) {
  sum_rows<T, gap_sums<T>, 1>({x}, begin, end, out, [&](index row, auto o) {
    const exponential<T, temperature::one> term(set1(bias<T>) - per_row<T>(statistics.exponent, row, o), inverse_temperature{});
    const pack<T> reference = per_row<T>(statistics.reference, row, o), max = per_row<T>(statistics.max, row, o);
    return [=](gap_sums<T>& s, const pack<T>* v) CROSSENT_INLINE_LAMBDA { add_gap(s, term(v[0] - reference), v[0], max); };
  });
}

// log(1 + tail) + sum p (max - x) of each row.
template <class T> void entropy_of_logits(index rows, const row_statistics& statistics, const double* gap_sum, double* out) {
  const doubles one = set1(1.0), unbias = exp2_whole(set1(-static_cast<double>(bias<T>)));
  for (index i = 0; i < rows; i += 8) {
    const auto tail = load_tail(statistics, i), factor = load_inverse_max_term(statistics, i) / (exact(one) + tail);
    const auto sum = exact(load<double>(gap_sum + i)) * factor;
    const auto entropy = log1p(tail) + double_double{sum.hi * unbias, sum.lo * unbias};
    store(out + i, entropy.hi + entropy.lo);
  }
}

}  // namespace
}  // namespace crossent

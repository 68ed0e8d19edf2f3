// Measures of information of given probabilities, which need not sum to 1: sums over a row, in float64 for every dtype.
#pragma once

#include "phi.hpp"
#include "sums.hpp"

namespace crossent {
namespace {

// log(p/q), accurate also where they are nearly equal.
CROSSENT_INLINE doubles log_quotient(doubles p, doubles q) {
  const doubles near = log1p((p - q) / q), far = log(p) - log(q), half = set1(0.5);
  return if_less(p, half * q, far, if_less(q, half * p, far, near));
}

// p log(p/q) - p + q, of which d = log(p/q).
CROSSENT_INLINE doubles divergence_part(doubles p, doubles q, doubles d) {
  const doubles zero = set1(0.0), one = set1(1.0);
  const doubles larger_one = if_less(q, p, p, q);
  const doubles part = larger_one * phi_or_star(-absolute(d), if_less(q, p, one, zero));
  return if_equal(larger_one, zero, zero, part);
}

// Two sums per block, of which the measure is the sum.
void information_sums(information kind, const source& p, const source& q, index begin, index end, double* value, double* rest) {
  sum_blocks<double, 2, terms::heavy>({p, q}, begin, end, {value, rest}, [&](index, index, auto) {
    return [=](const doubles* x, index, index) -> parts<double, 2> {
      const doubles zero = set1(0.0), a = x[0], b = x[1];
      const auto times = [&](doubles c, doubles v) { return if_equal(c, zero, zero, c * v); };
      switch (kind) {
        case information::entropy: return {{times(a, -log(a)), zero}};
        case information::cross_entropy: return {{times(a, -log(b)), zero}};
        case information::kl_divergence: {
          // p log(p/q) - p + q and p - q where p and q are near; elsewhere q may be all that there is in either.
          const doubles d = log_quotient(a, b), half = set1(0.5), direct = times(a, d);
          const auto near = [&](doubles yes, doubles no) { return if_less(a, half * b, no, if_less(b, half * a, no, yes)); };
          return {{near(divergence_part(a, b, d), direct), near(a - b, zero)}};
        }
        case information::js_divergence: {
          const doubles half = set1(0.5), sum = a + b, m = half * sum, x_ab = (a - b) / sum;
          const doubles part = divergence_part(a, m, log1p(x_ab)) + divergence_part(b, m, log1p(-x_ab));
          return {{if_equal(sum, zero, zero, half * part), zero}};
        }
        case information::kl_div: return {{times(b, log(b) - a), zero}};
        default: {
          const doubles t = exp(b);
          return {{times(t, b - a), zero}};
        }
      }
    };
  });
}

}  // namespace
}  // namespace crossent

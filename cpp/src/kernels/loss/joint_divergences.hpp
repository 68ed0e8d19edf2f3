// Three divergences of two float32 rows from one log-ratio and one exponential a class. Formulas: docs/explanation/design/divergences.md.
//
// With a = |log(t/s)| and u = e^-a, a class adds the larger of s and t times
//
//   u - 1 + a                           to the KL divergence of whichever has the larger from the other,
//   1 - u - u a                         to that of the other from it,
//   ((1 + u) log(2/(1 + u)) - u a)/2    to the Jensen-Shannon divergence.
//
// None is negative, and all three are a^2 times a polynomial where a is small.
#pragma once

#include "kernels/loss/js_divergence.hpp"
#include "kernels/loss/pair_of_rows.hpp"

namespace crossent {
namespace {

// The three over a^2 on [0, 2], from cpp/tools/coefficients.py.
constexpr float near_of_larger[] = {0x1p-1f,         -0x1.55554ap-3f,  0x1.5553a6p-5f,  -0x1.10f67cp-7f,
                                    0x1.6a746cp-10f, -0x1.91d768p-13f, 0x1.58b662p-16f, -0x1.5199bp-20f};
constexpr float near_of_smaller[] = {0x1p-1f,        -0x1.55551ep-2f,  0x1.fff7bap-4f,  -0x1.10d294p-5f,
                                     0x1.c364bap-8f, -0x1.283e16p-10f, 0x1.1dfd72p-13f, -0x1.2c4082p-17f};
constexpr float near_js[] = {0x1p-3f,          -0x1.000006p-4f, 0x1.00012cp-6f,   -0x1.55813ap-9f, 0x1.ca4ec6p-12f,
                             -0x1.7c7168p-14f, 0x1.c7c928p-17f, -0x1.4b8b8ep-21f, -0x1.0c3e88p-24f};
constexpr float near_distance = 2;

struct joint_terms {
  pack<float> of_larger, of_smaller, js;
};
inline CROSSENT_INLINE_WIDE joint_terms terms_nearby(pack<float> a) {
  const pack<float> square = a * a;
  return {square * polynomial(a, near_of_larger), square * polynomial(a, near_of_smaller), square * polynomial(a, near_js)};
}
// a > near_distance, where little cancels; it may be infinite.
CROSSENT_ONCE joint_terms terms_far_apart(pack<float> a) {
  const pack<float> zero = set1(0.0f), one = set1(1.0f), half = set1(0.5f), u = exp_of_nonpositive(-a);
  const pack<float> ua = select(u != zero, u * a, zero), log_of_inverse = -log1p(half * (u - one));
  return {(u - one) + a, (one - u) - ua, half * (fma(u, log_of_inverse, log_of_inverse) - ua)};
}

// Sums over each block: KL(t || s), KL(s || t), their Jensen-Shannon divergence, and s - t (1 - u = a - (u - 1 + a)) of
// classes whose logarithms are near each other.
void joint_divergence_sums(const source& student, const source& teacher, index begin, index end, const divergence_rows& p,
                           double* forward_kl, double* reverse_kl, double* js, double* difference) {
  sum_blocks<float, 4, terms::heavy>(
      {student, teacher}, begin, end, {forward_kl, reverse_kl, js, difference}, [&](index row, index, auto o) {
        const pair_of_rows<float> pair(p, row, o);
        return [=](const pack<float>(*x)[2], index n, parts<float, 4>* sums) CROSSENT_INLINE_WIDE {
          const pack<float> zero = set1(0.0f), near = set1(near_distance);
          pack<float> d[group_packs], d_lo[group_packs], larger[group_packs];
          for (index j = 0; j < n; ++j) pair.take_log_ratio(x[j], d[j], d_lo[j]);
          for (index j = 0; j < n; ++j) larger[j] = pair.times_larger(zero < d[j], x[j], set1(1.0f));
          for (index j = 0; j < n; ++j) {
            const pack<float> a = absolute(d[j]);
            joint_terms v = terms_nearby(a);
            const mask<float> is_far = near < a, teacher_is_larger = zero < d[j];
            if (any(is_far)) {
              const joint_terms far = terms_far_apart(a);
              v = {
                  select(is_far, far.of_larger, v.of_larger), select(is_far, far.of_smaller, v.of_smaller),
                  select(is_far, far.js, v.js)};
            }
            // Of a class that both rows give no probability, a may be infinite.
            const auto term = [&](pack<float> of_class)
                                  CROSSENT_INLINE_WIDE { return select(larger[j] != zero, larger[j] * of_class, zero); };
            const pack<float> of_teacher = select(teacher_is_larger, v.of_larger, v.of_smaller);
            const pack<float> of_student = select(teacher_is_larger, v.of_smaller, v.of_larger);
            sums[j].v[0] = term_or_infinity(term(of_teacher), of_teacher, x[j][0]);
            sums[j].v[1] = term_or_infinity(term(of_student), of_student, x[j][1]);
            sums[j].v[2] = term(v.js);
            const pack<float> apart = larger[j] * (a - v.of_larger);
            sums[j].v[3] = select(is_far, zero, select(teacher_is_larger, -apart, apart));
          }
        };
      });
}

}  // namespace
}  // namespace crossent

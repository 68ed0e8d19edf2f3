// KL(t || s) of float32 rows and its gradient s - t in one traversal. Formulas: docs/design.md, "Forward, in float32".
#pragma once

#include "sums.hpp"
#include "write.hpp"

namespace crossent {
namespace {

// (e^-d - 1 + d) / d^2 on [-2, 1], from cpp/tools/coefficients.py.
constexpr float near_phi_star_even[] = {0x1p-1f, 0x1.55554p-5f, 0x1.6c2162p-10f, 0x1.9bb814p-16f, 0x1.c29576p-22f};
constexpr float near_phi_star_odd[] = {-0x1.55555ap-3f, -0x1.110f78p-7f, -0x1.a0bfe8p-13f, -0x1.617a92p-19f};
constexpr float near_middle = -0.5f, near_width = 1.5f;

template <class T> CROSSENT_INLINE pack<T> square_of(pack<T> d, pack<T> d_low) { return fma(d, d, d * (d_low + d_low)); }
// What a class adds, from the terms s (times of_s) and t, d as d + d_low, and its polynomials in d^2.
template <class T> struct class_sums {
  pack<T> value, gradient;
};
template <class T>
CROSSENT_HOT class_sums<T> sums_of(pack<T> s, pack<T> t, pack<T> d, pack<T> d_low, pack<T> of_s, pack<T> odd, pack<T> even) {
  const pack<T> zero = set1<T>(0), square = square_of(d, d_low), p = fma(d, odd, even), w = square * p;
  const pack<T> near_value = has_fma ? fma(t, w, t * fma(square, p, -w)) : t * w;
  const pack<T> far_value = fma(s, of_s, t * d_low) + select(t == zero, zero, fma(t, d, -t));
  const pack<T> distance = absolute(d - set1<T>(near_middle)), width = set1<T>(near_width);
  return {select(distance < width, near_value, far_value), select(distance < width, t * fma(square, p, -d), fma(s, of_s, -t))};
}

// A class of one pair of rows, or of a tile of pairs; in units in which t_c is the term of the teacher alone.
template <temperature how> struct forward_class {
  exponential<float, how> student_term, teacher_term;
  pack<float> student_reference, teacher_reference, student_rest, ratio, high, low;
  pack<float> level, level_low, rest_of_tops;   // what d is counted from

  template <class O>
  forward_class(const divergence_rows& p, index row, O o)
      : student_term(per_row<float>(p.student.exponent, row, o), p.t),
        teacher_term(per_row<float>(p.teacher.exponent, row, o), p.t),
        student_reference(per_row<float>(p.student.reference, row, o)),
        teacher_reference(per_row<float>(p.teacher.reference, row, o)),
        student_rest(per_row<float>(p.student.rest, row, o)),
        ratio(per_row<float>(p.student.factor, row, o)),
        high(set1(static_cast<float>(p.t.high))),
        low(set1(static_cast<float>(p.t.low))) {
    const pack<float> student_top = per_row<float>(p.student.max, row, o) - student_reference;
    const two_floats tops = difference(per_row<float>(p.teacher.max, row, o) - teacher_reference, student_top);
    level = two_sum(tops.high, per_row<float>(p.log_sum_difference, row, o), level_low);
    level_low = level_low + per_row<float>(p.log_sum_difference_lo, row, o);
    rest_of_tops = tops.low;
  }

  // (y - x)/T. That of the two maxima is subtracted before the log_sum_difference is, to the bit: of confident rows the log_sum_difference alone remains.
  struct two_floats {
    pack<float> high, low;
  };
  CROSSENT_INLINE_MEMBER two_floats difference(pack<float> y, pack<float> x) const {
    pack<float> rest;
    const pack<float> d = two_sum(y, -x, rest), z = d * high;
    if constexpr (how == temperature::any) return {z, fma(rest, high, fma(d, low, product_error(d, high, z)))};
    else return {z, rest * high};
  }

  // The terms of s and t, and d = log(t/s) with what is lost to its roundings (-1 where d is infinite).
  struct distance {
    pack<float> s, t, d, d_low;
  };
  CROSSENT_INLINE_MEMBER distance first(pack<float> x_student, pack<float> x_teacher) const {
    const pack<float> x = x_student - student_reference, y = x_teacher - teacher_reference;
    pack<float> lost;
    const two_floats of_logits = difference(y, x);
    const pack<float> rough = two_sum(of_logits.high, -level, lost);
    const pack<float> correction = at_least(set1(-1.0f), lost + ((of_logits.low - rest_of_tops) - level_low));   // not NaN
    const pack<float> d = rough + correction;
    return {student_term(x, student_rest), teacher_term(y), d, at_least(set1(-1.0f), correction - (d - rough))};   // not NaN
  }

  // t log(t/s) - t + s, and s - t; where d is near 0 as t d^2 P(d) and t (d^2 P(d) - d). Without FMA in double.
  CROSSENT_INLINE_MEMBER pack<float> second(const distance& v, pack<float>& gradient) const {
    const pack<float> square = square_of(v.d, v.d_low);
    const pack<float> odd = polynomial(square, near_phi_star_odd), even = polynomial(square, near_phi_star_even);
    if constexpr (has_fma) {
      const class_sums<float> c = sums_of(v.s, v.t, v.d, v.d_low, ratio, odd, even);
      gradient = c.gradient;
      return c.value;
    }
    const halves s = widen(v.s), t = widen(v.t), d = widen(v.d), d_low = widen(v.d_low), r = widen(ratio);
    const halves o = widen(odd), e = widen(even);
    const auto low = sums_of(s.low, t.low, d.low, d_low.low, r.low, o.low, e.low);
    const auto high = sums_of(s.high, t.high, d.high, d_low.high, r.high, o.high, e.high);
    gradient = narrow({low.gradient, high.gradient});
    return narrow({low.value, high.value});
  }
};

// The gradient in the student's logits of the cross-entropy that stands beside a divergence: e_c factor - b_c.
template <class T> struct cross_entropy_gradient {
  exponential<T, temperature::one> term;
  pack<T> reference, factor, beta, gamma;
  const void* weight;
  bool with_q;

  template <class O> cross_entropy_gradient(const row_scale& h, bool q, index row, O o)
      : term(of(h.exponent, row, o), inverse_temperature{}),
        reference(of(h.reference, row, o)),
        factor(of(h.factor, row, o)),
        beta(of(h.beta, row, o)),
        gamma(of(h.gamma, row, o)),
        weight(h.weight),
        with_q(q) {}
  template <class O> CROSSENT_INLINE_MEMBER pack<T> operator()(pack<T> x, pack<T> q, index c, index n, O o) const {
    const pack<T> zero = set1<T>(0);
    const pack<T> b = with_q ? coefficient_of<T, true>(beta, gamma, q, weight, c, n, o)
                             : coefficient_of<T, false>(beta, gamma, q, weight, c, n, o);
    return select(factor == zero, zero, fma(term(x - reference), factor, -b));
  }

 private:
  template <class O> static pack<T> of(const double* v, index row, O o) { return v ? per_row<T>(v, row, o) : set1<T>(0); }
};

template <temperature how, bool only_along>
CROSSENT_INLINE void forward_divergence_of(const source& student, const source& teacher, const source* q, const sink& to,
                                           index begin, index end, const divergence_rows& p, const row_scale* cross_entropy,
                                           double* value) {
  const source s[] = {student, teacher, q ? *q : student};
  const auto make = [&](index row, index, auto o, auto out) {
    const forward_class<how> of_class(p, row, o);
    const pack<float> factor = per_row<float>(p.teacher.factor, row, o), rest = per_row<float>(p.teacher.rest, row, o);
    const pack<float> teacher_scale = per_row<float>(p.teacher_scale, row, o), small_difference_gradient = per_row<float>(p.small_difference_gradient, row, o);
    const bool with_cross_entropy = cross_entropy != nullptr;
    const cross_entropy_gradient<float> of_cross_entropy(with_cross_entropy ? *cross_entropy : row_scale{}, q != nullptr, row, o);
    const auto first = [=](const pack<float>* x) { return of_class.first(x[0], x[1]); };
    const auto second = [=](const typename forward_class<how>::distance& d, const pack<float>* x, index c, index n) {
      const pack<float> zero = set1(0.0f);
      pack<float> g;
      const parts<float, 1> sum{{of_class.second(d, g)}};
      g = select(factor == zero, zero, fma(d.t * teacher_scale, small_difference_gradient, rounded_once(g, factor, g * rest)));
      if (with_cross_entropy) g = g + of_cross_entropy(x[0], x[2], c, n, o);
      out.put(c, n, g, o);
      return sum;
    };
    return two_steps{first, second};
  };
  sum_and_write<float, 1, only_along>(s, to, begin, end, {value}, make);
}

void forward_divergence(const source& student, const source& teacher, const source* q, const sink& to, index begin, index end,
                        const divergence_rows& p, const row_scale* cross_entropy, double* value) {
  // The small level has one of them.
  constexpr temperature exact = CROSSENT_SMALL ? temperature::any : temperature::power_of_two;
  if (is_power_of_two<float>(p.t) && !student.lanes_over_rows)
    forward_divergence_of<exact, !CROSSENT_SMALL>(student, teacher, q, to, begin, end, p, cross_entropy, value);
  else
    forward_divergence_of<temperature::any, false>(student, teacher, q, to, begin, end, p, cross_entropy, value);
}

}  // namespace
}  // namespace crossent

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

// A class of one pair of rows, or of a tile of pairs; in units in which t_c is the term of the teacher alone.
template <division how> struct forward_class {
  exponential<float, how> student_term, teacher_term;
  pack<float> student_offset, teacher_offset, ratio, high, low;
  pack<float> level, level_low, rest_of_tops;   // what d is counted from

  template <class O>
  forward_class(const divergence_rows& p, index row, O o)
      : student_term(per_row<float>(p.student.shift, row, o), p.t),
        teacher_term(per_row<float>(p.teacher.shift, row, o), p.t),
        student_offset(per_row<float>(p.student.offset, row, o)),
        teacher_offset(per_row<float>(p.teacher.offset, row, o)),
        ratio(per_row<float>(p.student.factor, row, o)),
        high(set1(static_cast<float>(p.t.high))),
        low(set1(static_cast<float>(p.t.low))) {
    const pack<float> student_top = per_row<float>(p.student.max, row, o) - student_offset;
    const two_floats tops = difference(per_row<float>(p.teacher.max, row, o) - teacher_offset, student_top);
    level = two_sum(tops.high, per_row<float>(p.gap, row, o), level_low);
    level_low = level_low + per_row<float>(p.gap_low, row, o);
    rest_of_tops = tops.low;
  }

  // (y - x)/T. That of the two maxima is subtracted before the gap is, to the bit: of confident rows the gap alone remains.
  struct two_floats {
    pack<float> high, low;
  };
  CROSSENT_INLINE_MEMBER two_floats difference(pack<float> y, pack<float> x) const {
    pack<float> rest;
    const pack<float> d = two_sum(y, -x, rest), z = d * high;
    if constexpr (how == division::rounded) return {z, fma(rest, high, fma(d, low, product_error(d, high, z)))};
    else return {z, rest * high};
  }

  // The terms of s and t, and d = log(t/s) with what is lost to its roundings (NaN where d is infinite).
  struct distance {
    pack<float> s, t, d, d_low;
  };
  CROSSENT_INLINE_MEMBER distance first(pack<float> x_student, pack<float> x_teacher) const {
    const pack<float> x = x_student - student_offset, y = x_teacher - teacher_offset;
    pack<float> lost;
    const two_floats of_logits = difference(y, x);
    const pack<float> rough = two_sum(of_logits.high, -level, lost);
    const pack<float> correction = at_least(set1(-1.0f), lost + ((of_logits.low - rest_of_tops) - level_low));   // not NaN
    const pack<float> d = rough + correction;
    return {student_term(x), teacher_term(y), d, correction - (d - rough)};
  }

  // t log(t/s) - t + s, and s - t; where d is near 0 as t d^2 P(d) and t (d^2 P(d) - d).
  CROSSENT_INLINE_MEMBER pack<float> second(const distance& of_class, pack<float>& gradient) const {
    const auto [s, t, d, d_low] = of_class;
    const pack<float> one = set1(1.0f), zero = set1(0.0f);
    const pack<float> square = fma(d, d, d * (d_low + d_low));
    const pack<float> p = fma(d, polynomial(square, near_phi_star_odd), polynomial(square, near_phi_star_even));
    const pack<float> far_value = fma(s, ratio, if_equal(t, zero, zero, t * (d - one)));
    const pack<float> far_gradient = fma(s, ratio, -t);
    const pack<float> distance = absolute(d - set1(near_middle)), width = set1(near_width);
    gradient = if_less(distance, width, t * fma(square, p, -d), far_gradient);
    return if_less(distance, width, t * (square * p), far_value);
  }
};

// The gradient in the student's logits of the cross-entropy that stands beside a divergence: e_c factor - b_c.
template <class T> struct hard_gradient {
  exponential<T, division::none> term;
  pack<T> offset, factor, beta, gamma;
  const void* weight;
  bool with_q;

  template <class O> hard_gradient(const row_scale& h, bool q, index row, O o)
      : term(of(h.shift, row, o), scaling{}),
        offset(of(h.offset, row, o)),
        factor(of(h.factor, row, o)),
        beta(of(h.beta, row, o)),
        gamma(of(h.gamma, row, o)),
        weight(h.weight),
        with_q(q) {}
  template <class O> CROSSENT_INLINE_MEMBER pack<T> operator()(pack<T> x, pack<T> q, index c, index n, O o) const {
    const pack<T> zero = set1<T>(0);
    const pack<T> b = with_q ? coefficient_of<T, true>(beta, gamma, q, weight, c, n, o)
                             : coefficient_of<T, false>(beta, gamma, q, weight, c, n, o);
    return if_equal(factor, zero, zero, fma(term(x - offset), factor, -b));
  }

 private:
  template <class O> static pack<T> of(const double* v, index row, O o) { return v ? per_row<T>(v, row, o) : set1<T>(0); }
};

template <division how, bool only_along>
CROSSENT_INLINE void forward_divergence_of(const source& student, const source& teacher, const source* q, const sink& to,
                                           index begin, index end, const divergence_rows& p, const row_scale* hard,
                                           double* value) {
  const source s[] = {student, teacher, q ? *q : student};
  const auto make = [&](index row, index, auto o, auto out) {
    const forward_class<how> of_class(p, row, o);
    const pack<float> factor = per_row<float>(p.teacher.factor, row, o);
    const bool with_hard = hard != nullptr;
    const hard_gradient<float> of_hard(with_hard ? *hard : row_scale{}, q != nullptr, row, o);
    const auto first = [=](const pack<float>* x) { return of_class.first(x[0], x[1]); };
    const auto second = [=](const typename forward_class<how>::distance& d, const pack<float>* x, index c, index n) {
      const pack<float> zero = set1(0.0f);
      pack<float> g;
      const parts<float, 1> sum{{of_class.second(d, g)}};
      g = if_equal(factor, zero, zero, g * factor);
      if (with_hard) g = g + of_hard(x[0], x[2], c, n, o);
      out.put(c, n, g, o);
      return sum;
    };
    return two_steps{first, second};
  };
  sum_and_write<float, 1, only_along>(s, to, begin, end, {value}, make);
}

void forward_divergence(const source& student, const source& teacher, const source* q, const sink& to, index begin, index end,
                        const divergence_rows& p, const row_scale* hard, double* value) {
  // The small level has one of them.
  constexpr division exact = CROSSENT_SMALL ? division::rounded : division::exact;
  if (divides_exactly<float>(p.t) && !student.across)
    forward_divergence_of<exact, !CROSSENT_SMALL>(student, teacher, q, to, begin, end, p, hard, value);
  else
    forward_divergence_of<division::rounded, false>(student, teacher, q, to, begin, end, p, hard, value);
}

}  // namespace
}  // namespace crossent

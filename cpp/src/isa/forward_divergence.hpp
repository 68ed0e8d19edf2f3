// KL(t || s) of float32 rows and its gradient s - t in one traversal. Formulas: docs/design.md, "Forward, in float32".
#pragma once

#include "write.hpp"

namespace crossent {
namespace {

// (e^-d - 1 + d) / d^2 on [-2, 1], from cpp/tools/coefficients.py.
constexpr float near_phi_star[] = {0x1p-1f,         -0x1.55555ap-3f, 0x1.55554p-5f,   -0x1.110f78p-7f, 0x1.6c2162p-10f,
                                   -0x1.a0bfe8p-13f, 0x1.9bb814p-16f, -0x1.617a92p-19f, 0x1.c29576p-22f};
constexpr float near_middle = -0.5f, near_width = 1.5f;

// A class of one pair of rows, or of a tile of pairs; in units in which t_c is the term of the teacher alone.
template <division how> struct forward_class {
  exponential<float, how> student_term, teacher_term;
  pack<float> student_offset, teacher_offset, ratio, high, low, between, between_low, gap, gap_low;

  template <class O>
  forward_class(const divergence_rows& p, index row, O o)
      : student_term(per_row<float>(p.student.shift, row, o), p.t),
        teacher_term(per_row<float>(p.teacher.shift, row, o), p.t),
        student_offset(per_row<float>(p.student.offset, row, o)),
        teacher_offset(per_row<float>(p.teacher.offset, row, o)),
        ratio(per_row<float>(p.student.factor, row, o)),
        high(set1(static_cast<float>(p.t.high))),
        low(set1(static_cast<float>(p.t.low))),
        between(per_row<float>(p.between, row, o)),
        between_low(per_row<float>(p.between_low, row, o)),
        gap(per_row<float>(p.gap, row, o)),
        gap_low(per_row<float>(p.gap_low, row, o)) {}

  // t log(t/s) - t + s, and s - t.
  CROSSENT_INLINE_MEMBER pack<float> operator()(pack<float> x_student, pack<float> x_teacher, pack<float>& gradient) const {
    const pack<float> one = set1(1.0f), zero = set1(0.0f);
    const pack<float> x = x_student - student_offset, y = x_teacher - teacher_offset;
    const pack<float> s = student_term(x), t = teacher_term(y);

    // d = log(t/s), with what is lost to its roundings, which is NaN where d is infinite.
    pack<float> rest, lost;
    const pack<float> of_logits = two_sum(y, -x, rest), difference = two_sum(of_logits, -between, lost), z = difference * high;
    rest = lost + (rest - between_low);
    if constexpr (how == division::rounded)
      rest = fma(rest, high, fma(difference, low, product_error(difference, high, z)));
    else
      rest = rest * high;
    const pack<float> rough = two_sum(z, -gap, lost), correction = larger(lost + (rest - gap_low), set1(-1.0f));
    const pack<float> d = rough + correction, d_low = correction - (d - rough);

    // Where d is near 0: t d^2 P(d) and t d (d P(d) - 1).
    const pack<float> p = polynomial(d, near_phi_star);
    const pack<float> square = fma(d, d, d * (d_low + d_low));
    const pack<float> far_value = fma(s, ratio, if_equal(t, zero, zero, t * (d - one)));
    const pack<float> far_gradient = fma(s, ratio, -t);
    const pack<float> distance = absolute(d - set1(near_middle)), width = set1(near_width);
    gradient = if_less(distance, width, (t * d) * fma(d, p, -one), far_gradient);
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
    return [=](const pack<float>* x, index c, index n) {
      const pack<float> zero = set1(0.0f);
      pack<float> g;
      const parts<float, 1> sum{{of_class(x[0], x[1], g)}};
      g = if_equal(factor, zero, zero, g * factor);
      if (with_hard) g = g + of_hard(x[0], x[2], c, n, o);
      out.put(c, n, g, o);
      return sum;
    };
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

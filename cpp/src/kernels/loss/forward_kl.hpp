// KL(t || s) of float32 rows and its gradient s - t: the maths of a class. Formulas: docs/explanation/design/divergences.md.
// (Lanes over classes: forward_kl_over_classes.hpp.)
#pragma once

#include "kernels/loss/softmax.hpp"
#include "kernels/walk/sums.hpp"

namespace crossent {
namespace {

// (e^-d - 1 + d) / d^2 on [-2, 1], from cpp/tools/coefficients.py.
constexpr float near_phi_star_even[] = {0x1p-1f, 0x1.55554p-5f, 0x1.6c2162p-10f, 0x1.9bb814p-16f, 0x1.c29576p-22f};
constexpr float near_phi_star_odd[] = {-0x1.55555ap-3f, -0x1.110f78p-7f, -0x1.a0bfe8p-13f, -0x1.617a92p-19f};
constexpr float near_middle = -0.5f, near_width = 1.5f;
// A value has more digits near 0 in that interval, an entry of the gradient in this one, to both sides.
constexpr float near_gradient_width = 0.75f;

template <class T> CROSSENT_INLINE pack<T> square_of(pack<T> d, pack<T> d_lo) { return fma(d, d, d * (d_lo + d_lo)); }
// The terms of a class, from s (times of_s) and t, d as d + d_lo, and its polynomials in d^2. `linear` is t d where d is near 0.
template <class T> struct class_sums {
  pack<T> value, linear, gradient;
};
template <class T>
CROSSENT_INLINE class_sums<T> sums_of(pack<T> s, pack<T> t, pack<T> d, pack<T> d_lo, pack<T> of_s, pack<T> odd, pack<T> even) {
  const pack<T> zero = set1<T>(0), square = square_of(d, d_lo), p = fma(d, odd, even), w = square * p;
  const pack<T> near_value = has_fma ? fma(t, w, t * fma(square, p, -w)) : t * w;
  const pack<T> far_value = fma(s, of_s, t * d_lo) + select(set1(-constants<T>::infinity) < d, fma(t, d, -t), zero);
  const pack<T> near_gradient = t * (fma(square, p, -d) - d_lo), far_gradient = fma(s, of_s, -t);
  const mask<T> is_near = absolute(d - set1<T>(near_middle)) < set1<T>(near_width);
  return {
      select(is_near, near_value, far_value), select(is_near, t * d, zero),
      select(absolute(d) < set1<T>(near_gradient_width), near_gradient, far_gradient)};
}

// A class of one pair of rows, or of a tile of pairs; in units in which t_c is the term of the teacher alone.
template <temperature how> struct forward_class {
  exponential<float, how> student_term, teacher_term;
  pack<float> student_reference, teacher_reference, student_factor_lo, ratio, inverse_hi, inverse_lo;
  double_double<pack<float>> origin;   // of d: (max_t - max_s)/T + log_sum_difference
  pack<float> maxima_lo;

  template <class O>
  forward_class(const divergence_rows& p, index row, O o)
      : student_term(per_row<float>(p.student.exponent, row, o), p.t),
        teacher_term(per_row<float>(p.teacher.exponent, row, o), p.t),
        student_reference(per_row<float>(p.student.reference, row, o)),
        teacher_reference(per_row<float>(p.teacher.reference, row, o)),
        student_factor_lo(per_row<float>(p.student.factor_lo, row, o)),
        ratio(per_row<float>(p.student.factor, row, o)),
        inverse_hi(set1(static_cast<float>(p.t.hi))),
        inverse_lo(set1(static_cast<float>(p.t.lo))) {
    const pack<float> student_max = per_row<float>(p.student_statistics->max, row, o) - student_reference;
    const auto maxima = difference(per_row<float>(p.teacher_statistics->max, row, o) - teacher_reference, student_max);
    origin = two_sum(maxima.hi, per_row<float>(p.log_sum_difference, row, o));
    origin.lo = origin.lo + per_row<float>(p.log_sum_difference_lo, row, o);
    maxima_lo = maxima.lo;
  }

  // (y - x)/T. That of the two maxima is subtracted before log_sum_difference is, to the bit: of two confident rows with the
  // same argmax, log_sum_difference alone remains.
  CROSSENT_INLINE_MEMBER double_double<pack<float>> difference(pack<float> y, pack<float> x) const {
    const auto d = two_sum(y, -x);
    const pack<float> z = d.hi * inverse_hi;
    if constexpr (how == temperature::any)
      return {z, fma(d.lo, inverse_hi, fma(d.hi, inverse_lo, product_error(d.hi, inverse_hi, z)))};
    else return {z, d.lo * inverse_hi};
  }

  // The terms of s and t, and d = log(t/s) with its rounding error (-1 where d is infinite).
  struct distance {
    pack<float> s, t, d, d_lo;
  };
  // Of logits less their references. Into `to`: GCC stores a struct that is returned twice.
  CROSSENT_INLINE_MEMBER void first(pack<float> x, pack<float> y, distance& to) const {
    const pack<float> not_nan = set1(-1.0f);
    const auto of_logits = difference(y, x), rough = two_sum(of_logits.hi, -origin.hi);
    const pack<float> correction = larger(rough.lo + ((of_logits.lo - maxima_lo) - origin.lo), not_nan);
    const pack<float> d = rough.hi + correction;
    to.d = d;
    to.d_lo = larger(correction - (d - rough.hi), not_nan);
    to.s = student_term(x, student_factor_lo);
    to.t = teacher_term(y);
  }

  // t log(t/s) - t + s, and s - t; where d is near 0 as t d^2 P(d) and t (d^2 P(d) - d). Without FMA in double. A value of
  // 0 inf is NaN.
  CROSSENT_INLINE_MEMBER class_sums<float> second(const distance& v) const {
    const pack<float> square = square_of(v.d, v.d_lo);
    const pack<float> odd = polynomial(square, near_phi_star_odd), even = polynomial(square, near_phi_star_even);
    if constexpr (has_fma) return sums_of(v.s, v.t, v.d, v.d_lo, ratio, odd, even);
    const halves s = widen(v.s), t = widen(v.t), d = widen(v.d), d_lo = widen(v.d_lo), r = widen(ratio);
    const halves o = widen(odd), e = widen(even);
    const auto lower = sums_of(s.lower, t.lower, d.lower, d_lo.lower, r.lower, o.lower, e.lower);
    const auto upper = sums_of(s.upper, t.upper, d.upper, d_lo.upper, r.upper, o.upper, e.upper);
    return {narrow({lower.value, upper.value}), narrow({lower.linear, upper.linear}), narrow({lower.gradient, upper.gradient})};
  }
  // The value where `second` gives 0 inf, from the logits of s and t: infinity where the student masks what the teacher does
  // not; of logits so far apart that d overflows, what is left is the term of s.
  CROSSENT_INLINE_MEMBER pack<float> value_of_infinite(pack<float> value, pack<float> s, pack<float> t,
                                                       const distance& v) const {
    return value_of_product(value, s, t, v.s * ratio, v.t, v.d);
  }

 private:
  CROSSENT_ONCE pack<float> value_of_product(pack<float> value, pack<float> student, pack<float> teacher, pack<float> s,
                                             pack<float> t, pack<float> d) {
    const pack<float> infinity = set1(constants<float>::infinity);
    const mask<float> is_product = (t == set1(0.0f)) & (d == infinity);
    return select(is_product, select((student == -infinity) & (teacher != -infinity), infinity, s), value);
  }
};

// The gradient in the student's logits of the cross-entropy that stands beside a divergence: e_c factor - b_c.
template <class T> struct cross_entropy_gradient {
  exponential<T, temperature::one> term;
  pack<T> reference;
  gradient_numbers<T> numbers;
  const void* weight;
  bool with_q;

  template <class O> cross_entropy_gradient(const row_statistics& statistics, const gradient_rows* h, bool q, index row, O o)
      : term(h ? per_row<T>(h->exponent, row, o) : set1<T>(0), inverse_temperature{}),
        reference(h ? per_row<T>(statistics.reference, row, o) : set1<T>(0)),
        numbers(h ? gradient_numbers<T>(*h, h->with_beta, h->with_gamma, row, o) : gradient_numbers<T>()),
        weight(h ? h->weight : nullptr),
        with_q(q) {}
  template <class O> CROSSENT_INLINE_MEMBER pack<T> operator()(pack<T> x, pack<T> q, index c, index n, O o) const {
    const pack<T> zero = set1<T>(0);
    const pack<T> e = term(x - reference);
    const pack<T> entry = with_q ? gradient_entry<T, true, true>(e, numbers, q, weight, c, n, o)
                                 : gradient_entry<T, false, true>(e, numbers, q, weight, c, n, o);
    return select(numbers.counts != zero, entry, zero);
  }
};

// What a gradient in units of the teacher's terms is multiplied by, and what is added to it.
struct forward_gradient_scale {
  pack<float> factor, factor_lo, teacher_scale, small_difference_gradient;

  template <class O>
  forward_gradient_scale(const divergence_rows& p, index row, O o)
      : factor(per_row<float>(p.teacher.factor, row, o)),
        factor_lo(per_row<float>(p.teacher.factor_lo, row, o)),
        teacher_scale(per_row<float>(p.teacher_scale, row, o)),
        small_difference_gradient(per_row<float>(p.small_difference_gradient, row, o)) {}
  CROSSENT_INLINE_MEMBER pack<float> times(pack<float> g) const { return rounded_once(g, factor, g * factor_lo); }
  // The gradient from the product; of most rows, of which is_whole is true, it is the product.
  CROSSENT_INLINE_MEMBER pack<float> complete(pack<float> product, pack<float> t) const {
    return select(factor != set1(0.0f), fma(t * teacher_scale, small_difference_gradient, product), set1(0.0f));
  }
  bool is_whole() const {
    const float added = small_difference_gradient.r[0][0];
    return factor.r[0][0] != 0 && added == 0 && __builtin_signbit(added);   // + -0 changes nothing
  }
};

void forward_kl_over_rows(const source& student, const source& teacher, const source* q, const sink& to, index begin, index end,
                          const divergence_rows& p, const row_statistics& statistics, const gradient_rows* cross_entropy,
                          double* value, double* inner) {
  const source s[] = {student, teacher, q ? *q : student};
  const auto make = [&](index row, index, auto o, auto out) {
    using of_row = forward_class<temperature::any>;
    const of_row of_class(p, row, o);
    const forward_gradient_scale scale(p, row, o);
    const bool with_cross_entropy = cross_entropy != nullptr;
    const cross_entropy_gradient<float> of_cross_entropy(statistics, cross_entropy, q != nullptr, row, o);
    return [=](const pack<float>* x, index c, index n) {
      of_row::distance d;
      of_class.first(x[0] - of_class.student_reference, x[1] - of_class.teacher_reference, d);
      const class_sums<float> terms = of_class.second(d);
      pack<float> value = terms.value;
      if (any(value != value)) value = of_class.value_of_infinite(value, x[0], x[1], d);
      const parts<float, 2> sum{{value, terms.linear}};
      pack<float> g = scale.complete(scale.times(terms.gradient), d.t);
      if (with_cross_entropy) g = g + of_cross_entropy(x[0], x[2], c, n, o);
      out.put(c, g);
      return sum;
    };
  };
  sum_and_write_over_rows<float, 2>(s, to, begin, end, {value, inner}, make);
}

}  // namespace
}  // namespace crossent

// Two rows of logits, the student's and the teacher's, as all their divergences read them: d = log(t_c / s_c) of a class, and the
// probabilities of both.
#pragma once

#include "kernels/loss/softmax.hpp"
#include "kernels/walk/sums.hpp"

namespace crossent {
namespace {

// log(t/s) from the logits, which is usually d: 0 where both are -inf, and without an error where it is infinite.
template <class T> inline CROSSENT_INLINE_WIDE double_double<pack<T>> log_ratio_of(pack<T> s, pack<T> t, pack<T> d,
                                                                                   pack<T> d_lo) {
  const pack<T> zero = set1<T>(0), infinity = set1(constants<T>::infinity);
  const mask<T> is_usual = absolute(d) < infinity;
  if (any(!is_usual)) {
    const mask<T> both_masked = (s == -infinity) & (t == -infinity);
    d = select(both_masked, zero, d);
    d_lo = select(is_usual, d_lo, zero);
  }
  return {d, d_lo};
}

// d = ((x_t - max_t) - (x_s - max_s)) / T - (log_sum_t - log_sum_s): accurate relative to d itself, as rows that are nearly
// equal need.
template <class T> struct log_ratio;

template <> struct log_ratio<float> {  // in float64
  pack<double> student[2], teacher[2], log_sum_difference[2], inverse;

  template <class O> log_ratio(const divergence_rows& p, index row, O) : inverse(set1(p.t.hi + p.t.lo)) {
    for (int k = 0; k < 2; ++k) {
      const auto of = [&](const double* v) { return O::lanes_over_rows ? load<double>(v + row + 8 * k) : set1(v[row]); };
      student[k] = of(p.student_statistics->max);
      teacher[k] = of(p.teacher_statistics->max);
      log_sum_difference[k] = of(p.log_sum_difference);
    }
  }
  CROSSENT_INLINE_WIDE double_double<pack<float>> operator()(pack<float> s, pack<float> t) const {
    const halves ws = widen(s), wt = widen(t);
    const auto of = [&](pack<double> xs, pack<double> xt, int k) CROSSENT_INLINE_WIDE {
      return fma((xt - teacher[k]) - (xs - student[k]), inverse, -log_sum_difference[k]);
    };
    const halves whole{of(ws.lower, wt.lower, 0), of(ws.upper, wt.upper, 1)};
    const pack<float> d = narrow(whole);
    const halves wide_d = widen(d);
    return log_ratio_of(s, t, d, narrow({whole.lower - wide_d.lower, whole.upper - wide_d.upper}));
  }
};

template <> struct log_ratio<double> {  // as sums of two doubles
  pack<double> student, teacher, log_sum_difference, log_sum_difference_lo, inverse_hi, inverse_lo;

  template <class O> log_ratio(const divergence_rows& p, index row, O o)
      : student(per_row<double>(p.student_statistics->max, row, o)),
        teacher(per_row<double>(p.teacher_statistics->max, row, o)),
        log_sum_difference(per_row<double>(p.log_sum_difference, row, o)),
        log_sum_difference_lo(per_row<double>(p.log_sum_difference_lo, row, o)),
        inverse_hi(set1(p.t.hi)),
        inverse_lo(set1(p.t.lo)) {}
  CROSSENT_INLINE_WIDE double_double<doubles> operator()(pack<double> s, pack<double> t) const {
    const auto left = two_sum(t, -teacher), right = two_sum(s, -student), rough = two_sum(left.hi, -right.hi);
    const doubles gap = rough.hi + (rough.lo + (left.lo - right.lo)),
                  gap_lo = ((rough.hi - gap) + rough.lo) + (left.lo - right.lo);
    const doubles product = gap * inverse_hi, product_lo = product_error(gap, inverse_hi, product);
    const auto sum = two_sum(product, -log_sum_difference);
    const doubles correction = sum.lo + ((product_lo - log_sum_difference_lo) + fma(gap, inverse_lo, gap_lo * inverse_hi));
    const doubles d = sum.hi + correction;
    const doubles infinite = (left.hi - right.hi) * inverse_hi;  // of which the errors are NaN
    const pack<double> result = select(absolute(infinite) == set1(constants<double>::infinity), infinite, d);
    return log_ratio_of(s, t, result, correction - (d - sum.hi));
  }
};

// p_c of one of the two rows.
template <class T> struct probability {
  exponential<T, temperature::any> term;
  pack<T> reference, factor, factor_lo;

  template <class O> probability(const distribution_rows& r, const inverse_temperature& t, index row, O o)
      : term(per_row<T>(r.exponent, row, o), t),
        reference(per_row<T>(r.reference, row, o)),
        factor(per_row<T>(r.factor, row, o)),
        factor_lo(per_row<T>(r.factor_lo, row, o)) {}
  CROSSENT_INLINE_WIDE pack<T> term_of(pack<T> x) const {
    if constexpr (sizeof(T) == 4) return term(x - reference, factor_lo);
    const auto gap = two_sum(x, -reference);  // the reference of float64 rows is their maximum
    return term(gap.hi, gap.lo, factor_lo);
  }
};

// e factor v, 0 where e is 0, rounded once beside the exponential. The terms are biased: only the last product can be subnormal.
template <class T> inline CROSSENT_INLINE_WIDE pack<T> product_of(pack<T> e, pack<T> factor, double_double<pack<T>> v) {
  const pack<T> zero = set1<T>(0), ev = select(e != zero, e * v.hi, zero), product = ev * factor;
  const pack<T> error = fma(fma(e, v.lo, product_error(e, v.hi, ev)), factor, product_error(ev, factor, product));
  return select(absolute(error) < absolute(product), product + error, product);  // not where it is NaN
}

// The term of a class, or infinity where the other row alone masks it: its own probability may underflow. v: what that is
// multiplied by; of logits so far apart that v overflows, the term stays as it is.
template <class T> inline CROSSENT_INLINE_WIDE pack<T> term_or_infinity(pack<T> term, pack<T> v, pack<T> other) {
  const pack<T> infinity = set1(constants<T>::infinity);
  const mask<T> is_infinite = v == infinity;
  return any(is_infinite) ? select(is_infinite & (other == -infinity), infinity, term) : term;
}

// A pair of rows, or a tile of pairs.
template <class T> struct pair_of_rows {
  log_ratio<T> ratio;
  probability<T> student, teacher;

  template <class O>
  CROSSENT_INLINE_MEMBER pair_of_rows(const divergence_rows& p, index row, O o)
      : ratio(p, row, o), student(p.student, p.t, row, o), teacher(p.teacher, p.t, row, o) {}

  // log(t/s) as d + d_lo, from the logits of both.
  CROSSENT_INLINE_WIDE void take_log_ratio(const pack<T>* x, pack<T>& d, pack<T>& d_lo) const {
    const auto of_class = ratio(x[0], x[1]);
    d = of_class.hi;
    d_lo = of_class.lo;
  }
  // The larger of s and t times v, for the price of one exponential.
  CROSSENT_INLINE_WIDE pack<T> times_larger(mask<T> teacher_is_larger, const pack<T>* x, pack<T> v) const {
    const auto choose = [&](pack<T> of_teacher, pack<T> of_student)
                            CROSSENT_INLINE_WIDE { return select(teacher_is_larger, of_teacher, of_student); };
    probability<T> p = student;
    p.term.magic = choose(teacher.term.magic, p.term.magic);
    p.term.lowest = choose(teacher.term.lowest, p.term.lowest);
    p.reference = choose(teacher.reference, p.reference);
    p.factor = choose(teacher.factor, p.factor);
    p.factor_lo = choose(teacher.factor_lo, p.factor_lo);
    return product_of(p.term_of(choose(x[1], x[0])), p.factor, exact(v));
  }
};

}  // namespace
}  // namespace crossent

// Divergences of two softmax rows, from their logits: sums and gradients. Formulas: docs/explanation/design/divergences.md.
//
// With d = log(t_c / s_c) a class adds s phi(d) = t phi*(d) to KL(t || s): neither negative nor cancelling. The form of the
// larger of s and t is taken, so that only e^-|d| occurs.
#pragma once

#include "kernels/loss/forward_kl_over_classes.hpp"
#include "kernels/loss/js_divergence.hpp"

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

template <> struct log_ratio<float> {   // in float64
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

template <> struct log_ratio<double> {   // as sums of two doubles
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
    const doubles infinite = (left.hi - right.hi) * inverse_hi;   // of which the errors are NaN
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
    const auto gap = two_sum(x, -reference);   // the reference of float64 rows is their maximum
    return term(gap.hi, gap.lo, factor_lo);
  }
};

// e factor v, 0 where e is 0, rounded once beside the exponential. The terms are biased: only the last product can be subnormal.
template <class T> inline CROSSENT_INLINE_WIDE pack<T> product_of(pack<T> e, pack<T> factor, double_double<pack<T>> v) {
  const pack<T> zero = set1<T>(0), ev = select(e != zero, e * v.hi, zero), product = ev * factor;
  const pack<T> error = fma(fma(e, v.lo, product_error(e, v.hi, ev)), factor, product_error(ev, factor, product));
  return select(absolute(error) < absolute(product), product + error, product);   // not where it is NaN
}

// The term of a class, or infinity where the other row alone masks it: its own probability may underflow. v: what that is
// multiplied by; of logits so far apart that v overflows, the term stays as it is.
template <class T> inline CROSSENT_INLINE_WIDE pack<T> term_or_infinity(pack<T> term, pack<T> v, pack<T> other) {
  const pack<T> infinity = set1(constants<T>::infinity);
  const mask<T> is_infinite = v == infinity;
  return any(is_infinite) ? select(is_infinite & (other == -infinity), infinity, term) : term;
}

// Whether these kernels do the forward divergence: that of float32 rows has its own.
template <class T> constexpr bool forward = sizeof(T) == 8;

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

// `inner` is sum s log(s/t), or of s/m, as it stands: an error that the log-ratios of a row have in common leaves the
// gradient with it.
template <class T>
void divergence_sums(const source& student, const source& teacher, index begin, index end, const divergence_rows& p,
                     double* value, double* inner) {
  sum_blocks<T, 2, terms::heavy>({student, teacher}, begin, end, {value, inner}, [&](index row, index, auto o) {
    const pair_of_rows<T> pair(p, row, o);
    const mixture<T> share(p.beta);
    const bool is_js = p.kind == divergence_kind::js, is_forward = forward<T> && p.kind == divergence_kind::forward;
    return [=](const pack<T>(*x)[2], index n, parts<T, 2>* sums) CROSSENT_INLINE_WIDE {
      const pack<T> zero = set1<T>(0);
      pack<T> d[group_packs], d_lo[group_packs], s[group_packs], t[group_packs];
      for (index j = 0; j < n; ++j) pair.take_log_ratio(x[j], d[j], d_lo[j]);
      if (is_js) {
        mixture_ratios<T> ratios[group_packs];
        for (index j = 0; j < n; ++j) ratios[j].set(d[j], d_lo[j]);
        for (index j = 0; j < n; ++j) s[j] = ratios[j].student(share);
        for (index j = 0; j < n; ++j) t[j] = ratios[j].teacher(share);
        for (index j = 0; j < n; ++j) {
          const pack<T> e = pair.student.term_of(x[j][0]), of_teacher = pair.teacher.term_of(x[j][1]) * pair.teacher.factor;
          sums[j].v[0] = js_of(e * pair.student.factor, of_teacher, s[j], t[j], share);
          sums[j].v[1] = product_of(e, pair.student.factor, exact(s[j]));
        }
        return;
      }
      for (index j = 0; j < n; ++j) {
        const mask<T> teacher_is_larger = zero < d[j], star = is_forward ? teacher_is_larger : !teacher_is_larger;
        t[j] = phi_or_star_of_nonpositive(-absolute(d[j]), select(teacher_is_larger, -d_lo[j], d_lo[j]), star);
      }
      for (index j = 0; j < n && is_forward; ++j) {
        sums[j].v[0] = term_or_infinity(pair.times_larger(zero < d[j], x[j], t[j]), t[j], x[j][0]);
        sums[j].v[1] = zero;
      }
      for (index j = 0; j < n && !is_forward; ++j) {
        const pack<T> of_student = pair.student.term_of(x[j][0]), of_teacher = pair.teacher.term_of(x[j][1]);
        const mask<T> teacher_is_larger = zero < d[j];
        const pack<T> factor = select(teacher_is_larger, pair.teacher.factor, pair.student.factor);
        const pack<T> term = product_of(select(teacher_is_larger, of_teacher, of_student), factor, exact(t[j]));
        sums[j].v[0] = term_or_infinity(term, t[j], x[j][1]);
        sums[j].v[1] = product_of(of_student, pair.student.factor, {-d[j], -d_lo[j]});
      }
    };
  });
}

// out = d(scale D)/d(student logits) + e_c factor - weight_c (beta + gamma q_c): the second part where `cross_entropy` is
// given, the scale in the factors of the distributions, of js with 1 - beta in it.
template <class T>
void write_divergence(const source& student, const source& teacher, const source* q, const sink& to, index begin, index end,
                      const divergence_rows& p, const row_statistics& statistics, const gradient_rows* cross_entropy) {
  const source s[] = {student, teacher, q ? *q : student};
  write_blocks<T, 3, terms::heavy>(s, to, begin, end, [&](index row, auto o) {
    const pair_of_rows<T> pair(p, row, o);
    const pack<T> zero = set1<T>(0), inner = per_row<T>(p.inner, row, o), inner_lo = per_row<T>(p.inner_lo, row, o);
    const scaled<T> tiny_difference{per_row<T>(p.log_sum_difference_scaled, row, o)};
    const mixture<T> share(p.beta);
    const bool is_js = p.kind == divergence_kind::js, is_forward = forward<T> && p.kind == divergence_kind::forward;
    const bool with_cross_entropy = cross_entropy != nullptr;
    const cross_entropy_gradient<T> of_cross_entropy(statistics, cross_entropy, q != nullptr, row, o);
    constexpr index step = o.lanes_over_rows ? 1 : pack<T>::lanes;   // classes of a pack
    return [=](const pack<T>(*x)[3], index c, index n, pack<T>* gradient) CROSSENT_INLINE_WIDE {
      const index packs = (n + step - 1) / step;
      pack<T> d[group_packs], d_lo[group_packs];
      for (index j = 0; j < packs; ++j) pair.take_log_ratio(x[j], d[j], d_lo[j]);
      for (index j = 0; j < packs && is_forward; ++j) {   // s - t
        // Of equal logits, a log_sum_difference that may be subnormal is all that is left.
        const pack<T> v = select(d[j] == zero, -tiny_difference.value, expm1(-absolute(d[j])));
        const pack<T> product = pair.times_larger(zero < d[j], x[j], v);
        const pack<T> signed_product = select(zero < d[j], product, -product);
        gradient[j] = select(d[j] == zero, unscale(scaled<T>{signed_product}), signed_product);
      }
      for (index j = 0; j < packs && is_js; ++j) {   // log(m/s) in the place of log(t/s)
        mixture_ratios<T> ratios;
        ratios.set(d[j], d_lo[j]);
        d[j] = -ratios.student(share);
        d_lo[j] = zero;
      }
      for (index j = 0; j < packs && !is_forward; ++j) {   // s (log s/t - sum s log s/t), or the same of s/m
        const auto difference = two_sum(-d[j], -inner);
        gradient[j] = product_of(pair.student.term_of(x[j][0]), pair.student.factor,
                                 {difference.hi, difference.lo - (inner_lo + d_lo[j])});
      }
      for (index j = 0; j < packs; ++j) gradient[j] = select(pair.student.factor != zero, gradient[j], zero);
      for (index j = 0; j < packs && with_cross_entropy; ++j) {
        const index left = n - j * step;
        const pack<T> g = of_cross_entropy(x[j][0], x[j][2], c + j * step, left < step ? left : step, o);
        gradient[j] = gradient[j] + g;
      }
    };
  });
}

}  // namespace
}  // namespace crossent

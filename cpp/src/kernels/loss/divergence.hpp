// Divergences of two softmax rows, from their logits: sums and gradients. Formulas: docs/design/divergences.md.
//
// With d = log(t_c / s_c) a class adds s phi(d) = t phi*(d) to KL(t || s): neither negative nor cancelling. The form of the
// larger of s and t is taken, so that only e^-|d| occurs.
#pragma once

#include "kernels/loss/forward_kl_over_classes.hpp"
#include "kernels/math/phi.hpp"

namespace crossent {
namespace {

// log(t/s) from the logits: 0 where both are -inf, and without an error where it is infinite.
template <class T> CROSSENT_INLINE double_double<pack<T>> log_ratio_of(pack<T> s, pack<T> t, pack<T> d, pack<T> d_lo) {
  const pack<T> zero = set1<T>(0), infinity = set1(constants<T>::infinity);
  const mask<T> both_masked = (s == -infinity) & (t == -infinity);
  const auto unless_masked = [&](pack<T> v) { return select(both_masked, zero, v); };
  return {unless_masked(d), select(absolute(d) < infinity, unless_masked(d_lo), zero)};
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
  double_double<pack<float>> operator()(pack<float> s, pack<float> t) const {
    const halves ws = widen(s), wt = widen(t);
    const auto of = [&](pack<double> xs, pack<double> xt, int k) {
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
  double_double<doubles> operator()(pack<double> s, pack<double> t) const {
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
  // p v, 0 where p is (NaN where the row is), rounded once beside the exponential. The terms are biased: only the last product
  // can be subnormal.
  pack<T> times(pack<T> x, double_double<pack<T>> v) const {
    const pack<T> e = term_of(x), ev = e * v.hi, product = ev * factor;
    const pack<T> error = fma(fma(e, v.lo, product_error(e, v.hi, ev)), factor, product_error(ev, factor, product));
    const pack<T> fine = select(absolute(error) < absolute(product), product + error, product);   // not where it is NaN
    return select(e == set1<T>(0), e * factor, fine);
  }
  pack<T> operator()(pack<T> x) const { return term_of(x) * factor; }

 private:
  pack<T> term_of(pack<T> x) const {
    if constexpr (sizeof(T) == 4) return term(x - reference, factor_lo);
    const auto gap = two_sum(x, -reference);   // the reference of float64 rows is their maximum
    return term(gap.hi, gap.lo, factor_lo);
  }
};

// The larger of s and t times v, for the price of one exponential: d > 0 says that it is t.
template <class T> struct larger_probability {
  probability<T> student, teacher;

  pack<T> times(pack<T> d, pack<T> s, pack<T> t, double_double<pack<T>> v) const {
    const mask<T> teacher_is_larger = set1<T>(0) < d;
    const auto choose = [&](pack<T> of_teacher, pack<T> of_student) {
      return select(teacher_is_larger, of_teacher, of_student);
    };
    probability<T> p = student;
    p.term.magic = choose(teacher.term.magic, p.term.magic);
    p.term.lowest = choose(teacher.term.lowest, p.term.lowest);
    p.reference = choose(teacher.reference, p.reference);
    p.factor = choose(teacher.factor, p.factor);
    p.factor_lo = choose(teacher.factor_lo, p.factor_lo);
    return p.times(choose(t, s), v);
  }
};

// beta and 1 - beta.
template <class T> struct mixture {
  double_double<pack<T>> teacher, student;

  explicit mixture(double beta) : teacher(of(beta, 0)), student(of(1 - beta, (1 - (1 - beta)) - beta)) {}

 private:
  static double_double<pack<T>> of(double share, double share_lo) {
    const T value = static_cast<T>(share);
    return {set1(value), set1(static_cast<T>((share - static_cast<double>(value)) + share_lo))};
  }
};

// log(t/m) and log(s/m) for m = beta t + (1 - beta) s, from d: -log1p((1 - beta) expm1(-d)) and -log1p(beta expm1(d)), with the
// rounding errors of d and of the products to first order. Where e^|d| leaves the range, the logarithm of the
// smaller of s and t is -|d| beside that of the larger.
template <class T> struct mixture_ratios {
  pack<T> teacher, student;
};
template <class T> CROSSENT_ONCE mixture_ratios<T> mixture_ratios_of(const double_double<pack<T>>& d, const mixture<T>& share) {
  const pack<T> one = set1<T>(1), size = absolute(d.hi), limit = set1<T>(64);
  const mask<T> teacher_is_larger = set1<T>(0) < d.hi;
  const auto of_smaller = select(teacher_is_larger, share.student, share.teacher);
  const auto of_larger = select(teacher_is_larger, share.teacher, share.student);
  const pack<T> size_lo = select(teacher_is_larger, d.lo, -d.lo), falls = exp(-size), near = at_most(size, limit);
  // share expm1(x + x_lo), power being exp(x)
  const auto product = [&](const double_double<pack<T>>& of, pack<T> e, pack<T> power, pack<T> x_lo) {
    const pack<T> a = of.hi * e;
    return double_double{a, fma(of.hi * power, x_lo, fma(of.lo, e, product_error(of.hi, e, a)))};
  };
  const pack<T> mixed = fma(of_smaller.hi, falls, of_larger.hi);   // m / larger; log1p is for where it is near 1
  const auto less = product(of_smaller, expm1(-size), falls, -size_lo);
  const pack<T> log_larger = -select(mixed < set1<T>(T(0.5)), log(mixed), log1p(less.hi) + less.lo / mixed);
  const pack<T> grown = expm1(near);
  const auto more = product(of_larger, grown, one + grown, size_lo);
  const pack<T> log_smaller = -(log1p(more.hi) + more.lo / (one + more.hi));
  const pack<T> smaller = select(limit < size, log_larger - size, log_smaller);
  return {select(teacher_is_larger, log_larger, smaller), select(teacher_is_larger, smaller, log_larger)};
}

// Whether these kernels do the forward divergence: that of float32 rows has its own.
template <class T> constexpr bool forward = sizeof(T) == 8;

// `inner` is sum s log(s/t), or of s/m, as it stands: an error that the log-ratios of a row have in common leaves the
// gradient with it.
template <class T>
void divergence_sums(const source& student, const source& teacher, index begin, index end, const divergence_rows& p,
                     double* value, double* inner) {
  sum_blocks<T, 2, terms::heavy>({student, teacher}, begin, end, {value, inner}, [&](index row, index, auto o) {
    const log_ratio<T> ratio(p, row, o);
    const larger_probability<T> larger_of{{p.student, p.t, row, o}, {p.teacher, p.t, row, o}};
    const divergence_kind kind = p.kind;
    const mixture<T> share(p.beta);
    return [=](const pack<T>* x, index, index) {
      const pack<T> zero = set1<T>(0);
      const auto [d, d_lo] = ratio(x[0], x[1]);
      if (kind != divergence_kind::js) {
        const bool is_forward = forward<T> && kind == divergence_kind::forward;
        const mask<T> teacher_is_larger = zero < d;
        const mask<T> star = is_forward ? teacher_is_larger : !teacher_is_larger;
        const pack<T> v = phi_or_star(-absolute(d), select(teacher_is_larger, -d_lo, d_lo), star);
        const pack<T> term = larger_of.times(d, x[0], x[1], {v, zero});
        return parts<T, 2>{{term, kind == divergence_kind::reverse ? larger_of.student.times(x[0], {-d, -d_lo}) : zero}};
      }
      // KL(p || m) adds p phi*(log p/m) where p > m, and m phi(log p/m) elsewhere.
      const mixture_ratios<T> ratios = mixture_ratios_of<T>({d, d_lo}, share);
      const pack<T> s = larger_of.student(x[0]), t = larger_of.teacher(x[1]);
      const pack<T> m = fma(share.teacher.hi, t, share.student.hi * s);
      const auto term = [&](pack<T> q, pack<T> log_q) {
        const mask<T> is_above = zero < log_q;
        return select(m != zero, select(is_above, q, m) * phi_or_star(-absolute(log_q), zero, is_above), zero);
      };
      const pack<T> of_student = term(s, ratios.student);
      const pack<T> value = fma(share.teacher.hi, term(t, ratios.teacher), share.student.hi * of_student);
      return parts<T, 2>{{value, larger_of.student.times(x[0], {ratios.student, zero})}};
    };
  });
}

// out = d(scale D)/d(student logits) + e_c factor - weight_c (beta + gamma q_c): the second part where `cross_entropy` is
// given, the scale in the factors of the distributions, of js with 1 - beta in it.
template <class T>
void write_divergence(const source& student, const source& teacher, const source* q, const sink& to, index begin, index end,
                      const divergence_rows& p, const row_statistics& statistics, const gradient_rows* cross_entropy) {
  write_blocks<T, 3>({student, teacher, q ? *q : student}, to, begin, end, [&](index row, auto o) {
    const log_ratio<T> ratio(p, row, o);
    const larger_probability<T> larger_of{{p.student, p.t, row, o}, {p.teacher, p.t, row, o}};
    const pack<T> zero = set1<T>(0), inner = per_row<T>(p.inner, row, o), inner_lo = per_row<T>(p.inner_lo, row, o);
    const scaled<T> tiny_difference{per_row<T>(p.log_sum_difference_scaled, row, o)};
    const divergence_kind kind = p.kind;
    const mixture<T> share(p.beta);
    const bool with_cross_entropy = cross_entropy != nullptr;
    const cross_entropy_gradient<T> of_cross_entropy(statistics, cross_entropy, q != nullptr, row, o);
    return [=](const pack<T>* x, index c, index n) {
      const auto [d, d_lo] = ratio(x[0], x[1]);
      pack<T> g;
      if (forward<T> && kind == divergence_kind::forward) {   // s - t
        // Of equal logits, a log_sum_difference that may be subnormal is all that is left.
        const pack<T> v = select(d == zero, -tiny_difference.value, expm1(-absolute(d)));
        const pack<T> product = larger_of.times(d, x[0], x[1], {v, zero}), signed_product = select(zero < d, product, -product);
        g = select(d == zero, unscale(scaled<T>{signed_product}), signed_product);
      } else {                             // s (log s/t - sum s log s/t), or the same of s/m
        const bool js = kind == divergence_kind::js;
        const pack<T> log_s = js ? mixture_ratios_of<T>({d, d_lo}, share).student : -d;
        const auto difference = two_sum(log_s, -inner);
        g = larger_of.student.times(x[0], {difference.hi, difference.lo - (inner_lo + (js ? zero : d_lo))});
      }
      g = select(larger_of.student.factor != zero, g, zero);
      return with_cross_entropy ? g + of_cross_entropy(x[0], x[2], c, n, o) : g;
    };
  });
}

}  // namespace
}  // namespace crossent

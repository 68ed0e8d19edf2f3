// Divergences of two softmax rows, from their logits: sums and gradients. Formulas: docs/design.md.
//
// With d = log(t_c / s_c) a class adds s phi(d) = t phi*(d) to KL(t || s): neither negative nor cancelling. The form of the
// larger of s and t is taken, so that only e^-|d| occurs.
#pragma once

#include "forward_divergence.hpp"
#include "phi.hpp"

namespace crossent {
namespace {

// d = ((x_t - max_t) - (x_s - max_s)) / T - (log_sum_t - log_sum_s): accurate relative to d itself, as rows that are nearly
// equal need. Where both logits are -inf it is 0.
template <class T> struct log_ratio;

template <> struct log_ratio<float> {   // in float64
  pack<double> student[2], teacher[2], gap[2], inverse;

  template <class O> log_ratio(const divergence_rows& p, index row, O) : inverse(set1(p.t.high + p.t.low)) {
    for (int k = 0; k < 2; ++k) {
      const auto of = [&](const double* v) { return O::across ? load<double>(v + row + 8 * k) : set1(v[row]); };
      student[k] = of(p.student.max);
      teacher[k] = of(p.teacher.max);
      gap[k] = of(p.gap);
    }
  }
  pack<float> operator()(pack<float> s, pack<float> t) const {
    const two_packs ws = widen(s), wt = widen(t);
    const auto of = [&](pack<double> xs, pack<double> xt, int k) {
      return fma((xt - teacher[k]) - (xs - student[k]), inverse, -gap[k]);
    };
    const pack<float> d = narrow({of(ws.low, wt.low, 0), of(ws.high, wt.high, 1)});
    const pack<float> masked = set1(-constants<float>::infinity);
    return if_equal(s, masked, if_equal(t, masked, set1(0.0f), d), d);
  }
};

template <> struct log_ratio<double> {   // as sums of two doubles
  pack<double> student, teacher, gap, gap_low, high, low;

  template <class O> log_ratio(const divergence_rows& p, index row, O o)
      : student(per_row<double>(p.student.max, row, o)),
        teacher(per_row<double>(p.teacher.max, row, o)),
        gap(per_row<double>(p.gap, row, o)),
        gap_low(per_row<double>(p.gap_low, row, o)),
        high(set1(p.t.high)),
        low(set1(p.t.low)) {}
  pack<double> operator()(pack<double> s, pack<double> t) const {
    const pack<double> zero = set1(0.0), infinity = set1(constants<double>::infinity);
    pack<double> el, er, e, ep, es;
    const pack<double> left = two_sum(t, -teacher, el), right = two_sum(s, -student, er);
    const pack<double> rough = two_sum(left, -right, e);
    const pack<double> whole = rough + (e + (el - er)), rest = ((rough - whole) + e) + (el - er);
    const pack<double> product = whole * high;
    ep = product_error(whole, high, product);
    const pack<double> sum = two_sum(product, -gap, es);
    const pack<double> d = sum + (es + ((ep - gap_low) + fma(whole, low, rest * high)));
    const pack<double> infinite = (left - right) * high;   // of which the errors are NaN
    const pack<double> result = if_equal(absolute(infinite), infinity, infinite, d);
    return if_equal(s, -infinity, if_equal(t, -infinity, zero, result), result);
  }
};

// p_c of one of the two rows.
template <class T> struct probability {
  exponential<T, division::rounded> term;
  pack<T> offset, factor;

  template <class O> probability(const distribution_rows& r, const scaling& t, index row, O o)
      : term(per_row<T>(r.shift, row, o), t), offset(per_row<T>(r.offset, row, o)), factor(per_row<T>(r.factor, row, o)) {}
  // p v, 0 where p is (NaN where the row is). The terms are biased: only the last product can be subnormal, and rounds once.
  pack<T> times(pack<T> x, pack<T> v) const {
    const pack<T> e = raised(x), ev = e * v, product = ev * factor;
    if constexpr (sizeof(T) == 4) return if_equal(e, set1<T>(0), e * factor, product);
    // Both products rounded once: in float64 there is no wider type to compute e and the factor in.
    const pack<T> low = fma(product_error(e, v, ev), factor, product_error(ev, factor, product));
    const pack<T> fine = if_less(absolute(low), absolute(product), product + low, product);   // not where it is NaN
    return if_equal(e, set1<T>(0), e * factor, fine);
  }
  pack<T> operator()(pack<T> x) const { return raised(x) * factor; }

 private:
  pack<T> raised(pack<T> x) const {
    if constexpr (sizeof(T) == 4) return term(x - offset);
    pack<T> error;   // an offset of float64 rows is their maximum
    const pack<T> from_offset = two_sum(x, -offset, error);
    return term(from_offset, error);
  }
};

// The larger of s and t times v, for the price of one exponential: d > 0 says that it is t.
template <class T> struct larger_probability {
  probability<T> student, teacher;

  pack<T> times(pack<T> d, pack<T> s, pack<T> t, pack<T> v) const {
    const pack<T> zero = set1<T>(0);
    const auto choose = [&](pack<T> yes, pack<T> no) { return if_less(zero, d, yes, no); };
    probability<T> p = student;
    p.term.magic = choose(teacher.term.magic, p.term.magic);
    p.term.lowest = choose(teacher.term.lowest, p.term.lowest);
    p.offset = choose(teacher.offset, p.offset);
    p.factor = choose(teacher.factor, p.factor);
    return p.times(choose(t, s), v);
  }
};

// log(t/m) and log(s/m) for m = beta t + (1 - beta) s, from d: -log1p((1 - beta) expm1(-d)) and -log1p(beta expm1(d)). Where
// e^|d| leaves the range, the logarithm of the smaller of s and t is -|d| beside that of the larger.
template <class T> struct mixture_ratios {
  pack<T> teacher, student;

  mixture_ratios(pack<T> d, pack<T> beta, pack<T> rest) {
    const pack<T> zero = set1<T>(0), size = absolute(d), limit = set1<T>(64);
    const pack<T> larger_share = if_less(zero, d, rest, beta), smaller_share = if_less(zero, d, beta, rest);
    const pack<T> mixed = fma(larger_share, exp(-size), smaller_share);   // m / larger; log1p is for where it is near 1
    const pack<T> of_larger = -if_less(mixed, set1<T>(T(0.5)), log(mixed), log1p(larger_share * expm1(-size)));
    const pack<T> of_smaller = -log1p(smaller_share * expm1(at_most(size, limit)));
    const pack<T> smaller = if_less(limit, size, of_larger - size, of_smaller);
    teacher = if_less(zero, d, of_larger, smaller);
    student = if_less(zero, d, smaller, of_larger);
  }
};

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
    const divergence kind = p.kind;
    const pack<T> beta = set1(static_cast<T>(p.beta)), rest = set1(static_cast<T>(1 - p.beta));
    return [=](const pack<T>* x, index, index) {
      const pack<T> zero = set1<T>(0), one = set1<T>(1), d = ratio(x[0], x[1]);
      if (kind != divergence::js) {
        const bool is_forward = forward<T> && kind == divergence::forward;
        const pack<T> star = is_forward ? if_less(zero, d, one, zero) : if_less(zero, d, zero, one);
        const pack<T> term = larger_of.times(d, x[0], x[1], phi_or_star(-absolute(d), star));
        return parts<T, 2>{{term, kind == divergence::reverse ? larger_of.student.times(x[0], -d) : zero}};
      }
      // KL(p || m) adds p phi*(log p/m) where p > m, and m phi(log p/m) elsewhere.
      const mixture_ratios<T> ratios(d, beta, rest);
      const pack<T> s = larger_of.student(x[0]), t = larger_of.teacher(x[1]);
      const pack<T> m = fma(beta, t, rest * s);
      const auto part = [&](pack<T> q, pack<T> log_q) {
        const pack<T> v = if_less(zero, log_q, q, m) * phi_or_star(-absolute(log_q), if_less(zero, log_q, one, zero));
        return if_equal(m, zero, zero, v);
      };
      const pack<T> of_student = part(s, ratios.student);
      return parts<T, 2>{{fma(beta, part(t, ratios.teacher), rest * of_student), larger_of.student.times(x[0], ratios.student)}};
    };
  });
}

// out = d(scale D)/d(student logits) + e_c factor - weight_c (beta + gamma q_c): the second part where `hard` is given, the
// scale in the factors of the distributions, of js with 1 - beta in it.
template <class T>
void write_divergence(const source& student, const source& teacher, const source* q, const sink& to, index begin, index end,
                      const divergence_rows& p, const row_scale* hard) {
  write_blocks<T, 3>({student, teacher, q ? *q : student}, to, begin, end, [&](index row, auto o) {
    const log_ratio<T> ratio(p, row, o);
    const larger_probability<T> larger_of{{p.student, p.t, row, o}, {p.teacher, p.t, row, o}};
    const pack<T> zero = set1<T>(0), inner = per_row<T>(p.inner, row, o);
    const divergence kind = p.kind;
    const pack<T> mixed = set1(static_cast<T>(p.beta)), rest = set1(static_cast<T>(1 - p.beta));
    const bool with_hard = hard != nullptr;
    const hard_gradient<T> of_hard(with_hard ? *hard : row_scale{}, q != nullptr, row, o);
    return [=](const pack<T>* x, index c, index n) {
      const pack<T> d = ratio(x[0], x[1]);
      pack<T> g;
      if (forward<T> && kind == divergence::forward) {   // s - t
        const pack<T> part = larger_of.times(d, x[0], x[1], expm1(-absolute(d)));
        g = if_less(zero, d, part, -part);
      } else {                             // s (log s/t - sum s log s/t), or the same of s/m
        const pack<T> log_s = kind == divergence::js ? mixture_ratios<T>(d, mixed, rest).student : -d;
        g = larger_of.student.times(x[0], log_s - inner);
      }
      g = if_equal(larger_of.student.factor, zero, zero, g);
      return with_hard ? g + of_hard(x[0], x[2], c, n, o) : g;
    };
  });
}

}  // namespace
}  // namespace crossent

// Divergences of two softmax rows, from their logits: sums and gradients. Formulas: docs/explanation/design/divergences.md.
//
// A kind of divergence is a struct with the maths of a class, made for a row or a tile of rows. The two loops over classes, at
// the end, take it as a template argument, and go through the packs of a group step by step: the chain of operations of a class is
// longer than a processor looks ahead. The steps are, after d = log(t/s) of all classes,
//
//   ratios(d, d_lo)           what the value of a class takes from d alone, and then
//   sums(x, d, d_lo, ratios)  that value, and the class's term of the sum that the gradient of the row needs (`inner`);
//   gradient(x, d, d_lo)      the class's entry of the gradient, whose scale is in the factors of the probabilities.
//
// A class adds s phi(d) = t phi*(d) to KL(t || s): neither negative nor cancelling. The form of the larger of s and t is taken,
// so that only e^-|d| occurs.
#pragma once

#include "kernels/loss/forward_kl.hpp"
#include "kernels/loss/js_divergence.hpp"
#include "kernels/loss/pair_of_rows.hpp"

namespace crossent {
namespace {

// phi(d) where s is the larger of s and t, phi*(d) where t is; exchanged, with `reverse`, for KL(s || t).
template <class T, bool reverse> inline CROSSENT_INLINE_WIDE pack<T> value_of_larger(pack<T> d, pack<T> d_lo) {
  const mask<T> teacher_is_larger = set1<T>(0) < d, star = reverse ? !teacher_is_larger : teacher_is_larger;
  return phi_or_star_of_nonpositive(-absolute(d), select(teacher_is_larger, -d_lo, d_lo), star);
}

// KL(t || s) = sum t log(t/s). Of float32 rows, forward_kl.hpp has it.
template <class T> struct forward_kl_of_class {
  pair_of_rows<T> rows;
  scaled<T> tiny_difference;

  template <class O>
  CROSSENT_INLINE_MEMBER forward_kl_of_class(const divergence_rows& p, index row, O o)
      : rows(p, row, o), tiny_difference{per_row<T>(p.log_sum_difference_scaled, row, o)} {}

  using class_ratios = pack<T>;
  CROSSENT_INLINE_WIDE class_ratios ratios(pack<T> d, pack<T> d_lo) const { return value_of_larger<T, false>(d, d_lo); }
  CROSSENT_INLINE_WIDE parts<T, 2> sums(const pack<T>* x, pack<T> d, pack<T>, class_ratios value) const {
    const pack<T> zero = set1<T>(0);
    return {{term_or_infinity(rows.times_larger(zero < d, x, value), value, x[0]), zero}};
  }
  // s - t: the larger of them times expm1(-|d|), with the sign. Of equal logits, a log_sum_difference that may be subnormal is
  // all that is left.
  CROSSENT_INLINE_WIDE pack<T> gradient(const pack<T>* x, pack<T> d, pack<T>) const {
    const pack<T> zero = set1<T>(0);
    const mask<T> is_equal = d == zero, teacher_is_larger = zero < d;
    const pack<T> v = select(is_equal, -tiny_difference.value, expm1(-absolute(d)));
    const pack<T> product = rows.times_larger(teacher_is_larger, x, v);
    const pack<T> signed_product = select(teacher_is_larger, product, -product);
    return select(is_equal, unscale(scaled<T>{signed_product}), signed_product);
  }
};

// The gradient of sum s v in the student's logits: s (v - sum s v), where v = log(s/t) or log(s/m). The sum is taken as it stands:
// an error that the log-ratios of a row have in common leaves the gradient with it.
template <class T> struct centred_gradient {
  double_double<pack<T>> sum;

  template <class O>
  CROSSENT_INLINE_MEMBER centred_gradient(const divergence_rows& p, index row, O o)
      : sum{per_row<T>(p.inner, row, o), per_row<T>(p.inner_lo, row, o)} {}

  CROSSENT_INLINE_WIDE pack<T> operator()(const probability<T>& student, pack<T> x, double_double<pack<T>> v) const {
    const auto difference = two_sum(v.hi, -sum.hi);
    return product_of(student.term_of(x), student.factor, {difference.hi, difference.lo - (sum.lo - v.lo)});
  }
};

// KL(s || t) = sum s log(s/t).
template <class T> struct reverse_kl_of_class {
  pair_of_rows<T> rows;
  centred_gradient<T> centred;

  template <class O>
  CROSSENT_INLINE_MEMBER reverse_kl_of_class(const divergence_rows& p, index row, O o) : rows(p, row, o), centred(p, row, o) {}

  using class_ratios = pack<T>;
  CROSSENT_INLINE_WIDE class_ratios ratios(pack<T> d, pack<T> d_lo) const { return value_of_larger<T, true>(d, d_lo); }
  CROSSENT_INLINE_WIDE parts<T, 2> sums(const pack<T>* x, pack<T> d, pack<T> d_lo, class_ratios value) const {
    const pack<T> s = rows.student.term_of(x[0]), t = rows.teacher.term_of(x[1]);
    const mask<T> teacher_is_larger = set1<T>(0) < d;
    const pack<T> factor = select(teacher_is_larger, rows.teacher.factor, rows.student.factor);
    const pack<T> term = product_of(select(teacher_is_larger, t, s), factor, exact(value));
    return {{term_or_infinity(term, value, x[1]), product_of(s, rows.student.factor, {-d, -d_lo})}};
  }
  CROSSENT_INLINE_WIDE pack<T> gradient(const pack<T>* x, pack<T> d, pack<T> d_lo) const {
    return centred(rows.student, x[0], {-d, -d_lo});
  }
};

// beta KL(t || m) + (1 - beta) KL(s || m), m = beta t + (1 - beta) s. The scale of the gradient has 1 - beta in it.
template <class T> struct js_of_class {
  pair_of_rows<T> rows;
  centred_gradient<T> centred;
  mixture<T> share;

  template <class O>
  CROSSENT_INLINE_MEMBER js_of_class(const divergence_rows& p, index row, O o)
      : rows(p, row, o), centred(p, row, o), share(p.beta) {}

  struct class_ratios {
    pack<T> student, teacher;  // log(s/m) and log(t/m)
  };
  CROSSENT_INLINE_WIDE class_ratios ratios(pack<T> d, pack<T> d_lo) const {
    mixture_ratios<T> r;
    r.set(d, d_lo);
    return {r.student(share), r.teacher(share)};
  }
  CROSSENT_INLINE_WIDE parts<T, 2> sums(const pack<T>* x, pack<T>, pack<T>, const class_ratios& r) const {
    const pack<T> s = rows.student.term_of(x[0]), t = rows.teacher.term_of(x[1]) * rows.teacher.factor;
    return {
        {js_of(s * rows.student.factor, t, r.student, r.teacher, share), product_of(s, rows.student.factor, exact(r.student))}};
  }
  CROSSENT_INLINE_WIDE pack<T> gradient(const pack<T>* x, pack<T> d, pack<T> d_lo) const {
    mixture_ratios<T> r;
    r.set(d, d_lo);
    return centred(rows.student, x[0], exact(r.student(share)));
  }
};

template <class T, template <class> class kind>
void divergence_sums(const source& student, const source& teacher, index begin, index end, const divergence_rows& p,
                     double* value, double* inner) {
  sum_blocks<T, 2, terms::heavy>({student, teacher}, begin, end, {value, inner}, [&](index row, index, auto o) {
    const kind<T> of_class(p, row, o);
    return [=](const pack<T>(*x)[2], index n, parts<T, 2>* sums) CROSSENT_INLINE_WIDE {
      pack<T> d[group_packs], d_lo[group_packs];
      typename kind<T>::class_ratios ratios[group_packs];
      for (index j = 0; j < n; ++j) of_class.rows.take_log_ratio(x[j], d[j], d_lo[j]);
      for (index j = 0; j < n; ++j) ratios[j] = of_class.ratios(d[j], d_lo[j]);
      for (index j = 0; j < n; ++j) sums[j] = of_class.sums(x[j], d[j], d_lo[j], ratios[j]);
    };
  });
}

// Arrays: student, teacher, class probabilities, and the logits of the cross-entropy if they are not the student's.
template <class T, template <class> class kind, int arrays>
CROSSENT_INLINE void write_divergence_of(const source (&s)[arrays], bool with_q, const sink& to, index begin, index end,
                                         const divergence_rows& p, const row_statistics& statistics,
                                         const gradient_rows* cross_entropy) {
  write_blocks<T, arrays, terms::heavy>(s, to, begin, end, [&](index row, auto o) {
    const kind<T> of_class(p, row, o);
    const bool with_cross_entropy = cross_entropy != nullptr;
    const cross_entropy_gradient<T> of_cross_entropy(statistics, cross_entropy, with_q, row, o);
    constexpr index step = o.lanes_over_rows ? 1 : pack<T>::lanes;  // classes of a pack
    return [=](const pack<T>(*x)[arrays], index c, index n, pack<T>* gradient) CROSSENT_INLINE_WIDE {
      const index packs = (n + step - 1) / step;
      const pack<T> zero = set1<T>(0), is_read = of_class.rows.student.factor;
      pack<T> d[group_packs], d_lo[group_packs];
      for (index j = 0; j < packs; ++j) of_class.rows.take_log_ratio(x[j], d[j], d_lo[j]);
      for (index j = 0; j < packs; ++j) gradient[j] = of_class.gradient(x[j], d[j], d_lo[j]);
      for (index j = 0; j < packs; ++j) gradient[j] = select(is_read != zero, gradient[j], zero);
      for (index j = 0; j < packs && with_cross_entropy; ++j) {
        const index left = n - j * step;
        const pack<T> g = of_cross_entropy(x[j][arrays == 4 ? 3 : 0], x[j][2], c + j * step, left < step ? left : step, o);
        gradient[j] = gradient[j] + g;
      }
    };
  });
}

// out = d(scale D)/d(student logits) + e_c factor - weight_c (beta + gamma q_c): the second part where `cross_entropy` is given.
template <class T, template <class> class kind>
void write_divergence(const source& student, const source& teacher, const source* q, const sink& to, index begin, index end,
                      const divergence_rows& p, const row_statistics& statistics, const gradient_rows* cross_entropy) {
  const source& of_q = q ? *q : student;
  if constexpr (sizeof(T) == 8)
    if (cross_entropy != nullptr && cross_entropy->logits != nullptr)
      return write_divergence_of<T, kind>({student, teacher, of_q, *cross_entropy->logits}, q != nullptr, to, begin, end, p,
                                          statistics, cross_entropy);
  write_divergence_of<T, kind>({student, teacher, of_q}, q != nullptr, to, begin, end, p, statistics, cross_entropy);
}

}  // namespace
}  // namespace crossent

// The Jensen-Shannon divergence of two rows: a class's log-ratios to the mixture of both, and its term.
#pragma once

#include "kernels/math/log.hpp"
#include "kernels/math/phi.hpp"

namespace crossent {
namespace {

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

// From how far apart two logits e^|d| may leave the range.
template <class T> constexpr T far_apart = 64;

// exp(x) of x <= 0.
template <class T> inline CROSSENT_INLINE_WIDE pack<T> exp_of_nonpositive(pack<T> x) {
  using k = constants<T>;
  const pack<T> scale = set1(static_cast<T>(k::subnormal_scale));
  return exp_scaled(at_least(x, set1(k::exp_lowest)), magic_of(scale)) * exp2_whole(-scale);
}

// log(1/m) for m = own + other e^d, own + other = 1, as -log1p(other expm1(d)) with the rounding errors of d and of the products
// to first order, or as -log(m) where that is far from 1. size: abs(d), falls: exp(-abs(d)); d > 0 where `other_is_larger`.
template <class T>
CROSSENT_ONCE pack<T> log_over_mixture(mask<T> other_is_larger, pack<T> size, pack<T> d_lo, pack<T> falls,
                                       const double_double<pack<T>>& own, const double_double<pack<T>>& other) {
  const pack<T> one = set1<T>(1), grown = expm1(select(other_is_larger, at_most(size, set1(far_apart<T>)), -size));
  const pack<T> power = select(other_is_larger, one + grown, falls), product = other.hi * grown;
  const pack<T> product_lo = fma(other.hi * power, d_lo, fma(other.lo, grown, product_error(other.hi, grown, product)));
  const pack<T> mixed = fma(other.hi, falls, own.hi);
  const pack<T> log_of_mixture = inlined_log1p(product) + product_lo / select(other_is_larger, one + product, mixed);
  const mask<T> is_far = (!other_is_larger) & (mixed < set1<T>(T(0.5)));
  return -(any(is_far) ? select(is_far, log(mixed), log_of_mixture) : log_of_mixture);
}

// log(t/m) and log(s/m) for m = beta t + (1 - beta) s, from d. Where e^|d| leaves the range, the logarithm of the smaller of s
// and t is -|d| beside that of the larger.
template <class T> struct mixture_ratios {
  pack<T> size, d_lo, falls;
  mask<T> teacher_is_larger;

  CROSSENT_INLINE_WIDE void set(pack<T> d, pack<T> error) {
    size = absolute(d);
    d_lo = error;
    falls = exp_of_nonpositive(-size);
    teacher_is_larger = set1<T>(0) < d;
  }
  CROSSENT_INLINE_WIDE pack<T> student(const mixture<T>& share) const {
    const mask<T> is_far_apart = (set1(far_apart<T>) < size) & teacher_is_larger;
    const pack<T> near = student_nearby(share);
    return any(is_far_apart) ? select(is_far_apart, teacher_nearby(share) - size, near) : near;
  }
  CROSSENT_INLINE_WIDE pack<T> teacher(const mixture<T>& share) const {
    const mask<T> is_far_apart = (set1(far_apart<T>) < size) & (!teacher_is_larger);
    const pack<T> near = teacher_nearby(share);
    return any(is_far_apart) ? select(is_far_apart, student_nearby(share) - size, near) : near;
  }

 private:
  CROSSENT_INLINE_WIDE pack<T> student_nearby(const mixture<T>& share) const {
    return log_over_mixture(teacher_is_larger, size, d_lo, falls, share.student, share.teacher);
  }
  CROSSENT_INLINE_WIDE pack<T> teacher_nearby(const mixture<T>& share) const {
    return log_over_mixture(!teacher_is_larger, size, -d_lo, falls, share.teacher, share.student);
  }
};

// The term of a class of the Jensen-Shannon divergence, from s, t and their logarithms over the mixture m: KL(p || m) adds
// p phi*(log p/m) where p > m, and m phi(log p/m) elsewhere.
template <class T>
inline CROSSENT_INLINE_WIDE pack<T> js_of(pack<T> s, pack<T> t, pack<T> log_s, pack<T> log_t, const mixture<T>& share) {
  const pack<T> zero = set1<T>(0), m = fma(share.teacher.hi, t, share.student.hi * s);
  const auto term = [&](pack<T> p, pack<T> log_p) CROSSENT_INLINE_WIDE {
    const mask<T> is_above = zero < log_p;
    return select(m != zero, select(is_above, p, m) * phi_or_star_of_nonpositive(-absolute(log_p), zero, is_above), zero);
  };
  const pack<T> of_student = share.student.hi * term(s, log_s);
  return fma(share.teacher.hi, term(t, log_t), of_student);
}

}  // namespace
}  // namespace crossent

// phi(d) = e^d (d - 1) + 1 and phi*(d) = e^-d - 1 + d: a class adds p phi or q phi* to a divergence; neither
// is negative, and both vanish like d^2/2 at 0. Within 1 ULP at the levels with FMA.
#pragma once

#include "kernels/math/exp.hpp"

namespace crossent {
namespace {

// phi(z + z_lo), or phi*(-z - z_lo) = e^z - 1 - z where `star` is; z_lo is the rounding error of z.
//
// Near 0 (n = 0 in the reduction of the exponential) as z^2 (1/2 + z Q): (e^z - 1 - z)/z^2 = 1/2 + z q gives Q = q for
// phi*(-z) and Q = 1/2 - q (1 - z) for phi(z). Elsewhere as alpha + beta e^z, e^z = 2^n (1 + g + a + b) with a = h^2/2. Each
// product and sum that counts with its rounding error. alpha or beta is 1, the other one `linear`.
template <class T, bool is_nonpositive> CROSSENT_INLINE pack<T> phi_or_star_of(pack<T> z, pack<T> z_lo, mask<T> star) {
  using k = constants<T>;
  const pack<T> zero = set1<T>(0), one = set1<T>(1), half = set1<T>(T(0.5));
  const pack<T> lowest = lowest_exponent(set1<T>(-1)), highest = set1(k::exp_highest);
  const pack<T> above = at_least(z, lowest), in = is_nonpositive ? above : at_most(above, highest);
  const pack<T> in_lo = select(in == z, z_lo, zero);
  const reduced_argument<T> r(in);
  const pack<T> q = polynomial_from<1>(r.h, k::expm1_q);

  const pack<T> less = in - one, slope_of_phi = fma(q, less, half), slope = select(star, q, slope_of_phi);
  const pack<T> slope_lo = select(star, zero, fma(q, less, half - slope_of_phi));
  const pack<T> step = in * slope, step_lo = fma(in, slope_lo, fma(in_lo, slope, product_error(in, slope, step)));
  const pack<T> level = half + step, level_lo = ((half - level) + step) + step_lo;
  const pack<T> square = in * in, square_lo = fma(in + in, in_lo, product_error(in, in, square));
  const pack<T> near = fma(square, level, fma(square, level_lo, square_lo * level));

  // Half of everything, as 2^n may be beyond the range.
  const auto linear = two_sum(select(star, -z, in), -one);
  const pack<T> linear_lo = linear.lo + select(star, -in_lo, in_lo);
  const pack<T> of_linear = select(star, half, r.half), product = linear.hi * of_linear, product_lo = linear_lo * of_linear;
  const pack<T> p = select(star, r.half, product);
  const pack<T> h2 = r.h * r.h, a = half * h2;
  const pack<T> power = r.g + a, moved = fma(in_lo, power, in_lo);
  const pack<T> b = fma(h2 * r.h, q, fma(half, product_error(r.h, r.h, h2), fma(r.h, r.h_lo, moved - r.c)));
  const auto sum = two_sum(select(star, product, half), p);
  const pack<T> pg = p * r.g, pa = p * a;
  const pack<T> low = select(star, product_lo, fma(product_lo, power, product_lo));
  const pack<T> lost = fma(p, b, (sum.lo + product_error(p, r.g, pg)) + (low + product_error(p, a, pa)));
  const auto most = two_sum(sum.hi, pg), total = two_sum(most.hi, pa);
  pack<T> far = total.hi + (total.lo + (most.lo + lost));
  if constexpr (!is_nonpositive) {
    far = select(total.hi == set1(k::infinity), total.hi, far);   // the errors of an infinite sum are NaN
    far = select(p == set1(k::infinity), p, far);
  }
  far = far + far;

  pack<T> y = select(r.n == zero, near, far);
  y = select(z < lowest, select(star, linear.hi, one), y);
  if constexpr (!is_nonpositive) y = select(highest < z, set1(k::infinity), y);
  return select(z == z, y, z);   // the scale of a NaN may be anything
}
template <class T> CROSSENT_ONCE pack<T> phi_or_star(pack<T> z, pack<T> z_lo, mask<T> star) {
  return phi_or_star_of<T, false>(z, z_lo, star);
}
template <class T> CROSSENT_ONCE pack<T> phi_or_star_of_nonpositive(pack<T> z, pack<T> z_lo, mask<T> star) {
  if constexpr (registers > 2) return phi_or_star(z, z_lo, star);   // 8 KB of code
  else return phi_or_star_of<T, true>(z, z_lo, star);
}

template <class T> CROSSENT_INLINE pack<T> phi(pack<T> d) { return phi_or_star(d, set1<T>(0), mask<T>{}); }
template <class T> CROSSENT_INLINE pack<T> phi_star(pack<T> d) { return phi_or_star(-d, set1<T>(0), !mask<T>{}); }

}  // namespace
}  // namespace crossent

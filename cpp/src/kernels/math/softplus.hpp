// e^-|x| and log(1 + e), which softplus, the sigmoid and their products with targets are made of, in line.
//
//   softplus(x) = max(x, 0) + log1p(e),  sigmoid(|x|) = 1 / (1 + e),  sigmoid(-|x|) = e / (1 + e),  e = e^-|x|
#pragma once

#include "kernels/math/log.hpp"
#include "kernels/math/subnormal.hpp"

namespace crossent {
namespace {

template <class T> CROSSENT_INLINE pack<T> minus_absolute(pack<T> x) {
  using uint = typename pack<T>::uint;
  return from_bits<T>(to_bits<T>(x) | static_cast<uint>(uint{1} << (8 * sizeof(T) - 1)));
}

// e^-|x|, exact to the last digits where it is subnormal too.
template <class T> CROSSENT_INLINE scaled<T> exp_minus_absolute(pack<T> x) {
  const pack<T> exponent = set1(static_cast<T>(constants<T>::subnormal_scale));
  return {exp_scaled(at_least(minus_absolute(x), lowest_exponent(exponent)), magic_of(exponent))};
}

// log(1 + e) = e - e^2 / 2 + e^3 q(e) on [0, 1]; the error of the polynomial is 2^-27 of the result. The rounding error of e -
// e^2 / 2 joins the last term. In ULP of a result near log 2: a half for the last rounding, 0.25 for e^3 q, 0.3 for the error
// of e. Of softplus, a small positive x adds another half for the sum. (Largest errors: cpp/tests/test_vmath.cpp prints them.)
constexpr float log1p_q[] = {0x1.55527ep-2f, -0x1.ff7d56p-3f, 0x1.94f9a2p-3f, -0x1.3eda66p-3f,
                             0x1.c38b7ep-4f, -0x1.f2f7aep-5f, 0x1.66490cp-6f, -0x1.e1c5fcp-9f};
CROSSENT_INLINE pack<float> log1p_of(pack<float> e) {
  const pack<float> half = e * set1(-0.5f), high = fma(half, e, e), low = fma(half, e, e - high);
  return high + fma(e * e * e, polynomial(e, log1p_q), low);
}
// A polynomial would have 22 coefficients.
CROSSENT_INLINE pack<double> log1p_of(pack<double> e) { return log1p(e); }

// Where e may be subnormal, 1 + e is 1 and it is rounded once.
template <class T> CROSSENT_INLINE pack<T> sigmoid(pack<T> x) {
  const pack<T> one = set1<T>(1), e = unscale(exp_minus_absolute(x));
  return select(set1<T>(0) < x, one, e) / (one + e);
}
template <class T> CROSSENT_INLINE pack<T> log_sigmoid(pack<T> x) {
  const pack<T> zero = set1<T>(0);
  return select(x < zero, x, zero) - log1p_of(unscale(exp_minus_absolute(x)));
}

}  // namespace
}  // namespace crossent

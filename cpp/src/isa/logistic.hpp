// e^-|x| and log(1 + e), which softplus, the sigmoid and their products with targets are made of, in line.
//
//   softplus(x) = max(x, 0) + log1p(e),  sigmoid(|x|) = 1 / (1 + e),  sigmoid(-|x|) = e / (1 + e),  e = e^-|x|
#pragma once

#include "vmath.hpp"

namespace crossent {
namespace {

template <class T> CROSSENT_INLINE pack<T> minus_absolute(pack<T> x) {
  using uint = typename pack<T>::uint;
  return from_bits<T>(to_bits<T>(x) | static_cast<uint>(uint{1} << (8 * sizeof(T) - 1)));
}

// e^-|x| by the exponential of the kernels, subnormal results included: `lowest` rounds to 0 by itself.
template <class T> CROSSENT_INLINE pack<T> exp_minus_absolute(pack<T> x) {
  using k = constants<T>;
  constexpr T back = sizeof(T) == 4 ? T(0x1p-64) : T(0x1p-128);   // 2^-subnormal_scale
  constexpr T magic = k::round + static_cast<T>(k::exp_steps) * static_cast<T>(k::exponent_bias + k::subnormal_scale);
  return exp_scaled(at_least(minus_absolute(x), set1(k::exp_lowest)), set1(magic)) * set1(back);
}

// log(1 + e) = e + e^2 q(e) on [0, 1]. The error of the polynomial is 2^-27.5 of the result. With u = 2^-24, what e^2 and q
// round away is at most 2u of e^2 |q| = e - log(1 + e), which is at most 0.31, less than half of the result: 0.9 u, and
// the last rounding 1 u more. Together 1 ULP, with what e brings 1.3.
constexpr float log1p_q[] = {-0x1p-1f,         0x1.554dfp-2f,   -0x1.ff26dcp-3f, 0x1.935c84p-3f, -0x1.3a7a38p-3f,
                             0x1.b578dap-4f, -0x1.d8616ep-5f, 0x1.4b0678p-6f,  -0x1.b2f28ap-9f};
CROSSENT_INLINE pack<float> log1p_of(pack<float> e) { return fma(e * e, polynomial(e, log1p_q), e); }
// A polynomial would have 22 coefficients.
CROSSENT_INLINE pack<double> log1p_of(pack<double> e) { return log1p(e); }

}  // namespace
}  // namespace crossent

// Constants of the two formats, and the polynomials of exp, expm1, log and log1p, which come from cpp/tools/coefficients.py.
#pragma once

#include "kernels/simd/bits.hpp"
#include "kernels/simd/double_double.hpp"

namespace crossent {
namespace {

template <class T> struct constants;

template <> struct constants<float> {
  static constexpr int mantissa_bits = 23;
  static constexpr int exponent_bias = 127;
  static constexpr float round = 0x1.8p23f;       // x + round - round is x to the nearest integer
  static constexpr float integer = 0x1p23f;       // its mantissa holds an integer below 2^23
  static constexpr float smallest_normal = 0x1p-126f;
  static constexpr float infinity = __builtin_inff();
  static constexpr float nan = __builtin_nanf("");
  static constexpr float largest = 0x1.fffffep127f;
  static constexpr float log2_e = 0x1.715476p+0f;
  static constexpr float ln2_hi = has_fma ? 0x1.62e43p-1f : 0x1.63p-1f;
  static constexpr float ln2_lo = has_fma ? -0x1.05c61p-29f : -0x1.bd0106p-13f;
  static constexpr float exp_steps = 8, steps_per_unit = 0x1.715476p+3f;
  static constexpr float step_hi = has_fma ? 0x1.62e43p-4f : 0x1.63p-4f;   // ln2 / 8
  static constexpr float step_lo = has_fma ? -0x1.05c61p-32f : -0x1.bd0106p-16f;
  static constexpr float exp_q[] = {0x1p-1f, 0x1.555c7ap-3f, 0x1.55483cp-5f};
  static constexpr float expm1_q[] = {0x1p-1f,        0x1.555554p-3f,  0x1.5554b2p-5f,
                                      0x1.11118ap-7f, 0x1.6d71f8p-10f, 0x1.a032bep-13f};
  static constexpr float log_p[] = {0x1.555554p-1f, 0x1.999a7ap-2f, 0x1.2438d2p-2f, 0x1.e2f72p-3f};
  static constexpr float exp_highest = 0x1.62e6p6f;   // exp is inf from here on (and below it by itself)
  static constexpr float exp_lowest = -0x1.a2p6f;     // exp is 0 up to here
  static constexpr int subnormal_scale = 64;          // exponents added while a result may be subnormal
  static constexpr float expm1_lowest = -0x1.4p4f;    // expm1 is -1 up to here
};

template <> struct constants<double> {
  static constexpr int mantissa_bits = 52;
  static constexpr int exponent_bias = 1023;
  static constexpr double round = 0x1.8p52;
  static constexpr double integer = 0x1p52;
  static constexpr double smallest_normal = 0x1p-1022;
  static constexpr double infinity = __builtin_inf();
  static constexpr double nan = __builtin_nan("");
  static constexpr double largest = 0x1.fffffffffffffp1023;
  static constexpr double log2_e = 0x1.71547652b82fep+0;
  static constexpr double ln2 = 0x1.62e42fefa39efp-1;
  static constexpr double ln2_hi = has_fma ? 0x1.62e42fefa39ep-1 : 0x1.62e42fefa0000p-1;
  static constexpr double ln2_lo = has_fma ? 0x1.e6af278ece601p-50 : 0x1.cf79abc9e3b3ap-40;
  static constexpr double exp_steps = 1;
  static constexpr double exp_q[] = {0x1.000000000000ap-1,  0x1.55555555554fap-3,  0x1.555555555087dp-5,  0x1.1111111127bdap-7,
                                     0x1.6c16c18429fa9p-10, 0x1.a01a012a5a13cp-13, 0x1.a0199a0c8d29ap-16, 0x1.71df254f29085p-19,
                                     0x1.28ad72bb053d9p-22, 0x1.ad7f7177dd37cp-26};
  static constexpr double expm1_q[] = {
      0x1p-1,
      0x1.5555555555559p-3,
      0x1.555555555553fp-5,
      0x1.111111110f6dap-7,
      0x1.6c16c16c1f0a9p-10,
      0x1.a01a01afd3ac2p-13,
      0x1.a01a017bb6acap-16,
      0x1.71ddf87f4613fp-19,
      0x1.27e5364f6ef54p-22,
      0x1.af5e740b45e03p-26,
      0x1.1ee84f600a45dp-29};
  static constexpr double log_p[] = {0x1.5555555555592p-1, 0x1.999999997fd72p-2, 0x1.24924941f52f6p-2, 0x1.c71c5205e49e5p-3,
                                     0x1.74663fa87795ep-3, 0x1.39a1a66514b75p-3, 0x1.2f0639ca985b3p-3};
  // Of short_exp_scaled and short_log1p.
  static constexpr double short_exp_r[] = {0x1.ffffffffdac0ap-1,  0x1.0000000064d0ep-1, 0x1.5555559c56935p-3,
                                           0x1.55555430716c5p-5,  0x1.1110866435e51p-7, 0x1.6c188ad7f7afep-10,
                                           0x1.a1a41eec2ed8fp-13, 0x1.9ef31eb903534p-16};
  static constexpr double short_log_p[] = {
      0x1.555554fd93b25p-1, 0x1.999a7a9c4ea7ep-2, 0x1.2438d2f0729bfp-2, 0x1.e2f71f83b2539p-3};
  static constexpr double exp_highest = 0x1.62e7p9;
  static constexpr double exp_lowest = -0x1.75p9;
  static constexpr int subnormal_scale = 128;
  static constexpr double expm1_lowest = -0x1.4p5;
};

// c[first] + c[first + 1] x + ..
template <int first, class T, int n> CROSSENT_INLINE pack<T> polynomial_from(pack<T> x, const T (&c)[n]) {
  pack<T> y = set1(c[n - 1]);
  for (int i = n - 2; i >= first; --i) y = fma(y, x, set1(c[i]));
  return y;
}
template <class T, int n> CROSSENT_INLINE pack<T> polynomial(pack<T> x, const T (&c)[n]) { return polynomial_from<0>(x, c); }

// 2^e for whole e with exponent_bias + e in 0 .. 2 exponent_bias (2^-exponent_bias gives 0).
template <class T> CROSSENT_INLINE pack<T> exp2_whole(pack<T> e) {
  using k = constants<T>;
  return from_bits<T>(to_bits<T>(e + set1<T>(k::round + static_cast<T>(k::exponent_bias))) << k::mantissa_bits);
}

}  // namespace
}  // namespace crossent

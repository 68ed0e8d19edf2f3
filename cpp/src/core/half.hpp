// float16 and bfloat16, one number at a time, in integer code: the same bits at every level, subnormals included.
#pragma once

#include <cstdint>

namespace crossent {
namespace {

inline float float_of(std::uint32_t bits) {
  float f;
  __builtin_memcpy(&f, &bits, sizeof f);
  return f;
}
inline std::uint32_t bits_of_float(float f) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, &f, sizeof bits);
  return bits;
}

inline float from_bfloat16(std::uint16_t h) { return float_of(static_cast<std::uint32_t>(h) << 16); }

inline std::uint16_t to_bfloat16(float f) {
  const std::uint32_t u = bits_of_float(f), even = (u >> 16) & 1u;
  const std::uint32_t rounded = (u + 0x7fffu + even) >> 16;
  const std::uint32_t nan = (u >> 16) | 0x40u;
  return static_cast<std::uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

inline float from_float16(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16, rest = h & 0x7fffu;
  const float scaled = float_of(rest << 13) * 0x1p112f;   // the exponents' biases differ by 112; exact, for subnormals too
  const std::uint32_t bits = rest >= 0x7c00u ? (rest << 13) | 0x7f800000u : bits_of_float(scaled);
  return float_of(bits | sign);
}

inline std::uint16_t to_float16(float f) {
  const std::uint32_t u = bits_of_float(f), sign = (u >> 16) & 0x8000u, rest = u & 0x7fffffffu;
  std::uint32_t h;
  if (rest > 0x7f800000u) {
    h = 0x7e00u;
  } else if (rest >= 0x477ff000u) {   // from 65520 on
    h = 0x7c00u;
  } else if (rest < 0x38800000u) {    // subnormal: the last place of 1/2 is that of the result
    h = bits_of_float(float_of(rest) + 0.5f) - 0x3f000000u;
  } else {
    h = (rest - 0x38000000u + 0xfffu + ((rest >> 13) & 1u)) >> 13;
  }
  return static_cast<std::uint16_t>(h | sign);
}

}  // namespace
}  // namespace crossent

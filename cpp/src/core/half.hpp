// float16 and bfloat16 in integer code: the same bits at every level, subnormals included. Without branches, so that a number
// may as well be a vector of numbers of the compiler's.
#pragma once

#include <cstdint>

#include "core/always_inline.hpp"

namespace crossent {
namespace {

template <class To, class From> CROSSENT_ALWAYS To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}

// The 16 bits in `h`, an unsigned integer of 32 bits, as a Float.
template <class Float, class Uint> CROSSENT_ALWAYS Float float_of_float16(Uint h) {
  const Uint sign = (h & 0x8000u) << 16, rest = h & 0x7fffu;
  const Float scaled =
      bit_cast<Float>(rest << 13) * 0x1p112f;   // the exponents' biases differ by 112; exact, for subnormals too
  const Uint bits = rest >= 0x7c00u ? (rest << 13) | 0x7f800000u : bit_cast<Uint>(scaled);
  return bit_cast<Float>(bits | sign);
}
template <class Uint, class Float> CROSSENT_ALWAYS Uint float16_of_float(Float f) {
  const Uint u = bit_cast<Uint>(f), sign = (u >> 16) & 0x8000u, rest = u & 0x7fffffffu;
  const Uint subnormal =
      bit_cast<Uint>(bit_cast<Float>(rest) + 0.5f) - 0x3f000000u;   // the last place of 1/2 is that of the result
  const Uint normal = (rest - 0x38000000u + 0xfffu + ((rest >> 13) & 1u)) >> 13;
  const Uint infinity = Uint{} + 0x7c00u, nan = Uint{} + 0x7e00u;
  const Uint finite = rest < 0x38800000u ? subnormal : normal;
  const Uint number = rest >= 0x477ff000u ? infinity : finite;   // from 65520 on
  return (rest > 0x7f800000u ? nan : number) | sign;
}

CROSSENT_ALWAYS float from_float16(std::uint16_t h) { return float_of_float16<float>(static_cast<std::uint32_t>(h)); }
CROSSENT_ALWAYS std::uint16_t to_float16(float f) { return static_cast<std::uint16_t>(float16_of_float<std::uint32_t>(f)); }

CROSSENT_ALWAYS float from_bfloat16(std::uint16_t h) { return bit_cast<float>(static_cast<std::uint32_t>(h) << 16); }
CROSSENT_ALWAYS std::uint16_t to_bfloat16(float f) {
  const auto u = bit_cast<std::uint32_t>(f), even = (u >> 16) & 1u;
  const std::uint32_t rounded = (u + 0x7fffu + even) >> 16;
  const std::uint32_t nan = (u >> 16) | 0x40u;
  return static_cast<std::uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

}  // namespace
}  // namespace crossent

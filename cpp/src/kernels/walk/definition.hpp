// One pass over a block of a row: its maximum, and the sum of the exponentials of the others.
//
// The definition (docs/explanation/design/row.md), the same for both lane orientations and every level:
// class c belongs to virtual lane c mod W of its block (W = 16 floats, 8 doubles); in each lane, 8 consecutive terms
// (a group of 8 W classes) are added: doubles in order, with the rounding errors; floats by a binary tree, of which the first
// level, and lanes l and l + 8 after it, are added in float32, and the others in float64. The groups are added in order, and
// the eight lanes by a binary tree. A missing class is a term of 0.
#pragma once

#include "kernels/math/subnormal.hpp"
#include "kernels/simd/double_double.hpp"
#include "kernels/walk/tile.hpp"

namespace crossent {
namespace {

constexpr index group_packs = 8;
constexpr index block_groups_max = 16;   // of float64; 8 of float32
constexpr index group_bytes = group_packs * pack_bytes;

// Logits this far out are taken relative to the maximum before anything else, exactly: a logit within a factor of 2 of
// the maximum gives an exact difference, any other a term that vanishes.
template <class T> constexpr T far_out = sizeof(T) == 4 ? T(512) : T(2048);

// Logits are divided by 1, by a power of two (without an error), or by any number.
enum class temperature { one, power_of_two, any };
// Of float32. Kernels that have no case of their own for it take it for any number, with the same bits.
template <class T> CROSSENT_INLINE bool is_power_of_two(const inverse_temperature& s) {
  return sizeof(T) == 4 && s.lo == 0 && s.hi > 0x1p-60;
}

// The exponential of logits against one reference per lane.
template <class T, temperature how> struct exponential {
  pack<T> magic, lowest, inverse_hi, inverse_lo;

  exponential() = default;
  CROSSENT_INLINE_MEMBER exponential(pack<T> exponent, const inverse_temperature& s)
      : magic(magic_of(exponent)),
        lowest(lowest_exponent(exponent)),
        inverse_hi(set1(static_cast<T>(s.hi))),
        inverse_lo(set1(static_cast<T>(s.lo))) {
    if (how == temperature::one) return;
    lowest = at_least(lowest / inverse_hi, set1(-constants<T>::largest));
    if (static_cast<T>(s.hi) != 0) return;
    // Every x/T is 0, which no x is low enough to take out of an exponent below the range.
    magic = magic_of(at_least(exponent, set1(static_cast<T>(-constants<T>::exponent_bias))));
    lowest = set1(-constants<T>::largest);
  }
  // exp(x/T + error)
  CROSSENT_INLINE_MEMBER pack<T> operator()(pack<T> x, pack<T> error) const {
    const pack<T> y = at_least(x, lowest), z = y * inverse_hi;
    if constexpr (how == temperature::power_of_two) return exp_scaled(z, error, magic);
    const pack<T> e = exp_scaled(z, error + fma(y, inverse_lo, product_error(y, inverse_hi, z)), magic);
    return select(x != set1(-constants<T>::infinity), e, set1<T>(0));
  }
  // exp((x + x_lo)/T + error). Below the lowest x, x_lo may be anything.
  CROSSENT_INLINE_MEMBER pack<T> operator()(pack<T> x, pack<T> x_lo, pack<T> error) const {
    return (*this)(x, fma(select(x < lowest, set1<T>(0), x_lo), inverse_hi, error));
  }
  CROSSENT_INLINE_MEMBER pack<T> operator()(pack<T> x) const {
    const pack<T> y = at_least(x, lowest);
    if constexpr (how == temperature::one) return exp_scaled(y, magic);
    const pack<T> z = y * inverse_hi;
    if constexpr (how == temperature::power_of_two) return exp_scaled(z, magic);
    const pack<T> e = exp_scaled(z, fma(y, inverse_lo, product_error(y, inverse_hi, z)), magic);
    // However high the temperature: a masked class stays masked.
    return select(x != set1(-constants<T>::infinity), e, set1<T>(0));
  }
};

// Offset and exponent of a maximum.
template <class T> struct reference {
  pack<T> value, exponent;
};
template <class T> CROSSENT_INLINE reference<T> reference_of(pack<T> max, const inverse_temperature& s) {
  using k = constants<T>;
  const pack<T> zero = set1<T>(0), z = max * set1(static_cast<T>(s.hi));
  reference<T> r;
  r.value = select(absolute(z) < set1(far_out<T>), zero, max);
  r.value = select(max != set1(-k::infinity), r.value, zero);
  const pack<T> inside = select(absolute(z) < set1(far_out<T>), z, zero);
  r.exponent = fma(inside, set1(k::log2_e), set1(k::round)) - set1(k::round);
  return r;
}

// x - reference; 0 also where both are infinite.
template <class T> CROSSENT_INLINE pack<T> rebased(pack<T> x, pack<T> reference) {
  return select(x != reference, x - reference, set1<T>(0));
}

// f(first) + .. + f(first + n - 1) by a binary tree, depth first, so that little is live at a time.
template <int n, class F> CROSSENT_INLINE auto tree(const F& f, index first = 0) {
  if constexpr (n == 1) return f(first);
  else return tree<n / 2>(f, first) + tree<n / 2>(f, first + n / 2);
}

// Packs whose terms are added in the dtype itself. Each such addition may cost a result one ULP.
template <class T> constexpr int plain_packs = sizeof(T) == 4 ? 2 : 1;

// f(first) + .. + f(first + n - 1), packs of the terms of a group, in the accumulator: as `accumulated` makes it of a pack, or
// of what else the terms are.
template <class T, int n, class F> CROSSENT_INLINE auto sum_of_group(const F& f, index first = 0) {
  if constexpr (n <= plain_packs<T>) {
    return accumulated(tree<n>(f, first));
  } else if constexpr (sizeof(T) == 8) {
    auto sum = accumulated(f(first), f(first + 1));
    if constexpr (n > 2) each<n - 2>([&](int j) CROSSENT_INLINE_LAMBDA { sum = sum + f(first + 2 + j); });
    return sum;
  } else {
    return sum_of_group<T, n / 2>(f, first) + sum_of_group<T, n / 2>(f, first + n / 2);
  }
}

// f(n) with n as a constant: the power of two that `count` packs are rounded up to.
template <class F> CROSSENT_INLINE auto with_group_size(index count, F f) {
  return count > 4   ? f(std::integral_constant<int, 8>{})
         : count > 2 ? f(std::integral_constant<int, 4>{})
         : count > 1 ? f(std::integral_constant<int, 2>{})
                     : f(std::integral_constant<int, 1>{});
}

}  // namespace
}  // namespace crossent

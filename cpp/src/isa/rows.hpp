// One pass over a block of a row: its maximum, and the sum of the exponentials of the others.
//
// The definition (docs/design.md, "One definition of a row"), the same for both lane orientations and every level:
// class c belongs to virtual lane c mod W of its block (W = 16 floats, 8 doubles); in each lane, 8 consecutive terms
// (a group of 8 W classes) are added by a binary tree in the working type; float32 lanes l and l + 8 are added; the
// groups are added in order in float64 (compensated for float64 rows); the eight lanes by a binary tree. A missing
// class is a term of 0.
#pragma once

#include "convert.hpp"
#include "tile.hpp"
#include "vmath.hpp"

namespace crossent {
namespace {

constexpr index group_packs = 8;
constexpr index block_groups_max = 16;   // of float64; 8 of float32

// Logits this far out are taken relative to the maximum before anything else, exactly: a logit within a factor of 2 of
// the maximum gives an exact difference, any other a term that vanishes.
template <class T> constexpr T far_out = sizeof(T) == 4 ? T(512) : T(2048);
// Exponents added to the terms, so that none that matters is subnormal.
template <class T> constexpr T bias = static_cast<T>(constants<T>::subnormal_scale);

// Logits are divided by 1, by a power of two (without an error), or by any number.
enum class temperature { one, power_of_two, any };
// The middle one, for float32; other kernels and the small level take it for a rounded one, with the same bits.
template <class T> CROSSENT_INLINE bool is_power_of_two(const inverse_temperature& s) {
  return !CROSSENT_SMALL && sizeof(T) == 4 && s.low == 0 && s.high > 0x1p-60;
}

// The exponential of logits against one reference per lane.
template <class T, temperature how> struct exponential {
  pack<T> magic, lowest, high, low;

  exponential() = default;
  exponential(pack<T> exponent, const inverse_temperature& s)
      : magic(magic_of(exponent)),
        lowest(lowest_exponent(exponent)),
        high(set1(static_cast<T>(s.high))),
        low(set1(static_cast<T>(s.low))) {
    if (how != temperature::one) lowest = at_least(lowest / high, set1(-constants<T>::largest));
  }
  // exp(x/T + rest)
  CROSSENT_INLINE_MEMBER pack<T> operator()(pack<T> x, pack<T> rest) const {
    const pack<T> y = at_least(x, lowest), z = y * high;
    if constexpr (how == temperature::power_of_two) return exp_scaled(z, rest, magic);
    const pack<T> e = exp_scaled(z, rest + fma(y, low, product_error(y, high, z)), magic);
    return select(x == set1(-constants<T>::infinity), set1<T>(0), e);
  }
  // exp((x + error)/T + rest). Below the lowest x the error may be anything.
  CROSSENT_INLINE_MEMBER pack<T> operator()(pack<T> x, pack<T> error, pack<T> rest) const {
    return (*this)(x, fma(select(x < lowest, set1<T>(0), error), high, rest));
  }
  CROSSENT_INLINE_MEMBER pack<T> operator()(pack<T> x) const {
    const pack<T> y = at_least(x, lowest);
    if constexpr (how == temperature::one) return exp_scaled(y, magic);
    const pack<T> z = y * high;
    if constexpr (how == temperature::power_of_two) return exp_scaled(z, magic);
    const pack<T> e = exp_scaled(z, fma(y, low, product_error(y, high, z)), magic);
    // However high the temperature: a masked class stays masked.
    return select(x == set1(-constants<T>::infinity), set1<T>(0), e);
  }
};

// Offset and exponent of a maximum.
template <class T> struct reference {
  pack<T> value, exponent;
};
template <class T> CROSSENT_INLINE reference<T> reference_of(pack<T> max, const inverse_temperature& s) {
  using k = constants<T>;
  const pack<T> zero = set1<T>(0), z = max * set1(static_cast<T>(s.high));
  reference<T> r;
  r.value = select(absolute(z) < set1(far_out<T>), zero, max);
  r.value = select(max == set1(-k::infinity), zero, r.value);
  const pack<T> inside = select(absolute(z) < set1(far_out<T>), z, zero);
  r.exponent = fma(inside, set1(k::log2_e), set1(k::round)) - set1(k::round);
  return r;
}

// f(first) + .. + f(first + n - 1) by a binary tree, depth first, so that little is live at a time.
template <int n, class F> CROSSENT_INLINE auto tree(const F& f, index first = 0) {
  if constexpr (n == 1) return f(first);
  else return tree<n / 2>(f, first) + tree<n / 2>(f, first + n / 2);
}

// f(n) with n as a constant: the power of two that `count` packs are rounded up to.
template <class F> CROSSENT_INLINE auto with_group_size(index count, F f) {
  return count > 4 ? f(std::integral_constant<int, 8>{}) : count > 2 ? f(std::integral_constant<int, 4>{})
         : count > 1 ? f(std::integral_constant<int, 2>{}) : f(std::integral_constant<int, 1>{});
}

// Float64 sums in lanes; compensated for float64 terms. {} is 0.
template <class T> struct accumulator;
template <> struct accumulator<float> {
  pack<double> high;
  CROSSENT_INLINE accumulator of(pack<double> v) { return {v}; }
  CROSSENT_INLINE void put(accumulator& a, pack<float> v) { a.high = a.high + widen_sum(v); }
  CROSSENT_INLINE accumulator add(accumulator a, pack<double> v) { a.high = a.high + v; return a; }
  CROSSENT_INLINE pack<double> total(accumulator a) { return a.high; }
  CROSSENT_INLINE accumulator join(accumulator a, accumulator b) { return add(a, b.high); }
  CROSSENT_INLINE double sum_lanes_of(accumulator a) { return sum_lanes(a.high); }
};
template <> struct accumulator<double> {
  pack<double> high, low;
  CROSSENT_INLINE accumulator of(pack<double> v) { return {v, set1(0.0)}; }
  CROSSENT_INLINE void put(accumulator& a, pack<double> v) { a = add(a, v); }
  CROSSENT_INLINE accumulator add(accumulator a, pack<double> v) {
    pack<double> error;
    a.high = two_sum(a.high, v, error);
    a.low = a.low + error;
    return a;
  }
  // An infinite sum has NaN for its error.
  CROSSENT_INLINE pack<double> total(accumulator a) { return select(a.low == a.low, a.high + a.low, a.high); }
  CROSSENT_INLINE accumulator join(accumulator a, accumulator b) {
    a = add(a, b.high);
    a.low = a.low + b.low;
    return a;
  }
  CROSSENT_INLINE double sum_lanes_of(accumulator a) {
    double h[8], l[8];
    store(h, a.high);
    store(l, a.low);
    for (int half = 4; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) {
        const double s = h[i] + h[i + half], b = s - h[i];
        l[i] = (l[i] + ((h[i] - (s - b)) + (h[i + half] - b))) + l[i + half];
        h[i] = s;
      }
    return l[0] == l[0] ? h[0] + l[0] : h[0];
  }
};

}  // namespace
}  // namespace crossent

// The diagonal of the Hessian of a loss in -log p: h_c = max(s p_c (1 - p_c), floor), s being scale v A.
//
// With t_c = s p_c it is t_c - t_c p_c, rounded once, where p_c <= 1/2. An error of e_c then cancels as p grows: with one of
// 1.5 units of 2^-24 (2^-53) in e_c, one each in its two factors and in t_c, and half an ULP of the result, that is at most 4
// ULP. The one class that may have p_c > 1/2 is that of the maximum, where 1 - p is tail / (1 + tail): it is computed with the
// row, and put where p_c > 1/2. At p = 1/2 the two differ by the square of an error.
#pragma once

#include "kernels/loss/softmax.hpp"

namespace crossent {
namespace {

// The factor as a number near 1, beside powers of two that are applied last: s may have any size.
template <class T> void split_hessian(index rows, const double* unsplit_probability, hessian_rows& h) {
  using k = constants<double>;
  constexpr double most = sizeof(T) == 4 ? 250 : 2000;
  const doubles zero = set1(0.0), round = set1(k::round), limit = set1(most);
  for (index i = 0; i < rows; i += 8) {
    const auto of = [&](const double* v) CROSSENT_INLINE_LAMBDA { return load<double>(v + i); };
    const doubles factor = of(h.factor);
    const bits<double> field = (to_bits(factor) >> k::mantissa_bits) & 0x7ff;
    const doubles exponent =
        at_most(from_bits<double>(field | 0x4330000000000000u) - set1(k::integer + static_cast<double>(k::exponent_bias)),
                set1(1000.0));
    const doubles ratio = of(h.probability) / of(unsplit_probability);   // a power of two
    const bits<double> ratio_field = (to_bits(ratio) >> k::mantissa_bits) & 0x7ff;
    const doubles of_ratio =
        from_bits<double>(ratio_field | 0x4330000000000000u) - set1(k::integer + static_cast<double>(k::exponent_bias));
    const doubles power = at_most(at_least(exponent + of_ratio, -limit), limit);
    const doubles half = (set1(0.5) * power + round) - round;
    const doubles near_one = exp2_whole(-exponent);
    store(h.factor + i, select(factor != zero, factor * near_one, zero));
    store(h.factor_lo + i, select(factor != zero, of(h.factor_lo) * near_one, zero));
    store(h.power[0] + i, exp2_whole(half));
    store(h.power[1] + i, exp2_whole(power - half));
  }
}

// Rows of factor 0 are 0, whatever is in them: with lanes over classes they are not read.
template <class T, class Make>
CROSSENT_INLINE void write_counting(const source& s, const sink& to, index begin, index end, const hessian_rows& h, Make make) {
  if (s.lanes_over_rows) return write_over_rows<T, 1>({s}, to, begin, end, make);
  const char* rows[batch_rows];
  for (index i = 0; i < s.count; ++i) rows[i] = h.factor[i] != 0 ? s.rows[i] : nullptr;
  source counting = s;
  counting.rows = rows;
  write_over_classes<T, terms::light>({counting}, to, begin, end, make);
}

template <class T, class Terms>
CROSSENT_INLINE void write_hessian_of(const source& s, const sink& to, index begin, index end, const hessian_rows& h,
                                      Terms terms) {
  write_counting<T>(s, to, begin, end, h, [&](index i, auto o) CROSSENT_INLINE_WIDE {
    const auto term = terms(i, o);
    const auto of = [&](const double* v) CROSSENT_INLINE_WIDE { return per_row<T>(v, i, o); };
    const auto factor = per_row<T>(h.factor, h.factor_lo, i, o);
    const pack<T> probability = of(h.probability), of_max = of(h.of_max);
    const pack<T> power_1 = of(h.power[0]), power_2 = of(h.power[1]);
    const pack<T> floor = set1(static_cast<T>(h.floor)), half = set1<T>(T(0.5)), zero = set1<T>(0);
    return [=](const pack<T>* x, index, index) CROSSENT_INLINE_WIDE {
      const pack<T> e = term(x[0]), p = e * probability, t = fma(e, factor.hi, e * factor.lo);
      pack<T> entry = (rounded_once(-t, p, t) * power_1) * power_2;
      entry = select(half < p, of_max, entry);
      entry = select(entry < floor, floor, entry);
      if constexpr (o.lanes_over_rows) return select(factor.hi != zero, entry, zero);
      else return entry;
    };
  });
}

template <class T>
void write_hessian(const source& s, const row_statistics& statistics, const sink& to, index begin, index end,
                   const hessian_rows& h) {
  write_hessian_of<T>(s, to, begin, end, h, [&](index i, auto o) CROSSENT_INLINE_WIDE {
    const exponential<T, temperature::one> term(per_row<T>(h.exponent, i, o), inverse_temperature{});
    const pack<T> reference = per_row<T>(statistics.reference, i, o);
    return [=](pack<T> x) CROSSENT_INLINE_WIDE { return term(x - reference); };
  });
}
template <class T> void write_cached_hessian(const source& exponentials, const sink& to, const hessian_rows& h) {
  write_hessian_of<T>(exponentials, to, 0, 1, h,
                      [](index, auto) CROSSENT_INLINE_WIDE { return [](pack<T> e) CROSSENT_INLINE_WIDE { return e; }; });
}

// max(scale |g|, floor) of a gradient.
template <class T>
void write_magnitude(const source& gradient, const sink& to, index begin, index end, const hessian_rows& h) {
  write_counting<T>(gradient, to, begin, end, h, [&](index i, auto o) CROSSENT_INLINE_WIDE {
    const pack<T> factor = per_row<T>(h.factor, i, o), zero = set1<T>(0);
    const pack<T> floor = set1(static_cast<T>(h.floor)), scale = set1(static_cast<T>(h.scale));
    return [=](const pack<T>* g, index, index) CROSSENT_INLINE_WIDE {
      pack<T> entry = absolute(g[0]) * scale;
      entry = select(entry < floor, floor, entry);
      if constexpr (o.lanes_over_rows) return select(factor != zero, entry, zero);
      else return entry;
    };
  });
}

}  // namespace
}  // namespace crossent

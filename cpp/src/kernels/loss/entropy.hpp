// The entropy of the softmax as a part of a loss: H = log_sum + S, where S = sum_c p_c g_c is the mean of the gaps g = (max - x)/T.
//
//   T dH/dx_c = p_c (g_c - S)
//
// so that log p_c + H, which is S - g_c, is never made of two numbers that cancel: log_sum is in both. The sums of blocks count
// gaps from the maximum of the block, in units of its terms; they are merged as these are.
#pragma once

#include "kernels/loss/information.hpp"
#include "kernels/loss/softmax.hpp"
#include "kernels/loss/weighted_gaps.hpp"

namespace crossent {
namespace {

// ---- Sums ------------------------------------------------------------------------------------------------------------

// Of terms that are there: a missing one is 0.
template <class T> struct gap_sums_of_terms : gap_sums<T> {
  static constexpr T missing = 0;
};
template <class T>
CROSSENT_INLINE gap_sums_of_terms<T> operator+(const gap_sums_of_terms<T>& a, const gap_sums_of_terms<T>& b) {
  return {static_cast<const gap_sums<T>&>(a) + static_cast<const gap_sums<T>&>(b)};
}

// sum e (max - x) of each block. exponentials: where they are cached, else nullptr.
template <class T>
void gap_sums_of_blocks(const source& x, const source* exponentials, index begin, index end, const inverse_temperature& t,
                        const block_statistics& of, const block_sums& out) {
  const index blocks = block_count(x.classes);
  for (index b = begin; b < end; ++b) {
    const auto max_of = [&](index row, auto o) CROSSENT_INLINE_WIDE { return block_reference<T>(of.max, row, b, blocks, o); };
    if constexpr (registers <= 2) {  // else terms are computed again, with the same bits
      if (exponentials != nullptr) {
        sum_rows<T, gap_sums_of_terms<T>, 2>({*exponentials, x}, b, b + 1, out, [&](index row, auto o) CROSSENT_INLINE_WIDE {
          const pack<T> max = max_of(row, o);
          return [=](gap_sums<T>& s, const pack<T>* v) CROSSENT_INLINE_LAMBDA { add_gap(s, v[0], v[1], max); };
        });
        continue;
      }
    }
    sum_rows<T, gap_sums<T>, 1>({x}, b, b + 1, out, [&](index row, auto o) CROSSENT_INLINE_WIDE {
      const pack<T> exponent = block_reference<T>(of.exponent, row, b, blocks, o);
      const exponential<T, temperature::any> term(set1(bias<T>) - exponent, t);
      const pack<T> reference = block_reference<T>(of.reference, row, b, blocks, o), max = max_of(row, o);
      return [=](gap_sums<T>& s, const pack<T>* v) CROSSENT_INLINE_LAMBDA { add_gap(s, term(v[0] - reference), v[0], max); };
    });
  }
}

// Of `blocks` blocks from entry `first` on, as the statistics of these come to one: in units of the terms of their maximum.
template <class T>
void merge_gap_sums(index first, index blocks, const inverse_temperature& t, const block_statistics& in, const double* gap,
                    const double* gap_lo, double* out, double* out_lo) {
  if (blocks == 1) {  // whose sum of terms may not be there
    *out = gap[first];
    *out_lo = gap_lo[first];
    return;
  }
  const auto load_eight = [&](index i, index n) CROSSENT_INLINE_LAMBDA {
    const auto of = [&](const double* v) CROSSENT_INLINE_LAMBDA { return load_partial<double>(v + first + i, n, 0.0); };
    terms_and_gaps<T> node{{of(in.max), of(in.reference), of(in.exponent), {}}, {}};
    if constexpr (sizeof(T) == 4) {
      node.terms.sum = of(in.sum_all);
      node.gap = of(gap);
    } else {
      node.terms.sum = {of(in.sum_all), of(in.sum_all_lo)};
      node.gap = {of(gap), of(gap_lo)};
    }
    return node;
  };
  const auto all = merge_packs<terms_and_gaps<T>>(blocks, load_eight,
                                                  [&](const terms_and_gaps<T>& a, const terms_and_gaps<T>& b)
                                                      CROSSENT_INLINE_LAMBDA { return merge(a, b, t); })
                       .gap;
  *out = first_part(all).r[0][0];
  if constexpr (sizeof(T) == 4) *out_lo = 0;
  else *out_lo = all.lo.r[0][0];
}

// ---- The gradient ----------------------------------------------------------------------------------------------------

// An entry is e (factor + slope g) times two powers of two, which come last: S and the gaps may be as small as the least number,
// or the entries, and neither loses digits before. The larger one of factor and slope is brought to `size`, terms to a bias of
// `more` where the entries may be as large as 2^most: then none that matters is below the normal numbers.
template <class T> struct entropy_range;
template <> struct entropy_range<float> {
  static constexpr double size = 40, most = 30, more = 16, least = -160, lowest_power = -250, highest_power = 240;
};
template <> struct entropy_range<double> {
  static constexpr double size = 400, most = 64, more = 372, least = -600, lowest_power = -2000, highest_power = 2000;
};
// Gaps that are further out have no term.
template <class T> constexpr T largest_gap = T(4096);

// Of factor and slope as cross_entropy() makes them. Returns whether cached exponentials will do.
template <class T> bool scale_entropy_gradient(index rows, const double* exponent, gradient_rows& g, entropy_rows& entropy) {
  using range = entropy_range<T>;
  using k = constants<double>;
  const doubles zero = set1(0.0), round = set1(k::round);
  const doubles unscale_tiny = exp2_whole(set1(-static_cast<double>(k::subnormal_scale)));
  mask<double> outside{};
  for (index i = 0; i < rows; i += 8) {
    const auto of = [&](const double* v) CROSSENT_INLINE_LAMBDA {
      return i + 8 <= rows ? load<double>(v + i) : load_partial<double>(v + i, rows - i, 0.0);
    };
    const auto put = [&](double* to, doubles v) CROSSENT_INLINE_LAMBDA { store(to + i, v); };
    const bits<double> largest = to_bits(larger(absolute(of(g.factor)), absolute(of(entropy.slope))));
    const bits<double> field = (largest >> k::mantissa_bits) & 0x7ff;
    const doubles of_largest =
        from_bits<double>(field | 0x4330000000000000u) - set1(k::integer + static_cast<double>(k::exponent_bias));
    const doubles n = at_least(of_largest, set1(range::least)), scale = exp2_whole(set1(range::size) - n);
    const mask<double> is_large = set1(range::most) < n;
    const doubles exponent_of_terms = set1(static_cast<double>(bias<T>)) + select(is_large, set1(range::more), zero);
    const doubles power =
        at_most(at_least(n - set1(range::size) - exponent_of_terms, set1(range::lowest_power)), set1(range::highest_power));
    const doubles half = (set1(0.5) * power + round) - round;
    put(g.factor, fma(of(entropy.factor_tiny) * unscale_tiny, scale, of(g.factor) * scale));
    put(g.factor_lo, of(g.factor_lo) * scale);
    put(g.exponent, exponent_of_terms - of(exponent));
    put(entropy.slope, of(entropy.slope) * scale);
    put(entropy.slope_lo, of(entropy.slope_lo) * scale);
    put(entropy.power[0], exp2_whole(half));
    put(entropy.power[1], exp2_whole(power - half));
    outside = outside | is_large;
  }
  return !any(outside);
}

// The entries of a row from its terms, or of a tile from those of the rows in its lanes; 1/T in two parts.
template <class T> struct entropy_entry {
  double_double<pack<T>> factor, slope;
  pack<T> max, power[2], inverse_hi, inverse_lo, furthest;

  entropy_entry() = default;
  template <class O>
  CROSSENT_INLINE_MEMBER entropy_entry(const row_statistics& statistics, const inverse_temperature& t, const gradient_rows& g,
                                       const entropy_rows& entropy, index row, O o)
      : factor(per_row<T>(g.factor, g.factor_lo, row, o)),
        slope(per_row<T>(entropy.slope, entropy.slope_lo, row, o)),
        max(per_row<T>(statistics.max, row, o)),
        power{per_row<T>(entropy.power[0], row, o), per_row<T>(entropy.power[1], row, o)},
        inverse_hi(set1(static_cast<T>(t.hi))),
        inverse_lo(set1(static_cast<T>(t.lo))),
        furthest(at_most(set1(largest_gap<T>) / inverse_hi, set1(constants<T>::largest))) {}
  // e (factor + slope g)
  template <temperature how> CROSSENT_INLINE_MEMBER pack<T> of(pack<T> e, pack<T> x) const {
    const pack<T> d = at_most(max - x, furthest);
    pack<T> gap = d;
    if constexpr (how != temperature::one) {
      const pack<T> z = d * inverse_hi;
      gap = z + fma(d, inverse_lo, product_error(d, inverse_hi, z));
    }
    const pack<T> v = fma(slope.hi, gap, factor.hi) + fma(slope.lo, gap, factor.lo);
    return ((e * v) * power[0]) * power[1];
  }
};

// Rows that have no coefficient are 0, whatever is in them: with lanes over classes they are not read.
template <class T, temperature how, bool two_terms, int arrays, class Terms>
CROSSENT_INLINE void write_entropy_gradient_of(const source (&s)[arrays], const row_statistics& statistics, const sink& to,
                                               index begin, index end, const inverse_temperature& t, const gradient_rows& p,
                                               const entropy_rows& entropy, Terms terms) {
  const auto counts = [&](index i) {
    return p.factor[i] != 0 || entropy.slope[i] != 0 || (two_terms && (p.beta[i] != 0 || p.gamma[i] != 0));
  };
  alignas(pack_bytes) double counting[batch_rows] = {};
  const char* rows[batch_rows + 16];
  for (index i = 0; i < s[0].count; ++i) {
    counting[i] = counts(i) ? 1 : 0;
    rows[i] = s[0].rows[i];
    if (!s[0].lanes_over_rows && counting[i] == 0) rows[i] = nullptr;
  }
  for (index i = s[0].count; i < batch_rows + 16; ++i) rows[i] = rows[s[0].count - 1];
  source counted[arrays] = {};  // without a constructor, which would be a function of all levels
  for (int k = 0; k < arrays; ++k) counted[k] = s[k];
  counted[0].rows = rows;
  write_blocks<T, arrays>(counted, to, begin, end, [&](index i, auto o) CROSSENT_INLINE_WIDE {
    const entropy_entry<T> first(statistics, t, p, entropy, i, o);
    const gradient_numbers<T> numbers(p, two_terms, two_terms, i, o);
    const auto term = terms(i, o);
    const pack<T> zero = set1<T>(0), is_counted = per_row<T>(counting, i, o);
    constexpr bool over_rows = o.lanes_over_rows, with_target = over_rows && !two_terms;
    const void* const weight = p.weight;
    const bool with_q = p.with_gamma;
    target_entry<T> target;
    if constexpr (with_target) target = target_entry<T>(p, i, o);
    return [=](const pack<T>* x, index c, index n) CROSSENT_INLINE_LAMBDA {
      pack<T> entry = first.template of<how>(term(x[0]), x[arrays == 2 && !two_terms ? 1 : 0]);
      if constexpr (two_terms) {
        const pack<T> w = weights<T>(weight, c, n, o), q = with_q ? x[arrays - 1] : zero;
        const pack<T> wq = w * q, wq_lo = product_error(w, q, wq);
        const auto &beta = numbers.beta, &gamma = numbers.gamma;
        const pack<T> small = fma(gamma.lo, wq, fma(gamma.hi, wq_lo, w * beta.lo));
        entry = fma(-gamma.hi, wq, fma(-w, beta.hi, entry - small));
      }
      entry = entry + zero;
      if constexpr (over_rows) entry = select(is_counted != zero, entry, zero);
      if constexpr (with_target) return target.or_else(c, entry);
      else return entry;
    };
  });
}

// q: nullptr, or class probabilities. Where packs are four registers, and at T = 1 in float64, cases have no instance of their own:
// the last one has the same bits.
template <class T>
void write_entropy_gradient(const source& x, const row_statistics& statistics, const source* exponentials, const source* q,
                            const sink& to, index begin, index end, const inverse_temperature& t, const gradient_rows& p,
                            const entropy_rows& entropy) {
  constexpr auto one = temperature::one, any = temperature::any;
  constexpr bool is_wide = registers <= 2;
  const auto terms_at = [&](auto how) CROSSENT_INLINE_WIDE {
    return [&p, &statistics, &t](index i, auto o) CROSSENT_INLINE_WIDE {
      const exponential<T, decltype(how)::value> term(per_row<T>(p.exponent, i, o), t);
      const pack<T> reference = per_row<T>(statistics.reference, i, o);
      return [=](pack<T> v) CROSSENT_INLINE_LAMBDA { return term(v - reference); };
    };
  };
  constexpr std::integral_constant<temperature, any> at_any;
  if (p.with_beta || p.with_gamma)
    return write_entropy_gradient_of<T, any, true, 2>({x, q != nullptr ? *q : x}, statistics, to, begin, end, t, p, entropy,
                                                      terms_at(at_any));
  if constexpr (is_wide)
    if (exponentials != nullptr)
      return write_entropy_gradient_of<T, any, false, 2>(
          {*exponentials, x}, statistics, to, begin, end, t, p, entropy,
          [](index, auto) CROSSENT_INLINE_WIDE { return [](pack<T> e) CROSSENT_INLINE_LAMBDA { return e; }; });
  if constexpr (is_wide && sizeof(T) == 4)
    if (t.is_one)
      return write_entropy_gradient_of<T, one, false, 1>({x}, statistics, to, begin, end, t, p, entropy,
                                                         terms_at(std::integral_constant<temperature, one>{}));
  write_entropy_gradient_of<T, any, false, 1>({x}, statistics, to, begin, end, t, p, entropy, terms_at(at_any));
}

}  // namespace
}  // namespace crossent

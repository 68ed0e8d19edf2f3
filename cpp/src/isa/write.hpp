// The kernels that write one row array: softmax and gradients, log_softmax.
#pragma once

#include "traverse.hpp"

namespace crossent {
namespace {

// What multiplies -log p in a gradient: weight (beta + gamma q), without gamma the smoothing alone.
template <class T, bool with_probabilities, class O>
CROSSENT_INLINE pack<T> coefficient_of(pack<T> beta, pack<T> gamma, pack<T> q, const void* weight, index c, index n, O o) {
  if constexpr (with_probabilities) return fma(gamma, q, beta) * weights<T>(weight, c, n, o);
  else return beta * weights<T>(weight, c, n, o);
}

// Rows whose factor is 0 are 0, whatever is in them.
template <class T, bool with_beta, int arrays, class Term>
CROSSENT_INLINE void write_terms(const source (&s)[arrays], const sink& to, index begin, index end, const row_scale& p, Term make) {
  write_blocks<T>(s, to, begin, end, [&](index i, index block, auto o) {
    const auto term = make(i, block, o);
    const pack<T> factor = term.factor, zero = set1<T>(0);
    pack<T> beta = zero, gamma = zero;
    if constexpr (with_beta) beta = per_row<T>(p.beta, i, o);
    if constexpr (arrays == 2) gamma = per_row<T>(p.gamma, i, o);
    const void* weight = p.weight;
    return [=](const pack<T>* x, index c, index n) {
      const pack<T> e = term(x[0]);
      if constexpr (with_beta) {
        const pack<T> b = coefficient_of<T, arrays == 2>(beta, gamma, x[arrays - 1], weight, c, n, o);
        return if_equal(factor, zero, zero, fma(e, factor, -b));
      } else {
        return if_equal(factor, zero, zero, e * factor);
      }
    };
  });
}

// Terms from logits.
template <class T, bool scaled> struct computed_term {
  exponential<T, scaled> e;
  pack<T> offset, factor;
  pack<T> operator()(pack<T> x) const { return e(x - offset); }
};
// Terms as they were kept; the factor makes up for their own exponent.
template <class T> struct kept_term {
  pack<T> factor;
  pack<T> operator()(pack<T> e) const { return e; }
};

// The power of two between the terms of a block as they were kept and as `p` wants them.
CROSSENT_INLINE double kept_exponent(const row_scale& p, index row, index entry, double kept_bias) {
  return p.shift[row] - kept_bias + p.block_shift[entry];
}

// Whether kept terms give the same bits: none that shows was too small to be kept, and the factor stays normal.
template <class T> bool reusable(const source& s, index begin, index end, const row_scale& p) {
  constexpr double smallest = sizeof(T) == 4 ? -62 : -894, largest = sizeof(T) == 4 ? 39 : 74;
  if (s.terms == nullptr || p.block_shift == nullptr) return false;
  const index blocks = (s.classes + block_classes - 1) / block_classes;
  bool all = true;
  for (index i = 0; i < s.count; ++i) {
    if (s.rows[i] == nullptr || p.factor[i] == 0) continue;
    for (index k = i * blocks + begin; k < i * blocks + end; ++k) {
      const double exponent = kept_exponent(p, i, k, static_cast<double>(bias<T>));
      all = all && exponent >= smallest && exponent <= largest && p.block_offset[k] == p.offset[i];
    }
  }
  return all;
}

// The factors of a block, or of those of a tile of rows.
template <class T, class O>
CROSSENT_INLINE pack<T> kept_factor(const row_scale& p, index row, index block, index blocks, O) {
  constexpr index rows = O::across ? pack<T>::lanes : 1;
  alignas(pack_bytes) double f[16] = {};
  for (index l = 0; l < rows; ++l) {
    const double e = p.factor[row + l] == 0 ? 0 : kept_exponent(p, row + l, (row + l) * blocks + block, static_cast<double>(bias<T>));
    f[l] = p.factor[row + l] * exp2_whole(set1(e)).r[0][0];
  }
  if constexpr (O::across) return load_as<T>(f);
  else return set1(static_cast<T>(f[0]));
}

template <class T, bool scaled, bool with_beta, int arrays>
CROSSENT_INLINE void write_exp_of(const source (&s)[arrays], const sink& to, index begin, index end, const scaling& t,
                                  const row_scale& p) {
  write_terms<T, with_beta, arrays>(s, to, begin, end, p, [&](index i, index, auto o) {
    return computed_term<T, scaled>{exponential<T, scaled>(per_row<T>(p.shift, i, o), t), per_row<T>(p.offset, i, o),
                                    per_row<T>(p.factor, i, o)};
  });
}

template <class T, bool with_beta, int arrays>
CROSSENT_INLINE void write_kept_of(const source (&s)[arrays], const sink& to, index begin, index end, const row_scale& p) {
  const index blocks = (s[0].classes + block_classes - 1) / block_classes;
  write_terms<T, with_beta, arrays>(s, to, begin, end, p, [&](index i, index block, auto o) {
    return kept_term<T>{kept_factor<T>(p, i, block, blocks, o)};
  });
}

template <class T>
void write_kept(const source& s, const source* q, const sink& to, index begin, index end, const row_scale& p) {
  const char* rows[group_rows];
  for (index i = 0; i < s.count; ++i) rows[i] = s.rows[i] == nullptr ? nullptr : kept_row<T>(s, i);
  for (index i = s.count; i < group_rows && i % pack_rows != 0; ++i) rows[i] = kept_row<T>(s, i);
  const source kept{rows, s.count, s.classes, s.across ? pack_bytes : size_of<T>, native<T>, s.across};
  if (q != nullptr) write_kept_of<T, true, 2>({kept, *q}, to, begin, end, p);
  else if (p.beta != nullptr) write_kept_of<T, true, 1>({kept}, to, begin, end, p);
  else write_kept_of<T, false, 1>({kept}, to, begin, end, p);
}

template <class T>
void write_exp(const source& s, const source* q, const sink& to, index begin, index end, const scaling& t, const row_scale& p) {
  if (reusable<T>(s, begin, end, p)) write_kept<T>(s, q, to, begin, end, p);
  else if (q != nullptr) write_exp_of<T, false, true, 2>({s, *q}, to, begin, end, t, p);
  else if (!t.is_one || (CROSSENT_SMALL && p.beta == nullptr)) write_exp_of<T, true, false, 1>({s}, to, begin, end, t, p);
  else if (p.beta == nullptr) write_exp_of<T, CROSSENT_SMALL, false, 1>({s}, to, begin, end, t, p);
  else write_exp_of<T, false, true, 1>({s}, to, begin, end, t, p);
}

template <class T>
void write_log(const source& s, const sink& to, index begin, index end, const scaling& t, const double* max,
               const double* log_sum) {
  const pack<T> high = set1(static_cast<T>(t.high)), low = set1(static_cast<T>(t.low));
  if (t.is_one) {
    write_blocks<T, 1>({s}, to, begin, end, [&](index i, index, auto o) {
      const pack<T> m = per_row<T>(max, i, o), l = per_row<T>(log_sum, i, o);
      return [=](const pack<T>* x, index, index) { return (x[0] - m) - l; };
    });
  } else {
    write_blocks<T, 1>({s}, to, begin, end, [&](index i, index, auto o) {
      const pack<T> m = per_row<T>(max, i, o), l = per_row<T>(log_sum, i, o);
      return [=](const pack<T>* x, index, index) {
        const pack<T> d = x[0] - m, z = d * high, lowest = set1(-constants<T>::infinity);
        // Where z is infinite the correction would be NaN.
        const pack<T> fine = if_equal(z, lowest, z, z + (product_error(d, high, z) + d * low));
        return if_equal(d, lowest, d, fine) - l;
      };
    });
  }
}

}  // namespace
}  // namespace crossent

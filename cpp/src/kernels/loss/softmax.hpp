// The kernels that write one row array: softmax and gradients, log_softmax.
#pragma once

#include "kernels/simd/double_double.hpp"
#include "kernels/walk/write.hpp"

namespace crossent {
namespace {

// The numbers of a row that its gradient is made of: e factor - weight (beta + gamma q). Each has its rounding error, as one of
// its own would come to an ULP of the result, and of the second term to two where p is 1/2.
template <class T> struct gradient_numbers {
  double_double<pack<T>> factor{}, beta{}, gamma{};
  pack<T> counts{};   // not 0 of a row that has a gradient; a pack and not a mask, which loops would load again and again

  gradient_numbers() = default;
  template <class O>
  CROSSENT_INLINE_MEMBER gradient_numbers(const gradient_rows& p, bool with_beta, bool with_gamma, index row, O o)
      : factor(per_row<T>(p.factor, p.factor_lo, row, o)) {
    if (with_beta) beta = per_row<T>(p.beta, p.beta_lo, row, o);
    if (with_gamma) gamma = per_row<T>(p.gamma, p.gamma_lo, row, o);
    const pack<T> zero = set1<T>(0);
    counts = select((factor.hi == zero) & (beta.hi == zero) & (gamma.hi == zero), zero, set1<T>(1));
  }
};

template <class T> CROSSENT_INLINE pack<T> gradient_entry(pack<T> e, const gradient_numbers<T>& row) {
  return fma(e, row.factor.hi, e * row.factor.lo);
}
// With weight (beta + gamma q), or weight beta of a smoothing alone; with_beta: false where beta is 0 and weights are 1. The small parts first: what remains to be rounded are
// products of the size of an entry's terms. An entry is +0 where it vanishes: whether a negative e factor does so by itself or is
// 0 to begin with depends on the exponent that e comes with.
template <class T, bool with_probabilities, bool with_beta, class O>
CROSSENT_INLINE pack<T> gradient_entry(pack<T> e, const gradient_numbers<T>& row, pack<T> q, const void* weight, index c,
                                       index n, O o) {
  const auto &f = row.factor, &beta = row.beta, &gamma = row.gamma;
  const pack<T> zero = set1<T>(0);
  if constexpr (!has_fma) {
    auto b = beta;
    if constexpr (with_probabilities) b = gamma * exact(q) + b;
    if (weight != nullptr) b = b * exact(weights<T>(weight, c, n, o));
    const auto entry = exact(e) * f + -b;
    return (entry.hi + entry.lo) + zero;
  } else if (weight == nullptr) {
    if constexpr (!with_probabilities) return (fma(e, f.hi, -beta.hi) + fma(e, f.lo, -beta.lo)) + zero;
    if constexpr (!with_beta) return fma(e, f.hi, fma(-gamma.hi, q, fma(e, f.lo, -(gamma.lo * q)))) + zero;
    const pack<T> small = fma(e, f.lo, -fma(gamma.lo, q, beta.lo));
    return fma(e, f.hi, fma(-gamma.hi, q, small - beta.hi)) + zero;
  } else {
    const pack<T> w = weights<T>(weight, c, n, o);
    if constexpr (!with_probabilities) return fma(e, f.hi, fma(-w, beta.hi, fma(e, f.lo, -(w * beta.lo)))) + zero;
    const pack<T> wq = w * q, wq_lo = product_error(w, q, wq);
    const pack<T> small = fma(e, f.lo, -fma(gamma.lo, wq, fma(gamma.hi, wq_lo, w * beta.lo)));
    return fma(e, f.hi, fma(-gamma.hi, wq, fma(-w, beta.hi, small))) + zero;
  }
}

// Across: the entry of the target of each row, if there is one.
template <class T> struct target_entry {
  pack<T> at = set1<T>(-1), value = set1<T>(0);

  target_entry() = default;
  template <class O> CROSSENT_INLINE_MEMBER target_entry(const gradient_rows& p, index row, O o) {
    if (!p.with_target) return;
    alignas(pack_bytes) T classes[pack<T>::lanes];
    for (int l = 0; l < pack<T>::lanes; ++l) classes[l] = static_cast<T>(p.target[row + l]);
    at = load<T>(classes);
    value = per_row<T>(p.target_gradient, row, o);
  }
  CROSSENT_INLINE_MEMBER pack<T> or_else(index c, pack<T> entry) const {
    return select(at == set1(static_cast<T>(c)), value, entry);
  }
};

// Rows without a factor and a second term are 0, whatever is in them: with lanes over classes they are not read. terms(row,
// orientation) gives the function from x_c to e_c.
template <class T, bool with_beta, int arrays, class Terms>
CROSSENT_INLINE void write_gradient_of(const source (&s)[arrays], const sink& to, index begin, index end,
                                       const gradient_rows& p, Terms terms) {
  const auto make = [&](auto weighted) CROSSENT_INLINE_WIDE {
    using is_weighted = decltype(weighted);
    return [&](index i, auto o) CROSSENT_INLINE_WIDE {
      const auto term = terms(i, o);
      const gradient_numbers<T> numbers(p, with_beta, arrays == 2, i, o);
      const pack<T> zero = set1<T>(0);
      const void* weight = p.weight;
      constexpr bool over_rows = o.lanes_over_rows, two_terms = with_beta || arrays == 2, with_target = over_rows && !two_terms;
      target_entry<T> target;
      if constexpr (with_target) target = target_entry<T>(p, i, o);
      return [=](const pack<T>* x, index c, index n) CROSSENT_INLINE_LAMBDA {
        const pack<T> e = term(x[0]);
        pack<T> entry;
        if constexpr (two_terms)
          entry = gradient_entry<T, arrays == 2, with_beta>(e, numbers, x[arrays - 1], is_weighted::value ? weight : nullptr, c,
                                                            n, o);
        else entry = gradient_entry(e, numbers);
        if constexpr (over_rows) entry = select(numbers.counts != zero, entry, zero);
        if constexpr (with_target) return target.or_else(c, entry);
        else return entry;
      };
    };
  };
  if (s[0].lanes_over_rows) return write_over_rows<T, arrays>(s, to, begin, end, make(std::true_type{}));
  const char* rows[batch_rows];
  for (index i = 0; i < s[0].count; ++i) {
    const auto counts = [&](const double* v) { return static_cast<T>(v[i]) != 0; };
    rows[i] = counts(p.factor) || (with_beta && counts(p.beta)) || (arrays == 2 && counts(p.gamma)) ? s[0].rows[i] : nullptr;
  }
  source counting[arrays] = {};  // without a constructor, which would be a function of all levels
  for (int k = 0; k < arrays; ++k) counting[k] = s[k];
  counting[0].rows = rows;
  // Without weights in a loop of its own, but where packs are four registers and compilers would take long over it.
  if constexpr (with_beta && registers <= 2)
    if (p.weight == nullptr) return write_over_classes<T, terms::light>(counting, to, begin, end, make(std::false_type{}));
  write_over_classes<T, terms::light>(counting, to, begin, end, make(std::bool_constant<with_beta>{}));
}

template <class T>
void write_softmax_gradient(const source& s, const row_statistics& statistics, const source* q, const sink& to, index begin,
                            index end, const inverse_temperature& t, const gradient_rows& p) {
  const auto at = [&](auto how) CROSSENT_INLINE_WIDE {
    return [&](index i, auto o) CROSSENT_INLINE_WIDE {
      const exponential<T, decltype(how)::value> term(per_row<T>(p.exponent, i, o), t);
      const pack<T> reference = per_row<T>(statistics.reference, i, o);
      return [=](pack<T> x) CROSSENT_INLINE_LAMBDA { return term(x - reference); };
    };
  };
  const auto write = [&](auto terms) CROSSENT_INLINE_WIDE {
    if (q != nullptr && p.with_beta) write_gradient_of<T, true, 2>({s, *q}, to, begin, end, p, terms);
    else if (q != nullptr) write_gradient_of<T, false, 2>({s, *q}, to, begin, end, p, terms);
    else if (p.with_beta) write_gradient_of<T, true, 1>({s}, to, begin, end, p, terms);
    else write_gradient_of<T, false, 1>({s}, to, begin, end, p, terms);
  };
  if (t.is_one) write(at(std::integral_constant<temperature, temperature::one>{}));
  else write(at(std::integral_constant<temperature, temperature::any>{}));
}

template <class T>
void write_cached_gradient(const source& exponentials, const source* q, const sink& to, const gradient_rows& p) {
  const auto as_they_are = [](index, auto) CROSSENT_INLINE_WIDE { return [](pack<T> e) CROSSENT_INLINE_LAMBDA { return e; }; };
  if (q != nullptr && p.with_beta) write_gradient_of<T, true, 2>({exponentials, *q}, to, 0, 1, p, as_they_are);
  else if (q != nullptr) write_gradient_of<T, false, 2>({exponentials, *q}, to, 0, 1, p, as_they_are);
  else if (p.with_beta) write_gradient_of<T, true, 1>({exponentials}, to, 0, 1, p, as_they_are);
  else write_gradient_of<T, false, 1>({exponentials}, to, 0, 1, p, as_they_are);
}

template <class T>
void write_log_softmax(const source& s, const sink& to, index begin, index end, const inverse_temperature& t, const double* max,
                       const double* log_sum) {
  const pack<T> inverse_hi = set1(static_cast<T>(t.hi)), inverse_lo = set1(static_cast<T>(t.lo));
  if constexpr (sizeof(T) == 8)
    if (t.beyond != 0)
      return write_blocks<T, 1>({s}, to, begin, end, [&](index i, auto o) {
        const pack<T> m = per_row<T>(max, i, o), l = per_row<T>(log_sum, i, o), divisor = set1(t.beyond);
        return [=](const pack<T>* x, index, index) { return (x[0] - m) / divisor - l; };
      });
  if (t.is_one) {
    write_blocks<T, 1>({s}, to, begin, end, [&](index i, auto o) {
      const pack<T> m = per_row<T>(max, i, o), l = per_row<T>(log_sum, i, o);
      return [=](const pack<T>* x, index, index) CROSSENT_INLINE_LAMBDA { return (x[0] - m) - l; };
    });
  } else {
    write_blocks<T, 1>({s}, to, begin, end, [&](index i, auto o) {
      const pack<T> m = per_row<T>(max, i, o), l = per_row<T>(log_sum, i, o);
      return [=](const pack<T>* x, index, index) CROSSENT_INLINE_LAMBDA {
        const pack<T> d = x[0] - m, z = d * inverse_hi, lowest = set1(-constants<T>::infinity);
        // Where z is infinite the correction would be NaN.
        const pack<T> fine = select(z == lowest, z, z + (product_error(d, inverse_hi, z) + d * inverse_lo));
        return select(d == lowest, d, fine) - l;
      };
    });
  }
}

}  // namespace
}  // namespace crossent

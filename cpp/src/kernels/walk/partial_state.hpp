// Partial states: the state of some blocks of a row, and the merging of two neighbours, a row in each lane. Both take the steps of
// block_tree.hpp, so that a result does not show who has merged what.
#pragma once

#include "core/partial_state.hpp"
#include "kernels/walk/merge_blocks.hpp"
#include "kernels/walk/tile_statistics.hpp"

namespace crossent {
namespace {

template <class T> CROSSENT_INLINE double second_part(accumulator<T> a) {
  if constexpr (sizeof(T) == 4) return 0;
  else return a.lo.r[0][0];
}

// Of blocks begin .. end - 1 of each row. sum_without_max is that of a subtree with the first maximum of all blocks that are
// here; the maximum of the row is in no other one of them, so that nobody asks for theirs.
template <class T>
void partial_state_of_blocks(index rows, index blocks, index begin, index end, const inverse_temperature& t,
                             const block_statistics& in, const row_statistics& statistics, const partial_state& out) {
  for (index i = 0; i < rows; ++i) {
    const index first = i * blocks + begin, top = statistics.max_block[i] - begin;
    const bool has_max = 0 <= top && top < end - begin;
    const summed_terms<T> all = merge_blocks_of_row<T>(in, first, end - begin, -1, t);
    const accumulator<T> without_max = has_max ? merge_blocks_of_row<T>(in, first, end - begin, top, t).sum : all.sum;
    out.max[i] = all.max.r[0][0];
    out.max_count[i] = has_max ? in.max_count[first + top] : 0;
    out.sum_all[i] = first_part(all.sum).r[0][0];
    out.sum_without_max[i] = first_part(without_max).r[0][0];
    if (sizeof(T) == 4) continue;
    out.sum_all_lo[i] = second_part<T>(all.sum);
    out.sum_without_max_lo[i] = second_part<T>(without_max);
  }
}

// Reference and exponent of the maxima of a pack of rows, in doubles.
template <class T> struct references {
  per_row_doubles<T> value, exponent;

  references(const double* max, index n, const inverse_temperature& t) {
    alignas(pack_bytes) double of_rows[16] = {};
    for (index l = 0; l < n; ++l) of_rows[l] = max[l];
    const reference<T> r = reference_of(load_as<T>(of_rows), t);
    value = per_row_doubles<T>(r.value);
    exponent = per_row_doubles<T>(r.exponent);
  }
};

// Rows i .. i + n - 1, n <= 8, of two states, the first one being before the other.
template <class T> class partial_state_pair {
 public:
  partial_state_pair(const partial_state& a, const partial_state& b, const partial_state& out, index i, index n)
      : a_(a),
        b_(b),
        out_(out),
        i_(i),
        n_(n),
        a_max_(load_rows(a.max)),
        b_max_(load_rows(b.max)),
        b_is_larger_(a_max_ < b_max_) {}

  void merge_terms(doubles a_reference, doubles a_exponent, doubles b_reference, doubles b_exponent,
                   const inverse_temperature& t) const {
    const auto sums_as = [&](accumulator<T> a, accumulator<T> b) CROSSENT_INLINE_LAMBDA {
      return merge(summed_terms<T>{a_max_, a_reference, a_exponent, a}, summed_terms<T>{b_max_, b_reference, b_exponent, b}, t);
    };
    const accumulator<T> a = sum(a_.sum_all, a_.sum_all_lo), b = sum(b_.sum_all, b_.sum_all_lo);
    const accumulator<T> a_without = sum(a_.sum_without_max, a_.sum_without_max_lo),
                         b_without = sum(b_.sum_without_max, b_.sum_without_max_lo);
    const summed_terms<T> all = sums_as(a, b);
    const accumulator<T> without = sums_as(select(b_is_larger_, a, a_without), select(b_is_larger_, b_without, b)).sum;
    store_rows(out_.max, all.max);
    store_sum(out_.sum_all, out_.sum_all_lo, all.sum);
    store_sum(out_.sum_without_max, out_.sum_without_max_lo, without);
    keep_of_larger(&partial_state::max_count);
    if (out_.gap != nullptr) {
      const auto with_gap =
          [&](const partial_state& of, doubles max, doubles reference, doubles exponent, accumulator<T> terms)
              CROSSENT_INLINE_LAMBDA { return terms_and_gaps<T>{{max, reference, exponent, terms}, sum(of.gap, of.gap_lo)}; };
      store_sum(
          out_.gap, out_.gap_lo,
          merge(with_gap(a_, a_max_, a_reference, a_exponent, a), with_gap(b_, b_max_, b_reference, b_exponent, b), t).gap);
    }
    if (out_.argmax != nullptr) keep_of_larger(&partial_state::argmax);
  }
  void merge_gaps(gap_sums_of_rows partial_state::* sums) const {
    const auto of = [&](const gap_sums_of_rows& s, doubles max)
                        CROSSENT_INLINE_LAMBDA { return gaps_to_max{max, pair(s.gap, s.gap_lo), pair(s.mass, s.mass_lo)}; };
    const gap_sums_of_rows& to = out_.*sums;
    const gaps_to_max merged = merge(of(a_.*sums, a_max_), of(b_.*sums, b_max_));
    store_pair(to.gap, to.gap_lo, merged.gap);
    store_pair(to.mass, to.mass_lo, merged.mass);
  }
  // Before the masses themselves are merged.
  void merge_probabilities() const {
    const auto a = pair(a_.target.mass, a_.target.mass_lo), b = pair(b_.target.mass, b_.target.mass_lo);
    const auto a_without = pair(a_.mass_without_max, a_.mass_without_max_lo),
               b_without = pair(b_.mass_without_max, b_.mass_without_max_lo);
    store_pair(out_.mass_without_max, out_.mass_without_max_lo,
               select(b_is_larger_, a, a_without) + select(b_is_larger_, b_without, b));
    keep_of_larger(&partial_state::argmax_probability);
  }

 private:
  CROSSENT_INLINE_MEMBER doubles load_rows(const double* v) const { return load_partial<double>(v + i_, n_, 0.0); }
  CROSSENT_INLINE_MEMBER double_double<doubles> pair(const double* hi, const double* lo) const {
    return {load_rows(hi), load_rows(lo)};
  }
  CROSSENT_INLINE_MEMBER accumulator<T> sum(const double* hi, const double* lo) const {
    if constexpr (sizeof(T) == 4) return load_rows(hi);
    else return pair(hi, lo);
  }
  CROSSENT_INLINE_MEMBER void store_rows(double* to, doubles v) const { store_partial(to + i_, n_, v); }
  CROSSENT_INLINE_MEMBER void store_pair(double* hi, double* lo, double_double<doubles> v) const {
    store_rows(hi, v.hi);
    store_rows(lo, v.lo);
  }
  CROSSENT_INLINE_MEMBER void store_sum(double* hi, double* lo, accumulator<T> v) const {
    if constexpr (sizeof(T) == 4) store_rows(hi, v);
    else store_pair(hi, lo, v);
  }
  CROSSENT_INLINE_MEMBER void keep_of_larger(double* partial_state::* number) const {
    store_rows(out_.*number, select(b_is_larger_, load_rows(b_.*number), load_rows(a_.*number)));
  }

  const partial_state &a_, &b_, &out_;
  index i_, n_;
  doubles a_max_, b_max_;
  mask<double> b_is_larger_;
};

// out may be a or b.
template <class T>
void merge_partial_states(index rows, const inverse_temperature& t, const partial_state& a, const partial_state& b,
                          const partial_state& out) {
  constexpr index lanes = pack<T>::lanes;
  for (index first = 0; first < rows; first += lanes) {
    const index count = rows - first < lanes ? rows - first : lanes;
    const references<T> of_a(a.max + first, count, t), of_b(b.max + first, count, t);
    for (index k = 0; 8 * k < count; ++k) {
      const index left = count - 8 * k;
      const partial_state_pair<T> pair(a, b, out, first + 8 * k, left < 8 ? left : 8);
      if (out.smoothing.gap != nullptr) pair.merge_gaps(&partial_state::smoothing);
      if (out.target.gap != nullptr) {
        pair.merge_probabilities();
        pair.merge_gaps(&partial_state::target);
      }
      pair.merge_terms(of_a.value.part[k], of_a.exponent.part[k], of_b.value.part[k], of_b.exponent.part[k], t);
    }
  }
}

template <class T>
void statistics_of_merged_state(index rows, const inverse_temperature& t, const partial_state& whole, row_statistics& out) {
  constexpr index lanes = pack<T>::lanes;
  alignas(pack_bytes) double max[batch_rows] = {}, reference[batch_rows], exponent[batch_rows], sum[batch_rows] = {},
                             sum_lo[batch_rows] = {}, max_count[batch_rows] = {};
  const auto copy = [&](const double* from, double* to) {
    for (index i = 0; i < rows; ++i) to[i] = from[i];
  };
  copy(whole.max, max);
  copy(whole.sum_without_max, sum);
  copy(whole.max_count, max_count);
  if (block_merging<T>::extended) copy(whole.sum_without_max_lo, sum_lo);
  for (index i = 0; i < batch_rows; i += lanes) {
    const references<T> r(max + i, lanes, t);
    for (index k = 0; 8 * k < lanes; ++k) {
      store(reference + i + 8 * k, r.value.part[k]);
      store(exponent + i + 8 * k, r.exponent.part[k]);
    }
  }
  for (index& block : out.max_block) block = 0;
  out.is_extended = block_merging<T>::extended;
  finish_rows<T>(rows, t, {max, reference, exponent, nullptr, sum, nullptr, sum_lo, max_count}, out);
}

}  // namespace
}  // namespace crossent

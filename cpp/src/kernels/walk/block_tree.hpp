// The blocks of a row to one block, along the tree of core/merge_tree.hpp, eight pairs of neighbours to a pack.
#pragma once

#include "core/merge_tree.hpp"
#include "core/partial_state.hpp"
#include "kernels/walk/block_merging.hpp"

namespace crossent {
namespace {

// A Node has the numbers of eight blocks, each a pack of doubles. Up to 64 blocks, merged level by level.
template <class Node> class node_list {
 public:
  static constexpr index capacity = 64;

  CROSSENT_INLINE_MEMBER void store_eight(index i, const Node& node) {
    doubles packs[numbers];
    __builtin_memcpy(packs, &node, sizeof node);
    for (int k = 0; k < numbers; ++k) store(number_[k] + i, packs[k]);
  }
  // The first n as one, in each lane.
  template <class Merge> CROSSENT_INLINE_MEMBER Node merged(index n, const Merge& merge) {
    for (; n > 1; n = (n + 1) / 2) {
      const Node last = node_of([&](const double* v) CROSSENT_INLINE_LAMBDA { return set1(v[n - 1]); });
      for (index i = 0; i < n / 2; i += 8) store_eight(i, merge(neighbours<false>(2 * i), neighbours<true>(2 * i)));
      if (n % 2 == 1) store_eight(n / 2, last);
    }
    return node_of([](const double* v) CROSSENT_INLINE_LAMBDA { return set1(v[0]); });
  }

 private:
  static constexpr int numbers = sizeof(Node) / sizeof(doubles);
  alignas(pack_bytes) double number_[numbers][capacity + 8];

  template <class Of> CROSSENT_INLINE_MEMBER Node node_of(Of of) const {
    doubles packs[numbers];
    for (int k = 0; k < numbers; ++k) packs[k] = of(number_[k]);
    Node node;
    __builtin_memcpy(&node, packs, sizeof node);
    return node;
  }
  template <bool odd> CROSSENT_INLINE_MEMBER Node neighbours(index i) const {
    return node_of([&](const double* v) CROSSENT_INLINE_LAMBDA { return every_other<odd>(v + i); });
  }
};

// All blocks as one, in each lane. load_eight(i, n): blocks i .. i + n - 1, n <= 8, and anything in the lanes after them.
template <class Node, class Load, class Merge>
CROSSENT_INLINE Node merge_packs(index blocks, const Load& load_eight, const Merge& merge) {
  constexpr index group = node_list<Node>::capacity;
  const auto merge_group = [&](index g) {
    node_list<Node> list;
    const index begin = g * group, n = blocks - begin < group ? blocks - begin : group;
    index i = 0;
    for (; i < n; i += 8) list.store_eight(i, load_eight(begin + i, n - i < 8 ? n - i : 8));
    if (i % 16 != 0) list.store_eight(i, Node{});   // levels are read in steps of 16
    return list.merged(n, merge);
  };
  return merge_tree((blocks + group - 1) / group, merge_group, merge);
}

// `sum` is that of the terms of a block; of one that holds the maximum of its row, without those that are counted in `max_count`.
// Two blocks have most often the same reference, 0: then one sum is moved by a power of two, without an error.
template <class T> struct summed_terms {
  doubles max, reference, exponent;
  accumulator<T> sum;
};
CROSSENT_INLINE doubles times_power(doubles a, doubles power) { return a * power; }
CROSSENT_INLINE double_double<doubles> times_power(double_double<doubles> a, doubles power) {
  return {a.hi * power, a.lo * power};
}

// The sums of b where they are counted as the terms of a are: times exp((r_b - r_a)/T) 2^(N_b - N_a). step: N_b - N_a and
// block_headroom.
template <class T>
CROSSENT_ONCE accumulator<T> moved_far(accumulator<T> sum, doubles b, doubles a, doubles step, const inverse_temperature& t) {
  const block_merging<T> merging;
  const auto factor = merging.factor(exp_argument_of(b, a, t, step));
  if constexpr (block_merging<T>::extended) return times_power(sum, merging.unscaled) * factor;
  else return sum * merging.unscaled * factor.hi;
}

template <class T>
CROSSENT_INLINE summed_terms<T> merge(const summed_terms<T>& a, const summed_terms<T>& b, const inverse_temperature& t) {
  const mask<double> b_is_larger = a.max < b.max;
  const auto larger_of = [&](auto of_a, auto of_b) CROSSENT_INLINE_LAMBDA { return select(b_is_larger, of_b, of_a); };
  summed_terms<T> merged{
      larger_of(a.max, b.max), larger_of(a.reference, b.reference), larger_of(a.exponent, b.exponent), larger_of(a.sum, b.sum)};
  const accumulator<T> sum = larger_of(b.sum, a.sum);   // of the other one
  const doubles reference = larger_of(b.reference, a.reference), zero = set1(0.0);
  const doubles step = larger_of(b.exponent, a.exponent) - merged.exponent + set1(block_headroom);
  // In two steps: the product may be as small as terms with their bias.
  const doubles power = exp2_whole(at_least(step, set1(-static_cast<double>(constants<double>::exponent_bias))));
  accumulator<T> moved = times_power(times_power(sum, exp2_whole(set1(-block_headroom))), power);
  const mask<double> is_far = (reference != merged.reference) & (first_part(sum) != zero);
  if (any(is_far)) moved = select(is_far, moved_far<T>(sum, reference, merged.reference, step, t), moved);
  // A block without terms is masked; its power may be out of range.
  merged.sum = merged.sum + select(first_part(sum) != zero, moved, accumulator_of<T>(zero));
  return merged;
}

template <class T> summed_terms<T> merge_blocks_of_row(const block_statistics& in, index first, index blocks, index top,
                                                       const inverse_temperature& t) {
  const auto load_eight = [&](index i, index n) CROSSENT_INLINE_LAMBDA {
    const auto of = [&](const double* v) CROSSENT_INLINE_LAMBDA { return load_partial<double>(v + first + i, n, 0.0); };
    const auto sum_of = [&](const double* all, const double* without_max) CROSSENT_INLINE_LAMBDA {
      const doubles sum = of(all);
      if (top < i || top >= i + n) return sum;
      alignas(pack_bytes) double sums[8];
      store(sums, sum);
      sums[top - i] = without_max[first + top];
      return load<double>(sums);
    };
    summed_terms<T> terms{of(in.max), of(in.reference), of(in.exponent), {}};
    if constexpr (sizeof(T) == 4) terms.sum = sum_of(in.sum_all, in.sum_without_max);
    else terms.sum = {sum_of(in.sum_all, in.sum_without_max), sum_of(in.sum_all_lo, in.sum_without_max_lo)};
    return terms;
  };
  return merge_packs<summed_terms<T>>(blocks, load_eight,
                                      [&](const summed_terms<T>& a, const summed_terms<T>& b)
                                          CROSSENT_INLINE_LAMBDA { return merge(a, b, t); });
}

// The terms of eight blocks and their gaps to the maximum.
template <class T> struct terms_and_gaps {
  summed_terms<T> terms;
  accumulator<T> gap;
};
template <class T>
CROSSENT_INLINE terms_and_gaps<T> merge(const terms_and_gaps<T>& a, const terms_and_gaps<T>& b, const inverse_temperature& t) {
  const doubles zero = set1(0.0);
  // The gaps of one, counted from the maximum of the other, where that is larger.
  const auto moved = [&](const terms_and_gaps<T>& from, const terms_and_gaps<T>& to) CROSSENT_INLINE_LAMBDA {
    const doubles most = set1(0x1p700);   // of finite products; terms that far away are none
    auto far = accumulator_of<T>(to.terms.max) + -accumulator_of<T>(from.terms.max);
    far = select(first_part(far) < most, far, accumulator_of<T>(most));
    const auto gap = from.gap + from.terms.sum * far;
    summed_terms<T> gaps = from.terms;
    gaps.sum = select((from.terms.max < to.terms.max) & (first_part(from.terms.sum) != zero), gap, from.gap);
    return gaps;
  };
  return {merge(a.terms, b.terms, t), merge(moved(a, b), moved(b, a), t).sum};
}

// Weighted gaps to the maxima of eight blocks, and the sums of the weights.
struct gaps_to_max {
  doubles max;
  double_double<doubles> gap, mass;
};
CROSSENT_INLINE gaps_to_max merge(const gaps_to_max& a, const gaps_to_max& b) {
  const mask<double> b_is_larger = a.max < b.max;
  const doubles zero = set1(0.0), lowest = set1(-constants<double>::infinity);
  const doubles larger_max = select(b_is_larger, b.max, a.max), other_max = select(b_is_larger, a.max, b.max);
  const auto finite = [&](doubles m) CROSSENT_INLINE_LAMBDA { return select(m != lowest, m, zero); };   // gaps of -inf: to 0
  const doubles weight = rounded(select(b_is_larger, a.mass, b.mass));
  const doubles move = select(weight != zero, weight * (finite(larger_max) - finite(other_max)), zero);
  const auto of_larger = select(b_is_larger, b.gap, a.gap), of_other = select(b_is_larger, a.gap, b.gap);
  return {larger_max, of_larger + (of_other + move), a.mass + b.mass};
}

gap_sums merge_gaps(index blocks, const double* max, const double* gap, const double* mass, const double* mass_lo) {
  const auto load_eight = [&](index i, index n) CROSSENT_INLINE_LAMBDA {
    const auto of = [&](const double* v) CROSSENT_INLINE_LAMBDA { return load_partial<double>(v + i, n, 0.0); };
    return gaps_to_max{of(max), exact(of(gap)), {of(mass), of(mass_lo)}};
  };
  const gaps_to_max all = merge_packs<gaps_to_max>(
      blocks, load_eight, [](const gaps_to_max& a, const gaps_to_max& b) CROSSENT_INLINE_LAMBDA { return merge(a, b); });
  const auto first_lane = [](double_double<doubles> v) { return double_double<double>{v.hi.r[0][0], v.lo.r[0][0]}; };
  return {first_lane(all.gap), first_lane(all.mass)};
}

}  // namespace
}  // namespace crossent

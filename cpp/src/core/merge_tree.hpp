// The order in which blocks are merged: those of a row, and those of the rows of a reduction.
//
// A range of n blocks is split at the largest power of two below n, and both parts likewise. So the blocks from a multiple of
// 2^k on, 2^k of them, are always merged by themselves first: whoever has them may do it, on whatever machine.
#pragma once

#include "core/always_inline.hpp"
#include "core/double_double.hpp"
#include "crossent/crossent.hpp"

namespace crossent {

// x[0] .. x[n - 1], n > 0, merged by merge(a, b), a being before b: level by level, so that none waits for the one before it.
// Overwrites x.
template <class Node, class Merge> CROSSENT_ALWAYS Node merge_levels(index n, Node* x, Merge merge) {
  for (; n > 1; n = (n + 1) / 2) {
    for (index i = 0; i < n / 2; ++i) x[i] = merge(x[2 * i], x[2 * i + 1]);
    if (n % 2 == 1) x[n / 2] = x[n - 1];
  }
  return x[0];
}

// leaf(0) .. leaf(n - 1), n > 0, merged likewise in little memory: eight at a time by levels, then what that gives.
template <class Leaf, class Merge> CROSSENT_ALWAYS auto merge_tree(index n, Leaf leaf, Merge merge) {
  constexpr index group = 8;
  constexpr int height = 64;
  using node = decltype(leaf(index{0}));
  if (n == 1) return leaf(index{0});
  node nodes[group], open[height];   // subtrees that wait for their neighbour, each smaller than the one before it
  int count = 0;
  for (index first = 0; first < n; first += group) {
    const index size = n - first < group ? n - first : group;
    for (index i = 0; i < size; ++i) nodes[i] = leaf(first + i);
    open[count++] = merge_levels(size, nodes, merge);
    for (index groups = first / group + 1; groups % 2 == 0; groups /= 2, --count)
      open[count - 2] = merge(open[count - 2], open[count - 1]);
  }
  for (; count > 1; --count) open[count - 2] = merge(open[count - 2], open[count - 1]);
  return open[0];
}

// x[0] + .. + x[n - 1] in this order; 0 where n is.
CROSSENT_ALWAYS double_double<double> sum_tree(index n, const double* x) {
  using number = double_double<double>;
  if (n == 0) return {0, 0};
  return merge_tree(n, [=](index i) { return number{x[i], 0}; }, [](number a, number b) { return a + b; });
}
// The same of many numbers, which it overwrites.
CROSSENT_ALWAYS double_double<double> sum_levels(index n, double_double<double>* x) {
  using number = double_double<double>;
  if (n == 0) return {0, 0};
  return merge_levels(n, x, [](number a, number b) { return a + b; });
}

}  // namespace crossent

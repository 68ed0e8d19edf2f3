#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/merge_tree.hpp"

namespace crossent {
namespace {

// The definition: blocks begin .. end - 1 as text, with brackets around what is merged.
std::string tree_of(index begin, index end) {
  if (end - begin == 1) return std::to_string(begin);
  index half = 1;
  while (2 * half < end - begin) half *= 2;
  return "(" + tree_of(begin, begin + half) + " " + tree_of(begin + half, end) + ")";
}

}  // namespace

TEST_CASE("blocks are merged by the tree that splits at the largest power of two") {
  for (index n = 1; n <= 200; ++n) {
    const auto leaf = [](index i) { return std::to_string(i); };
    const auto merge = [](const std::string& a, const std::string& b) { return "(" + a + " " + b + ")"; };
    CHECK(merge_tree(n, leaf, merge) == tree_of(0, n));
  }
}

// Whoever has a part of the blocks merges the subtrees in it; the others are merged from those. Since merging is a function of
// its two arguments, equal trees have equal bits.
TEST_CASE("the parts of every split are whole subtrees") {
  for (index n = 2; n <= 200; ++n) {
    const std::string all = tree_of(0, n);
    for (index split = 1; split < n; ++split)
      for (const auto& [begin, end] : {std::pair{index{0}, split}, std::pair{split, n}})
        for (index first = begin; first < end;) {
          index size = 1;
          while (first % (2 * size) == 0 && (first + 2 * size <= end || end == n) && first + size < end) size *= 2;
          const index last = std::min(first + size, end);
          REQUIRE(all.find(tree_of(first, last)) != std::string::npos);
          first = last;
        }
  }
}

TEST_CASE("sums by levels are sums by the tree") {
  for (index n = 0; n <= 200; ++n) {
    std::vector<double> x;
    std::vector<double_double<double>> levels;
    for (index i = 0; i < n; ++i) {
      x.push_back(1.0 / static_cast<double>(3 + i * i) * (i % 3 == 0 ? 0x1p60 : -0x1p-30));
      levels.push_back({x.back(), 0});
    }
    const double_double<double> a = sum_tree(n, x.data()), b = sum_levels(n, levels.data());
    CHECK(a.hi == b.hi);
    CHECK(a.lo == b.lo);
  }
}

}  // namespace crossent

// Strides to row offsets, against the definition: rows are the positions of all other axes, in C order.
#include <doctest/doctest.h>

#include <vector>

#include "core/layout.hpp"

namespace crossent {

namespace {

std::vector<index> by_definition(const std::vector<index>& shape, const std::vector<index>& strides, int axis) {
  std::vector<index> offsets{0};
  for (int d = 0; d < static_cast<int>(shape.size()); ++d) {
    if (d == axis) continue;
    std::vector<index> next;
    for (const index o : offsets)
      for (index i = 0; i < shape[static_cast<std::size_t>(d)]; ++i)
        next.push_back(o + i * strides[static_cast<std::size_t>(d)]);
    offsets = next;
  }
  return offsets;
}

}  // namespace

TEST_CASE("row offsets follow the C order of the other axes") {
  const struct {
    std::vector<index> shape, strides;
  } arrays[] = {
      {{2, 3, 4}, {48, 16, 4}},        // C order
      {{2, 3, 4}, {4, 8, 24}},         // Fortran order
      {{2, 3, 4}, {-48, 16, -4}},      // reversed
      {{2, 3, 4}, {0, 16, 4}},         // broadcast
      {{4, 1, 5, 2}, {80, 7, 8, 4}},   // an axis of length 1 with any stride
      {{5}, {4}},
      {{3, 2, 2, 2, 3}, {96, 48, 24, 12, 4}},
      {{2, 3, 4}, {100, 16, 4}},       // a gap: only some axes merge
  };
  for (const auto& a : arrays) {
    const int ndim = static_cast<int>(a.shape.size());
    for (int axis = -1; axis < ndim; ++axis) {
      const std::vector<index> expected = by_definition(a.shape, a.strides, axis);
      const row_layout rows(ndim, a.shape.data(), a.strides.data(), axis);
      REQUIRE(rows.rows() == static_cast<index>(expected.size()));
      for (index first = 0; first < rows.rows(); ++first) {
        std::vector<index> got(static_cast<std::size_t>(rows.rows() - first));
        rows.offsets(first, rows.rows() - first, got.data());
        CHECK(got == std::vector<index>(expected.begin() + first, expected.end()));
      }
    }
  }
}

TEST_CASE("neighbouring axes merge, so that rows that follow each other in memory are seen to") {
  const index shape[] = {8, 21, 512, 512}, strides[] = {21 * 512 * 512 * 4, 512 * 512 * 4, 512 * 4, 4};
  CHECK(row_layout(4, shape, strides, 1).inner_stride() == 4);
  CHECK(row_layout(4, shape, strides, 3).inner_stride() == 512 * 4);
}

TEST_CASE("empty arrays have no rows") {
  const index shape[] = {0, 5}, strides[] = {20, 4};
  CHECK(row_layout(2, shape, strides, 1).rows() == 0);
}

}  // namespace crossent

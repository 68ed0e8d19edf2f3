// Chunks of rows over threads, and one number for each row.
#pragma once

#include <algorithm>

#include "core/kernels.hpp"
#include "core/number.hpp"
#include "core/parallel.hpp"
#include "rows/row_plan.hpp"

namespace crossent {

// f(first, count) for all rows, in chunks of count <= batch_rows.
template <class F> void for_each_row_chunk(index rows, const execution& e, F f) {
  const index chunks = (rows + batch_rows - 1) / batch_rows;
  parallel_for(chunks, batch_rows, threads_for(rows, e), e, [&](index begin, index end, int) {
    for (index k = begin; k < end; ++k) f(k * batch_rows, std::min(batch_rows, rows - k * batch_rows));
  });
}

// One number of each of count <= batch_rows rows.
inline void store_rows(const row_array& to, index first, index count, const double* values) {
  index offset[batch_rows];
  to.rows.offsets(first, count, offset);
  // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): offsets() writes all of them
  for (index i = 0; i < count; ++i) store_number(to.data + offset[i], to.type, values[i]);
}

}  // namespace crossent

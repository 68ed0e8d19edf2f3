#include "rows/reduction.hpp"

#include <limits>

#include "core/number.hpp"
#include "core/parallel.hpp"
#include "rows/row_chunks.hpp"

namespace crossent {

double reduced(double_double<double> sum, reduction_kind how, double denominator) {
  if (how == reduction_kind::sum) return rounded(sum);
  return denominator == 0 ? std::numeric_limits<double>::quiet_NaN() : rounded(sum) / denominator;
}

void reduce(const double* losses, index rows, reduction_kind how, double denominator, const mutable_view& out,
            const execution& e) {
  if (out.data == nullptr) return;
  if (how != reduction_kind::none)
    return store_number(out.data, out.type, reduced(ordered_sum(losses, rows, e), how, denominator));
  const row_array to(out, -1);
  for_each_row_chunk(rows, e, [&](index first, index count) { store_rows(to, first, count, losses + first); });
}

}  // namespace crossent

#include "rows/reduction.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/merge_tree.hpp"
#include "core/number.hpp"
#include "core/parallel.hpp"
#include "rows/row_chunks.hpp"

namespace crossent {

double times(double share, double term) { return share == 0 && std::isinf(term) ? 0 : share * term; }

double reduced(double_double<double> sum, reduction_kind how, double denominator) {
  if (how == reduction_kind::sum) return rounded(sum);
  return denominator == 0 ? std::numeric_limits<double>::quiet_NaN() : rounded(sum) / denominator;
}

double reduced(const loss_terms& terms, const double_double<double>* sums, reduction_kind how, const double* denominators) {
  double total = times(terms.share[0], reduced(sums[0], how, denominators[0]));
  if (terms.count > 1) total += times(terms.share[1], reduced(sums[1], how, denominators[1]));
  return total;
}

void reduce(const double* losses, index rows, reduction_kind how, double denominator, const mutable_view& out,
            const execution& e) {
  if (out.data == nullptr) return;
  if (how == reduction_kind::block_sums) return sum_blocks(losses, rows, static_cast<double_double<double>*>(out.data), e);
  if (how != reduction_kind::none)
    return store_number(out.data, out.type, reduced(ordered_sum(losses, rows, e), how, denominator));
  const row_array to(out, -1);
  for_each_row_chunk(rows, e, [&](index first, index count) { store_rows(to, first, count, losses + first); });
}

row_losses::row_losses(index rows, index numbers, bool by_blocks)
    : rows_(rows), by_blocks_(by_blocks), all_(numbers > 0 && !by_blocks ? new_row_buffer(numbers) : nullptr) {
  if (by_blocks) sums_.resize(static_cast<std::size_t>(block_count(rows)));
}

void row_losses::start(int workers) {
  if (by_blocks_) block_.reserve(workers * summed_rows * static_cast<index>(sizeof(double)));
}

void row_losses::end_block(index block, int worker) {
  double_double<double>& sum = sums_[static_cast<std::size_t>(block)];
  const index first = block * summed_rows;
  kernels().sum(std::min(summed_rows, rows_ - first), of(first, worker), &sum.hi, &sum.lo);
}

double_double<double> row_losses::sum(const execution& e) {
  return by_blocks_ ? sum_levels(static_cast<index>(sums_.size()), sums_.data()) : ordered_sum(all_.get(), rows_, e);
}

}  // namespace crossent

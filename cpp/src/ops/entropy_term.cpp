#include "ops/entropy_term.hpp"

namespace crossent {

void entropy_state::reserve(const row_batch& batch) {
  sums_.assign(static_cast<std::size_t>(2 * batch.count * batch.blocks), 0.0);
}

void entropy_state::sum(row_batch& batch, int logits, index begin, index end) {
  const bool is_cached = batch.plan->cache_exponentials;
  if (is_cached) batch.point_at_cached();
  const source x = batch.input(logits), exponentials = is_cached ? batch.cached() : source{};
  double* const lo = sums_.data() + sums_.size() / 2;
  batch.plan->kernel().gap_sums_of_blocks(x, is_cached ? &exponentials : nullptr, begin, end, batch.plan->input(logits).t,
                                          batch.in[logits].statistics_of_blocks(), {{sums_.data()}, {lo}});
}

void entropy_state::merged(row_batch& batch, int logits, index row, index begin, index end, double* sum, double* sum_lo) {
  const double* const lo = sums_.data() + sums_.size() / 2;
  batch.plan->kernel().merge_gap_sums(row * batch.blocks + begin, end - begin, batch.plan->input(logits).t,
                                      batch.in[logits].statistics_of_blocks(), sums_.data(), lo, sum, sum_lo);
}

void entropy_state::merge(row_batch& batch, int logits) {
  for (index i = 0; i < batch.count; ++i) merged(batch, logits, i, 0, batch.blocks, rows.gap_sum + i, rows.gap_sum_lo + i);
}

void entropy_state::scale(row_batch& batch, const row_statistics& statistics, gradient_rows& gradient) {
  const bool are_small = batch.plan->kernel().scale_entropy_gradient(batch.count, statistics.exponent, gradient, rows);
  batch.from_cache = batch.plan->cache_exponentials && are_small && !gradient.with_beta && !gradient.with_gamma;
}

void entropy_state::write(row_batch& batch, int logits, const source* q, index begin, index end,
                          const gradient_rows& gradient) const {
  const source exponentials = batch.from_cache ? batch.cached() : source{};
  batch.plan->kernel().write_entropy_gradient(batch.input(logits), batch.in[logits].statistics,
                                              batch.from_cache ? &exponentials : nullptr, q, batch.output(), begin, end,
                                              batch.plan->input(logits).t, gradient, rows);
}

}  // namespace crossent

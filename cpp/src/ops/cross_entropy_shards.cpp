// Losses of rows whose classes are in shards. What a shard leaves is that of the operation on whole rows up to the sums of blocks,
// and the rest of it goes on from what all shards have come to.
#include <algorithm>

#include "core/fp_environment.hpp"
#include "crossent/shards.hpp"
#include "ops/cross_entropy_term.hpp"
#include "ops/merged_shards.hpp"
#include "rows/reduction.hpp"
#include "rows/row_chunks.hpp"

namespace crossent {
namespace {

struct shard_batch : batch_state, cross_entropy_state {};

// The numbers of the subtrees that are here.
class subtrees_of_shard : public row_operation<shard_batch> {
 public:
  subtrees_of_shard(const cross_entropy_term& term, const subtree_format& format, index rows, const index* block_counts,
                    index subtrees, double* out, double* target_logits)
      : term_(term),
        format_(format),
        rows_(rows),
        block_counts_(block_counts),
        subtrees_(subtrees),
        out_(out),
        target_logits_(target_logits) {}

  // Also rows whose class has weight 0: a z-loss may be added to them.
  void load(row_batch& batch) override { term_.load(batch, state(batch), true); }
  void prepare_sums(row_batch& batch) override { term_.prepare_sums(batch, state(batch)); }
  void sum(row_batch& batch, index begin, index end) override { term_.sum(batch, state(batch), begin, end); }
  void finish(row_batch& batch) override {
    cross_entropy_state& s = state(batch);
    term_.find_classes(batch, s);
    for (index k = 0, begin = 0; k < subtrees_; begin += block_counts_[k++]) {
      double* const at = out_ + k * format_.numbers() * rows_;
      term_.put_subtree(batch, s, begin, begin + block_counts_[k], from_row(subtree_at(at, rows_, format_), batch.first));
      for (index i = 0; i < batch.count; ++i)  // of a row that is not read, what was there before
        for (index f = 0; s.rows.row_weight[i] == 0 && f < format_.numbers(); ++f) at[f * rows_ + batch.first + i] = 0;
    }
    if (target_logits_ != nullptr) std::copy_n(s.rows.target, batch.count, target_logits_ + batch.first);
  }

 private:
  const cross_entropy_term& term_;
  subtree_format format_;
  index rows_;
  const index* block_counts_;
  index subtrees_;
  double *out_, *target_logits_;
};

// Losses, and the gradient of the logits that are here.
class cross_entropy_of_merged : public row_operation<shard_batch> {
 public:
  cross_entropy_of_merged(const cross_entropy_term& term, const merged_shards& merged, double* losses)
      : term_(term), merged_(merged), losses_(losses) {}

  void load(row_batch& batch) override { term_.load(batch, state(batch), false); }
  void prepare_sums(row_batch& batch) override { merged_.load(batch.first, batch.count, batch.in[0].statistics); }
  void finish(row_batch& batch) override {
    term_.finish(batch, state(batch));
    if (losses_ != nullptr) std::copy_n(state(batch).rows.loss, batch.count, losses_ + batch.first);
  }
  void write(row_batch& batch, index begin, index end) override {
    source q;
    batch.write_softmax_gradient(term_.probabilities(batch, q), begin, end, state(batch).rows.gradient);
  }
  void complete(row_batch& batch) override {
    if (!batch.plan->writes() || term_.writes_target()) return;
    term_.for_each_entry(batch, state(batch), [&](index row, index c, double v) { batch.store_entry(row, c, v); });
  }

 private:
  const cross_entropy_term& term_;
  const merged_shards& merged_;
  double* losses_;
};

}  // namespace

subtree_format format_of(dtype logits, bool probabilities, const row_loss_options& options, const execution& e) {
  return {arithmetic(logits, options.temperature) == dtype::float64, smooths(options, options.shard.classes, e), probabilities};
}

void shard_subtrees(const view& logits, const index_view& indices, const view& probabilities, const row_loss_options& options,
                    const index* block_counts, index subtrees, double* out, double* target_logits, const execution& e) {
  const default_environment environment;
  row_plan plan = make_plan(logits, options.axis, options.temperature, {});
  plan.is_part = plan.with_sums = true;
  const targets y(indices, plan.rows, options, options.shard.classes, plan.type, false, e);
  const upstream none({}, plan.type, 1);
  const cross_entropy_term term(plan, 0, y, none, options, probabilities, 1.0, e);
  const subtree_format format = format_of(logits.type, probabilities.data != nullptr, options, e);
  subtrees_of_shard operation(term, format, plan.rows, block_counts, subtrees, out, target_logits);
  run_rows(plan, operation, e);
  y.throw_if_bad();
}

void merge_subtrees(const subtree_format& format, index rows, double temperature, const double* a, const double* b, double* out,
                    const execution& e) {
  const default_environment environment;
  const dtype_kernels& kernel = kernels(format.extended ? dtype::float64 : dtype::float32);
  const inverse_temperature t = kernel.inverse_temperature_of(temperature);
  const auto at = [&](const double* p) { return subtree_at(const_cast<double*>(p), rows, format); };
  const subtree_rows from[] = {at(a), at(b)}, to = at(out);
  for_each_row_chunk(rows, e, [&](index first, index count) {
    kernel.merge_subtrees(count, t, from_row(from[0], first), from_row(from[1], first), from_row(to, first));
  });
}

void cross_entropy_of_shards(const whole_rows& whole, const view& logits, const index_view& indices, const view& probabilities,
                             const row_loss_options& options, const mutable_view& loss, const mutable_view& grad,
                             const execution& e) {
  const default_environment environment;
  const merged_shards merged(whole, options.temperature);
  row_plan plan =
      grad.data != nullptr ? make_plan(logits, options.axis, options.temperature, grad) : merged.plan(options.shard.classes);
  const row_buffer losses(loss.data != nullptr ? new_row_buffer(plan.rows) : nullptr);
  const targets y(indices, plan.rows, options, options.shard.classes, plan.type, true, e);
  if (options.reduction == reduction_kind::block_weights)
    return y.sum_blocks_of_weights(true, static_cast<double_double<double>*>(loss.data), e);
  const double denominator = y.denominator(e);
  const upstream coefficients(options.grad_output, plan.type, denominator);
  cross_entropy_term term(plan, 0, y, coefficients, options, grad.data != nullptr ? probabilities : view{}, 1.0, e);
  term.merged = &merged;
  if (plan.lanes_over_rows && !term.writes_target()) plan.stream = false;
  cross_entropy_of_merged operation(term, merged, losses.get());
  run_merged(plan, operation, e);
  y.throw_if_bad();
  reduce(losses.get(), plan.rows, options.reduction, denominator, loss, e);
}

}  // namespace crossent

// What a shard of the classes says of rows whose statistics are known.
#include "core/fp_environment.hpp"
#include "ops/merged_statistics.hpp"
#include "ops/prediction_state.hpp"
#include "rows/row_inputs.hpp"

namespace crossent {
namespace {

struct shard_prediction_batch : batch_state, prediction_state {
  index y[batch_rows];
  double class_weight[batch_rows], row_weight[batch_rows];
};

class predictions_of_shard : public row_operation<shard_prediction_batch> {
 public:
  predictions_of_shard(const merged_state& whole, const targets& y, const row_loss_options& options, const index* block_counts,
                       const shard_predictions& out)
      : whole_(whole), y_(y), first_class_(options.shard.first), block_counts_(block_counts), out_(out) {}

  void load(row_batch& batch) override {
    shard_prediction_batch& s = state(batch);
    y_.load(batch.first, batch.count, s.y, s.class_weight, s.row_weight);
    batch.skip_zero_weight_rows(s.row_weight);
    s.reserve(batch);
  }
  void reduce(row_batch& batch, index begin, index end) override {
    alignas(64) double logits[batch_rows] = {};
    for (index i = 0; i < batch.count; ++i) logits[i] = target_logit(batch.first + i);
    state(batch).prediction_state::sum(batch, logits, begin, end);
  }
  void finish(row_batch& batch) override {
    for (index i = 0; i < batch.count; ++i)
      if (state(batch).row_weight[i] != 0) put(batch, i);
  }

 private:
  double target_logit(index row) const { return whole_.target_logits != nullptr ? whole_.target_logits[row] : 0; }
  void put(row_batch& batch, index i) const {
    const shard_prediction_batch& s = state(batch);
    const index rows = batch.plan->rows, row = batch.first + i;
    for (index k = 0, begin = 0; k < out_.subtrees; begin += block_counts_[k++])
      for (index column = 0; column < 2; ++column) {
        const double_double<double> sum = s.sums.subtree(i, column, begin, begin + block_counts_[k]);
        double* const to = out_.sums + 2 * ((2 * k + column) * rows + row);
        to[0] = sum.hi;
        to[1] = sum.lo;
      }
    if (out_.ahead != nullptr) out_.ahead[row] = s.classes_ahead(batch, i, s.y[i] - first_class_, target_logit(row));
    index* const classes = out_.top_classes + row * out_.k;
    batch.plan->kernel().top_classes(batch.input(0), i, out_.k, classes, out_.top_logits + row * out_.k);
    for (index j = 0; j < out_.k; ++j)
      if (classes[j] >= 0) classes[j] += first_class_;
  }

  const merged_state& whole_;
  const targets& y_;
  index first_class_;
  const index* block_counts_;
  const shard_predictions& out_;
};

}  // namespace

void predict_shard(const merged_state& whole, const view& logits, const index_view& target, const row_loss_options& options,
                   const index* block_counts, const shard_predictions& out, const execution& e) {
  const default_environment environment;
  const merged_statistics merged(whole);
  row_description d(logits, options.axis, merged.temperature(), {}, options.transform);
  d.first_class = options.shard.first;
  d.known = &merged;
  d.with_sums = true;
  const row_plan plan = make_plan(d, e);
  const targets y(target, plan.rows, options, options.shard.classes, plan.type, false, e);
  std::fill_n(out.sums, 4 * out.subtrees * plan.rows, 0.0);  // of rows that are not read
  std::fill_n(out.top_classes, out.k * plan.rows, -1);
  std::fill_n(out.top_logits, out.k * plan.rows, 0.0);
  if (out.ahead != nullptr) std::fill_n(out.ahead, plan.rows, 0);
  predictions_of_shard operation(whole, y, options, block_counts, out);
  run_rows(plan, operation, e);
  y.throw_if_bad();
}

}  // namespace crossent

// What rows of logits predict: of the target, of the most likely classes, and of all of them.
#include <algorithm>
#include <limits>
#include <vector>

#include "core/fp_environment.hpp"
#include "core/number.hpp"
#include "ops/cross_entropy_term.hpp"
#include "ops/merged_statistics.hpp"
#include "ops/prediction_state.hpp"

namespace crossent {
namespace {

struct prediction_batch : batch_state, prediction_state {
  cross_entropy_state target;
  index argmax[batch_rows];
  std::vector<double> top_logits;
  double log_sum[batch_rows], logsumexp[batch_rows], entropy[batch_rows], squares[batch_rows];
};

// Rows that have been merged, with views of their numbers.
struct rows_of_shards {
  merged_statistics statistics;
  merged_sums sums;
  const merged_predictions& given;

  explicit rows_of_shards(const merged_predictions& p) : statistics(p.rows), sums(p.sums, p.rows.rows), given(p) {}
};

class prediction_operation : public row_operation<prediction_batch> {
 public:
  // term: nullptr without targets; merged: of rows that are in shards, of which no logits are read, else nullptr
  prediction_operation(const cross_entropy_term* term, double temperature, const rows_of_shards* merged, const predictions& out)
      : term_(term), temperature_(temperature), merged_(merged), out_(out) {}

  void load(row_batch& batch) override {
    prediction_batch& s = state(batch);
    if (term_ != nullptr) term_->load(batch, s.target, false);
    if (merged_ != nullptr) return;
    s.reserve(batch);
    s.top_logits.resize(static_cast<std::size_t>(out_.k));
    if (term_ != nullptr) term_->load_targets(batch, s.target);
  }
  void reduce(row_batch& batch, index begin, index end) override {
    prediction_batch& s = state(batch);
    s.prediction_state::sum(batch, s.target.rows.target, begin, end);
  }
  void finish(row_batch& batch) override {
    prediction_batch& s = state(batch);
    const row_statistics& x = batch.in[0].statistics;
    const dtype_kernels& k = batch.plan->kernel();
    if (term_ != nullptr) term_->finish(batch, s.target);
    for (index i = 0; i < batch.count; ++i) {
      s.entropy[i] = sum_of(batch, i, 0) / temperature_;
      s.squares[i] = sum_of(batch, i, 1);
    }
    k.entropy_of_logits(batch.count, x, s.entropy, s.entropy);
    k.sum_of_squares(batch.count, x, s.squares);
    if (merged_ == nullptr) k.argmax(batch.input(0), x, s.argmax);
    kernels().log_sum(batch.count, x, s.log_sum);
    kernels().logsumexp(batch.count, x, 1, s.logsumexp);
    for (index i = 0; i < batch.count; ++i) store(batch, s, i);
  }

 private:
  double sum_of(row_batch& batch, index i, index column) const {
    return merged_ != nullptr ? rounded(merged_->sums.of(column, batch.first + i)) : state(batch).sums.row(i, column);
  }
  index argmax(const row_batch& batch, const prediction_batch& s, index i) const {
    return merged_ != nullptr ? merged_->given.top_classes[(batch.first + i) * merged_->given.k] : s.argmax[i];
  }
  index rank(const row_batch& batch, prediction_batch& s, index i) const {
    if (merged_ != nullptr) return merged_->given.ahead[batch.first + i];
    return s.classes_ahead(batch, i, s.target.y()[i], s.target.rows.target[i]);
  }
  // Writes the classes, and returns their logits.
  const double* top_classes(const row_batch& batch, prediction_batch& s, index i, index* classes) const {
    if (merged_ != nullptr) {
      const index at = (batch.first + i) * merged_->given.k;
      std::copy_n(merged_->given.top_classes + at, out_.k, classes);
      return merged_->given.top_logits + at;
    }
    batch.plan->kernel().top_classes(batch.input(0), i, out_.k, classes, s.top_logits.data());
    return s.top_logits.data();
  }
  void put(void* to, index at, double v) const {
    store_number(static_cast<char*>(to) + at * item_size(out_.type), out_.type, v);
  }
  void store(const row_batch& batch, prediction_batch& s, index i) const {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    const bool is_ignored = term_ != nullptr && s.target.rows.row_weight[i] == 0;
    const bool is_known = !is_ignored && s.log_sum[i] == s.log_sum[i];
    const double max = batch.in[0].statistics.max[i];
    const index row = batch.first + i;
    const auto put_known = [&](void* to, double v) { put(to, row, is_known ? v : nan); };
    out_.argmax[row] = is_known ? argmax(batch, s, i) : -1;
    put_known(out_.max_log_prob, 0 - s.log_sum[i]);
    put_known(out_.entropy, s.entropy[i]);
    put_known(out_.logsumexp, temperature_ == 1 ? s.logsumexp[i] : max / temperature_ + s.log_sum[i]);
    put_known(out_.sum_of_squares, s.squares[i]);
    if (term_ != nullptr) {
      put_known(out_.log_prob, 0 - s.target.rows.loss[i]);
      out_.rank[row] = is_known ? rank(batch, s, i) : -1;
    }
    if (out_.k == 0) return;
    index* const classes = out_.top_classes + row * out_.k;
    const double* const logits = is_known ? top_classes(batch, s, i, classes) : nullptr;
    for (index j = 0; j < out_.k; ++j) {
      if (!is_known) classes[j] = -1;
      put(out_.top_log_probs, row * out_.k + j, is_known ? 0 - ((max - logits[j]) / temperature_ + s.log_sum[i]) : nan);
    }
  }

  const cross_entropy_term* term_;
  double temperature_;
  const rows_of_shards* merged_;
  const predictions& out_;
};

void compute(row_description d, const index_view& target, const row_loss_options& options, const rows_of_shards* merged,
             const predictions& out, const execution& e) {
  const index classes = merged != nullptr ? options.shard.classes : d.classes;
  const targets y(target, d.rows, options, classes, d.type, false, e);
  d.with_sums = true;
  const cross_entropy_inputs inputs = cross_entropy_term::describe(d, 0, y, {});
  const row_plan plan = make_plan(d, e);
  const upstream none({}, plan.type, 1);
  cross_entropy_term term(plan, inputs, y, none, options, 1.0, e);
  if (merged != nullptr) term.merged = &merged->statistics;
  prediction_operation operation(target.data == nullptr ? nullptr : &term, options.temperature, merged, out);
  run_rows(plan, operation, e);
  y.throw_if_bad();
}

}  // namespace

void predict(const view& logits, const index_view& target, const row_loss_options& options, const predictions& out,
             const execution& e) {
  const default_environment environment;
  compute({logits, options.axis, options.temperature, {}, options.transform}, target, options, nullptr, out, e);
}

void predict_of_shards(const merged_predictions& given, const index_view& target, const row_loss_options& options,
                       const predictions& out, const execution& e) {
  const default_environment environment;
  const rows_of_shards merged(given);
  const row_description d = describe_merged(merged.statistics, merged.statistics, {}, 0, options.shard, {}, {});
  row_loss_options of_rows = options;
  of_rows.temperature = merged.statistics.temperature();
  compute(d, target, of_rows, &merged, out, e);
}

}  // namespace crossent

// What rows of logits predict: of the target, of the most likely classes, and of all of them.
#include <algorithm>
#include <limits>
#include <vector>

#include "core/fp_environment.hpp"
#include "core/number.hpp"
#include "ops/cross_entropy_term.hpp"
#include "rows/summed_blocks.hpp"

namespace crossent {
namespace {

struct prediction_batch : batch_state {
  cross_entropy_state target;
  summed_blocks sums;
  index argmax[batch_rows];
  std::vector<double> top_logits;
  double log_sum[batch_rows], logsumexp[batch_rows], entropy[batch_rows], squares[batch_rows];
};

class prediction_operation : public row_operation<prediction_batch> {
 public:
  // term: nullptr without targets
  prediction_operation(const cross_entropy_term* term, double temperature, const predictions& out)
      : term_(term), temperature_(temperature), out_(out) {}

  void load(row_batch& batch) override {
    if (term_ != nullptr) term_->load(batch, state(batch).target, false);
  }
  void prepare_sums(row_batch& batch) override {
    prediction_batch& s = state(batch);
    s.sums.reserve(batch_rows, batch.blocks, 4);
    s.top_logits.resize(static_cast<std::size_t>(out_.k));
    if (term_ == nullptr) return;
    term_->target_gaps(batch, s.target);
  }
  void sum(row_batch& batch, index begin, index end) override {
    prediction_batch& s = state(batch);
    batch.plan->kernel().prediction_sums(batch.input(0), batch.in[0].statistics, s.target.rows.target, begin, end,
                                         batch.plan->input(0).t, s.sums.out());
  }
  void finish(row_batch& batch) override {
    prediction_batch& s = state(batch);
    const row_statistics& x = batch.in[0].statistics;
    const dtype_kernels& k = batch.plan->kernel();
    if (term_ != nullptr) term_->finish(batch, s.target);
    for (index i = 0; i < batch.count; ++i) {
      s.entropy[i] = s.sums.row(i) / temperature_;
      s.squares[i] = s.sums.row(i, 1);
    }
    k.entropy_of_logits(batch.count, x, s.entropy, s.entropy);
    k.sum_of_squares(batch.count, x, s.squares);
    k.argmax(batch.input(0), x, s.argmax);
    kernels().log_sum(batch.count, x, s.log_sum);
    kernels().logsumexp(batch.count, x, s.logsumexp);
    for (index i = 0; i < batch.count; ++i) store(batch, s, i);
  }

 private:
  void put(void* to, index at, double v) const {
    store_number(static_cast<char*>(to) + at * item_size(out_.type), out_.type, v);
  }
  index rank(const row_batch& batch, prediction_batch& s, index i) const {
    const index y = s.target.y()[i], above = static_cast<index>(s.sums.row(i, 2));
    if (s.sums.row(i, 3) == 1) return above;
    return above + batch.plan->kernel().count_equal(batch.input(0), i, y, s.target.rows.target[i]);
  }
  void store(row_batch& batch, prediction_batch& s, index i) const {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    const bool is_ignored = term_ != nullptr && s.target.rows.row_weight[i] == 0;
    const bool is_known = !is_ignored && s.log_sum[i] == s.log_sum[i];
    const double max = batch.in[0].statistics.max[i];
    const index row = batch.first + i;
    const auto put_known = [&](void* to, double v) { put(to, row, is_known ? v : nan); };
    out_.argmax[row] = is_known ? s.argmax[i] : -1;
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
    double* const logits = s.top_logits.data();
    if (is_known) batch.plan->kernel().top_classes(batch.input(0), i, out_.k, classes, logits);
    for (index j = 0; j < out_.k; ++j) {
      if (!is_known) classes[j] = -1;
      put(out_.top_log_probs, row * out_.k + j, is_known ? 0 - ((max - logits[j]) / temperature_ + s.log_sum[i]) : nan);
    }
  }

  const cross_entropy_term* term_;
  double temperature_;
  const predictions& out_;
};

}  // namespace

void predict(const view& logits, const index_view& target, const row_loss_options& options, const predictions& out,
             const execution& e) {
  const default_environment environment;
  row_plan plan = make_plan(logits, options.axis, options.temperature, {});
  plan.with_sums = true;
  const targets y(target, plan.rows, options, plan.classes, plan.type, false, e);
  const upstream none({}, plan.type, 1);
  const cross_entropy_term term(plan, 0, y, none, options, {}, 1.0, e);
  prediction_operation operation(target.data == nullptr ? nullptr : &term, options.temperature, out);
  run_rows(plan, operation, e);
  y.throw_if_bad();
}

}  // namespace crossent

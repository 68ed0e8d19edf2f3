// Cross-entropy over class indices or probabilities: value and gradient in one pass. The formulas are in kernels.hpp.
#include <algorithm>

#include "core/fp_environment.hpp"
#include "core/number.hpp"
#include "ops/cross_entropy_term.hpp"
#include "ops/few_classes.hpp"
#include "ops/merged_shards.hpp"
#include "rows/reduction.hpp"
#include "rows/row_buffer.hpp"

namespace crossent {
namespace {

struct cross_entropy_batch : batch_state, cross_entropy_state {};

class cross_entropy_operation : public row_operation<cross_entropy_batch> {
 public:
  cross_entropy_operation(const cross_entropy_term& term, row_losses& losses, double* losses_lo)
      : term_(term), losses_(losses), losses_lo_(losses_lo) {}
  const few_class_cross_entropy* few_classes = nullptr;   // where rows are taken at once
  const merged_shards* merged = nullptr;                  // of rows that are in shards

  void start(int workers) override { losses_.start(workers); }
  void end_block(index block, int worker) override { losses_.end_block(block, worker); }
  index take(index first, index count, int worker) override {
    return few_classes == nullptr ? 0 : few_classes->take(first, count, worker);
  }
  void load(row_batch& batch) override { term_.load(batch, state(batch), false); }
  void prepare_sums(row_batch& batch) override {
    if (merged != nullptr) merged->load(batch.first, batch.count, batch.in[0].statistics);
    else term_.prepare_sums(batch, state(batch));
  }
  void sum(row_batch& batch, index begin, index end) override { term_.sum(batch, state(batch), begin, end); }
  void finish(row_batch& batch) override {
    cross_entropy_state& s = state(batch);
    term_.finish(batch, s);
    if (double* const to = losses_.of(batch.first, batch.worker)) std::copy_n(s.rows.loss, batch.count, to);
    if (losses_lo_ != nullptr) std::copy_n(s.rows.loss_lo, batch.count, losses_lo_ + batch.first);
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
  row_losses& losses_;
  double* losses_lo_;   // the rounding errors of all losses
};

// exp(mean) with the digits of the mean that a double does not hold: of a mean of 700 the last one is 2^-43, and 500 ulp of
// its exponential. losses: of `rows` rows, then their rounding errors.
double exp_mean(const double* losses, index rows, double denominator, const execution& e) {
  const double_double<double> sum = ordered_sum(losses, rows, e);
  const double hi = rounded(sum), errors = rounded(ordered_sum(losses + rows, rows, e));
  return kernels().exp_quotient(hi, (sum.hi - hi) + (sum.lo + errors), denominator);
}

void compute(const view& logits, const index_view& indices, const view& probabilities, const row_loss_options& options,
             const mutable_view& loss, const mutable_view& grad, const execution& e) {
  const default_environment environment;
  row_plan plan = make_plan(logits, options.axis, options.temperature, grad);
  const index rows = plan.rows;
  const bool exponential = options.reduction == reduction_kind::exp_mean;
  // Blocks of rows are units of work: there must be some for each thread.
  const bool is_sum =
      loss.data != nullptr && (options.reduction == reduction_kind::sum || options.reduction == reduction_kind::mean);
  plan.by_summed_rows =
      is_sum && plan.lanes_over_rows && plan.blocks() == 1 && rows >= 4 * summed_rows * num_threads(e.threads);
  row_losses losses(rows, loss.data == nullptr ? 0 : exponential ? 2 * rows : rows, plan.by_summed_rows);
  const targets y(indices, rows, options, plan.classes, plan.type, plan.writes(), e);
  if (options.reduction == reduction_kind::block_weights)
    return y.sum_blocks_of_weights(true, static_cast<double_double<double>*>(loss.data), e);
  double denominator = plan.writes() ? y.denominator(e) : 1;
  const upstream coefficients(options.grad_output, plan.type, denominator);
  cross_entropy_term term(plan, 0, y, coefficients, options, probabilities, 1.0, e);
  term.with_loss_lo = exponential;
  plan.cache_exponentials = plan.may_cache_exponentials();
  if (plan.lanes_over_rows && !term.writes_target()) plan.stream = false;   // single entries would fetch all lines again

  cross_entropy_operation operation(term, losses, exponential ? losses.all() + rows : nullptr);
  const few_class_cross_entropy few_classes(plan, y, coefficients, losses);
  if (probabilities.data == nullptr && few_class_cross_entropy::applies(plan, options)) operation.few_classes = &few_classes;
  run_rows(plan, operation, e);
  multiply(grad, gradient_temperature(options.temperature, grad.type).scale, e);
  y.throw_if_bad();
  if (!plan.writes()) denominator = y.denominator(e);
  if (exponential) store_number(loss.data, loss.type, exp_mean(losses.all(), rows, denominator, e));
  else if (is_sum) store_number(loss.data, loss.type, reduced(losses.sum(e), options.reduction, denominator));
  else reduce(losses.all(), rows, options.reduction, denominator, loss, e);
}

}  // namespace

void cross_entropy(const view& logits, const index_view& target, const row_loss_options& options, const mutable_view& loss,
                   const mutable_view& grad, const execution& e) {
  compute(logits, target, {}, options, loss, grad, e);
}

void cross_entropy(const view& logits, const view& target, const row_loss_options& options, const mutable_view& loss,
                   const mutable_view& grad, const execution& e) {
  compute(logits, {}, target, options, loss, grad, e);
}

void cross_entropy_of_shards(const whole_rows& whole, const view& logits, const index_view& indices, const view& probabilities,
                             const row_loss_options& options, const mutable_view& loss, const mutable_view& grad,
                             const execution& e) {
  const default_environment environment;
  const merged_shards merged(whole, options.temperature);
  row_plan plan =
      grad.data != nullptr ? make_plan(logits, options.axis, options.temperature, grad) : merged.plan(options.shard.classes);
  row_losses losses(plan.rows, loss.data != nullptr ? plan.rows : 0, false);
  const targets y(indices, plan.rows, options, options.shard.classes, plan.type, true, e);
  const double denominator = y.denominator(e);
  const upstream coefficients(options.grad_output, plan.type, denominator);
  cross_entropy_term term(plan, 0, y, coefficients, options, grad.data != nullptr ? probabilities : view{}, 1.0, e);
  term.merged = &merged;
  if (plan.lanes_over_rows && !term.writes_target()) plan.stream = false;
  cross_entropy_operation operation(term, losses, nullptr);
  operation.merged = &merged;
  run_merged(plan, operation, e);
  multiply(grad, gradient_temperature(options.temperature, grad.type).scale, e);
  y.throw_if_bad();
  reduce(losses.all(), plan.rows, options.reduction, denominator, loss, e);
}

}  // namespace crossent

// Cross-entropy over class indices or probabilities: value and gradient in one pass. The formulas are in kernels.hpp.
#include <algorithm>

#include "core/fp_environment.hpp"
#include "core/number.hpp"
#include "ops/cross_entropy_term.hpp"
#include "ops/few_classes.hpp"
#include "ops/merged_statistics.hpp"
#include "rows/reduction.hpp"
#include "rows/row_buffer.hpp"

namespace crossent {
namespace {

struct cross_entropy_batch : batch_state, cross_entropy_state {};

class cross_entropy_operation : public row_operation<cross_entropy_batch> {
 public:
  cross_entropy_operation(const cross_entropy_term& term, row_losses& losses, double* losses_lo)
      : term_(term), losses_(losses), losses_lo_(losses_lo) {}
  const few_class_cross_entropy* few_classes = nullptr;   // where the plan may be fused

  index run_fused(index first, index count, int worker) override { return few_classes->run(first, count, worker); }
  void load(row_batch& batch) override { term_.load(batch, state(batch), false); }
  void reduce(row_batch& batch, index begin, index end) override { term_.sum(batch, state(batch), begin, end); }
  void finish(row_batch& batch) override {
    cross_entropy_state& s = state(batch);
    term_.finish(batch, s);
    term_.multiply_by_softcap_derivative(batch, s);
    if (double* const to = losses_.of(batch.first, batch.worker)) std::copy_n(s.rows.loss, batch.count, to);
    if (losses_lo_ != nullptr) std::copy_n(s.rows.loss_lo, batch.count, losses_lo_ + batch.first);
  }
  void write(row_batch& batch, index begin, index end) override { term_.write(batch, state(batch), begin, end); }
  void complete(row_batch& batch) override {
    if (!batch.plan->writes() || batch.plan->writes_target) return;
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

}  // namespace

void cross_entropy(const view& logits, const index_view& indices, const view& probabilities, const row_loss_options& options,
                   const mutable_view& loss, const mutable_view& grad, const execution& e) {
  const default_environment environment;
  row_description d(logits, options.axis, options.temperature, grad, options.transform);
  const index rows = d.rows;
  const targets y(indices, rows, options, d.classes, d.type, d.writes(), e);
  if (options.reduction == reduction_kind::block_weights)
    return y.sum_blocks_of_weights(true, static_cast<double_double<double>*>(loss.data), e);
  const bool exponential = options.reduction == reduction_kind::exp_mean;
  const bool is_sum =
      loss.data != nullptr && (options.reduction == reduction_kind::sum || options.reduction == reduction_kind::mean);
  const cross_entropy_inputs inputs = cross_entropy_term::describe(d, 0, y, probabilities, options.entropy_weight != 0);
  d.sums_losses = is_sum;
  d.may_run_fused = probabilities.data == nullptr && few_class_cross_entropy::applies(options);
  d.reuses_exponentials = true;
  const row_plan plan = make_plan(d, e);

  row_losses losses(rows, loss.data == nullptr ? 0 : exponential ? 2 * rows : rows, plan.reduce_per_block);
  double denominator = plan.writes() ? y.denominator(e) : 1;
  const upstream coefficients(options.grad_output, plan.type, denominator);
  cross_entropy_term term(plan, inputs, y, coefficients, options, 1.0, e);
  term.with_loss_lo = exponential;
  const few_class_cross_entropy few_classes(plan, y, coefficients, losses);
  cross_entropy_operation operation(term, losses, exponential ? losses.all() + rows : nullptr);
  operation.few_classes = &few_classes;
  run_rows(plan, operation, e, &losses);
  multiply(grad, gradient_temperature(options.temperature, grad.type).scale, e);
  y.throw_if_bad();
  if (!plan.writes()) denominator = y.denominator(e);
  if (exponential) store_number(loss.data, loss.type, exp_mean(losses.all(), rows, denominator, e));
  else if (is_sum) store_number(loss.data, loss.type, reduced(losses.sum(e), options.reduction, denominator));
  else reduce(losses.all(), rows, options.reduction, denominator, loss, e);
}

namespace {

// Of the classes from `first` on.
void write_zeros(const mutable_view& grad, int axis, index first, const execution& e) {
  const row_array to(grad, axis);
  const index rows = to.rows.rows(), classes = grad.shape[axis] - first, blocks = block_count(classes);
  parallel_for(
      rows * blocks, std::min(classes, block_classes), threads_for(rows * classes, e), e, [&](index begin, index end, int) {
        for (index u = begin; u < end; ++u) {
          index offset = 0;
          to.rows.offsets(u / blocks, 1, &offset);
          const index from = first + u % blocks * block_classes, last = std::min(grad.shape[axis], from + block_classes);
          for (index c = from; c < last; ++c) store_number(to.data + offset + c * to.class_stride, to.type, 0);
        }
      });
}

}  // namespace

void row_statistics_backward(const view& logits, const index_view& target, const view& log_prob, const view& entropy,
                             const view& logsumexp, const row_loss_options& options, const mutable_view& grad,
                             const execution& e) {
  const default_environment environment;
  row_description d(logits, options.axis, options.temperature, grad, options.transform);
  d.classes = options.shard.classes;
  const targets y(target, d.rows, options, d.classes, d.type, true, e);
  const cross_entropy_inputs inputs = cross_entropy_term::describe(d, 0, y, {}, true);
  d.reuses_exponentials = true;
  const row_plan plan = make_plan(d, e);
  row_losses losses(plan.rows, 0, false);
  const upstream ones({}, plan.type, 1);
  const row_statistics_upstream coefficients(log_prob, entropy, logsumexp, plan.type);
  cross_entropy_term term(plan, inputs, y, ones, options, 1.0, e);
  term.coefficients = &coefficients;
  cross_entropy_operation operation(term, losses, nullptr);
  run_rows(plan, operation, e);
  write_zeros(grad, options.axis, d.classes, e);
  multiply(grad, gradient_temperature(options.temperature, grad.type).scale, e);
  y.throw_if_bad();
}

void cross_entropy_of_shards(const merged_state& whole, const view& logits, const index_view& indices,
                             const view& probabilities, const row_loss_options& options, const mutable_view& loss,
                             const mutable_view& grad, const execution& e) {
  const default_environment environment;
  const merged_statistics merged(whole);
  row_description d = describe_merged(merged, merged, logits, options.axis, options.shard, grad, options.transform);
  row_losses losses(d.rows, loss.data != nullptr ? d.rows : 0, false);
  const targets y(indices, d.rows, options, options.shard.classes, d.type, true, e);
  const cross_entropy_inputs inputs =
      cross_entropy_term::describe(d, 0, y, grad.data != nullptr ? probabilities : view{}, options.entropy_weight != 0);
  const row_plan plan = make_plan(d, e);
  const double denominator = y.denominator(e);
  const upstream coefficients(options.grad_output, plan.type, denominator);
  cross_entropy_term term(plan, inputs, y, coefficients, options, 1.0, e);
  term.merged = &merged;
  cross_entropy_operation operation(term, losses, nullptr);
  run_rows(plan, operation, e);
  multiply(grad, gradient_temperature(options.temperature, grad.type).scale, e);
  y.throw_if_bad();
  reduce(losses.all(), plan.rows, options.reduction, denominator, loss, e);
}

}  // namespace crossent

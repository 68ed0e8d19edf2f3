// Cross-entropy over class indices or probabilities: value and gradient in one pass. The formulas are in kernels.hpp.
#include <algorithm>

#include "core/fp_environment.hpp"
#include "core/number.hpp"
#include "ops/cross_entropy_term.hpp"
#include "ops/few_classes.hpp"
#include "rows/reduction.hpp"
#include "rows/row_buffer.hpp"

namespace crossent {
namespace {

struct cross_entropy_batch : batch_state, cross_entropy_state {};

class cross_entropy_operation : public row_operation<cross_entropy_batch> {
 public:
  cross_entropy_operation(const cross_entropy_term& term, double* losses, double* losses_lo)
      : term_(term), losses_(losses), losses_lo_(losses_lo) {}
  const few_class_cross_entropy* few_classes = nullptr;   // where rows are taken at once

  index take(index first, index count) override { return few_classes == nullptr ? 0 : few_classes->take(first, count); }
  void load(row_batch& batch) override { term_.load(batch, state(batch), false); }
  void prepare_sums(row_batch& batch) override { term_.prepare_sums(batch, state(batch)); }
  void sum(row_batch& batch, index begin, index end) override { term_.sum(batch, state(batch), begin, end); }
  void finish(row_batch& batch) override {
    cross_entropy_state& s = state(batch);
    term_.finish(batch, s);
    if (losses_ != nullptr) std::copy_n(s.rows.loss, batch.count, losses_ + batch.first);
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
  double *losses_, *losses_lo_;   // of every row, in C order, and their rounding errors
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
  row_plan plan = make_plan(logits, options.axis, 1.0, grad);
  const index rows = plan.rows;
  const bool exponential = options.reduction == reduction_kind::exp_mean;
  const row_buffer losses(loss.data ? new_row_buffer(exponential ? 2 * rows : rows) : nullptr);
  const targets y(indices, rows, options, plan.classes, plan.type, plan.writes(), e);
  double denominator = plan.writes() ? y.denominator(e) : 1;
  const upstream coefficients(options.grad_output, plan.type, denominator);
  cross_entropy_term term(plan, 0, y, coefficients, options, probabilities, 1.0, e);
  term.with_loss_lo = exponential;
  plan.cache_exponentials = term.writes_target() && plan.may_cache_exponentials();
  if (plan.lanes_over_rows && !term.writes_target()) plan.stream = false;   // single entries would fetch all lines again

  cross_entropy_operation operation(term, losses.get(), exponential ? losses.get() + rows : nullptr);
  const few_class_cross_entropy few_classes(plan, y, coefficients, losses.get());
  if (probabilities.data == nullptr && few_class_cross_entropy::applies(plan, options)) operation.few_classes = &few_classes;
  run_rows(plan, operation, e);
  y.throw_if_bad();
  if (!plan.writes()) denominator = y.denominator(e);
  if (exponential) store_number(loss.data, loss.type, exp_mean(losses.get(), rows, denominator, e));
  else reduce(losses.get(), rows, options.reduction, denominator, loss, e);
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

}  // namespace crossent

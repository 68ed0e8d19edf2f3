// Cross-entropy over class indices or probabilities: value and gradient in one pass. The formulas are in docs/design.md.
#include <algorithm>
#include <memory>

#include "cross_entropy_part.hpp"
#include "environment.hpp"
#include "row_numbers.hpp"

namespace crossent {
namespace {

class cross_entropy_operation : public row_operation {
 public:
  double* losses = nullptr;       // of every row, in C order
  double* losses_low = nullptr;   // what those leave out
  std::unique_ptr<cross_entropy_part> part;

  void prepare(row_group& g) override { part->prepare(g, false); }
  void settle(row_group& g) override { part->settle(g); }
  void sum(row_group& g, index begin, index end) override { part->sum(g, begin, end); }
  void finish(row_group& g) override {
    part->finish(g);
    if (losses != nullptr) std::copy_n(g.hard->loss, g.count, losses + g.first);
    if (losses_low != nullptr) std::copy_n(g.hard->loss_low, g.count, losses_low + g.first);
  }
  void write(row_group& g, index begin, index end) override {
    source q;
    write_exp(g, part->probabilities(g, q), begin, end, part->scale_of(g));
  }
  void complete(row_group& g) override {
    if (part->writes_target()) return;
    part->for_each_entry(g, [&](index row, index c, double v) { store_number(g.out[row] + c * out.class_stride, out.type, v); });
  }
};

// exp(mean) with the digits of the mean that a double does not hold: of a mean of 700 the last one is 2^-43, and 500 ulp of
// its exponential. losses: of `rows` rows, then what they leave out, then room for a number.
double exp_mean(double* losses, index rows, double denominator, const execution& e) {
  const double sum = ordered_sum(losses, rows, e);
  losses[2 * rows] = -sum;
  return kernels().exp_quotient(sum, ordered_sum(losses, 2 * rows + 1, e), denominator);
}

void evaluate(const view& logits, const index_view& indices, const view& probabilities, const row_loss_options& options,
              const mutable_view& loss, const mutable_view& grad, const execution& e) {
  const default_environment environment;
  cross_entropy_operation op;
  describe(op, logits, options.axis, 1.0, grad);
  const index rows = op.inputs[0].array.rows.rows();
  const bool exponential = options.reduction == reduction_kind::exp_mean;
  const row_numbers losses(loss.data ? new_row_numbers(exponential ? 2 * rows + 1 : rows) : nullptr);
  const targets y(indices, rows, options, op.classes, op.type, grad.data != nullptr, e);
  const upstream coefficients(options.grad_output, op.type, grad.data == nullptr ? 1 : y.denominator(options, e));
  op.has_cross_entropy = true;
  op.part = std::make_unique<cross_entropy_part>(op, 0, y, coefficients, options, probabilities, 1.0, e);
  op.keeps_terms = op.part->writes_target() && may_keep_terms(op);
  if (op.across && !op.part->writes_target()) op.stream = false;   // the entries of `complete` would fetch all lines again

  op.losses = losses.get();
  if (exponential) op.losses_low = op.losses + rows;
  op.part->keeps_low = exponential;
  run_rows(op, e);
  y.throw_if_bad();
  const double denominator = y.denominator(options, e);
  if (exponential) store_number(loss.data, loss.type, exp_mean(losses.get(), rows, denominator, e));
  else store_loss(losses.get(), rows, options.reduction, denominator, loss, e);
}

}  // namespace

void cross_entropy(const view& logits, const index_view& target, const row_loss_options& options, const mutable_view& loss,
                   const mutable_view& grad, const execution& e) {
  evaluate(logits, target, {}, options, loss, grad, e);
}

void cross_entropy(const view& logits, const view& target, const row_loss_options& options, const mutable_view& loss,
                   const mutable_view& grad, const execution& e) {
  evaluate(logits, {}, target, options, loss, grad, e);
}

}  // namespace crossent

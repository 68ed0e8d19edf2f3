// KL divergence, either way round, and the generalised Jensen-Shannon divergence of two softmax rows, from their logits.
#include <algorithm>
#include <memory>

#include "divergence_part.hpp"
#include "environment.hpp"

namespace crossent {
namespace {

class divergence_operation : public row_operation {
 public:
  double* losses = nullptr;   // of every row, in C order
  const targets* weights = nullptr;
  const upstream* coefficients = nullptr;
  std::unique_ptr<divergence_part> part;

  void prepare(row_group& g) override {
    weights->load(g.first, g.count, g.hard.y, g.hard.class_weight, g.hard.row_weight, true);
    coefficients->load(g.first, g.count, g.hard.row_weight, g.upstream);
    for (index i = 0; i < g.count; ++i)
      if (g.hard.row_weight[i] == 0) leave_out(g, i);
  }
  void finish(row_group& g) override {
    part->finish(g, coefficients->divisor());
    if (losses != nullptr) std::copy_n(g.soft.loss, g.count, losses + g.first);
  }
  void write(row_group& g, index begin, index end) override {
    kernel().write_divergence(part->student(g), part->teacher(g), nullptr, output(g), begin, end, part->rows(g), nullptr);
  }
};

}  // namespace

void kl_div_with_logits(const view& logits, const view& teacher_logits, const divergence_options& divergence,
                        const row_loss_options& options, const mutable_view& loss, const mutable_view& grad,
                        const execution& e) {
  const default_environment environment;
  divergence_operation op;
  describe(op, logits, options.axis, divergence.temperature, grad);
  const int teacher = op.read(teacher_logits, options.axis, divergence.temperature);
  const index rows = op.inputs[0].array.rows.rows();
  const targets weights({}, rows, options, op.classes, op.type, e);
  const double denominator = weights.denominator(options, e);
  const upstream coefficients(options.grad_output, op.type, denominator);
  op.weights = &weights;
  op.coefficients = &coefficients;
  op.part = std::make_unique<divergence_part>(op, 0, teacher, divergence, 1.0, 1.0);

  const std::unique_ptr<double[]> losses(loss.data ? new double[static_cast<std::size_t>(rows)] : nullptr);
  op.losses = losses.get();
  run_rows(op, e);
  store_loss(losses.get(), rows, options.reduction, denominator, loss, e);
}

}  // namespace crossent

// Knowledge distillation: alpha T^2 D(teacher, student at T) + (1 - alpha) cross_entropy(student, target), in one pass.
#include <algorithm>
#include <memory>

#include "cross_entropy_part.hpp"
#include "divergence_part.hpp"
#include "environment.hpp"
#include "row_numbers.hpp"

namespace crossent {
namespace {

class distillation_operation : public row_operation {
 public:
  double* soft_losses = nullptr;   // of every row, in C order
  double* hard_losses = nullptr;
  const targets* rows = nullptr;
  const upstream* soft_upstream = nullptr;
  std::unique_ptr<divergence_part> soft;
  std::unique_ptr<cross_entropy_part> hard;   // absent: the rows that are not ignored have the divergence alone

  void prepare(row_group& g) override {
    if (hard) {
      hard->prepare(g, true);
    } else {
      rows->load(g.first, g.count, g.hard->y, g.hard->class_weight, g.hard->row_weight, true);
      leave_out(g, g.hard->row_weight);
    }
    soft_upstream->load(g.first, g.count, g.hard->row_weight, g.upstream);
  }

  void settle(row_group& g) override {
    soft->settle(g, soft_upstream->divisor());
    if (hard) hard->settle(g);
  }

  void sum(row_group& g, index begin, index end) override {
    soft->sum(g, begin, end);
    if (hard) hard->sum(g, begin, end);
  }

  void finish(row_group& g) override {
    soft->finish(g);
    if (!soft->is_fused() || out.data == nullptr) keep_losses(g);
    if (!hard) return;
    hard->finish(g);
    if (hard_losses != nullptr) std::copy_n(g.hard->loss, g.count, hard_losses + g.first);
    if (out.data == nullptr) return;
    // The entries that `complete` stores: with the divergence's part of them, as long as the logits are there to read.
    alignas(64) double part[group_rows], classes[group_rows];
    for (index i = 0; i < g.count; ++i) classes[i] = static_cast<double>(std::max<index>(g.hard->y[i], 0));
    soft->gradient_at(g, classes, part);
    for (index i = 0; i < g.count; ++i) g.hard->target_gradient[i] += part[i];
    soft->gradient_at(g, g.hard->top_class, part);
    for (index i = 0; i < g.count; ++i) g.hard->top_gradient[i] += part[i];
  }

  void write(row_group& g, index begin, index end) override {
    source storage;
    const source* q = hard ? hard->probabilities(g, storage) : nullptr;
    const row_scale hard_scale = hard ? hard->scale_of(g) : row_scale{};
    soft->write(g, q, output(g), begin, end, hard ? &hard_scale : nullptr);
  }

  void complete(row_group& g) override {
    if (soft->is_fused()) {
      soft->complete(g);
      keep_losses(g);
    }
    if (!hard) return;
    hard->for_each_entry(g, [&](index row, index c, double v) { store_number(g.out[row] + c * out.class_stride, out.type, v); });
  }

 private:
  void keep_losses(const row_group& g) {
    if (soft_losses != nullptr) std::copy_n(g.soft->loss, g.count, soft_losses + g.first);
  }
};

}  // namespace

void distillation_loss(const view& logits, const view& teacher_logits, const index_view& indices, const view& probabilities,
                       const distillation_options& how, const divergence_options& divergence, const row_loss_options& options,
                       const mutable_view& loss, const mutable_view& grad, const execution& e) {
  const default_environment environment;
  if (how.alpha == 0)
    return indices.data != nullptr ? cross_entropy(logits, indices, options, loss, grad, e)
                                   : cross_entropy(logits, probabilities, options, loss, grad, e);
  const double t = divergence.temperature;
  const double power = how.scale_by_temperature ? t * t : 1, soft_share = how.alpha * power, hard_share = 1 - how.alpha;

  distillation_operation op;
  describe(op, logits, options.axis, t, grad);
  const int teacher = op.read(teacher_logits, options.axis, t);
  const index rows = op.inputs[0].array.rows.rows();
  const bool with_hard = hard_share > 0;
  const row_numbers soft_losses(loss.data ? new_row_numbers(rows) : nullptr);   // before anything that takes its time
  const row_numbers hard_losses(loss.data && with_hard ? new_row_numbers(rows) : nullptr);
  const targets y(indices, rows, options, op.classes, op.type, true, e);
  const double soft_denominator = y.denominator(options, e, false), hard_denominator = y.denominator(options, e);
  const upstream soft_upstream(options.grad_output, op.type, soft_denominator);
  const upstream hard_upstream(options.grad_output, op.type, hard_denominator);
  op.rows = &y;
  op.soft_upstream = &soft_upstream;
  op.cost = heavy;
  op.has_cross_entropy = op.has_divergence = true;
  op.soft = std::make_unique<divergence_part>(op, 0, teacher, divergence, how.alpha, power);
  op.sums = !op.soft->is_fused() || grad.data == nullptr;   // else the divergence is summed as its gradient is written
  if (with_hard) {
    const int hard_logits = t == 1 ? 0 : op.read(logits, options.axis, 1.0);
    op.hard = std::make_unique<cross_entropy_part>(op, hard_logits, y, hard_upstream, options, probabilities, hard_share, e);
    if (op.across) op.stream = false;   // the entries of `complete` would fetch all lines again
  }

  op.soft_losses = soft_losses.get();
  op.hard_losses = hard_losses.get();
  run_rows(op, e);
  y.throw_if_bad();
  if (loss.data == nullptr) return;
  if (options.reduction == reduction_kind::none) {
    double *soft = soft_losses.get(), *hard = hard_losses.get();
    parallel_for(rows, 1, threads_for(rows, e), e, [&](index begin, index end, int) {
      for (index i = begin; i < end; ++i) soft[i] = soft_share * soft[i] + (with_hard ? hard_share * hard[i] : 0);
    });
    store_losses(soft_losses.get(), rows, loss, e);
    return;
  }
  double total = soft_share * reduced(ordered_sum(soft_losses.get(), rows, e), options.reduction, soft_denominator);
  if (with_hard) total += hard_share * reduced(ordered_sum(hard_losses.get(), rows, e), options.reduction, hard_denominator);
  store_number(loss.data, loss.type, total);
}

// The divergence alone is a distillation without targets.
void kl_div_with_logits(const view& logits, const view& teacher_logits, const divergence_options& divergence,
                        const row_loss_options& options, const mutable_view& loss, const mutable_view& grad,
                        const execution& e) {
  distillation_loss(logits, teacher_logits, {}, {}, {1.0, false}, divergence, options, loss, grad, e);
}

}  // namespace crossent

// Knowledge distillation: alpha T^2 D(teacher, student at T) + (1 - alpha) cross_entropy(student, target), in one pass.
#include <algorithm>
#include <memory>

#include "cross_entropy_term.hpp"
#include "divergence_term.hpp"
#include "environment.hpp"
#include "row_buffer.hpp"

namespace crossent {
namespace {

class distillation_operation : public row_operation {
 public:
  double* divergence_losses = nullptr;   // of every row, in C order
  double* cross_entropy_losses = nullptr;
  const targets* rows = nullptr;
  const upstream* divergence_upstream = nullptr;
  std::unique_ptr<divergence_term> divergence;
  std::unique_ptr<cross_entropy_term> cross_entropy;   // absent: the rows that are not ignored have the divergence alone

  void prepare(row_batch& batch) override {
    if (cross_entropy) {
      cross_entropy->prepare(batch, true);
    } else {
      rows->load(batch.first, batch.count, batch.cross_entropy->y, batch.cross_entropy->class_weight, batch.cross_entropy->row_weight, true);
      skip_zero_weight_rows(batch, batch.cross_entropy->row_weight);
    }
    divergence_upstream->load(batch.first, batch.count, batch.cross_entropy->row_weight, batch.upstream);
  }

  void settle(row_batch& batch) override {
    divergence->settle(batch, divergence_upstream->divisor());
    if (cross_entropy) cross_entropy->settle(batch);
  }

  void sum(row_batch& batch, index begin, index end) override {
    divergence->sum(batch, begin, end);
    if (cross_entropy) cross_entropy->sum(batch, begin, end);
  }

  void finish(row_batch& batch) override {
    divergence->finish(batch);
    if (!divergence->is_fused() || out.data == nullptr) keep_losses(batch);
    if (!cross_entropy) return;
    cross_entropy->finish(batch);
    if (cross_entropy_losses != nullptr) std::copy_n(batch.cross_entropy->loss, batch.count, cross_entropy_losses + batch.first);
    if (out.data == nullptr) return;
    // The entries that `complete` stores: with the divergence's part of them, as long as the logits are there to read.
    alignas(64) double part[batch_rows], classes[batch_rows];
    for (index i = 0; i < batch.count; ++i) classes[i] = static_cast<double>(std::max<index>(batch.cross_entropy->y[i], 0));
    divergence->gradient_at(batch, classes, part);
    for (index i = 0; i < batch.count; ++i) batch.cross_entropy->target_gradient[i] += part[i];
    divergence->gradient_at(batch, batch.cross_entropy->argmax, part);
    for (index i = 0; i < batch.count; ++i) batch.cross_entropy->argmax_gradient[i] += part[i];
  }

  void write(row_batch& batch, index begin, index end) override {
    source storage;
    const source* q = cross_entropy ? cross_entropy->probabilities(batch, storage) : nullptr;
    const row_scale cross_entropy_scale = cross_entropy ? cross_entropy->scale_of(batch) : row_scale{};
    divergence->write(batch, q, output(batch), begin, end, cross_entropy ? &cross_entropy_scale : nullptr);
  }

  void complete(row_batch& batch) override {
    if (divergence->is_fused()) {
      divergence->complete(batch);
      keep_losses(batch);
    }
    if (!cross_entropy) return;
    cross_entropy->for_each_entry(batch, [&](index row, index c, double v) { store_number(batch.out[row] + c * out.class_stride, out.type, v); });
  }

 private:
  void keep_losses(const row_batch& batch) {
    if (divergence_losses != nullptr) std::copy_n(batch.divergence->loss, batch.count, divergence_losses + batch.first);
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
  const double power = how.scale_by_temperature ? t * t : 1, divergence_share = how.alpha * power, cross_entropy_share = 1 - how.alpha;

  distillation_operation op;
  describe(op, logits, options.axis, t, grad);
  const int teacher = op.read(teacher_logits, options.axis, t);
  const index rows = op.inputs[0].array.rows.rows();
  const bool with_cross_entropy = cross_entropy_share > 0;
  const row_buffer divergence_losses(loss.data ? new_row_buffer(rows) : nullptr);   // before anything that takes its time
  const row_buffer cross_entropy_losses(loss.data && with_cross_entropy ? new_row_buffer(rows) : nullptr);
  const targets y(indices, rows, options, op.classes, op.type, true, e);
  const double divergence_denominator = y.denominator(options, e, false), cross_entropy_denominator = y.denominator(options, e);
  const upstream divergence_upstream(options.grad_output, op.type, divergence_denominator);
  const upstream cross_entropy_upstream(options.grad_output, op.type, cross_entropy_denominator);
  op.rows = &y;
  op.divergence_upstream = &divergence_upstream;
  op.cost = heavy;
  op.has_cross_entropy = op.has_divergence = true;
  op.divergence = std::make_unique<divergence_term>(op, 0, teacher, divergence, how.alpha, power);
  op.sums = !op.divergence->is_fused() || grad.data == nullptr;   // else the divergence is summed as its gradient is written
  if (with_cross_entropy) {
    const int cross_entropy_logits = t == 1 ? 0 : op.read(logits, options.axis, 1.0);
    op.cross_entropy = std::make_unique<cross_entropy_term>(op, cross_entropy_logits, y, cross_entropy_upstream, options, probabilities, cross_entropy_share, e);
    if (op.lanes_over_rows) op.stream = false;   // the entries of `complete` would fetch all lines again
  }

  op.divergence_losses = divergence_losses.get();
  op.cross_entropy_losses = cross_entropy_losses.get();
  run_rows(op, e);
  y.throw_if_bad();
  if (loss.data == nullptr) return;
  if (options.reduction == reduction_kind::none) {
    double *divergence = divergence_losses.get(), *cross_entropy = cross_entropy_losses.get();
    parallel_for(rows, 1, threads_for(rows, e), e, [&](index begin, index end, int) {
      for (index i = begin; i < end; ++i) divergence[i] = divergence_share * divergence[i] + (with_cross_entropy ? cross_entropy_share * cross_entropy[i] : 0);
    });
    store_losses(divergence_losses.get(), rows, loss, e);
    return;
  }
  double total = divergence_share * reduced(ordered_sum(divergence_losses.get(), rows, e), options.reduction, divergence_denominator);
  if (with_cross_entropy) total += cross_entropy_share * reduced(ordered_sum(cross_entropy_losses.get(), rows, e), options.reduction, cross_entropy_denominator);
  store_number(loss.data, loss.type, total);
}

// The divergence alone is a distillation without targets.
void kl_div_with_logits(const view& logits, const view& teacher_logits, const divergence_options& divergence,
                        const row_loss_options& options, const mutable_view& loss, const mutable_view& grad,
                        const execution& e) {
  distillation_loss(logits, teacher_logits, {}, {}, {1.0, false}, divergence, options, loss, grad, e);
}

}  // namespace crossent

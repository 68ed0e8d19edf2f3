// Knowledge distillation: alpha T^2 D(teacher, student at T) + (1 - alpha) cross_entropy(student, target), in one pass.
#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "core/fp_environment.hpp"
#include "core/number.hpp"
#include "ops/cross_entropy_term.hpp"
#include "ops/divergence_term.hpp"
#include "rows/reduction.hpp"
#include "rows/row_buffer.hpp"
#include "rows/row_chunks.hpp"

namespace crossent {
namespace {

struct distillation_batch : batch_state {
  cross_entropy_state cross_entropy;   // without the term, it has the classes and weights of the rows
  divergence_state divergence;
};

class distillation_operation : public row_operation<distillation_batch> {
 public:
  double* divergence_losses = nullptr;   // of every row, in C order
  double* cross_entropy_losses = nullptr;
  const targets* y = nullptr;
  const upstream* divergence_upstream = nullptr;
  std::unique_ptr<divergence_term> divergence;
  std::unique_ptr<cross_entropy_term> cross_entropy;   // absent: the rows that are not ignored have the divergence alone

  void load(row_batch& batch) override {
    auto [of_cross_entropy, of_divergence] = terms(batch);
    if (cross_entropy) {
      cross_entropy->load(batch, of_cross_entropy, true);
    } else {
      y->load(batch.first, batch.count, of_cross_entropy.y(), of_cross_entropy.rows.class_weight,
              of_cross_entropy.rows.row_weight, true);
      batch.skip_zero_weight_rows(of_cross_entropy.rows.row_weight);
    }
    std::copy_n(of_cross_entropy.rows.row_weight, batch.count, of_divergence.row_weight);
    divergence_upstream->load(batch.first, batch.count, of_divergence.row_weight, of_divergence.upstream);
    of_divergence.divisor = divergence_upstream->divisor();
  }

  void prepare_sums(row_batch& batch) override {
    divergence->prepare_sums(batch, state(batch).divergence);
    if (cross_entropy) cross_entropy->prepare_sums(batch, state(batch).cross_entropy);
  }

  void sum(row_batch& batch, index begin, index end) override {
    divergence->sum(batch, state(batch).divergence, begin, end);
    if (cross_entropy) cross_entropy->sum(batch, state(batch).cross_entropy, begin, end);
  }

  void finish(row_batch& batch) override {
    auto [of_cross_entropy, of_divergence] = terms(batch);
    divergence->finish(batch, of_divergence);
    if (!cross_entropy) return;
    cross_entropy->finish(batch, of_cross_entropy);
    cross_entropy_rows& r = of_cross_entropy.rows;
    if (cross_entropy_losses != nullptr) std::copy_n(r.loss, batch.count, cross_entropy_losses + batch.first);
    if (!batch.plan->writes()) return;
    // The entries that `complete` stores: with those of the divergence, as long as the logits are there to read.
    alignas(64) double gradient[batch_rows];
    index classes[batch_rows];
    for (index i = 0; i < batch.count; ++i) classes[i] = std::max<index>(of_cross_entropy.y()[i], 0);
    divergence->gradient_at(batch, of_divergence, classes, gradient);
    for (index i = 0; i < batch.count; ++i) r.gradient.target_gradient[i] += gradient[i];
    divergence->gradient_at(batch, of_divergence, r.argmax, gradient);
    for (index i = 0; i < batch.count; ++i) r.argmax_gradient[i] += gradient[i];
  }

  void write(row_batch& batch, index begin, index end) override {
    auto [of_cross_entropy, of_divergence] = terms(batch);
    source q;
    divergence->write(batch, of_divergence, cross_entropy ? cross_entropy->probabilities(batch, q) : nullptr, begin, end,
                      cross_entropy ? cross_entropy->statistics(batch) : batch.in[0].statistics,
                      cross_entropy ? &of_cross_entropy.rows.gradient : nullptr);
  }

  void complete(row_batch& batch) override {
    auto [of_cross_entropy, of_divergence] = terms(batch);
    divergence->complete(batch, of_divergence);
    if (divergence_losses != nullptr) std::copy_n(of_divergence.loss, batch.count, divergence_losses + batch.first);
    if (!cross_entropy || !batch.plan->writes()) return;
    cross_entropy->for_each_entry(batch, of_cross_entropy, [&](index row, index c, double v) { batch.store_entry(row, c, v); });
  }

 private:
  static std::pair<cross_entropy_state&, divergence_state&> terms(row_batch& batch) {
    return {state(batch).cross_entropy, state(batch).divergence};
  }
};

}  // namespace

loss_terms distillation_terms(const distillation_options& how, double temperature) {
  const default_environment environment;
  const double power = how.scale_by_temperature ? temperature * temperature : 1;
  if (how.alpha == 0) return {};
  return {how.alpha < 1 ? 2 : 1, {how.alpha * power, 1 - how.alpha}};
}

void distillation_loss(const view& logits, const view& teacher_logits, const index_view& indices, const view& probabilities,
                       const distillation_options& how, const divergence_options& divergence, const row_loss_options& options,
                       const mutable_view& loss, const mutable_view& grad, const execution& e) {
  const default_environment environment;
  if (how.alpha == 0)
    return indices.data != nullptr ? cross_entropy(logits, indices, options, loss, grad, e)
                                   : cross_entropy(logits, probabilities, options, loss, grad, e);
  const double t = divergence.temperature, power = how.scale_by_temperature ? t * t : 1;
  const loss_terms terms = distillation_terms(how, t);

  row_plan plan = make_plan(logits, options.axis, t, grad);
  const int teacher = plan.read(teacher_logits, options.axis, t);
  const index rows = plan.rows;
  const bool with_cross_entropy = terms.count > 1;
  const row_buffer divergence_losses(loss.data ? new_row_buffer(rows) : nullptr);   // before anything that takes its time
  const row_buffer cross_entropy_losses(loss.data && with_cross_entropy ? new_row_buffer(rows) : nullptr);
  const targets y(indices, rows, options, plan.classes, plan.type, true, e);
  double_double<double>* const blocks = static_cast<double_double<double>*>(loss.data);   // where sums of blocks are wanted
  if (options.reduction == reduction_kind::block_weights) {
    y.sum_blocks_of_weights(false, blocks, e);
    if (with_cross_entropy) y.sum_blocks_of_weights(true, blocks + summed_blocks_of(rows), e);
    return;
  }
  const double denominators[] = {y.divergence_denominator(e), y.denominator(e)};
  const upstream divergence_upstream(options.grad_output, plan.type, denominators[0]);
  const upstream cross_entropy_upstream(options.grad_output, plan.type, denominators[1]);

  distillation_operation op;
  op.divergence_losses = divergence_losses.get();
  op.cross_entropy_losses = cross_entropy_losses.get();
  op.y = &y;
  op.divergence_upstream = &divergence_upstream;
  op.divergence = make_divergence_term(plan, 0, teacher, divergence, how.alpha, power);
  if (!op.divergence->sums_while_writing() || !plan.writes()) plan.with_sums = true;
  plan.cost = heavy;
  if (with_cross_entropy) {
    const int cross_entropy_logits = t == 1 ? 0 : plan.read(logits, options.axis, 1.0);
    op.cross_entropy = std::make_unique<cross_entropy_term>(plan, cross_entropy_logits, y, cross_entropy_upstream, options,
                                                            probabilities, terms.share[1], e);
    if (plan.lanes_over_rows) plan.stream = false;   // single entries would fetch all lines again
  }
  run_rows(plan, op, e);
  y.throw_if_bad();
  if (loss.data == nullptr) return;
  double *of_divergence = divergence_losses.get(), *of_cross_entropy = cross_entropy_losses.get();
  if (options.reduction == reduction_kind::none) {
    for_each_row_chunk(rows, e, [&](index first, index count) {
      for (index i = first; i < first + count; ++i)
        of_divergence[i] =
            times(terms.share[0], of_divergence[i]) + (with_cross_entropy ? terms.share[1] * of_cross_entropy[i] : 0);
    });
    return reduce(of_divergence, rows, options.reduction, 1, loss, e);
  }
  if (options.reduction == reduction_kind::block_sums) {
    sum_blocks(of_divergence, rows, blocks, e);
    if (with_cross_entropy) sum_blocks(of_cross_entropy, rows, blocks + summed_blocks_of(rows), e);
    return;
  }
  double_double<double> sums[2] = {ordered_sum(of_divergence, rows, e), {}};
  if (with_cross_entropy) sums[1] = ordered_sum(of_cross_entropy, rows, e);
  store_number(loss.data, loss.type, reduced(terms, sums, options.reduction, denominators));
}

// The divergence alone is a distillation without targets.
void kl_div_with_logits(const view& logits, const view& teacher_logits, const divergence_options& divergence,
                        const row_loss_options& options, const mutable_view& loss, const mutable_view& grad,
                        const execution& e) {
  distillation_loss(logits, teacher_logits, {}, {}, {1.0, false}, divergence, options, loss, grad, e);
}

}  // namespace crossent

// Knowledge distillation: alpha T^2 D(teacher, student at T) + (1 - alpha) cross_entropy(student, target), in one pass.
#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "core/fp_environment.hpp"
#include "core/number.hpp"
#include "crossent/shards.hpp"
#include "ops/distillation_operation.hpp"
#include "ops/merged_statistics.hpp"
#include "rows/gradient_temperature.hpp"
#include "rows/reduction.hpp"
#include "rows/row_buffer.hpp"
#include "rows/row_chunks.hpp"

namespace crossent {
loss_terms distillation_terms(const distillation_options& how, double temperature) {
  const default_environment environment;
  const double power = how.scale_by_temperature ? temperature * temperature : 1;
  if (how.alpha == 0) return {};
  return {how.alpha < 1 ? 2 : 1, {how.alpha * power, 1 - how.alpha}};
}

namespace {

// merged: of rows that are in shards, else nullptr. Without a gradient, nothing is read of them.
void compute(const view& logits, const view& teacher_logits, const index_view& indices, const view& probabilities,
             const distillation_options& how, const divergence_options& divergence, const row_loss_options& options,
             const merged_distillation* merged, const mutable_view& loss, const mutable_view& grad, const execution& e) {
  const double t = divergence.temperature, power = how.scale_by_temperature ? t * t : 1;
  const loss_terms terms = distillation_terms(how, t);
  const bool with_cross_entropy = terms.count > 1, reads = merged == nullptr || grad.data != nullptr;

  row_description d = merged != nullptr ? describe_merged(*merged, merged->student, logits, options.axis, options.shard, grad,
                                                          options.transform)
                                        : row_description(logits, options.axis, t, grad, options.transform);
  d.first_class = options.shard.first;
  const auto read = [&](const view& x, double temperature, const logit_transform& transform, int unread) {
    return reads ? d.read(x, temperature, true, transform) : unread;
  };
  logit_transform of_teacher = divergence.teacher, at_one = options.transform;
  of_teacher.temperature = options.transform.temperature;
  at_one.temperature = {};
  const bool has_one_temperature = t == 1 && options.transform.temperature.data == nullptr;   // the terms of the loss
  const int teacher = read(teacher_logits, t, of_teacher, 1);
  const index rows = d.rows, classes = merged != nullptr ? options.shard.classes : d.classes;
  const row_buffer divergence_losses(loss.data ? new_row_buffer(rows) : nullptr);   // before anything that takes its time
  const row_buffer cross_entropy_losses(loss.data && with_cross_entropy ? new_row_buffer(rows) : nullptr);
  const targets y(indices, rows, options, classes, d.type, true, e);
  double_double<double>* const blocks = static_cast<double_double<double>*>(loss.data);   // where sums of blocks are wanted
  if (options.reduction == reduction_kind::block_weights) {
    y.sum_blocks_of_weights(false, blocks, e);
    // NOLINTNEXTLINE(clang-analyzer-core.NullPointerArithm): there is a loss, in which they are
    if (with_cross_entropy) y.sum_blocks_of_weights(true, blocks + block_count(rows), e);
    return;
  }
  d.cost = heavy;
  d.with_sums = !(d.writes() && divergence_sums_while_writing(divergence.kind, d.type));
  cross_entropy_inputs inputs{};
  if (with_cross_entropy) {
    inputs = cross_entropy_term::describe(d, has_one_temperature ? 0 : read(logits, 1.0, at_one, 2), y,
                                          reads ? probabilities : view{});
    d.entries = single_entries::any;   // which have that of the divergence in them
  }
  const row_plan plan = make_plan(d, e);
  const double denominators[] = {y.divergence_denominator(e), y.denominator(e)};
  const upstream divergence_upstream(options.grad_output, plan.type, denominators[0]);
  const upstream cross_entropy_upstream(options.grad_output, plan.type, denominators[1]);

  const gradient_temperature at(t, grad.type, !with_cross_entropy);
  // T^2 is 0 at such temperatures, and nothing is left of the divergence.
  const double gradient_scale = how.scale_by_temperature ? 1 : at.scale;
  distillation_operation op;
  op.scales_by_temperature = how.scale_by_temperature;
  if (options.transform.temperature.data != nullptr) op.temperature = row_values(options.transform.temperature, dtype::float64);
  op.divergence_losses = divergence_losses.get();
  op.cross_entropy_losses = cross_entropy_losses.get();
  op.y = &y;
  op.divergence_upstream = &divergence_upstream;
  op.divergence = make_divergence_term(plan, 0, teacher, divergence, how.alpha, power);
  op.divergence->gradient_divisor = at.divisor;
  if (merged != nullptr) op.divergence->merged = &merged->sums;
  if (with_cross_entropy) {
    op.cross_entropy = std::make_unique<cross_entropy_term>(plan, inputs, y, cross_entropy_upstream, options,
                                                            terms.share[1] / gradient_scale, e);
    if (merged != nullptr) op.cross_entropy->merged = &merged->of_cross_entropy();
  }
  run_rows(plan, op, e);
  multiply(grad, gradient_scale, e);
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
    if (with_cross_entropy) sum_blocks(of_cross_entropy, rows, blocks + block_count(rows), e);
    return;
  }
  double_double<double> sums[2] = {ordered_sum(of_divergence, rows, e), {}};
  if (with_cross_entropy) sums[1] = ordered_sum(of_cross_entropy, rows, e);
  store_number(loss.data, loss.type, reduced(terms, sums, options.reduction, denominators));
}

}  // namespace

void distillation_loss(const view& logits, const view& teacher_logits, const index_view& indices, const view& probabilities,
                       const distillation_options& how, const divergence_options& divergence, const row_loss_options& options,
                       const mutable_view& loss, const mutable_view& grad, const execution& e) {
  const default_environment environment;
  if (how.alpha == 0) {
    row_loss_options at_one = options;
    at_one.transform.temperature = {};
    return cross_entropy(logits, indices, probabilities, at_one, loss, grad, e);
  }
  compute(logits, teacher_logits, indices, probabilities, how, divergence, options, nullptr, loss, grad, e);
}

void distillation_of_shards(const shards_of_distillation& shards, const view& logits, const view& teacher_logits,
                            const index_view& indices, const view& probabilities, const distillation_options& how,
                            const divergence_options& divergence, const row_loss_options& options, const mutable_view& loss,
                            const mutable_view& grad, const execution& e) {
  const default_environment environment;
  const merged_distillation merged(shards);
  compute(logits, teacher_logits, indices, probabilities, how, divergence, options, &merged, loss, grad, e);
}

// The divergence alone is a distillation without targets.
void kl_div_with_logits(const view& logits, const view& teacher_logits, const divergence_options& divergence,
                        const row_loss_options& options, const mutable_view& loss, const mutable_view& grad,
                        const execution& e) {
  distillation_loss(logits, teacher_logits, {}, {}, {1.0, false}, divergence, options, loss, grad, e);
}

}  // namespace crossent

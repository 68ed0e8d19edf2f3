// The divergence from a teacher that is known of some classes alone. One pass over the logits, as for a cross-entropy, gives the
// statistics of the other classes; the listed ones are taken one by one, and so are their entries of the gradient.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/fp_environment.hpp"
#include "core/number.hpp"
#include "ops/sparse_teacher.hpp"
#include "rows/gradient_temperature.hpp"
#include "rows/reduction.hpp"
#include "rows/row_driver.hpp"

namespace crossent {
namespace {

struct sparse_batch : batch_state {
  alignas(64) double row_weight[batch_rows] = {};
  alignas(64) double upstream[batch_rows] = {};
  alignas(64) double rest_gradient[batch_rows] = {};
  gradient_rows gradient{};
  class_list listed[batch_rows];
  sparse_teacher::row teacher[batch_rows];
  std::vector<double> entries[batch_rows];  // of the gradient
  std::vector<double> logits, log_ratio, log_ratio_lo;  // of the row at hand
  std::vector<double> gaps, masses;  // of the classes that are not listed, for each (row, block), where they matter
};

class sparse_operation : public row_operation<sparse_batch> {
 public:
  sparse_operation(const row_plan& plan, const sparse_teacher& teacher, const sparse_teacher_options& how,
                   const divergence_options& divergence, const targets& weights, const upstream& gradient, double* losses)
      : plan_(plan), teacher_(teacher), weights_(weights), upstream_(gradient), losses_(losses) {
    const double t = divergence.temperature;
    power_ = how.scale_by_temperature ? t * t : 1;
    of_call_.kind = divergence.kind;
    of_call_.normalised = teacher.is_normalised();
    of_call_.without_rest = how.tail == teacher_tail::zero;
    of_call_.is_uniform = how.tail == teacher_tail::uniform;
    of_call_.t = kernels(dtype::float64).inverse_temperature_of(t);
    of_call_.with_gradient = plan.writes();
    of_call_.multiplier = how.scale_by_temperature ? t : 1;
    of_call_.divisor[0] = gradient.divisor();
    of_call_.divisor[1] = how.scale_by_temperature ? 1 : gradient_temperature(t, plan.out.type).divisor;
  }

  void load(row_batch& batch) override {
    sparse_batch& s = state(batch);
    index no_class[batch_rows];
    double no_weight[batch_rows];
    weights_.load(batch.first, batch.count, no_class, no_weight, s.row_weight);
    upstream_.load(batch.first, batch.count, s.row_weight, s.upstream);
    batch.skip_zero_weight_rows(s.row_weight);
    for (index i = 0; i < batch.count; ++i) {
      sparse_teacher::row& row = s.teacher[i];
      if (s.row_weight[i] != 0) teacher_.load(batch.first + i, row);
      else row.classes.clear();
      s.listed[i] = {row.classes.data(), static_cast<index>(row.classes.size())};
    }
    batch.in[0].without = s.listed;
    if (plan_.with_sums) s.gaps.resize(static_cast<std::size_t>(batch.count * batch.blocks));
  }
  void reduce(row_batch& batch, index begin, index end) override {
    plan_.kernel().gap_sums_of_others(batch.input(0), begin, end, batch.in[0].statistics_of_blocks().max,
                                      state(batch).gaps.data());
  }

  void finish(row_batch& batch) override {
    sparse_batch& s = state(batch);
    for (index i = 0; i < batch.count; ++i) {
      s.rest_gradient[i] = s.gradient.beta[i] = 0;
      const double loss = s.row_weight[i] == 0 ? 0 : finish_row(batch, s, i);
      if (losses_ != nullptr) losses_[batch.first + i] = loss;
    }
    if (!plan_.writes()) return;
    const row_statistics& rest = batch.in[0].statistics;
    row_coefficient coefficient;
    coefficient.upstream = s.rest_gradient;
    kernels().softmax_factor(batch.count, rest, coefficient, s.gradient.factor, s.gradient.factor_lo);
    s.gradient.with_beta = plan_.with_sums;
    batch.scale_factors(rest.exponent, s.gradient);
  }

  void write(row_batch& batch, index begin, index end) override {
    batch.write_softmax_gradient(nullptr, begin, end, state(batch).gradient);
  }

  void complete(row_batch& batch) override {
    sparse_batch& s = state(batch);
    for (index i = 0; plan_.writes() && i < batch.count; ++i)
      for (index k = 0; k < s.listed[i].count; ++k)
        batch.store_entry(i, s.listed[i].classes[k], s.entries[i][static_cast<std::size_t>(k)]);
  }

 private:
  // The loss; the entries of the gradient, and what the others are in proportion to.
  double finish_row(row_batch& batch, sparse_batch& s, index i) const {
    const row_statistics& rest = batch.in[0].statistics;
    sparse_row r = of_call_;
    r.count = s.listed[i].count;
    r.others = static_cast<double>(plan_.classes - r.count);
    r.rest_max = rest.max[i];
    r.rest_tail = std::isinf(rest.max[i]) && !std::isnan(rest.tail[i]) ? 0 : rest.tail[i];
    r.rest_tail_lo = rest.is_extended && !std::isinf(rest.max[i]) ? rest.tail_lo[i] : 0;
    if (r.is_uniform) r.gap_sum = gap_sum(batch, s, i);
    r.upstream = s.upstream[i];
    r.weight = s.row_weight[i];
    point_at_entries(batch, s, i, r);
    kernels().sparse_divergence(r);
    s.rest_gradient[i] = r.gradient[r.count];
    s.gradient.beta[i] = r.beta;
    return power_ == 0 ? 0 : r.weight * (power_ * r.loss);  // also where the divergence overflows
  }

  void point_at_entries(row_batch& batch, sparse_batch& s, index i, sparse_row& r) const {
    constexpr double lowest = -std::numeric_limits<double>::infinity();
    const std::size_t room = static_cast<std::size_t>((r.count + pack_rows) / pack_rows * pack_rows);
    const row_array& x = plan_.input(0).array;
    s.logits.assign(room, lowest);
    with_loader(x.type, [&](auto load) {
      for (index k = 0; k < r.count; ++k)
        s.logits[static_cast<std::size_t>(k)] = load(batch.in[0].x[i] + s.listed[i].classes[k] * x.class_stride);
    });
    sparse_teacher::row& teacher = s.teacher[i];
    teacher.weight.resize(room, 0.0);
    teacher.weight_lo.resize(room, 0.0);
    s.entries[i].resize(room);
    s.log_ratio.assign(room, lowest);
    s.log_ratio_lo.assign(room, 0.0);
    r.logit = s.logits.data();
    r.teacher = teacher.weight.data();
    r.teacher_lo = teacher.weight_lo.data();
    r.log_ratio = s.log_ratio.data();
    r.log_ratio_lo = s.log_ratio_lo.data();
    r.gradient = s.entries[i].data();
  }

  // sum (max - x) over the classes of row i that are not listed
  double gap_sum(row_batch& batch, sparse_batch& s, index i) const {
    s.masses.resize(static_cast<std::size_t>(2 * batch.blocks));  // with their rounding errors, which are 0
    const class_list listed = s.listed[i];
    const index* at = listed.classes;
    for (index b = 0; b < batch.blocks; ++b) {
      const index begin = b * block_classes, end = std::min(plan_.classes, begin + block_classes);
      const index* const next = std::lower_bound(at, listed.classes + listed.count, end);
      s.masses[static_cast<std::size_t>(b)] = static_cast<double>(end - begin - (next - at));
      at = next;
    }
    const double* max = batch.in[0].statistics_of_blocks().max + i * batch.blocks;
    return rounded(
        kernels()
            .merge_gaps(batch.blocks, max, s.gaps.data() + i * batch.blocks, s.masses.data(), s.masses.data() + batch.blocks)
            .gap);
  }

  const row_plan& plan_;
  const sparse_teacher& teacher_;
  const targets& weights_;
  const upstream& upstream_;
  double* losses_;  // of every row, or nullptr
  double power_;  // of the temperature, which the loss has
  sparse_row of_call_{};  // what all rows have
};

}  // namespace

void sparse_distillation_loss(const view& logits, const index_view& classes, const view& values,
                              const sparse_teacher_options& how, const divergence_options& divergence,
                              const row_loss_options& options, const mutable_view& loss, const mutable_view& grad,
                              const execution& e) {
  const default_environment environment;
  row_description d(logits, options.axis, divergence.temperature, grad);
  row_losses losses(d.rows, loss.data == nullptr ? 0 : d.rows, false);  // before anything that takes its time
  const sparse_teacher teacher(classes, values, how, options.axis, d.classes, divergence.temperature, d.type, e);
  teacher.check(d.rows, e);
  const targets weights({}, d.rows, options, d.classes, d.type, d.writes(), e);
  if (options.reduction == reduction_kind::block_weights)
    return weights.sum_blocks_of_weights(false, static_cast<double_double<double>*>(loss.data), e);
  d.with_sums = how.tail == teacher_tail::uniform;
  d.cost = 1 + heavy * teacher.listed() / std::max<index>(d.classes, 1);
  d.reuses_exponentials = true;
  d.entries = single_entries::any;
  const row_plan plan = make_plan(d, e);
  const double denominator = weights.divergence_denominator(e);
  const upstream gradient(options.grad_output, plan.type, denominator);
  sparse_operation operation(plan, teacher, how, divergence, weights, gradient, losses.all());
  run_rows(plan, operation, e);
  if (!how.scale_by_temperature) multiply(grad, gradient_temperature(divergence.temperature, grad.type).scale, e);
  reduce(losses.all(), plan.rows, options.reduction, denominator, loss, e);
}

}  // namespace crossent

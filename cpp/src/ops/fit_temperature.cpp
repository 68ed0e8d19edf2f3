// The temperature of the least mean cross-entropy. The derivation is in docs/tutorial/3-temperature.md.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/fp_environment.hpp"
#include "core/merge_tree.hpp"
#include "core/number.hpp"
#include "ops/cross_entropy_term.hpp"
#include "rows/reduction.hpp"
#include "rows/row_buffer.hpp"

namespace crossent {
namespace {

// Of the logits divided by a temperature T, averages over the weights of all rows: the loss, the gap of the target to the
// maximum, and the mean and the variance of the gap under p. The loss falls with T where mean_gap < target_gap.
struct moments {
  double loss, target_gap, mean_gap, variance;
};

struct moments_batch : batch_state {
  cross_entropy_state target;
  std::vector<double> gaps, squares;   // of each (row, block)
  double log_sum[batch_rows] = {}, mean[batch_rows] = {}, variance[batch_rows] = {};
};

class moments_operation : public row_operation<moments_batch> {
 public:
  // numbers: room for four of each row
  moments_operation(const cross_entropy_term& term, const row_plan& plan, double* numbers)
      : term_(term), plan_(plan), numbers_(numbers) {}

  void load(row_batch& batch) override {
    moments_batch& s = state(batch);
    term_.load(batch, s.target, false);
    s.gaps.assign(static_cast<std::size_t>(batch.count * batch.blocks), 0.0);
    s.squares = s.gaps;
  }
  void reduce(row_batch& batch, index begin, index end) override {
    moments_batch& s = state(batch);
    plan_.kernel().gap_moment_sums(batch.input(0), batch.in[0].statistics, begin, end, plan_.input(0).t, s.gaps.data(),
                                   s.squares.data());
    term_.sum(batch, s.target, begin, end);
  }
  void finish(row_batch& batch) override {
    moments_batch& s = state(batch);
    const row_statistics& statistics = batch.in[0].statistics;
    for (index i = 0; i < batch.count; ++i) {
      s.mean[i] = rounded(sum_tree(batch.blocks, s.gaps.data() + i * batch.blocks));
      s.variance[i] = rounded(sum_tree(batch.blocks, s.squares.data() + i * batch.blocks));
    }
    plan_.kernel().gap_moments(batch.count, statistics, s.mean, s.variance);
    kernels().log_sum(batch.count, statistics, s.log_sum);
    term_.target_gaps(batch, s.target);
    for (index i = 0; i < batch.count; ++i) {
      const double v = s.target.rows.row_weight[i], q = v == 0 ? 0 : v * s.target.rows.mass[i];
      const auto put = [&](int k, double weight, double x) {
        numbers_[k * plan_.rows + batch.first + i] = weight == 0 ? 0 : weight * x;
      };
      put(0, q, s.log_sum[i]);
      put(1, v, s.target.rows.target_gap_to_max[i]);
      put(2, q, s.mean[i]);
      put(3, q, s.variance[i]);
    }
  }

 private:
  const cross_entropy_term& term_;
  const row_plan& plan_;
  double* numbers_;
};

class temperature_problem {
 public:
  temperature_problem(const view& logits, const index_view& indices, const view& probabilities, const row_loss_options& options,
                      const execution& e)
      : logits_(logits), indices_(indices), probabilities_(probabilities), options_(options), e_(e) {}

  moments at(double temperature) {
    row_description d(logits_, options_.axis, temperature, {}, options_.transform);
    d.with_sums = true;
    if (numbers_ == nullptr) numbers_ = new_row_buffer(4 * d.rows);
    const targets y(indices_, d.rows, options_, d.classes, d.type, false, e_);
    const cross_entropy_inputs inputs = cross_entropy_term::describe(d, 0, y, probabilities_);
    const row_plan plan = make_plan(d, e_);
    const upstream none({}, plan.type, 1);
    const cross_entropy_term term(plan, inputs, y, none, options_, 1.0, e_);
    moments_operation operation(term, plan, numbers_.get());
    run_rows(plan, operation, e_);
    y.throw_if_bad();
    if (denominator_ < 0) denominator_ = y.denominator(e_);
    const auto mean = [&](index k) {
      return reduced(ordered_sum(numbers_.get() + k * plan.rows, plan.rows, e_), reduction_kind::mean, denominator_);
    };
    const double log_sum = mean(0), target_gap = mean(1) / temperature;
    return {log_sum + target_gap, target_gap, mean(2), mean(3)};
  }

 private:
  const view& logits_;
  const index_view& indices_;
  const view& probabilities_;
  const row_loss_options& options_;
  const execution& e_;
  row_buffer numbers_;
  double denominator_ = -1;
};

double log_of(double x) {
  double result;
  kernels(dtype::float64).log(&x, &result, 1);
  return result;
}
double exp_of(double x) {
  double result;
  kernels(dtype::float64).exp(&x, &result, 1);
  return result;
}

// Newton's method for the zero of log(mean_gap / target_gap) inside an interval of log T that holds it. As a function of 1/T it
// falls and is nearly straight, also where rows are confident and mean_gap is that of a few.
class search {
 public:
  search(double low, double high)
      : bound_{low, high}, log_bound_{log_of(low), log_of(high)}, inside_{log_bound_[0], log_bound_[1]} {}

  // Takes the moments at a temperature within the bounds. Returns whether it is the last one.
  bool take(double temperature, const moments& m) {
    temperature_ = temperature;
    if (m.mean_gap == m.target_gap) {   // at a bound: both are 0, the other one of every row having underflowed
      at_bound_ = temperature == bound_[0] && has_risen_ ? -1 : 0;
      return converged_ = true;
    }
    const bool rises = m.mean_gap > m.target_gap;   // the loss, with T: the optimum is below
    has_risen_ = has_risen_ || rises;
    if (temperature == bound_[rises ? 0 : 1]) {
      at_bound_ = rises ? -1 : 1;
      return converged_ = true;
    }
    const double log_t = log_of(temperature);
    inside_[rises ? 1 : 0] = log_t;
    const double change = log_of(m.mean_gap / m.target_gap) * (m.mean_gap / m.variance);   // of 1/T, as a share of it
    const double step = change > -1 ? -log_of(1 + change) : -change;
    if (std::abs(step) <= small_step) {
      const double found = exp_of(log_t + step);
      temperature_ = std::clamp(found, bound_[0], bound_[1]);
      at_bound_ = found < bound_[0] ? -1 : found > bound_[1] ? 1 : 0;
      change_ = (m.mean_gap - m.target_gap) * (step / 2);   // the loss is a parabola here
      return converged_ = true;
    }
    // Beyond the interval lies a bound, to be tried once, or a temperature that was tried: then the interval is halved.
    const int towards = rises ? 0 : 1;
    const double width = inside_[1] - inside_[0];
    if (inside_[0] < log_t + step && log_t + step < inside_[1]) next_ = exp_of(log_t + step);
    else if (inside_[towards] == log_bound_[towards]) next_ = bound_[towards];
    else if (width > narrow) next_ = exp_of(inside_[0] + width / 2);
    else converged_ = true;
    return converged_;
  }
  double next() const { return next_; }
  double temperature() const { return temperature_; }
  double change() const { return change_; }
  int at_bound() const { return at_bound_; }
  bool converged() const { return converged_; }

 private:
  // Of log T. Newton's step leaves its square, times at most (G / T + 1) / 2 where no gap above G contributes to mean_gap.
  static constexpr double small_step = 1e-4;
  // Of an interval. Where the loss is nearly flat, rounding errors of the moments keep steps from ever being small.
  static constexpr double narrow = 1e-7;

  double bound_[2], log_bound_[2], inside_[2];
  double temperature_ = 1, next_ = 1, change_ = 0;
  int at_bound_ = 0;
  bool has_risen_ = false, converged_ = false;
};

}  // namespace

temperature_fit fit_temperature(const view& logits, const index_view& indices, const view& probabilities,
                                const row_loss_options& options, double low, double high, index max_passes,
                                const execution& e) {
  const default_environment environment;
  temperature_problem problem(logits, indices, probabilities, options, e);
  moments m = problem.at(1);
  temperature_fit fit{1, m.loss, m.loss, 0, 1, false};
  if (!std::isfinite(m.loss)) return fit;
  search s(low, high);
  double t = std::clamp(1.0, low, high);
  if (t != 1) {
    if (max_passes == 1) return {t, m.loss, std::numeric_limits<double>::quiet_NaN(), 0, 1, false};
    m = problem.at(t);
    fit = {t, fit.nll_before, m.loss, 0, 2, false};
  }
  while (!s.take(t, m) && fit.passes < max_passes) {
    t = s.next();
    m = problem.at(t);
    ++fit.passes;
    if (m.loss < fit.nll_after) {
      fit.temperature = t;
      fit.nll_after = m.loss;
    }
  }
  fit.converged = s.converged();
  fit.at_bound = s.at_bound();
  if (!fit.converged) return fit;
  fit.temperature = s.temperature();
  fit.nll_after = m.loss + s.change();
  return fit;
}

}  // namespace crossent

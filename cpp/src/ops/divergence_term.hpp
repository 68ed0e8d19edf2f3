// The divergence of two rows of logits as a term of an operation: alone or beside cross-entropy, in distillation_loss.cpp.
#pragma once

#include <algorithm>
#include <memory>

#include "rows/row_driver.hpp"

namespace crossent {

// The state of a divergence for the rows of a batch.
struct divergence_state {
  double row_weight[batch_rows] = {};   // 0: the row is not there
  double upstream[batch_rows] = {};     // gradient with respect to weight * loss * divisor; 0: none
  double divisor = 1;
  double loss[batch_rows] = {};         // known when all steps are done
  divergence_rows rows{};
  divergence_rows of_class{};           // in float64, for gradient_at
  std::vector<double> value, inner;     // of each (row, block)
  double value_scale[batch_rows];       // of the forward divergence of float32 rows, which is summed in terms of the teacher
};

// A divergence of float32 rows without what an error that all log-ratios have in common adds to it: curvature/2 times the square
// of error(), by which the sums of the two distributions differ. Only of small divergences is that felt.
template <class F> double without_common_error(double divergence, double curvature, F error) {
  constexpr double small = 0x1p-26;
  if (!(divergence < small)) return divergence;
  const double e = error();
  return std::max(divergence - 0.5 * curvature * e * e, 0.0);
}

class merged_sums;

// All steps are called for every divergence; `write` only where there is a gradient.
class divergence_term {
 public:
  // student, teacher: the numbers of the inputs, read at the temperature. The loss counts `share` * `power` times.
  divergence_term(const row_plan& plan, int student, int teacher, const divergence_options& options, double share, double power)
      : plan_(plan), student_(student), teacher_(teacher), options_(options), share_(share), power_(power) {}
  virtual ~divergence_term() = default;

  const merged_sums* merged = nullptr;   // over the classes of rows that are in shards
  double gradient_divisor = 1;           // of gradient_temperature

  // With row weights, upstream gradients and divisor in the state.
  virtual void prepare(row_batch&, divergence_state&) const;
  virtual void sum(row_batch&, divergence_state&, index begin, index end) const = 0;
  virtual void finish(row_batch&, divergence_state&) const {}
  virtual void write(row_batch&, divergence_state&, const source* q, index begin, index end, const row_statistics&,
                     const gradient_rows* cross_entropy) const = 0;
  virtual void complete(row_batch&, divergence_state&) const = 0;
  // The gradient at one class of each row, in float64. All it reads is read here.
  void gradient_at(row_batch&, divergence_state&, const index* classes, double* out) const;
  // The sums over blocks begin .. end - 1 of each row of the batch: a column of each row's value, then one of what a gradient
  // needs, of hi and lo. columns: where those of the first row of all are, of `rows`.
  void put_sums(const row_batch&, const divergence_state&, index begin, index end, index rows, double* columns) const;

 protected:
  // p_c = e_c factor, times the coefficient, as kernels of `type` take it. NaN where either row is.
  void set_distribution(row_batch&, const divergence_state&, int input, dtype type, const row_coefficient&,
                        distribution_rows&) const;
  // Of both rows, in the arithmetic of the plan.
  void set_distributions(row_batch&, divergence_state&, const row_coefficient&) const;
  row_coefficient gradient_scale(const divergence_state&) const;
  // Over all classes.
  double_double<double> value(const row_batch&, const divergence_state&, index row) const;
  double_double<double> inner(const row_batch&, const divergence_state&, index row) const;
  int kind() const { return static_cast<int>(options_.kind); }
  bool has_gradient(const divergence_state& s, index i) const { return s.upstream[i] != 0 && s.row_weight[i] != 0; }

  const row_plan& plan_;
  int student_, teacher_;
  const divergence_options& options_;
  double share_, power_;
};

// Whether the sums come with the gradient, where there is one, in one traversal.
bool divergence_sums_while_writing(divergence_kind, dtype arithmetic);
// The one for the options and the dtype of the plan.
std::unique_ptr<divergence_term> make_divergence_term(const row_plan&, int student, int teacher, const divergence_options&,
                                                      double share, double power);

}  // namespace crossent

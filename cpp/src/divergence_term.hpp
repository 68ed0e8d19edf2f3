// The divergence of two rows of logits as a part of an operation: alone or beside cross-entropy, in distillation.cpp.
#pragma once

#include "row_driver.hpp"
#include "targets.hpp"

namespace crossent {

class divergence_term {
 public:
  // student, teacher: the numbers of the inputs, read at the temperature. The loss counts `share` * `power` times.
  divergence_term(row_operation& op, int student, int teacher, const divergence_options& options, double share, double power)
      : op_(op), student_(student), teacher_(teacher), options_(options), share_(share), power_(power) {}

  // With the row weights in `cross_entropy` and the gradient with respect to weight * loss * divisor in `upstream` (0: none).
  void settle(row_batch&, double divisor) const;
  void sum(row_batch&, index begin, index end) const;
  void finish(row_batch&) const;
  // Whether losses wait for write() and then complete(): one traversal gives the sums and the gradient.
  bool is_fused() const { return options_.kind == divergence_kind::forward && op_.kernel().forward_divergence != nullptr; }
  void write(row_batch&, const source* q, const sink&, index begin, index end, const row_scale* cross_entropy) const;
  void complete(row_batch&) const;
  // The gradient at one class of each row, in float64. What is read is read here.
  void gradient_at(row_batch&, const double* classes, double* out) const;

 private:
  divergence_rows rows(const row_batch&) const;
  source student(const row_batch& batch) const { return op_.input(batch, student_); }
  source teacher(const row_batch& batch) const { return op_.input(batch, teacher_); }
  void prepare_forward(row_batch&) const;
  // p_c = e_c factor, times the coefficient, as kernels of `type` take it. NaN where either row is.
  void distribution(row_statistics&, const row_batch&, dtype type, const row_coefficient&, double* exponent, double* factor,
                    double* factor_lo) const;
  row_coefficient gradient_scale(const row_batch&) const;

  row_operation& op_;
  int student_, teacher_;
  const divergence_options& options_;
  double share_, power_;
};

}  // namespace crossent

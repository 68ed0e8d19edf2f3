// The divergence of two rows of logits as a part of an operation: alone or beside cross-entropy, in distillation.cpp.
#pragma once

#include "row_pass.hpp"
#include "targets.hpp"

namespace crossent {

class divergence_part {
 public:
  // student, teacher: the numbers of the inputs, read at the temperature. The loss counts `share` * `power` times.
  divergence_part(row_operation& op, int student, int teacher, const divergence_options& options, double share, double power)
      : op_(op), student_(student), teacher_(teacher), options_(options), share_(share), power_(power) {}

  // With the row weights in `hard` and the gradient with respect to weight * loss * divisor in `upstream` (0: none).
  void settle(row_group&, double divisor) const;
  void sum(row_group&, index begin, index end) const;
  void finish(row_group&) const;
  // Whether losses wait for write() and then complete(): one traversal gives the sums and the gradient.
  bool is_fused() const { return options_.kind == divergence_kind::forward && op_.kernel().forward_divergence != nullptr; }
  void write(row_group&, const source* q, const sink&, index begin, index end, const row_scale* hard) const;
  void complete(row_group&) const;
  // The gradient at one class of each row, in float64. What is read is read here.
  void gradient_at(row_group&, const double* classes, double* out) const;

 private:
  divergence_rows rows(const row_group&) const;
  source student(const row_group& g) const { return op_.input(g, student_); }
  source teacher(const row_group& g) const { return op_.input(g, teacher_); }
  void prepare_forward(row_group&) const;
  // p_c = e_c factor, times the coefficient, as kernels of `type` take it. NaN where either row is.
  void distribution(row_reading&, const row_group&, dtype type, const row_coefficient&, double* shift, double* factor,
                    double* rest) const;
  row_coefficient gradient_scale(const row_group&) const;

  row_operation& op_;
  int student_, teacher_;
  const divergence_options& options_;
  double share_, power_;
};

}  // namespace crossent

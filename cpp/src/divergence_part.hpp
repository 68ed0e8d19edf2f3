// The divergence of two rows of logits as a part of an operation: alone in divergence.cpp, beside cross-entropy in
// distillation.cpp.
#pragma once

#include "row_pass.hpp"
#include "targets.hpp"

namespace crossent {

class divergence_part {
 public:
  // student, teacher: the numbers of the inputs, read at the temperature. scale: of the gradient, beside 1/temperature.
  divergence_part(row_operation& op, int student, int teacher, const divergence_options& options, double scale)
      : op_(op), student_(student), teacher_(teacher), options_(options), scale_(scale / options.temperature) {}

  // upstream: gradient with respect to row_weight * loss * divisor; 0: none
  void finish(row_group&, const double* row_weight, const double* upstream, double divisor) const;
  divergence_rows rows(const row_group&) const;
  source student(const row_group& g) const { return op_.input(g, student_); }
  source teacher(const row_group& g) const { return op_.input(g, teacher_); }
  // The gradient at one class of each row, in float64. What is read is read here.
  void gradient_at(row_group&, const double* classes, double* out) const;

 private:
  // p_c = e_c factor, times `scale` where given (0 where that is 0), as kernels of `type` take it.
  void distribution(row_reading&, index count, dtype type, const double* scale, double* shift, double* factor) const;

  row_operation& op_;
  int student_, teacher_;
  const divergence_options& options_;
  double scale_;
};

}  // namespace crossent

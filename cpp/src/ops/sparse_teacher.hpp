// A teacher that is known of some classes of each row alone: their indices, in any order, and a number for each.
#pragma once

#include <vector>

#include "core/kernels.hpp"
#include "rows/row_inputs.hpp"

namespace crossent {

class sparse_teacher {
 public:
  // classes, values: the shape of the logits but for the class axis. Throws target_error where a class is neither in [0, count)
  // nor -1, of the position with the class axis behind the others.
  sparse_teacher(const index_view& classes, const view& values, const sparse_teacher_options&, int axis, index count,
                 double temperature, dtype arithmetic, const execution&);

  // Throws teacher_error where a number is out of range, or those of a row add up to more than 1.
  void check(index rows, const execution&) const;

  // The distinct classes of a row, ascending, and what the teacher's probabilities are in proportion to.
  struct row {
    std::vector<index> classes;
    std::vector<double> weight, weight_lo;

   private:
    friend class sparse_teacher;
    std::vector<index> listed, order;
    std::vector<double> value, listed_weight, listed_weight_lo;
  };
  void load(index number, row& out) const;

  // Whether the probabilities are to be divided by their sum.
  bool is_normalised() const { return is_normalised_; }
  index listed() const { return listed_; }

 private:
  void read(index number, row& out) const;
  void weigh(index number, row& out) const;

  sparse_teacher_options options_;
  bool is_normalised_;
  index listed_;   // K
  int position_bits_;
  targets classes_;
  row_values values_, logsumexp_;
  inverse_temperature inverse_;   // in float64
};

}  // namespace crossent

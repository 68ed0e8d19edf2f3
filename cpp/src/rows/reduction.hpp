// The reduction of the losses of rows.
#pragma once

#include <vector>

#include "core/double_double.hpp"
#include "core/parallel.hpp"
#include "crossent/crossent.hpp"
#include "rows/row_buffer.hpp"

namespace crossent {

// The reduced loss, from the sum of the losses. denominator: of a mean.
double reduced(double_double<double> sum, reduction_kind, double denominator);
// A term of a loss times its share: what T^2 rounds to 0 is 0 also where a divergence overflows.
double times(double share, double term);
double reduced(const loss_terms&, const double_double<double>* sums, reduction_kind, const double* denominators);
// The losses of rows, in C order, as they are, reduced or summed by blocks, into `out` (out.data == nullptr: nothing).
void reduce(const double* losses, index rows, reduction_kind, double denominator, const mutable_view& out, const execution&);

// The losses of rows in C order: all of them; or, of many short rows of which only the sum is wanted, those of the block of rows
// that a worker has, and the sums of blocks.
class row_losses {
 public:
  // numbers: of doubles to hold, 0 where no losses are wanted
  row_losses(index rows, index numbers, bool by_blocks);
  void start(int workers);   // before the first row
  // Where the loss of a row goes, and those of the rows after it in its block; nullptr where none are wanted.
  double* of(index row, int worker) const {
    if (!by_blocks_) return all_ == nullptr ? nullptr : all_.get() + row;
    return reinterpret_cast<double*>(block_.data()) + worker * summed_rows + row % summed_rows;
  }
  double* all() const { return all_.get(); }
  void end_block(index block, int worker);   // by blocks: its losses are there
  double_double<double> sum(const execution&);

 private:
  index rows_;
  bool by_blocks_;
  row_buffer all_;
  line_memory block_;   // of each worker
  std::vector<double_double<double>> sums_;
};

}  // namespace crossent

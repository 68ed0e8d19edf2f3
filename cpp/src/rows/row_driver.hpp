// How an operation on rows runs: batches of rows over threads, or, where there are few long rows, ranges of class blocks.
#pragma once

#include <algorithm>
#include <memory>

#include "core/parallel.hpp"
#include "rows/reduction.hpp"
#include "rows/row_buffer.hpp"
#include "rows/row_plan.hpp"

namespace crossent {

// The rows of a batch in one input, and their statistics.
struct alignas(64) input_rows {
  const char* x[batch_rows] = {};
  index tile_strides[batch_tiles] = {};
  row_statistics statistics{};
  line_memory blocks;               // block_statistics: eight numbers per (row, block)
  index block_entries = 0;
  line_memory exponentials;         // where they are cached; with a pointer for each row, as x
  const char* cached_rows[batch_rows];
  index cached_strides[batch_tiles];
  const class_list* without = nullptr;   // of each row, what its statistics leave out
  transform_of_rows transform;
  double temperature[batch_rows];   // of each row, where they have one each

  void reserve_blocks(index entries) {
    block_entries = entries;
    blocks.reserve(8 * entries * static_cast<index>(sizeof(double)));
    std::fill_n(reinterpret_cast<double*>(blocks.data()), 8 * entries, 0.0);
  }
  block_statistics statistics_of_blocks() {
    double* p = reinterpret_cast<double*>(blocks.data());
    const index n = block_entries;
    return {p, p + n, p + 2 * n, p + 3 * n, p + 4 * n, p + 5 * n, p + 6 * n, p + 7 * n, exponentials.data()};
  }
};

// The state of an operation for a batch, from step to step; aligned as the batch is.
struct alignas(64) batch_state {
  virtual ~batch_state() = default;
};

// Up to 64 rows in flight. Aligned, as the batches of two threads must not share a line of memory.
struct alignas(64) row_batch {
  const row_plan* plan = nullptr;
  index first = 0, count = 0, blocks = 1;
  int worker = 0;
  std::unique_ptr<input_rows[]> in;   // one per input
  char* out[batch_rows] = {};
  index out_strides[batch_tiles] = {};
  bool from_cache = false;            // the output is made of cached exponentials
  bool prefetch_next = false;         // the rows after these, while the output is written
  std::unique_ptr<batch_state> state;
  source softcapped{};                // the first input, where the output is a gradient through its softcap

  source input(int k) const {
    const row_array& a = plan->input(k).array;
    source s{in[k].x, count, plan->classes, a.class_stride, a.type, plan->lanes_over_rows, false, in[k].tile_strides};
    s.without = in[k].without;
    if (plan->input(k).is_transformed) s.transform = &in[k].transform;
    if (k == 0) point_at_next(s);
    return s;
  }
  void point_at_next(source&) const;
  sink output() const {
    return {
        out, plan->out.class_stride, plan->out.type, plan->stream, out_strides, plan->through_softcap ? &softcapped : nullptr};
  }
  // With lanes over classes, rows of weight 0 are not read.
  void skip_zero_weight_rows(const double* row_weight);
  // Splits the factors of a gradient for write_softmax_gradient, its terms being counted in the exponents given; or unbiases
  // them for cached exponentials.
  void scale_factors(const double* exponent, gradient_rows&);
  void write_softmax_gradient(const source* q, index begin, index end, const gradient_rows&) const;
  void point_at_cached();
  source cached() const;   // the exponentials, after that
  void store_entry(index row, index c, double value);   // of the output
  // A logit of input k, and the derivative of its softcap.
  double logit(int k, index row, index c) const;
  double softcap_derivative(int k, index row, index c) const;
  // Gradients with respect to the logits of input k over the temperature of each row become those of the logits before that.
  void divide_by_temperatures(int k, double* gradients) const;
};

// The steps of an operation on a batch: load, reduce, finish, write, and two more for those that need them. Each sees only its
// rows; `reduce` and `write` are called for ranges of blocks, several of which may be done at once.
class row_steps {
 public:
  virtual ~row_steps() = default;
  virtual std::unique_ptr<batch_state> new_state() const { return nullptr; }
  virtual void load(row_batch&) {}     // before the inputs are read: targets and weights, and room for sums
  virtual void prepare(row_batch&) {}  // for sums that depend on the statistics
  virtual void reduce(row_batch&, index begin, index end);  // sums over the classes of blocks, where the plan has them
  virtual void finish(row_batch&) {}   // losses, factors and coefficients of the rows
  virtual void write(row_batch&, index begin, index end);   // entries of the output, if there is one
  virtual void complete(row_batch&) {}  // single entries, and losses that are known once all blocks are written
  // All steps at once, where the plan is fused: returns how many of `count` rows from `first` on `worker` has done. The row after
  // these needs the steps one by one.
  virtual index run_fused(index, index, int) { return 0; }
};

// Steps with a state of their own type.
template <class State> class row_operation : public row_steps {
 public:
  std::unique_ptr<batch_state> new_state() const override { return std::make_unique<State>(); }
  static State& state(row_batch& batch) { return static_cast<State&>(*batch.state); }
};

// losses: those that the plan reduces per block.
void run_rows(const row_plan&, row_steps&, const execution&, row_losses* losses = nullptr);

}  // namespace crossent

// How an operation on rows runs: groups of rows over threads, or, where there are few long rows, runs of class blocks.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "double_double.hpp"
#include "half.hpp"
#include "kernels.hpp"
#include "layout.hpp"
#include "parallel.hpp"

namespace crossent {

// Memory that starts at a line of it; not initialised.
class line_memory {
 public:
  void reserve(index bytes) { at_.reset(static_cast<char*>(::operator new(static_cast<std::size_t>(bytes), std::align_val_t{64}))); }
  char* data() const { return at_.get(); }

 private:
  struct free {
    void operator()(char* p) const { ::operator delete(p, std::align_val_t{64}); }
  };
  std::unique_ptr<char, free> at_;
};

// Rows of one strided array, with the class axis apart.
struct row_array {
  char* data = nullptr;
  dtype type = dtype::float32;
  row_layout rows;
  index class_stride = 0;

  row_array() = default;
  row_array(const void* d, dtype t, int ndim, const index* shape, const index* strides, int axis)
      : data(static_cast<char*>(const_cast<void*>(d))),
        type(t),
        rows(ndim, shape, strides, axis),
        class_stride(axis < 0 ? 0 : strides[axis]) {}
  explicit row_array(const view& v, int axis) : row_array(v.data, v.type, v.ndim, v.shape, v.strides, axis) {}
  explicit row_array(const mutable_view& v, int axis) : row_array(v.data, v.type, v.ndim, v.shape, v.strides, axis) {}
};

constexpr index block_count(index classes) { return (classes + block_classes - 1) / block_classes; }

// Pointers to `count` rows from `first` on, and to the last of them again up to `padded`.
inline void point_at_rows(const row_array& a, index first, index count, index padded, const char** rows) {
  index offset[batch_rows];
  a.rows.offsets(first, count, offset);
  for (index i = 0; i < padded; ++i) rows[i] = a.data + offset[std::min(i, count - 1)];
}

// An array that an operation reads, and the temperature at which it is the logits of a distribution.
struct row_input {
  row_array array;
  inverse_temperature t;
  bool statistics = true;   // false: it is only read along with the others
};

// What is known of up to 64 rows of one input.
struct alignas(64) row_statistics {
  const char* x[batch_rows] = {};
  double max[batch_rows] = {}, tail[batch_rows] = {}, reference[batch_rows] = {}, exponent[batch_rows] = {};
  double inverse_max_term[batch_rows] = {}, block[batch_rows] = {}, tail_lo[batch_rows] = {}, inverse_max_term_lo[batch_rows] = {};
  double scaled_tail[batch_rows] = {};
  bool extended = false;             // whether the last three are known
  std::vector<double> statistics;   // 6 per (row, block)
  line_memory terms;                // where the statistics leave them; with a pointer for each row, as x
  const char* cached_rows[batch_rows] = {};

  block_statistics statistics_of_blocks() {
    double* p = statistics.data();
    const std::size_t n = statistics.size() / 6;
    return {p, p + n, p + 2 * n, p + 3 * n, p + 4 * n, p + 5 * n, terms.data()};
  }
  row_state state() {
    const auto if_extended = [&](double* v) { return extended ? v : nullptr; };
    return {max, tail, reference, exponent, inverse_max_term, block, if_extended(tail_lo), if_extended(inverse_max_term_lo), if_extended(scaled_tail)};
  }
};

// What is known of the rows of a group for a loss in -log p.
struct alignas(64) cross_entropy_state {
  std::vector<double> sums;          // of each (row, block), one after the other
  index y[batch_rows] = {};
  double row_weight[batch_rows] = {}, class_weight[batch_rows] = {}, upstream[batch_rows] = {};
  double loss[batch_rows] = {}, loss_lo[batch_rows] = {};
  double target[batch_rows] = {}, target_gradient[batch_rows] = {};
  double target_gap_to_max[batch_rows] = {};
  double mass[batch_rows] = {}, mass_without_max[batch_rows] = {}, weighted_gap_to_max[batch_rows] = {};
  double argmax[batch_rows] = {}, argmax_weight[batch_rows] = {}, argmax_probability[batch_rows] = {};
  double argmax_gradient[batch_rows] = {};
  double exponent[batch_rows] = {}, factor[batch_rows] = {}, beta[batch_rows] = {}, gamma[batch_rows] = {};
};

// And for a divergence.
struct alignas(64) divergence_state {
  double loss[batch_rows] = {}, log_sum_difference[batch_rows] = {}, log_sum_difference_lo[batch_rows] = {}, log_sum_difference_scaled[batch_rows] = {}, divisor = 1;
  double inner[batch_rows] = {}, inner_lo[batch_rows] = {};
  // Of the forward kernel.
  double forward_difference[batch_rows] = {}, forward_difference_lo[batch_rows] = {}, teacher_scale[batch_rows] = {}, small_difference_gradient[batch_rows] = {};
  std::vector<double> value, inner_sums;   // of each (row, block); of the forward kernel, the first in that unit
  double student_exponent[batch_rows] = {}, student_factor[batch_rows] = {}, student_factor_lo[batch_rows] = {};
  double teacher_exponent[batch_rows] = {}, teacher_factor[batch_rows] = {}, teacher_factor_lo[batch_rows] = {};
};

// Up to 64 rows in flight, with what is known of them.
struct alignas(64) row_batch {
  index first = 0, count = 0, blocks = 1;
  bool from_cache = false;             // the output is made of kept terms
  std::unique_ptr<row_statistics[]> in;   // one per input
  char* out[batch_rows] = {};
  double factor[batch_rows] = {}, exponent[batch_rows] = {}, value[batch_rows] = {}, upstream[batch_rows] = {};
  line_memory sums;                    // of an operation that sums blocks in order, where it does in several calls
  std::unique_ptr<cross_entropy_state> cross_entropy;   // where the operation has such a term
  std::unique_ptr<divergence_state> divergence;
};

// The steps of an operation on a group. Each sees only its rows; `sum` and `write` are called for runs of blocks, of which
// several may be done at once.
class row_operation {
 public:
  virtual ~row_operation() = default;
  virtual void prepare(row_batch&) {}                       // before the inputs are read
  virtual void settle(row_batch&) {}                        // after the merge_blocks: what the sums depend on
  virtual void sum(row_batch&, index begin, index end);     // sums over the classes of blocks
  virtual void finish(row_batch&) = 0;                      // all that is left of what a row comes to
  virtual void write(row_batch&, index begin, index end);   // entries of the output
  virtual void complete(row_batch&) {}                      // single entries, after all blocks are written

  dtype type = dtype::float32;   // what it computes in
  index classes = 0;
  std::vector<row_input> inputs;
  row_array out;                 // out.data == nullptr: nothing is written
  bool lanes_over_rows = false, stream = false;
  bool cache_exponentials = false;      // of the first input, for `write_cached_gradient`
  bool sums = false;             // `sum` has something to do
  bool sums_in_order = false;    // and is called for the blocks of a group in their order
  index cost = 1;                // of an element: 1, or `heavy`
  bool has_cross_entropy = false, has_divergence = false;   // as terms: what groups have a state for

  source input(const row_batch& batch, int k) const {
    const row_array& a = inputs[static_cast<std::size_t>(k)].array;
    return {batch.in[k].x, batch.count, classes, a.class_stride, a.type, lanes_over_rows};
  }
  sink output(const row_batch& batch) const { return {batch.out, out.class_stride, out.type, stream}; }
  const inverse_temperature& scale(int k) const { return inputs[static_cast<std::size_t>(k)].t; }
  const dtype_kernels& kernel() const { return kernels(type); }
  index blocks() const { return block_count(classes); }
  // Makes `factor`, and a `exponent` from that of the statistics, ready for `write_softmax_gradient`, which writes what the kernel of that name
  // does, of the first input.
  void scale_factors(row_batch&, const double* from_exponent, double* factor, double* exponent) const;
  void write_softmax_gradient(const row_batch&, const source* q, index begin, index end, const row_scale&) const;
  // Adds an input; returns its number.
  int read(const view&, int axis, double temperature, bool statistics = true);
  // Along the classes, rows of weight 0 are not read.
  void skip_zero_weight_rows(row_batch&, const double* row_weight) const;
};

// Sets what follows from the first input and the output: orientation, streaming.
void describe(row_operation&, const view& x, int axis, double temperature, const mutable_view& out);
// Whether the terms of a group would stay on chip until they are wanted for the output.
bool may_cache_exponentials(const row_operation&);
void run_rows(row_operation&, const execution&);

// A number into an array of the dtype, and from it.
inline void store_number(void* to, dtype type, double value) {
  const auto put = [&](auto v) { std::memcpy(to, &v, sizeof v); };
  switch (type) {
    case dtype::float64: return put(value);
    case dtype::float32: return put(static_cast<float>(value));
    case dtype::float16: return put(to_float16(static_cast<float>(value)));
    case dtype::bfloat16: return put(to_bfloat16(static_cast<float>(value)));
  }
}
double load_number(const void* from, dtype);
// The same, rounded to what the call computes in.
double load_rounded(const void* from, dtype, dtype arithmetic);
// out[i] = class y[i] of row i of the array, at rows[i]; 0 where row_weight[i] is.
void load_class(const row_array&, index count, const char* const* rows, const index* y, const double* row_weight, double* out);

}  // namespace crossent

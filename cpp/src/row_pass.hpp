// How an operation on rows runs: groups of rows over threads, or, where there are few long rows, runs of class blocks.
#pragma once

#include <memory>
#include <vector>

#include "kernels.hpp"
#include "layout.hpp"
#include "parallel.hpp"

namespace crossent {

// Rows of one strided array, with the class axis apart.
struct row_array {
  char* data = nullptr;
  row_layout rows;
  index class_stride = 0;

  row_array() = default;
  row_array(const void* d, int ndim, const index* shape, const index* strides, int axis)
      : data(static_cast<char*>(const_cast<void*>(d))),
        rows(ndim, shape, strides, axis),
        class_stride(axis < 0 ? 0 : strides[axis]) {}
  explicit row_array(const view& v, int axis) : row_array(v.data, v.ndim, v.shape, v.strides, axis) {}
  explicit row_array(const mutable_view& v, int axis) : row_array(v.data, v.ndim, v.shape, v.strides, axis) {}
};

// Up to 64 rows in flight, with what is known of them.
struct alignas(64) row_group {
  index first = 0, count = 0, blocks = 1;
  const char* x[group_rows] = {};
  char* out[group_rows] = {};
  index y[group_rows] = {};
  double max[group_rows] = {}, tail[group_rows] = {}, offset[group_rows] = {}, shift[group_rows] = {};
  double unit[group_rows] = {}, block[group_rows] = {};
  double loss[group_rows] = {}, factor[group_rows] = {}, beta[group_rows] = {}, value[group_rows] = {};
  double row_weight[group_rows] = {}, class_weight[group_rows] = {}, upstream[group_rows] = {};
  double target[group_rows] = {}, target_gradient[group_rows] = {};
  double deviation[group_rows] = {}, top_class[group_rows] = {}, top_weight[group_rows] = {}, top_gradient[group_rows] = {};
  std::vector<double> statistics;   // 6 per (row, block)

  block_statistics block_stats() {
    double* p = statistics.data();
    const std::size_t n = statistics.size() / 6;
    return {p, p + n, p + 2 * n, p + 3 * n, p + 4 * n, p + 5 * n};
  }
  row_state state() { return {max, tail, offset, shift, unit, block}; }
};

// The steps of an operation on a group. Each sees only its rows; `write` is called for runs of blocks.
class row_operation {
 public:
  virtual ~row_operation() = default;
  virtual void prepare(row_group&) {}                       // before the logits are read
  virtual void finish(row_group&) = 0;                      // after the fold
  virtual void write(row_group&, index begin, index end);   // entries of the output
  virtual void complete(row_group&) {}                      // single entries, after all blocks are written

  dtype type = dtype::float32;
  index classes = 0;
  row_array x, out;      // out.data == nullptr: nothing is written
  scaling t;
  bool across = false, stream = false;

  source input(const row_group& g) const { return {g.x, g.count, classes, x.class_stride, across}; }
  sink output(const row_group& g) const { return {g.out, out.class_stride, stream}; }
  const dtype_kernels& kernel() const { return kernels(type); }
};

// Sets what follows from the arrays: orientation, streaming.
void describe(row_operation&, const view& x, int axis, double temperature, const mutable_view& out);
void run_rows(row_operation&, const execution&);

inline index item_size(dtype type) { return type == dtype::float32 ? 4 : 8; }

// A number into an array of the dtype.
void store_number(void* to, dtype, double value);
double load_number(const void* from, dtype);

}  // namespace crossent

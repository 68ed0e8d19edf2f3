// The plan of an operation on rows: its inputs and output, and how they are walked. Made once for a call.
#pragma once

#include <algorithm>
#include <vector>

#include "core/kernels.hpp"
#include "core/layout.hpp"
#include "core/parallel.hpp"
#include "rows/row_inputs.hpp"

namespace crossent {

// Rows of one strided array, with the class axis apart.
struct row_array {
  char* data = nullptr;
  dtype type = dtype::float32;
  row_layout rows;
  index class_stride = 0;

  row_array() = default;
  // axis < 0: all axes are rows.
  template <class View>
  row_array(const View& v, int axis)
      // NOLINTNEXTLINE(bugprone-casting-through-void): v.data is void*, or const
      : data(static_cast<char*>(const_cast<void*>(v.data))),
        type(v.type),
        rows(v.ndim, v.shape, v.strides, axis),
        class_stride(axis < 0 ? 0 : v.strides[axis]) {}
};

// Pointers to `count` rows from `first` on, and the strides of tiles of `lanes` rows. `padded`: with copies of the last
// pointer.
template <class P>
void point_at_rows(const row_array& a, index first, index count, index lanes, P* rows, index* tile_strides, index padded = 0) {
  index done = 0;
  a.rows.for_each_strided_run(first, count, [&](index offset, index n, index stride) {
    char* row = a.data + offset;
    for (index i = 0; i < n; ++i, row += stride) rows[done + i] = row;
    for (index tile = done / lanes; tile * lanes < done + n; ++tile)
      tile_strides[tile] = tile * lanes >= done && (tile + 1) * lanes <= done + n ? stride : 0;
    done += n;
  });
  for (; done < padded; ++done) rows[done] = rows[count - 1];
}

// Contiguous rows of up to this many classes have lanes over rows:
constexpr index max_row_lane_classes = tile_classes;  // where an output is written
constexpr index max_row_lane_classes_read_only = 160;  // where none is
constexpr index max_row_lane_classes_half = 48;  // where numbers of a half type are converted one by one
constexpr index max_row_lane_classes_sum = 24;  // where rows are summed: a sum for each lane of classes is in memory then
// Whether lanes run over rows: where contiguous classes are few, or rows are neighbours in memory and classes are not.
bool choose_lanes_over_rows(const row_array&, index classes, index few);

// The dtype that logits are divided by a temperature in: of tiny ones the quotients, and 1/T, would leave the range of float32.
constexpr dtype arithmetic(dtype type, double temperature) { return temperature < 0x1p-32 ? dtype::float64 : arithmetic(type); }
inline dtype arithmetic(dtype type, double temperature, const logit_transform& transform) {
  return transform.is_given() ? dtype::float64 : arithmetic(type, temperature);
}

// Statistics of rows that are known without a pass over their classes: those of shards.
class known_statistics {
 public:
  virtual int inputs() const { return 1; }   // of which they are
  virtual void load(index first, index count, int input, row_statistics&) const = 0;

 protected:
  ~known_statistics() = default;
};

// The entries of the output that an operation has apart from the others, and stores one by one.
enum class single_entries : std::uint8_t { none, of_target, any };

// What an operation reads, computes and writes, said in any order: make_plan() draws the conclusions.
struct row_description {
  struct input {
    view array;
    double temperature = 1;
    bool with_statistics = true;   // false: it is only read along with the others
    logit_transform transform;
  };
  static constexpr int most_inputs = 4;

  int axis;
  int inputs_count = 0;
  input inputs[most_inputs];   // the first one gives dtype, orientation and streaming
  mutable_view out;            // out.data == nullptr: nothing is written
  dtype type;                  // of the arithmetic
  index rows, classes;
  index cost = 1;              // of an element: 1, or `heavy`
  index first_class = 0;       // of those that are here
  bool writes_gradient = true; // with respect to the first input: through its softcap
  single_entries entries = single_entries::none;
  const known_statistics* known = nullptr;
  bool with_sums = false, are_sums_known = false;   // of the operation's own, over the classes
  bool is_part = false;               // the rows have other classes elsewhere
  bool reuses_exponentials = false;   // of the first input, for write_cached_gradient
  bool rereads_output = false;
  bool may_run_fused = false;         // over few classes, by row_steps::run_fused
  bool sums_losses = false;           // no loss is wanted but the sum of all

  row_description(const view& x, int axis, double temperature, const mutable_view& out = {}, const logit_transform& = {});
  // Of rows of which nothing is read: all that is wanted of their classes is known.
  row_description(const known_statistics&, dtype type, index rows, index classes);

  bool writes() const { return out.data != nullptr; }
  // Adds an input; returns its number.
  int read(const view& x, double temperature, bool with_statistics = true, const logit_transform& transform = {}) {
    if (transform.is_given()) type = dtype::float64;
    inputs[inputs_count] = {x, temperature, with_statistics, transform};
    return inputs_count++;
  }
};

// An array that an operation reads, and the temperature at which it is the logits of a distribution.
struct row_input {
  row_array array;
  inverse_temperature t;
  bool with_statistics;   // which are taken from its classes
  bool is_transformed;
  double softcap;         // 0: none
  row_values temperature; // of the rows, where they have one each
  line_memory bias;       // of the classes that are here, or nothing
};

// How a description is carried out.
struct row_plan {
  dtype type;
  index rows, classes, cost;
  const known_statistics* known;
  std::vector<row_input> inputs;
  row_array out;
  bool lanes_over_rows = false, stream = false;
  bool cache_exponentials = false;   // of the first input: those of a batch stay on chip until they are wanted
  bool writes_target = false;        // the entry of the target is written with the others
  bool with_sums = false;            // row_steps::reduce is called
  bool is_part = false;
  bool fused = false;                // row_steps::run_fused is called
  bool through_softcap = false;      // the output is a gradient with respect to what the softcap of the first input takes
  bool reduce_per_block = false;     // the losses of a worker's block of summed_rows rows are summed when it is done

  bool writes() const { return out.data != nullptr; }
  index blocks() const { return block_count(classes); }
  const dtype_kernels& kernel() const { return kernels(type); }
  const row_input& input(int k) const { return inputs[static_cast<std::size_t>(k)]; }
};

row_plan make_plan(const row_description&, const execution&);

}  // namespace crossent

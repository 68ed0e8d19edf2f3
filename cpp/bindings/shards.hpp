// What the functions on rows in shards take, from python/crossent/parallel, which has checked what is not checked here. `whole`
// stands for the logits of all shards: an array of their dtype and shape, of which no number is read.
#pragma once

#include <crossent/shards.hpp>
#include <vector>

#include "losses.hpp"

namespace crossent::python {
// Copied where they are not aligned: as bytes of another process they may lie at any address.
using numbers = py::array_t<double, py::array::c_style | py::array::forcecast | py::detail::npy_api::NPY_ARRAY_ALIGNED_>;

struct shard_call : call {
  row_loss_options options;
  array whole;
  rows_of rows;

  shard_call(PyObject* given, PyObject* axis)
      : whole(floating("logits", given)), rows(whole, options.axis = loss_axis("logits", whole, axis)) {
    options.shard.classes = whole.size(options.axis);
  }

  void read_options(PyObject* temperature, PyObject* weight, PyObject* ignore_index, PyObject* label_smoothing) {
    read_ignore_index(ignore_index, options);
    options.weight = input(class_weights(weight, whole, rows, options.axis));
    if (temperature != Py_None) options.temperature = number(positive, "temperature", temperature);
    options.label_smoothing = number(fraction, "label_smoothing", label_smoothing);
  }
  // The logits that are here, whose classes begin at `start`.
  array read_shard(PyObject* logits, PyObject* start) {
    const array x = floating("logits", logits);
    options.shard.first = as_python(start).cast<index>();
    bool fits = x.ndim() == whole.ndim() && x.type_number() == whole.type_number() && options.shard.first >= 0 &&
                x.size(options.axis) > 0 && options.shard.first <= options.shard.classes - x.size(options.axis);
    for (int d = 0; fits && d < x.ndim(); ++d) fits = d == options.axis || x.size(d) == whole.size(d);
    if (!fits) raise_changed("logits");
    return x;
  }
  void read_weights_and_reduction(PyObject* sample_weight, PyObject* reduction, PyObject* denominator, reductions_known known) {
    options.sample_weight = broadcast_0d(input(row_weights(sample_weight, whole, rows)), rows);
    read_reduction(reduction, denominator, known, options);
  }
  // The logits that are here, where a gradient is wanted of them, and the targets. Without, the array that stands for all logits
  // has their dtype, which is all that is asked of them.
  struct arrays {
    bool with_gradient, by_index, by_probability;
    array x, y, q;

    arrays(shard_call& c, PyObject* logits, PyObject* start, PyObject* target, PyObject* probabilities)
        : with_gradient(logits != Py_None),
          by_index(target != Py_None),
          by_probability(probabilities != Py_None),
          x(with_gradient ? c.read_shard(logits, start) : c.whole),
          y(by_index ? c.class_indices(target, c.whole, c.rows, c.options) : array()),
          q(by_probability ? c.class_target(probabilities, x, c.rows, c.options) : array()) {}
    view logits() const { return with_gradient ? input(x) : view{}; }
    index_view indices_of_targets() const { return by_index ? indices(y) : index_view{}; }
    view probabilities_of_targets() const { return by_probability ? input(q) : view{}; }
  };
  index row_count() const { return shape(rows).count(); }
};

// An array that this package made, of so many numbers.
inline numbers numbers_of(const char* name, PyObject* given, index count) {
  numbers x(as_python(given));
  if (x.size() != count) raise_changed(name);
  return x;
}

// The numbers of blocks of subtrees, which are those of so many classes.
inline std::vector<index> counts_of(PyObject* given, index classes) {
  std::vector<index> counts;
  index left = block_count(classes);
  for (const py::handle count : as_python(given)) {
    counts.push_back(count.cast<index>());
    if (counts.back() < 1 || counts.back() > left) raise_changed("block_counts");
    left -= counts.back();
  }
  if (left != 0) raise_changed("block_counts");
  return counts;
}

// The subtree of all classes, as a whole; the arrays live as long as this does.
struct merged_rows {
  numbers subtree, target_logits;
  whole_rows whole;

  merged_rows(PyObject* given, PyObject* logits_of_targets, const subtree_format& format, index rows)
      : subtree(numbers_of("states", given, format.numbers() * rows)) {
    whole.format = format;
    whole.rows = rows;
    whole.subtree = subtree.data();
    if (logits_of_targets == Py_None) return;
    target_logits = numbers_of("states", logits_of_targets, rows);
    whole.target_logits = target_logits.data();
  }
};

}  // namespace crossent::python

// What the functions on rows in shards take, from python/crossent/parallel, which has checked what is not checked here.
#pragma once

#include <crossent/shards.hpp>
#include <vector>

#include "row_losses.hpp"

namespace crossent::python {

// Copied where they are not aligned: as bytes of another process they may lie at any address.
using numbers = py::array_t<double, py::array::c_style | py::array::forcecast | py::detail::npy_api::NPY_ARRAY_ALIGNED_>;

// An array that this package made, of so many numbers.
inline numbers numbers_of(const char* name, PyObject* given, index count) {
  numbers x(as_python(given));
  if (x.size() != count) raise_changed(name);
  return x;
}

// The items of a tuple that this package made, which its caller holds.
inline arguments items_of(PyObject* tuple) {
  if (!PyTuple_Check(tuple)) throw py::type_error("expected a tuple of this package");
  return {&PyTuple_GET_ITEM(tuple, 0), PyTuple_GET_SIZE(tuple)};
}

// A call on rows of which a shard has some classes. `x` stands for the logits of all classes: of their dtype and shape, and no
// number of it is read.
struct shard_call : row_call {
  // Where the shard is: `x`, its first class, and how many blocks of classes are in each of its subtrees.
  struct place {
    CROSSENT_ARGUMENTS(whole, start, block_counts)
  };
  arguments of_place;
  array here;   // the logits of the shard; where there are none, `x`, which has their dtype

  shard_call(PyObject* given, PyObject* axis, PyObject* logits = Py_None)
      : row_call("logits", items_of(given)[place::arg::whole], axis), of_place(items_of(given)), here(x) {
    options.shard.classes = x.size(options.axis);
    if (logits != Py_None) read_logits(logits);
  }

  index row_count() const { return shape(rows).count(); }
  // The classes of all rows, or the probabilities of the shard; once ignore_index has been read.
  row_target read_target(PyObject* given) { return {given != Py_None ? class_target(given, here, rows, options) : array()}; }
  view logits() const { return here.object() != x.object() ? input(here) : view{}; }
  std::vector<index> block_counts() const;

 private:
  void read_logits(PyObject* given);
};

// What the numbers of a state depend on.
struct format {
  CROSSENT_ARGUMENTS(extended, smoothed, probabilities, entropy, temperature)

  static partial_state_format read(const arguments& given);
};

// The merged state of all classes of some rows: its columns, the logit of each row's target, and the format. The arrays live as
// long as this does.
struct states {
  CROSSENT_ARGUMENTS(columns, target_logits, format)

  numbers columns, target_logits;
  merged_state whole;

  states(const shard_call& c, PyObject* given);
  // That they were made with such a target and the options of this call.
  void confirm(const shard_call& c, const row_target& target) const;
};

// A loss on rows in shards: the states of all classes and the place of a shard come before the arguments of the loss on rows in
// one place. Of these, logits, teacher and probabilities are the shard's; where there is no gradient, they are None.
template <class Loss> struct on_shards {
  struct arg {
    enum { states, place, count = Loss::arg::count + 2 };
  };
  using of = typename Loss::arg;
  static std::string names() { return "states, place, " + Loss::names(); }
  static arguments of_loss(const arguments& given) { return given.without_first(2); }
};

}  // namespace crossent::python

// The statistics of rows whose classes are in shards.
#include "module.hpp"
#include "predictions.hpp"
#include "shards.hpp"

namespace crossent::python {
namespace {

using integers = py::array_t<index, py::array::c_style | py::array::forcecast>;

integers integers_of(PyObject* given, index count) {
  integers x(as_python(given));
  if (x.size() != count) raise_changed("statistics");
  return x;
}

// What both functions take of the rows.
struct statistics_call : shard_call {
  bool has_target;
  array target;
  index k;

  statistics_call(PyObject* given, PyObject* axis, PyObject* target_or_none, PyObject* temperature, PyObject* ignore_index,
                  PyObject* top_k)
      : shard_call(given, axis), has_target(target_or_none != Py_None) {
    read_ignore_index(ignore_index, options);
    if (has_target) target = class_indices(target_or_none, whole, rows, options);
    options.temperature = number(positive, "temperature", temperature);
    k = check_in_python("top_k", top_k, options.shard.classes).cast<index>();
  }
  index candidates() const { return std::max<index>(k, 1); }
  index_view indices_of_targets() const { return has_target ? indices(target) : index_view{}; }
  subtree_format format(PyObject* smoothed, PyObject* probabilities) const {
    return {float_type(whole) == dtype::float64, as_bool(smoothed), as_bool(probabilities)};
  }
};

struct predict_shard_function {
  CROSSENT_ARGUMENTS(whole, subtree, target_logits, smoothed, probabilities, logits, start, block_counts, target, axis,
                     temperature, ignore_index, top_k)

  static py::object run(const arguments& given) {
    statistics_call c(given[arg::whole], given[arg::axis], given[arg::target], given[arg::temperature],
                      given[arg::ignore_index], given[arg::top_k]);
    const array x = c.read_shard(given[arg::logits], given[arg::start]);
    const index rows = c.row_count(), k = c.candidates();
    const merged_rows merged(given[arg::subtree], given[arg::target_logits],
                             c.format(given[arg::smoothed], given[arg::probabilities]), rows);
    const std::vector<index> block_counts = counts_of(given[arg::block_counts], x.size(c.options.axis));
    const auto subtrees = static_cast<index>(block_counts.size());
    numbers sums({subtrees, 2 * rows, index{2}}), top_logits({rows, k});
    integers ahead(std::vector<index>{c.has_target ? rows : 0}), top_classes({rows, k});
    const shard_predictions out{subtrees, sums.mutable_data(),        c.has_target ? ahead.mutable_data() : nullptr,
                                k,        top_classes.mutable_data(), top_logits.mutable_data()};
    c.run([&](const execution& e) {
      predict_shard(merged.whole, input(x), c.indices_of_targets(), c.options, block_counts.data(), out, e);
    });
    return py::make_tuple(sums, ahead, top_classes, top_logits);
  }
};

struct row_statistics_of_shards_function {
  CROSSENT_ARGUMENTS(whole, subtree, target_logits, smoothed, probabilities, sums, ahead, top_classes, top_logits, target, axis,
                     temperature, ignore_index, top_k)

  static py::object run(const arguments& given) {
    statistics_call c(given[arg::whole], given[arg::axis], given[arg::target], given[arg::temperature],
                      given[arg::ignore_index], given[arg::top_k]);
    const index rows = c.row_count(), k = c.candidates();
    const merged_rows merged(given[arg::subtree], given[arg::target_logits],
                             c.format(given[arg::smoothed], given[arg::probabilities]), rows);
    const numbers sums = numbers_of("statistics", given[arg::sums], 4 * rows),
                  top_logits = numbers_of("statistics", given[arg::top_logits], k * rows);
    const integers ahead = integers_of(given[arg::ahead], c.has_target ? rows : 0),
                   top_classes = integers_of(given[arg::top_classes], k * rows);
    const merged_predictions from{merged.whole, sums.data(), ahead.data(), k, top_classes.data(), top_logits.data()};
    const prediction_arrays arrays(c.rows, c.has_target, c.k, arithmetic(c.whole));
    c.run([&](const execution& e) { predict_of_shards(from, c.indices_of_targets(), c.options, arrays.out, e); });
    return arrays.returned();
  }
};

}  // namespace

PyMethodDef shard_statistics[] = {
    method<predict_shard_function>("predict_shard"), method<row_statistics_of_shards_function>("row_statistics_of_shards"), {}};

}  // namespace crossent::python

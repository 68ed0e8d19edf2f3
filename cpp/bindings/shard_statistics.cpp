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
  array target;
  index k;

  statistics_call(PyObject* given, PyObject* axis, PyObject* logits, PyObject* target_or_none, PyObject* ignore_index,
                  PyObject* top_k)
      : shard_call(given, axis, logits) {
    read_ignore_index(ignore_index, options);
    if (target_or_none != Py_None) target = class_indices(target_or_none, x, rows, options);
    k = check_in_python("top_k", top_k, options.shard.classes).cast<index>();
  }
  bool has_target() const { return static_cast<bool>(target); }
  index candidates() const { return std::max<index>(k, 1); }
  index_view classes_of_targets() const { return has_target() ? indices(target) : index_view{}; }
};

struct predict_shard_function {
  CROSSENT_ARGUMENTS(states, place, logits, target, axis, ignore_index, temperature, softcap, logit_bias, top_k)

  static py::object run(const arguments& given) {
    statistics_call c(given[arg::place], given[arg::axis], given[arg::logits], given[arg::target], given[arg::ignore_index],
                      given[arg::top_k]);
    c.read_temperature(given[arg::temperature]);
    c.read_transform(given[arg::softcap], given[arg::logit_bias]);
    const index rows = c.row_count(), k = c.candidates();
    const python::states merged(c, given[arg::states]);
    const std::vector<index> block_counts = c.block_counts();
    const auto subtrees = static_cast<index>(block_counts.size());
    numbers sums({subtrees, 2 * rows, index{2}}), top_logits({rows, k});
    integers ahead(std::vector<index>{c.has_target() ? rows : 0}), top_classes({rows, k});
    const shard_predictions out{subtrees, sums.mutable_data(),        c.has_target() ? ahead.mutable_data() : nullptr,
                                k,        top_classes.mutable_data(), top_logits.mutable_data()};
    c.run([&](const execution& e) {
      predict_shard(merged.whole, c.logits(), c.classes_of_targets(), c.options, block_counts.data(), out, e);
    });
    return py::make_tuple(sums, ahead, top_classes, top_logits);
  }
};

struct row_statistics_of_shards_function {
  CROSSENT_ARGUMENTS(states, statistics, place, target, axis, ignore_index, top_k)

  // What predict_shard returns, of all classes.
  struct of_classes {
    CROSSENT_ARGUMENTS(sums, ahead, top_classes, top_logits)
  };

  static py::object run(const arguments& given) {
    statistics_call c(given[arg::place], given[arg::axis], Py_None, given[arg::target], given[arg::ignore_index],
                      given[arg::top_k]);
    const index rows = c.row_count(), k = c.candidates();
    const python::states merged(c, given[arg::states]);
    const arguments statistics = items_of(given[arg::statistics]);
    using of = of_classes::arg;
    const numbers sums = numbers_of("statistics", statistics[of::sums], 4 * rows),
                  top_logits = numbers_of("statistics", statistics[of::top_logits], k * rows);
    const integers ahead = integers_of(statistics[of::ahead], c.has_target() ? rows : 0),
                   top_classes = integers_of(statistics[of::top_classes], k * rows);
    const merged_predictions from{merged.whole, sums.data(), ahead.data(), k, top_classes.data(), top_logits.data()};
    const prediction_arrays arrays(c.rows, c.has_target(), c.k, arithmetic(c.x));
    c.run([&](const execution& e) { predict_of_shards(from, c.classes_of_targets(), c.options, arrays.out, e); });
    return arrays.returned();
  }
};

}  // namespace

PyMethodDef shard_statistics[] = {
    method<predict_shard_function>("predict_shard"), method<row_statistics_of_shards_function>("row_statistics_of_shards"), {}};

}  // namespace crossent::python

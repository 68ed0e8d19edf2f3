// Losses of rows whose classes are in shards, for python/crossent/parallel, which has checked what is not checked here. `whole`
// stands for the logits of all shards: an array of their dtype and shape, of which no number is read.
#include <crossent/shards.hpp>
#include <vector>

#include "losses.hpp"
#include "module.hpp"

namespace crossent::python {
namespace {

using numbers = py::array_t<double, py::array::c_style | py::array::forcecast>;

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
    options.temperature = number(positive, "temperature", temperature);
    options.label_smoothing = number(fraction, "label_smoothing", label_smoothing);
  }
  // The logits that are here, whose classes begin at `start`.
  array read_shard(PyObject* logits, PyObject* start) {
    const array x = floating("logits", logits);
    options.shard.first = as_python(start).cast<index>();
    bool fits = x.ndim() == whole.ndim() && x.type_number() == whole.type_number() && options.shard.first >= 0 &&
                x.size(options.axis) > 0 && options.shard.first + x.size(options.axis) <= options.shard.classes;
    for (int d = 0; fits && d < x.ndim(); ++d) fits = d == options.axis || x.size(d) == whole.size(d);
    if (!fits) raise_changed("logits");
    return x;
  }
  index row_count() const {
    index n = 1;
    for (int d = 0; d < rows.ndim; ++d) n *= rows.size[d];
    return n;
  }
};

struct shard_subtrees_function {
  CROSSENT_ARGUMENTS(whole, logits, start, block_counts, target, probabilities, axis, temperature, weight, ignore_index,
                     label_smoothing)

  static py::object run(const arguments& given) {
    shard_call c(given[arg::whole], given[arg::axis]);
    const array x = c.read_shard(given[arg::logits], given[arg::start]);
    c.read_options(given[arg::temperature], given[arg::weight], given[arg::ignore_index], given[arg::label_smoothing]);
    const bool by_index = given[arg::target] != Py_None, by_probability = given[arg::probabilities] != Py_None;
    const array y = by_index ? c.class_indices(given[arg::target], c.whole, c.rows, c.options) : array();
    const array q = by_probability ? c.class_target(given[arg::probabilities], x, c.rows, c.options) : array();
    std::vector<index> block_counts;
    for (const py::handle count : as_python(given[arg::block_counts])) block_counts.push_back(count.cast<index>());
    const auto subtrees = static_cast<index>(block_counts.size());
    const subtree_format format = format_of(float_type(x), by_probability, c.options);
    numbers out({subtrees, format.numbers(), c.row_count()}), target_logits(std::vector<index>{by_index ? c.row_count() : 0});
    c.run([&](const execution& e) {
      shard_subtrees(input(x), by_index ? indices(y) : index_view{}, by_probability ? input(q) : view{}, c.options,
                     block_counts.data(), subtrees, out.mutable_data(), by_index ? target_logits.mutable_data() : nullptr, e);
    });
    return py::make_tuple(out, by_index ? py::object(target_logits) : py::none(), format.smoothed);
  }
};

struct merge_subtrees_function {
  CROSSENT_ARGUMENTS(a, b, extended, smoothed, probabilities, temperature)

  static py::object run(const arguments& given) {
    const numbers a(as_python(given[arg::a])), b(as_python(given[arg::b]));
    const subtree_format format{
        as_bool(given[arg::extended]), as_bool(given[arg::smoothed]), as_bool(given[arg::probabilities])};
    if (a.ndim() != 2 || b.ndim() != 2 || a.shape(0) != format.numbers() || b.shape(0) != format.numbers() ||
        a.shape(1) != b.shape(1))
      raise_changed("states");
    numbers out({format.numbers(), a.shape(1)});
    const double temperature = number(positive, "temperature", given[arg::temperature]);
    call c;
    c.run([&](const execution& e) {
      merge_subtrees(format, a.shape(1), temperature, a.data(), b.data(), out.mutable_data(), e);
    });
    return out;
  }
};

struct cross_entropy_of_shards_function {
  CROSSENT_ARGUMENTS(whole, subtree, target_logits, one_block, by_probabilities, logits, start, target, probabilities, axis,
                     temperature, weight, ignore_index, label_smoothing, z_loss, sample_weight, reduction, denominator)

  static py::object run(const arguments& given, const gradient_request& request) {
    shard_call c(given[arg::whole], given[arg::axis]);
    c.read_options(given[arg::temperature], given[arg::weight], given[arg::ignore_index], given[arg::label_smoothing]);
    c.options.z_loss = number(at_least_zero, "z_loss", given[arg::z_loss]);
    c.options.sample_weight = broadcast_0d(input(c.row_weights(given[arg::sample_weight], c.whole, c.rows)), c.rows);
    read_reduction(given[arg::reduction], given[arg::denominator], common, c.options);
    const bool by_index = given[arg::target] != Py_None, with_gradient = given[arg::logits] != Py_None,
               by_probability = given[arg::probabilities] != Py_None;
    const array y = by_index ? c.class_indices(given[arg::target], c.whole, c.rows, c.options) : array();
    // Where there is no gradient, the array that stands for the logits has their dtype, which is all that is asked of them.
    const array x = with_gradient ? c.read_shard(given[arg::logits], given[arg::start]) : c.whole;
    const array q = by_probability ? c.class_target(given[arg::probabilities], x, c.rows, c.options) : array();
    const loss_outputs out(c, request, x, c.rows, c.options.reduction);
    c.options.grad_output = broadcast_0d(out.upstream, c.rows);
    c.options.writes_to_caller = request.out != Py_None;
    const numbers subtree(as_python(given[arg::subtree]));
    const bool has_logits = given[arg::target_logits] != Py_None;
    const numbers target_logits = has_logits ? numbers(as_python(given[arg::target_logits])) : numbers();
    whole_rows rows;
    rows.format = format_of(float_type(x), as_bool(given[arg::by_probabilities]), c.options);
    rows.rows = c.row_count();
    if (subtree.size() != rows.format.numbers() * rows.rows || (has_logits && target_logits.size() != rows.rows))
      raise_changed("states");
    rows.subtree = subtree.data();
    rows.target_logits = has_logits ? target_logits.data() : nullptr;
    rows.one_block = as_bool(given[arg::one_block]);
    c.run([&](const execution& e) {
      cross_entropy_of_shards(rows, with_gradient ? input(x) : view{}, by_index ? indices(y) : index_view{},
                              by_probability ? input(q) : view{}, c.options, out.loss, out.grad, e);
    });
    return out.returned();
  }
};

}  // namespace

PyMethodDef shards[] = {
    method<shard_subtrees_function>("shard_subtrees"),
    method<merge_subtrees_function>("merge_subtrees"),
    method<forward<cross_entropy_of_shards_function>>("cross_entropy_of_shards"),
    method<backward<cross_entropy_of_shards_function>>("cross_entropy_of_shards_backward"),
    {}};

}  // namespace crossent::python

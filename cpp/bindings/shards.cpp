// Losses and normalisers of rows whose classes are in shards.
#include "shards.hpp"

#include <optional>

#include "module.hpp"

namespace crossent::python {

void shard_call::read_logits(PyObject* given) {
  here = floating("logits", given);
  options.shard.first = as_python(of_place[place::arg::start]).cast<index>();
  bool fits = here.ndim() == x.ndim() && here.type_number() == x.type_number() && options.shard.first >= 0 &&
              here.size(options.axis) > 0 && options.shard.first <= options.shard.classes - here.size(options.axis);
  for (int d = 0; fits && d < x.ndim(); ++d) fits = d == options.axis || here.size(d) == x.size(d);
  if (!fits) raise_changed("logits");
}

std::vector<index> shard_call::block_counts() const {
  std::vector<index> counts;
  index left = block_count(here.size(options.axis));
  for (const py::handle count : as_python(of_place[place::arg::block_counts])) {
    counts.push_back(count.cast<index>());
    if (counts.back() < 1 || counts.back() > left) raise_changed("block_counts");
    left -= counts.back();
  }
  if (left != 0) raise_changed("block_counts");
  return counts;
}

partial_state_format format::read(const arguments& given) {
  return {
      as_bool(given[arg::extended]), as_bool(given[arg::smoothed]), as_bool(given[arg::probabilities]),
      as_bool(given[arg::entropy]), number(positive, "temperature", given[arg::temperature])};
}

states::states(const shard_call& c, PyObject* given) {
  const arguments items = items_of(given);
  whole.format = format::read(items_of(items[arg::format]));
  if (float_type(c.x) == dtype::float64 && !whole.format.extended) raise_changed("states");
  whole.rows = c.row_count();
  columns = numbers_of("states", items[arg::columns], whole.format.numbers() * whole.rows);
  whole.columns = columns.data();
  if (items[arg::target_logits] == Py_None) return;
  target_logits = numbers_of("states", items[arg::target_logits], whole.rows);
  whole.target_logits = target_logits.data();
}

void states::confirm(const shard_call& c, const row_target& target) const {
  const partial_state_format wanted = format_of(float_type(c.x), whole.format.probabilities, c.options);
  const bool fits = wanted.extended == whole.format.extended || c.logits().data == nullptr;   // of states alone any may be
  if (wanted.smoothed != whole.format.smoothed || wanted.entropy > whole.format.entropy || !fits) raise_changed("states");
  if (target.y && target.are_indices() == whole.format.probabilities) raise_changed("target");
}

namespace {

// The place of a shard comes before the arguments of cross-entropy.
struct partial_states_of_shard_function {
  using of = cross_entropy_function::arg;
  static std::string names() { return "place, " + cross_entropy_function::names(); }

  static py::object run(const arguments& given) {
    const arguments loss = given.without_first();
    shard_call c(given[0], loss[of::axis], loss[of::logits]);
    read_ignore_index(loss[of::ignore_index], c.options);
    const row_target target = c.read_target(loss[of::target]);
    cross_entropy_function::read_options(c, loss);
    const std::vector<index> block_counts = c.block_counts();
    const auto subtrees = static_cast<index>(block_counts.size());
    const bool by_index = target.are_indices();
    const partial_state_format format = format_of(float_type(c.x), target.y && !by_index, c.options);
    numbers out({subtrees, format.numbers(), c.row_count()}), target_logits(std::vector<index>{by_index ? c.row_count() : 0});
    c.run([&](const execution& e) {
      partial_states_of_shard(c.logits(), target.classes(), target.probabilities(), c.options, block_counts.data(), subtrees,
                              out.mutable_data(), by_index ? target_logits.mutable_data() : nullptr, e);
    });
    return py::make_tuple(out, by_index ? py::object(target_logits) : py::none(), format.smoothed);
  }
};

struct count_of_columns_function : format {
  static py::object run(const arguments& given) { return py::int_(read(given).numbers()); }
};

struct merge_partial_states_function {
  static std::string names() { return "a, b, " + format::names(); }

  static py::object run(const arguments& given) {
    const numbers a(as_python(given[0])), b(as_python(given[1]));
    const partial_state_format format = format::read(given.without_first(2));
    if (a.ndim() != 2 || b.ndim() != 2 || a.shape(0) != format.numbers() || b.shape(0) != format.numbers() ||
        a.shape(1) != b.shape(1))
      raise_changed("states");
    numbers out({format.numbers(), a.shape(1)});
    call c;
    c.run([&](const execution& e) { merge_partial_states(format, a.shape(1), a.data(), b.data(), out.mutable_data(), e); });
    return out;
  }
};

struct cross_entropy_of_shards_function : on_shards<cross_entropy_function> {
  static py::object run(const arguments& given, const gradient_request& request) {
    const arguments loss = of_loss(given);
    shard_call c(given[arg::place], loss[of::axis], loss[of::logits]);
    read_ignore_index(loss[of::ignore_index], c.options);
    const row_target target = c.read_target(loss[of::target]);
    cross_entropy_function::read_options(c, loss);
    const states merged(c, given[arg::states]);
    merged.confirm(c, target);
    const row_outputs out(c, request, c.here);
    c.run([&](const execution& e) {
      cross_entropy_of_shards(merged.whole, c.logits(), target.classes(), target.probabilities(), c.options, out.loss, out.grad,
                              e);
    });
    return out.returned();
  }
};

struct divergence_sums_of_shard_function {
  CROSSENT_ARGUMENTS(student, teacher, place, logits, teacher_logits, axis, temperature, softcap, logit_bias, teacher_softcap,
                     teacher_logit_bias, divergence, beta)

  static py::object run(const arguments& given) {
    shard_call c(given[arg::place], given[arg::axis], given[arg::logits]);
    const array t = c.floating("teacher_logits", given[arg::teacher_logits], c.here.shape());
    divergence_options divergence =
        read_divergence(c.row_temperature(given[arg::temperature]), given[arg::divergence], given[arg::beta]);
    c.read_transform(given[arg::softcap], given[arg::logit_bias]);
    c.set_transform(divergence.teacher, "teacher_softcap", given[arg::teacher_softcap], "teacher_logit_bias",
                    given[arg::teacher_logit_bias]);
    const states student(c, given[arg::student]), teacher(c, given[arg::teacher]);
    const std::vector<index> block_counts = c.block_counts();
    const auto subtrees = static_cast<index>(block_counts.size());
    numbers sums({subtrees, 2 * c.row_count(), index{2}});
    c.run([&](const execution& e) {
      divergence_sums_of_shard(student.whole, teacher.whole, c.logits(), input(t), divergence, c.options, block_counts.data(),
                               subtrees, sums.mutable_data(), e);
    });
    return sums;
  }
};

// The states of a distillation. Those of the cross-entropy, or None, are at the temperature 1; so may the student's be, and then
// they count for both.
struct states_of_distillation {
  CROSSENT_ARGUMENTS(student, teacher, cross_entropy, sums)

  bool are_one;
  states student, teacher;
  std::optional<states> cross_entropy;
  numbers sums;

  // at_one: the divergence is at the temperature 1
  states_of_distillation(const shard_call& c, PyObject* given, bool at_one)
      : states_of_distillation(c, items_of(given), at_one) {}
  void confirm(const shard_call& c, const row_target& target) const {
    if (are_one || cross_entropy) (are_one ? student : *cross_entropy).confirm(c, target);
  }
  shards_of_distillation shards() const {
    return {student.whole, teacher.whole, cross_entropy ? cross_entropy->whole : merged_state{}, sums.data()};
  }

 private:
  states_of_distillation(const shard_call& c, const arguments& given, bool at_one)
      : are_one(at_one && given[arg::cross_entropy] != Py_None),
        student(c, given[are_one ? arg::cross_entropy : arg::student]),
        teacher(c, given[arg::teacher]),
        sums(numbers_of("states", given[arg::sums], 4 * c.row_count())) {
    if (!are_one && given[arg::cross_entropy] != Py_None) cross_entropy.emplace(c, given[arg::cross_entropy]);
  }
};

struct distillation_of_shards_function : on_shards<distillation_loss_function> {
  static py::object run(const arguments& given, const gradient_request& request) {
    const arguments loss = of_loss(given);
    shard_call c(given[arg::place], loss[of::axis], loss[of::logits]);
    const bool has_teacher = loss[of::teacher_logits] != Py_None;
    const array t = has_teacher ? c.floating("teacher_logits", loss[of::teacher_logits], c.here.shape()) : array();
    read_ignore_index(loss[of::ignore_index], c.options);
    const row_target target = c.read_target(loss[of::target]);
    const distillation_loss_function::options how = distillation_loss_function::read_options(c, loss, with_batchmean);
    const bool at_one = how.divergence.temperature == 1 && c.options.transform.temperature.data == nullptr;
    const states_of_distillation merged(c, given[arg::states], at_one);
    merged.confirm(c, target);
    const row_outputs out(c, request, c.here);
    c.run([&](const execution& e) {
      distillation_of_shards(merged.shards(), c.logits(), input(t), target.classes(), target.probabilities(), how.terms,
                             how.divergence, c.options, out.loss, out.grad, e);
    });
    return out.returned();
  }
};

// softmax, and log_softmax
template <void (*f)(const merged_state&, const view&, const row_loss_options&, const mutable_view&, const execution&)>
struct normaliser_of_shard_function {
  CROSSENT_ARGUMENTS(states, place, logits, axis, temperature, softcap, logit_bias, out)

  static py::object run(const arguments& given) {
    shard_call c(given[arg::place], given[arg::axis], given[arg::logits]);
    c.read_temperature(given[arg::temperature]);
    c.read_transform(given[arg::softcap], given[arg::logit_bias]);
    const result out = c.result_like("out", given[arg::out], c.here);
    const python::states merged(c, given[arg::states]);
    c.run([&](const execution& e) { f(merged.whole, c.logits(), c.options, output(out.written), e); });
    return out.returned;
  }
};

struct logsumexp_of_shards_function {
  CROSSENT_ARGUMENTS(states, place, axis)

  static py::object run(const arguments& given) {
    shard_call c(given[arg::place], given[arg::axis]);
    const python::states merged(c, given[arg::states]);
    const py::object out = new_array(arithmetic(c.x), c.rows);
    const mutable_view to = output(c.created(out));
    c.run([&](const execution& e) { logsumexp_of_shards(merged.whole, to, e); });
    return scalar_if_0d(out);
  }
};

}  // namespace

PyMethodDef shards[] = {
    method<partial_states_of_shard_function>("partial_states_of_shard"),
    method<count_of_columns_function>("count_of_columns"),
    method<merge_partial_states_function>("merge_partial_states"),
    method<forward<cross_entropy_of_shards_function>>("cross_entropy_of_shards"),
    method<backward<cross_entropy_of_shards_function>>("cross_entropy_of_shards_backward"),
    method<divergence_sums_of_shard_function>("divergence_sums_of_shard"),
    method<forward<distillation_of_shards_function>>("distillation_of_shards"),
    method<normaliser_of_shard_function<&softmax_of_shard>>("softmax_of_shard"),
    method<normaliser_of_shard_function<&log_softmax_of_shard>>("log_softmax_of_shard"),
    method<logsumexp_of_shards_function>("logsumexp_of_shards"),
    {}};

}  // namespace crossent::python

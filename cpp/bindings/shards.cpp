// Losses and normalisers of rows whose classes are in shards.
#include "shards.hpp"

#include <optional>

#include "module.hpp"

namespace crossent::python {
namespace {

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
    const std::vector<index> block_counts = counts_of(given[arg::block_counts], x.size(c.options.axis));
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
  CROSSENT_ARGUMENTS(whole, subtree, target_logits, by_probabilities, logits, start, target, probabilities, axis, temperature,
                     weight, ignore_index, label_smoothing, z_loss, sample_weight, reduction, denominator)

  static py::object run(const arguments& given, const gradient_request& request) {
    shard_call c(given[arg::whole], given[arg::axis]);
    c.read_options(given[arg::temperature], given[arg::weight], given[arg::ignore_index], given[arg::label_smoothing]);
    c.options.z_loss = number(at_least_zero, "z_loss", given[arg::z_loss]);
    c.read_weights_and_reduction(given[arg::sample_weight], given[arg::reduction], given[arg::denominator], common);
    const shard_call::arrays a(c, given[arg::logits], given[arg::start], given[arg::target], given[arg::probabilities]);
    const loss_outputs out(c, request, a.x, c.rows, c.options.reduction);
    c.options.grad_output = broadcast_0d(out.upstream, c.rows);
    c.options.writes_to_caller = request.out != Py_None;
    const merged_rows rows(given[arg::subtree], given[arg::target_logits],
                           format_of(float_type(a.x), as_bool(given[arg::by_probabilities]), c.options), c.row_count());
    c.run([&](const execution& e) {
      cross_entropy_of_shards(rows.whole, a.logits(), a.indices_of_targets(), a.probabilities_of_targets(), c.options, out.loss,
                              out.grad, e);
    });
    return out.returned();
  }
};

struct divergence_subtrees_function {
  CROSSENT_ARGUMENTS(whole, student, teacher, student_smoothed, student_probabilities, logits, teacher_logits, start,
                     block_counts, axis, temperature, divergence, beta)

  static py::object run(const arguments& given) {
    shard_call c(given[arg::whole], given[arg::axis]);
    const array x = c.read_shard(given[arg::logits], given[arg::start]);
    const array t = c.floating("teacher_logits", given[arg::teacher_logits], x.shape());
    const divergence_options divergence = read_divergence(given[arg::temperature], given[arg::divergence], given[arg::beta]);
    const bool extended = float_type(x) == dtype::float64;
    const subtree_format of_student{
        extended, as_bool(given[arg::student_smoothed]), as_bool(given[arg::student_probabilities])};
    const merged_rows student(given[arg::student], Py_None, of_student, c.row_count()),
        teacher(given[arg::teacher], Py_None, {extended}, c.row_count());
    const std::vector<index> block_counts = counts_of(given[arg::block_counts], x.size(c.options.axis));
    const auto subtrees = static_cast<index>(block_counts.size());
    numbers sums({subtrees, 2 * c.row_count(), index{2}});
    c.run([&](const execution& e) {
      divergence_subtrees(student.whole, teacher.whole, input(x), input(t), c.options.axis, divergence, block_counts.data(),
                          subtrees, sums.mutable_data(), e);
    });
    return sums;
  }
};

struct distillation_of_shards_function {
  CROSSENT_ARGUMENTS(whole, student, teacher, subtree, target_logits, sums, by_probabilities, logits, teacher_logits, start,
                     target, probabilities, axis, temperature, alpha, scale_by_temperature, divergence, beta, weight,
                     ignore_index, label_smoothing, z_loss, sample_weight, reduction, denominator)

  // subtree: of the cross-entropy, where there is one. That of the student has its numbers where both are at the temperature 1.
  static py::object run(const arguments& given, const gradient_request& request) {
    shard_call c(given[arg::whole], given[arg::axis]);
    c.read_options(Py_None, given[arg::weight], given[arg::ignore_index], given[arg::label_smoothing]);
    c.options.z_loss = number(at_least_zero, "z_loss", given[arg::z_loss]);
    distillation_options terms;
    terms.alpha = number(fraction, "alpha", given[arg::alpha]);
    terms.scale_by_temperature = as_bool(given[arg::scale_by_temperature]);
    const divergence_options divergence = read_divergence(given[arg::temperature], given[arg::divergence], given[arg::beta]);
    c.read_weights_and_reduction(given[arg::sample_weight], given[arg::reduction], given[arg::denominator], with_batchmean);
    const shard_call::arrays a(c, given[arg::logits], given[arg::start], given[arg::target], given[arg::probabilities]);
    const array t = a.with_gradient ? c.floating("teacher_logits", given[arg::teacher_logits], a.x.shape()) : array();
    const loss_outputs out(c, request, a.x, c.rows, c.options.reduction);
    c.options.grad_output = broadcast_0d(out.upstream, c.rows);
    c.options.writes_to_caller = request.out != Py_None;

    const bool with_cross_entropy = given[arg::subtree] != Py_None, are_one = divergence.temperature == 1 && with_cross_entropy;
    const subtree_format plain{float_type(a.x) == dtype::float64},
        of_cross_entropy = format_of(float_type(a.x), as_bool(given[arg::by_probabilities]), c.options);
    const index count = c.row_count();
    const merged_rows student(given[are_one ? arg::subtree : arg::student], are_one ? given[arg::target_logits] : Py_None,
                              are_one ? of_cross_entropy : plain, count),
        teacher(given[arg::teacher], Py_None, plain, count);
    shards_of_distillation shards{student.whole, teacher.whole, {}, nullptr};
    std::optional<merged_rows> third;
    if (with_cross_entropy && !are_one) {
      third.emplace(given[arg::subtree], given[arg::target_logits], of_cross_entropy, count);
      shards.cross_entropy = third->whole;
    }
    const numbers sums = numbers_of("states", given[arg::sums], 4 * count);
    shards.sums = sums.data();
    c.run([&](const execution& e) {
      distillation_of_shards(shards, a.logits(), a.with_gradient ? input(t) : view{}, a.indices_of_targets(),
                             a.probabilities_of_targets(), terms, divergence, c.options, out.loss, out.grad, e);
    });
    return out.returned();
  }
};

// softmax, and log_softmax
template <void (*f)(const whole_rows&, const view&, int, double, const mutable_view&, const execution&)>
struct normaliser_of_shard_function {
  CROSSENT_ARGUMENTS(whole, subtree, smoothed, probabilities, logits, start, axis, temperature, out)

  static py::object run(const arguments& given) {
    shard_call c(given[arg::whole], given[arg::axis]);
    const array x = c.read_shard(given[arg::logits], given[arg::start]);
    const double temperature = number(positive, "temperature", given[arg::temperature]);
    const result out = c.result_like("out", given[arg::out], x);
    const subtree_format format{
        float_type(x) == dtype::float64, as_bool(given[arg::smoothed]), as_bool(given[arg::probabilities])};
    const merged_rows rows(given[arg::subtree], Py_None, format, c.row_count());
    c.run([&](const execution& e) { f(rows.whole, input(x), c.options.axis, temperature, output(out.written), e); });
    return out.returned;
  }
};

struct logsumexp_of_shards_function {
  CROSSENT_ARGUMENTS(whole, subtree, smoothed, probabilities, axis)

  static py::object run(const arguments& given) {
    shard_call c(given[arg::whole], given[arg::axis]);
    const subtree_format format{
        float_type(c.whole) == dtype::float64, as_bool(given[arg::smoothed]), as_bool(given[arg::probabilities])};
    const merged_rows rows(given[arg::subtree], Py_None, format, c.row_count());
    const py::object out = new_array(arithmetic(c.whole), c.rows);
    const mutable_view to = output(c.created(out));
    c.run([&](const execution& e) { logsumexp_of_shards(rows.whole, to, e); });
    return scalar_if_0d(out);
  }
};

}  // namespace

PyMethodDef shards[] = {
    method<shard_subtrees_function>("shard_subtrees"),
    method<merge_subtrees_function>("merge_subtrees"),
    method<forward<cross_entropy_of_shards_function>>("cross_entropy_of_shards"),
    method<backward<cross_entropy_of_shards_function>>("cross_entropy_of_shards_backward"),
    method<divergence_subtrees_function>("divergence_subtrees"),
    method<forward<distillation_of_shards_function>>("distillation_of_shards"),
    method<backward<distillation_of_shards_function>>("distillation_of_shards_backward"),
    method<normaliser_of_shard_function<&softmax_of_shard>>("softmax_of_shard"),
    method<normaliser_of_shard_function<&log_softmax_of_shard>>("log_softmax_of_shard"),
    method<logsumexp_of_shards_function>("logsumexp_of_shards"),
    {}};

}  // namespace crossent::python

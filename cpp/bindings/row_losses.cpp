#include "row_losses.hpp"

#include <cmath>
#include <utility>
#include <vector>

#include "module.hpp"
#include "predictions.hpp"

namespace crossent::python {
namespace {

// Without a target these options of its cross-entropy would be ignored in silence.
void check_without_target(double alpha, PyObject* weight, const row_loss_options& options) {
  if (alpha != 1) raise_from_python("refuse_alpha", alpha);
  if (weight != Py_None) raise_from_python("refuse_without_target", "weight");
  if (!options.has_ignore_index || options.ignore_index != -100) raise_from_python("refuse_without_target", "ignore_index");
  if (options.label_smoothing != 0) raise_from_python("refuse_without_target", "label_smoothing");
  if (options.z_loss != 0) raise_from_python("refuse_without_target", "z_loss");
}

py::object compute_cross_entropy(row_call& c, const row_target& target, const gradient_request& request) {
  const row_outputs out(c, request, c.x);
  c.run([&](const execution& e) {
    cross_entropy(input(c.x), target.classes(), target.probabilities(), c.options, out.loss, out.grad, e);
  });
  return out.returned();
}

}  // namespace

void cross_entropy_function::read_options(row_call& c, const arguments& given) {
  c.read_weight(given[arg::weight]);
  c.read_sample_weight(given[arg::sample_weight]);
  c.read_temperature(given[arg::temperature]);
  c.read_transform(given[arg::softcap], given[arg::logit_bias]);
  c.options.label_smoothing = number(fraction, "label_smoothing", given[arg::label_smoothing]);
  c.options.z_loss = number(at_least_zero, "z_loss", given[arg::z_loss]);
  c.options.entropy_weight = number(finite, "entropy_weight", given[arg::entropy_weight]);
  read_reduction(given[arg::reduction], given[arg::denominator], common, c.options);
}

py::object cross_entropy_function::run(const arguments& given, const gradient_request& request) {
  row_call c("logits", given[arg::logits], given[arg::axis]);
  read_ignore_index(given[arg::ignore_index], c.options);
  const row_target target{c.class_target(given[arg::target], c.x, c.rows, c.options)};
  read_options(c, given);
  return compute_cross_entropy(c, target, request);
}

distillation_loss_function::options distillation_loss_function::read_options(row_call& c, const arguments& given,
                                                                             reductions_known reductions) {
  options how;
  const bool with_target = given[arg::target] != Py_None;
  c.options.label_smoothing = number(fraction, "label_smoothing", given[arg::label_smoothing]);
  c.options.z_loss = number(at_least_zero, "z_loss", given[arg::z_loss]);
  how.terms.alpha = given[arg::alpha] != Py_None ? number(fraction, "alpha", given[arg::alpha]) : with_target ? 0.5 : 1;
  how.terms.scale_by_temperature = as_bool(given[arg::scale_by_temperature]);
  how.divergence = read_divergence(c.row_temperature(given[arg::temperature]), given[arg::divergence], given[arg::beta]);
  c.read_transform(given[arg::softcap], given[arg::logit_bias]);
  c.set_transform(how.divergence.teacher, "teacher_softcap", given[arg::teacher_softcap], "teacher_logit_bias",
                  given[arg::teacher_logit_bias]);
  c.terms = distillation_terms(how.terms, how.divergence.temperature);
  c.read_weight(given[arg::weight]);
  c.read_sample_weight(given[arg::sample_weight]);
  read_reduction(given[arg::reduction], given[arg::denominator], reductions, c.options);
  return how;
}

py::object distillation_loss_function::run(const arguments& given, const gradient_request& request) {
  row_call c("logits", given[arg::logits], given[arg::axis]);
  const array teacher = c.floating("teacher_logits", given[arg::teacher_logits], c.x.shape());
  read_ignore_index(given[arg::ignore_index], c.options);
  const bool with_target = given[arg::target] != Py_None;
  const row_target target{with_target ? c.class_target(given[arg::target], c.x, c.rows, c.options) : array()};
  const options how = read_options(c, given, common);
  if (!with_target) check_without_target(how.terms.alpha, given[arg::weight], c.options);
  const row_outputs out(c, request, c.x);
  c.run([&](const execution& e) {
    distillation_loss(input(c.x), input(teacher), target.classes(), target.probabilities(), how.terms, how.divergence,
                      c.options, out.loss, out.grad, e);
  });
  return out.returned();
}

namespace {

struct cross_entropy_gradient_hessian_function {
  CROSSENT_ARGUMENTS(logits, target, axis, weight, ignore_index, label_smoothing, sample_weight, hessian, hessian_scale,
                     hessian_floor, grad_out, hess_out)

  static py::object run(const arguments& given) {
    row_call c("logits", given[arg::logits], given[arg::axis]);
    read_ignore_index(given[arg::ignore_index], c.options);
    const array target = c.class_labels(given[arg::target], c.x, c.rows, c.options);
    c.read_weight(given[arg::weight]);
    c.read_positive_sample_weight(given[arg::sample_weight]);   // or the Hessian would not be
    c.options.label_smoothing = number(fraction, "label_smoothing", given[arg::label_smoothing]);
    c.options.reduction = reduction_kind::sum;
    const hessian_options hessian = read_hessian(given[arg::hessian], given[arg::hessian_scale], given[arg::hessian_floor]);
    c.options.writes_to_caller = given[arg::grad_out] != Py_None || given[arg::hess_out] != Py_None;
    const gradient_hessian_outputs out(c, given[arg::grad_out], given[arg::hess_out], c.x);
    class_labels labels;
    if (target.is_integer()) labels.integers = indices(target);
    else if (target.ndim() < c.x.ndim()) labels.numbers = input(target);
    const view probabilities = target.ndim() == c.x.ndim() ? input(target) : view{};
    c.run([&](const execution& e) {
      cross_entropy_gradient_hessian(input(c.x), labels, probabilities, hessian, c.options, out.grad, out.hess, e);
    });
    return out.returned();
  }
};

struct perplexity_function {
  CROSSENT_ARGUMENTS(logits, target, axis, ignore_index)

  static py::object run(const arguments& given) {
    row_call c("logits", given[arg::logits], given[arg::axis]);
    read_ignore_index(given[arg::ignore_index], c.options);
    const row_target target{c.class_target(given[arg::target], c.x, c.rows, c.options)};
    c.options.reduction = reduction_kind::exp_mean;
    return compute_cross_entropy(c, target, {nullptr, Py_False, Py_None});
  }
};

struct fit_temperature_function {
  CROSSENT_ARGUMENTS(logits, target, axis, softcap, logit_bias, ignore_index, sample_weight, bounds, max_passes)

  static py::object run(const arguments& given) {
    row_call c("logits", given[arg::logits], given[arg::axis]);
    read_ignore_index(given[arg::ignore_index], c.options);
    const row_target target{c.class_target(given[arg::target], c.x, c.rows, c.options)};
    c.read_transform(given[arg::softcap], given[arg::logit_bias]);
    c.read_positive_sample_weight(given[arg::sample_weight]);   // or the loss might have no least value
    const auto [low, high] = check_in_python("bounds", given[arg::bounds]).cast<std::pair<double, double>>();
    const index most = check_in_python("max_passes", given[arg::max_passes]).cast<index>();
    temperature_fit fit;
    c.run([&, low = low, high = high](const execution& e) {
      fit = fit_temperature(input(c.x), target.classes(), target.probabilities(), c.options, low, high, most, e);
    });
    if (!std::isfinite(fit.nll_before)) raise_from_python("refuse_fit", fit.nll_before);
    constexpr const char* bounds[] = {"lower", nullptr, "upper"};
    return py::make_tuple(fit.temperature, fit.nll_before, fit.nll_after, bounds[fit.at_bound + 1], fit.passes, fit.converged);
  }
};

struct row_statistics_function {
  CROSSENT_ARGUMENTS(logits, target, axis, ignore_index, temperature, softcap, logit_bias, top_k, n_classes)

  static py::object run(const arguments& given) {
    py::object logits = as_python(given[arg::logits]);
    if (given[arg::n_classes] != Py_None)
      logits = check_in_python("without_padding", logits.ptr(), given[arg::axis], given[arg::n_classes]);
    row_call c("logits", logits.ptr(), given[arg::axis]);
    read_ignore_index(given[arg::ignore_index], c.options);
    const bool has_target = given[arg::target] != Py_None;
    const array target = has_target ? c.class_indices(given[arg::target], c.x, c.rows, c.options) : array();
    c.read_temperature(given[arg::temperature]);
    c.read_transform(given[arg::softcap], given[arg::logit_bias]);
    const index k = check_in_python("top_k", given[arg::top_k], c.x.size(c.options.axis)).cast<index>();
    const prediction_arrays arrays(c.rows, has_target, k, arithmetic(c.x));
    c.run([&](const execution& e) {
      predict(input(c.x), has_target ? indices(target) : index_view{}, c.options, arrays.out, e);
    });
    return arrays.returned();
  }
};

struct row_statistics_backward_function {
  CROSSENT_ARGUMENTS(logits, target, log_prob, entropy, logsumexp, axis, ignore_index, temperature, softcap, logit_bias,
                     n_classes, out)

  static py::object run(const arguments& given) {
    row_call c("logits", given[arg::logits], given[arg::axis]);
    read_ignore_index(given[arg::ignore_index], c.options);
    c.options.shard.classes = given[arg::n_classes] == Py_None ? c.x.size(c.options.axis)
                                                               : check_in_python("classes_without_padding", c.x.shape(),
                                                                                 index{c.options.axis}, given[arg::n_classes])
                                                                     .cast<index>();
    const bool has_target = given[arg::target] != Py_None;
    const array target = has_target ? c.class_indices(given[arg::target], c.x, c.rows, c.options) : array();
    c.read_temperature(given[arg::temperature]);
    c.read_transform(given[arg::softcap], given[arg::logit_bias]);
    const auto upstream = [&](const char* name, int of) {
      return given[of] == Py_None ? view{} : input(c.floating(name, given[of], c.rows));
    };
    const view log_prob = upstream("log_prob", arg::log_prob), entropy = upstream("entropy", arg::entropy),
               logsumexp = upstream("logsumexp", arg::logsumexp);
    if (log_prob.data == nullptr && entropy.data == nullptr && logsumexp.data == nullptr)
      raise_from_python("refuse_no_upstream");
    if (log_prob.data != nullptr && !has_target) raise_from_python("refuse_log_prob");
    const result out = c.result_like("out", given[arg::out], c.x);
    c.run([&](const execution& e) {
      row_statistics_backward(input(c.x), has_target ? indices(target) : index_view{}, log_prob, entropy, logsumexp, c.options,
                              output(out.written), e);
    });
    return out.returned;
  }
};

struct nll_loss_function {
  CROSSENT_ARGUMENTS(log_probs, target, axis, weight, ignore_index, sample_weight, reduction, denominator)

  static py::object run(const arguments& given, const gradient_request& request) {
    row_call c("log_probs", given[arg::log_probs], given[arg::axis]);
    read_ignore_index(given[arg::ignore_index], c.options);
    const array target = c.class_indices(given[arg::target], c.x, c.rows, c.options);
    c.read_weight(given[arg::weight]);
    c.read_sample_weight(given[arg::sample_weight]);
    read_reduction(given[arg::reduction], given[arg::denominator], common, c.options);
    const row_outputs out(c, request, c.x);
    c.run([&](const execution& e) { nll_loss(input(c.x), indices(target), c.options, out.loss, out.grad, e); });
    return out.returned();
  }
};

struct kl_div_with_logits_function {
  CROSSENT_ARGUMENTS(logits, teacher_logits, axis, temperature, softcap, logit_bias, teacher_softcap, teacher_logit_bias,
                     divergence, beta, sample_weight, reduction, denominator)

  static py::object run(const arguments& given, const gradient_request& request) {
    row_call c("logits", given[arg::logits], given[arg::axis]);
    const array teacher = c.floating("teacher_logits", given[arg::teacher_logits], c.x.shape());
    divergence_options divergence =
        read_divergence(c.row_temperature(given[arg::temperature]), given[arg::divergence], given[arg::beta]);
    c.read_transform(given[arg::softcap], given[arg::logit_bias]);
    c.set_transform(divergence.teacher, "teacher_softcap", given[arg::teacher_softcap], "teacher_logit_bias",
                    given[arg::teacher_logit_bias]);
    c.read_sample_weight(given[arg::sample_weight]);
    read_reduction(given[arg::reduction], given[arg::denominator], with_batchmean, c.options);
    const row_outputs out(c, request, c.x);
    c.run([&](const execution& e) {
      kl_div_with_logits(input(c.x), input(teacher), divergence, c.options, out.loss, out.grad, e);
    });
    return out.returned();
  }
};

struct row_divergences_function {
  CROSSENT_ARGUMENTS(logits, teacher_logits, axis, softcap, logit_bias, teacher_softcap, teacher_logit_bias)

  static py::object run(const arguments& given) {
    row_call c("logits", given[arg::logits], given[arg::axis]);
    const array teacher = c.floating("teacher_logits", given[arg::teacher_logits], c.x.shape());
    divergence_options divergence;
    c.read_transform(given[arg::softcap], given[arg::logit_bias]);
    c.set_transform(divergence.teacher, "teacher_softcap", given[arg::teacher_softcap], "teacher_logit_bias",
                    given[arg::teacher_logit_bias]);
    const auto made = [&] { return new_array(arithmetic(c.x), c.rows); };
    const py::object forward_kl = made(), reverse_kl = made(), js = made();
    const divergences_of_rows out{output(c.created(forward_kl)), output(c.created(reverse_kl)), output(c.created(js))};
    c.run([&](const execution& e) { row_divergences(input(c.x), input(teacher), divergence, c.options, out, e); });
    return py::make_tuple(forward_kl, reverse_kl, js);
  }
};

// In the order of the enumerators.
constexpr const char* kinds_of_values[] = {"log_probs", "logits", "probs", "weights"};
constexpr const char* tails[] = {"bucket", "zero", "renormalize", "uniform"};

struct sparse_distillation_loss_function {
  CROSSENT_ARGUMENTS(logits, classes, values, axis, values_are, tail, divergence, temperature, teacher_logsumexp,
                     scale_by_temperature, sample_weight, reduction, denominator)

  static py::object run(const arguments& given, const gradient_request& request) {
    row_call c("logits", given[arg::logits], given[arg::axis]);
    const array classes = c.listed_classes(given[arg::classes], c.x, c.options.axis);
    const array values = c.floating("values", given[arg::values], classes.shape());
    sparse_teacher_options teacher;
    teacher.values = static_cast<teacher_values>(one_of("values_are", given[arg::values_are], kinds_of_values, 4));
    teacher.tail = static_cast<teacher_tail>(one_of("tail", given[arg::tail], tails, 4));
    divergence_options divergence;
    divergence.kind = static_cast<divergence_kind>(one_of("divergence", given[arg::divergence], divergences, 3));
    divergence.temperature = number(positive, "temperature", given[arg::temperature]);
    const bool has_logsumexp = given[arg::teacher_logsumexp] != Py_None;
    const bool are_logarithms = teacher.values == teacher_values::log_probs || teacher.values == teacher_values::logits;
    if (divergence.kind != divergence_kind::forward || (has_logsumexp ? !are_logarithms : divergence.temperature != 1))
      check_in_python("sparse_teacher", given[arg::values_are], given[arg::tail], given[arg::divergence],
                      divergence.temperature, index{has_logsumexp});
    if (has_logsumexp)
      teacher.logsumexp =
          broadcast_0d(input(c.row_numbers("teacher_logsumexp", given[arg::teacher_logsumexp], c.x, c.rows)), c.rows);
    teacher.scale_by_temperature = as_bool(given[arg::scale_by_temperature]);
    c.read_sample_weight(given[arg::sample_weight]);
    read_reduction(given[arg::reduction], given[arg::denominator], common, c.options);
    const row_outputs out(c, request, c.x);
    c.run([&](const execution& e) {
      sparse_distillation_loss(input(c.x), indices(classes), input(values), teacher, divergence, c.options, out.loss, out.grad,
                               e);
    });
    return out.returned();
  }
};

}  // namespace

PyMethodDef row_losses[] = {
    method<forward<cross_entropy_function>>("cross_entropy"),
    method<backward<cross_entropy_function>>("cross_entropy_backward"),
    method<sums<cross_entropy_function>>("cross_entropy_sums"),
    method<cross_entropy_gradient_hessian_function>("cross_entropy_gradient_hessian"),
    method<forward<nll_loss_function>>("nll_loss"),
    method<backward<nll_loss_function>>("nll_loss_backward"),
    method<sums<nll_loss_function>>("nll_loss_sums"),
    method<forward<kl_div_with_logits_function>>("kl_div_with_logits"),
    method<backward<kl_div_with_logits_function>>("kl_div_with_logits_backward"),
    method<sums<kl_div_with_logits_function>>("kl_div_with_logits_sums"),
    method<forward<distillation_loss_function>>("distillation_loss"),
    method<backward<distillation_loss_function>>("distillation_loss_backward"),
    method<sums<distillation_loss_function>>("distillation_loss_sums"),
    method<forward<sparse_distillation_loss_function>>("sparse_distillation_loss"),
    method<backward<sparse_distillation_loss_function>>("sparse_distillation_loss_backward"),
    method<sums<sparse_distillation_loss_function>>("sparse_distillation_loss_sums"),
    method<perplexity_function>("perplexity"),
    method<fit_temperature_function>("fit_temperature"),
    method<row_statistics_function>("row_statistics"),
    method<row_statistics_backward_function>("row_statistics_backward"),
    method<row_divergences_function>("row_divergences"),
    {}};

}  // namespace crossent::python

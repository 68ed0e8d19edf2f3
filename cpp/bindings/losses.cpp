#include "call.hpp"
#include "module.hpp"

namespace crossent::python {
namespace {

// In the order of the enumerators; the last name, another one for the mean, is known to the divergences only.
constexpr const char* reductions[] = {"none", "mean", "sum", "batchmean"};
constexpr const char* divergences[] = {"forward", "reverse", "js"};
enum reductions_known { common = 3, with_batchmean = 4 };

// Whether it is "batchmean", which has no denominator of the caller's.
template <class Options>
bool read_reduction(PyObject* reduction, PyObject* denominator, reductions_known known, Options& options) {
  const int position = one_of("reduction", reduction, reductions, known);
  const bool batchmean = position == 3;
  options.reduction = batchmean ? reduction_kind::mean : static_cast<reduction_kind>(position);
  if (denominator == Py_None) return batchmean;
  if (batchmean || options.reduction != reduction_kind::mean) refuse("refuse_denominator", reduction);
  options.denominator = number(positive, "denominator", denominator);
  return false;
}

divergence_options read_divergence(PyObject* temperature, PyObject* divergence, PyObject* beta) {
  divergence_options options;
  options.temperature = number(positive, "temperature", temperature);
  options.kind = static_cast<divergence_kind>(one_of("divergence", divergence, divergences, 3));
  options.beta = number(fraction, "beta", beta);
  if (options.kind == divergence_kind::js && !(0 < options.beta && options.beta < 1)) refuse("refuse_beta", options.beta);
  return options;
}

// The last two arguments of a loss are return_grad and grad_out, those of its backward function grad_output and out.
struct direction {
  bool backward;
  PyObject *first, *second;
};

// What a loss ends in: the upstream gradient, where it is written to, and what the caller gets.
class outcome {
 public:
  view upstream;
  mutable_view loss, grad;

  outcome(call& c, const direction& d, array x, const shape& of_loss, reduction_kind how) : type_(arithmetic(x)) {
    const bool none = how == reduction_kind::none;
    if (d.backward) {
      upstream = c.upstream(d.first, none ? of_loss : shape{0, nullptr});
      grad = gradient(c, "out", d.second, x);
      return;
    }
    if (truth(d.first)) grad = gradient(c, "grad_out", d.second, x);
    else if (d.second != Py_None) refuse("refuse_grad_out");
    if (none) losses_ = new_array(type_, of_loss);
    loss = none ? output(c.created(losses_)) : mutable_view{&reduced_, type_, 0, nullptr, nullptr};
  }

  py::object returned() const {
    if (loss.data == nullptr) return grad_;
    const py::object value = losses_ ? scalar_if_0d(losses_) : scalar(&reduced_, type_);
    if (!grad_) return value;
    return py::reinterpret_steal<py::object>(PyTuple_Pack(2, value.ptr(), grad_.ptr()));
  }

 private:
  mutable_view gradient(call& c, const char* name, PyObject* out, array x) {
    const result to = c.result_like(name, out, x);
    grad_ = to.returned;
    return output(to.written);
  }

  dtype type_;
  double reduced_ = 0;  // or a float: the core writes it, as a conversion here would depend on the caller's environment
  py::object losses_, grad_;
};

// What a call of a loss of rows begins with.
struct row_call : call {
  row_loss_options options;
  array x;
  rows_of rows;

  row_call(const char* name, PyObject* given, PyObject* axis)
      : x(floating(name, given)), rows(x, options.axis = loss_axis(name, x, axis)) {}

  void read_weight(PyObject* weight) { options.weight = input(class_weights(weight, x, rows, options.axis)); }
  void read_sample_weight(PyObject* weight) {
    options.sample_weight = for_each(input(row_weights(weight, x, rows)), rows);
  }
};

// y: class indices or probabilities
void cross_entropy_of_either(array x, array y, const row_loss_options& options, const outcome& out,
                             const execution& how) {
  if (y.is_integer()) cross_entropy(input(x), indices(y), options, out.loss, out.grad, how);
  else cross_entropy(input(x), input(y), options, out.loss, out.grad, how);
}

// cross_entropy, or nll_loss, which takes class indices only.
py::object index_loss(const char* name, bool of_logits, const arguments& given, bool backward) {
  enum { logits, target, axis, weight, ignore_index, label_smoothing, sample_weight, reduction, denominator,
         first, second };
  row_call c(name, given[logits], given[axis]);
  read_ignore_index(given[ignore_index], c.options);
  const array y = of_logits ? c.class_target(given[target], c.x, c.rows, c.options)
                            : c.class_indices(given[target], c.x, c.rows, c.options);
  c.read_weight(given[weight]);
  c.read_sample_weight(given[sample_weight]);
  c.options.label_smoothing = number(fraction, "label_smoothing", given[label_smoothing]);
  read_reduction(given[reduction], given[denominator], common, c.options);
  const outcome out(c, {backward, given[first], given[second]}, c.x, c.rows, c.options.reduction);
  c.options.grad_output = for_each(out.upstream, c.rows);
  c.run([&](const execution& how) {
    if (of_logits) cross_entropy_of_either(c.x, y, c.options, out, how);
    else nll_loss(input(c.x), indices(y), c.options, out.loss, out.grad, how);
  });
  return out.returned();
}

py::object cross_entropy_of(const arguments& given, bool backward) {
  return index_loss("logits", true, given, backward);
}

py::object nll_loss_of(const arguments& given, bool backward) {
  return index_loss("log_probs", false, given, backward);
}

py::object perplexity_of(const arguments& given) {
  enum { logits, target, axis, ignore_index };
  row_call c("logits", given[logits], given[axis]);
  read_ignore_index(given[ignore_index], c.options);
  const array y = c.class_target(given[target], c.x, c.rows, c.options);
  c.options.reduction = reduction_kind::exp_mean;
  const outcome out(c, {false, Py_False, Py_None}, c.x, c.rows, c.options.reduction);
  c.run([&](const execution& how) { cross_entropy_of_either(c.x, y, c.options, out, how); });
  return out.returned();
}

py::object kl_div_with_logits_of(const arguments& given, bool backward) {
  enum { logits, teacher_logits, axis, temperature, divergence, beta, sample_weight, reduction, denominator,
         first, second };
  row_call c("logits", given[logits], given[axis]);
  const array teacher = c.floating("teacher_logits", given[teacher_logits], c.x.shape());
  const divergence_options measure = read_divergence(given[temperature], given[divergence], given[beta]);
  c.read_sample_weight(given[sample_weight]);
  read_reduction(given[reduction], given[denominator], with_batchmean, c.options);
  const outcome out(c, {backward, given[first], given[second]}, c.x, c.rows, c.options.reduction);
  c.options.grad_output = for_each(out.upstream, c.rows);
  c.run([&](const execution& how) {
    kl_div_with_logits(input(c.x), input(teacher), measure, c.options, out.loss, out.grad, how);
  });
  return out.returned();
}

py::object distillation_loss_of(const arguments& given, bool backward) {
  enum { logits, teacher_logits, target, axis, temperature, alpha, scale_by_temperature, divergence, beta, weight,
         ignore_index, label_smoothing, sample_weight, reduction, denominator, first, second };
  row_call c("logits", given[logits], given[axis]);
  const array teacher = c.floating("teacher_logits", given[teacher_logits], c.x.shape());
  read_ignore_index(given[ignore_index], c.options);
  c.options.label_smoothing = number(fraction, "label_smoothing", given[label_smoothing]);
  const bool with_target = given[target] != Py_None;
  const array y = with_target ? c.class_target(given[target], c.x, c.rows, c.options) : array();
  distillation_options terms;
  terms.alpha = given[alpha] != Py_None ? number(fraction, "alpha", given[alpha]) : with_target ? 0.5 : 1;
  if (!with_target) {  // what the cross-entropy alone has would be ignored in silence
    if (terms.alpha != 1) refuse("refuse_alpha", terms.alpha);
    if (given[weight] != Py_None) refuse("refuse_without_target", "weight");
    if (!c.options.has_ignore_index || c.options.ignore_index != -100) refuse("refuse_without_target", "ignore_index");
    if (c.options.label_smoothing != 0) refuse("refuse_without_target", "label_smoothing");
  }
  terms.scale_by_temperature = truth(given[scale_by_temperature]);
  const divergence_options measure = read_divergence(given[temperature], given[divergence], given[beta]);
  c.read_weight(given[weight]);
  c.read_sample_weight(given[sample_weight]);
  read_reduction(given[reduction], given[denominator], common, c.options);
  const outcome out(c, {backward, given[first], given[second]}, c.x, c.rows, c.options.reduction);
  c.options.grad_output = for_each(out.upstream, c.rows);
  const bool by_index = with_target && y.is_integer();
  c.run([&](const execution& how) {
    distillation_loss(input(c.x), input(teacher), by_index ? indices(y) : index_view{}, by_index ? view{} : input(y),
                      terms, measure, c.options, out.loss, out.grad, how);
  });
  return out.returned();
}

using element_loss = void (*)(const view&, const view&, const element_loss_options&, const mutable_view&,
                              const mutable_view&, const execution&);

py::object element_loss_of(element_loss f, call& c, array x, array target, element_loss_options& options,
                           const direction& d) {
  const rows_of elements(x), rows(x, options.axis);
  const outcome out(c, d, x, rows, options.reduction);
  options.grad_output = for_each(out.upstream, elements);
  index strides[64] = {};
  if (options.axis >= 0 && out.upstream.ndim > 0) {  // of the rows: the same for all that was summed
    for (int e = 0, r = 0; e < elements.ndim; ++e)
      if (e != options.axis) strides[e] = out.upstream.strides[r++];
    options.grad_output = {out.upstream.data, out.upstream.type, elements.ndim, elements.size, strides};
  }
  c.run([&](const execution& how) { f(input(x), input(target), options, out.loss, out.grad, how); });
  return out.returned();
}

py::object binary_cross_entropy_of(const arguments& given, bool backward) {
  enum { probs, target, weight, log_floor, reduction, denominator, first, second };
  call c;
  element_loss_options options;
  const array x = c.floating("probs", given[probs]);
  c.within("probs", x, 0, 1);
  const array y = c.binary_target(given[target], x);
  options.weight = input(c.element_weights("weight", given[weight], x));
  options.log_floor = given[log_floor] == Py_None ? -std::numeric_limits<double>::infinity()
                                                  : number(at_most_zero, "log_floor", given[log_floor]);
  read_reduction(given[reduction], given[denominator], common, options);
  return element_loss_of(&binary_cross_entropy, c, x, y, options, {backward, given[first], given[second]});
}

py::object binary_cross_entropy_with_logits_of(const arguments& given, bool backward) {
  enum { logits, target, weight, pos_weight, label_smoothing, reduction, denominator, first, second };
  call c;
  element_loss_options options;
  const array x = c.floating("logits", given[logits]);
  const array y = c.binary_target(given[target], x);
  options.weight = input(c.element_weights("weight", given[weight], x));
  options.pos_weight = input(c.element_weights("pos_weight", given[pos_weight], x));
  options.label_smoothing = number(fraction, "label_smoothing", given[label_smoothing]);
  read_reduction(given[reduction], given[denominator], common, options);
  if (given[second] == Py_None) options.check_target = c.leave_check_to_core(y);   // what is written is not the caller's
  return element_loss_of(&binary_cross_entropy_with_logits, c, x, y, options, {backward, given[first], given[second]});
}

py::object kl_div_of(const arguments& given, bool backward) {
  enum { log_probs, target, log_target, axis, reduction, denominator, first, second };
  call c;
  element_loss_options options;
  const array x = c.floating("log_probs", given[log_probs]);
  if (given[axis] != Py_None) options.axis = class_axis("log_probs", x, given[axis]);
  const array y = c.floating("target", given[target], x.shape());
  options.log_target = truth(given[log_target]);
  if (!options.log_target) c.within("target", y, 0, 1);
  if (read_reduction(given[reduction], given[denominator], with_batchmean, options)) {
    const rows_of rows(x, options.axis);
    const int counted = options.axis >= 0 ? rows.ndim : std::min(rows.ndim, 1);
    options.denominator = 1;
    for (int d = 0; d < counted; ++d) options.denominator *= static_cast<double>(rows.size[d]);
  }
  return element_loss_of(&kl_div, c, x, y, options, {backward, given[first], given[second]});
}

template <py::object (*f)(const arguments&, bool), bool backward> py::object directed(const arguments& given) {
  return f(given, backward);
}

template <py::object (*f)(const arguments&, bool)> PyMethodDef forward(const char* name) {
  return method<&directed<f, false>>(name);
}

template <py::object (*f)(const arguments&, bool)> PyMethodDef backward(const char* name) {
  return method<&directed<f, true>>(name);
}

}  // namespace

PyMethodDef losses[] = {
    forward<&cross_entropy_of>("cross_entropy"),
    backward<&cross_entropy_of>("cross_entropy_backward"),
    forward<&nll_loss_of>("nll_loss"),
    backward<&nll_loss_of>("nll_loss_backward"),
    forward<&kl_div_with_logits_of>("kl_div_with_logits"),
    backward<&kl_div_with_logits_of>("kl_div_with_logits_backward"),
    forward<&distillation_loss_of>("distillation_loss"),
    backward<&distillation_loss_of>("distillation_loss_backward"),
    forward<&binary_cross_entropy_of>("binary_cross_entropy"),
    backward<&binary_cross_entropy_of>("binary_cross_entropy_backward"),
    forward<&binary_cross_entropy_with_logits_of>("binary_cross_entropy_with_logits"),
    backward<&binary_cross_entropy_with_logits_of>("binary_cross_entropy_with_logits_backward"),
    forward<&kl_div_of>("kl_div"),
    backward<&kl_div_of>("kl_div_backward"),
    method<&perplexity_of>("perplexity"),
    {}};

}  // namespace crossent::python

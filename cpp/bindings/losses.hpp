// The parts that all losses share: the reduction, the outputs, and the two functions in the module.
#pragma once

#include <tuple>
#include <type_traits>
#include <utility>

#include "call.hpp"

namespace crossent::python {

// In the order of the enumerators. The fourth reduction, another name of the mean, exists for the divergences only.
inline constexpr const char* reductions[] = {"none", "mean", "sum", "batchmean"};
enum reductions_known { common = 3, with_batchmean = 4 };

// Whether it is "batchmean", which excludes a denominator given by the caller.
template <class Options>
bool read_reduction(PyObject* reduction, PyObject* denominator, reductions_known known, Options& options) {
  const int position = one_of("reduction", reduction, reductions, known);
  const bool batchmean = position == 3;
  options.reduction = batchmean ? reduction_kind::mean : static_cast<reduction_kind>(position);
  if (denominator == Py_None) return batchmean;
  if (batchmean || options.reduction != reduction_kind::mean) raise_from_python("refuse_denominator", reduction);
  options.denominator = number(positive, "denominator", denominator);
  return false;
}

// In the order of the enumerators.
inline constexpr const char* divergences[] = {"forward", "reverse", "js"};

inline divergence_options read_divergence(double temperature, PyObject* divergence, PyObject* beta) {
  divergence_options options;
  options.temperature = temperature;
  options.kind = static_cast<divergence_kind>(one_of("divergence", divergence, divergences, 3));
  options.beta = number(fraction, "beta", beta);
  if (options.kind == divergence_kind::js && !(0 < options.beta && options.beta < 1))
    raise_from_python("refuse_beta", options.beta);
  return options;
}

// The arguments in which a loss and its backward function differ.
struct gradient_request {
  PyObject* grad_output;   // of the backward function; of the loss nullptr
  PyObject* return_grad;   // of the loss; of the backward function nullptr
  PyObject* out;           // grad_out of the loss
  PyObject* denominators = nullptr;  // of the sums of blocks of rows: of the gradient; None: the weights are summed
};

// The sums of blocks of rows in place of a reduction, where these are wanted.
template <class Options> bool read_block_sums(PyObject* denominators, Options& options) {
  if (denominators == nullptr) return false;
  options.reduction = reduction_kind::block_weights;
  if (denominators == Py_None) return true;
  options.reduction = reduction_kind::block_sums;
  std::tie(options.denominators[0], options.denominators[1]) = as_python(denominators).cast<std::pair<double, double>>();
  return true;
}

// The last arguments of a core function: the upstream gradient, and where the loss and the gradient go.
class loss_outputs {
 public:
  view upstream;
  mutable_view loss, grad;

  // rows: the shape of the losses. Of a sum of `terms`; may set the reduction of the options.
  template <class Options>
  loss_outputs(call& c, const gradient_request& request, array x, const shape& rows, Options& options, const loss_terms& terms)
      : type_(arithmetic(x)), has_sums_(read_block_sums(request.denominators, options)), rows_(rows.count()), terms_(terms) {
    const bool none = options.reduction == reduction_kind::none;
    if (request.grad_output != nullptr) {
      upstream = c.upstream(request.grad_output, none ? rows : shape{0, nullptr});
      grad = gradient(c, "out", request.out, x);
      return;
    }
    if (as_bool(request.return_grad)) grad = gradient(c, "grad_out", request.out, x);
    else if (request.out != Py_None) raise_from_python("refuse_grad_out");
    const index sums[] = {terms.count, block_count(rows_), 2};
    if (has_sums_) losses_ = new_array(dtype::float64, {3, sums});
    else if (none) losses_ = new_array(type_, rows);
    loss = losses_ ? output(c.created(losses_)) : mutable_view{&reduced_, type_, 0, nullptr, nullptr};
  }

  // The gradient, the loss, or both; of sums also the number of rows, the shares of the terms and the dtype of the loss.
  py::object returned() const {
    if (loss.data == nullptr) return grad_;
    py::object value = losses_ ? scalar_if_0d(losses_) : scalar(&reduced_, type_);
    if (grad_) value = py::reinterpret_steal<py::object>(PyTuple_Pack(2, value.ptr(), grad_.ptr()));
    if (!has_sums_) return value;
    py::tuple shares(terms_.count);
    for (int k = 0; k < terms_.count; ++k) shares[static_cast<std::size_t>(k)] = terms_.share[k];
    return py::make_tuple(value, rows_, shares, numpy_dtype(type_));
  }

 private:
  mutable_view gradient(call& c, const char* name, PyObject* out, array x) {
    const result to = c.result_like(name, out, x);
    grad_ = to.returned;
    return output(to.written);
  }

  dtype type_;
  bool has_sums_;
  index rows_;
  loss_terms terms_;
  double reduced_ = 0;  // or a float: the core writes it, as a conversion here would use the caller's rounding mode
  py::object losses_, grad_;
};

// In the order of hessian_options::absolute.
inline constexpr const char* hessians[] = {"diagonal", "absolute"};

inline hessian_options read_hessian(PyObject* hessian, PyObject* scale, PyObject* floor) {
  hessian_options options;
  options.absolute = one_of("hessian", hessian, hessians, 2) == 1;
  options.scale = number(at_least_zero, "hessian_scale", scale);
  options.floor = number(at_least_zero, "hessian_floor", floor);
  return options;
}

// Gradient and Hessian, the last arguments of their functions.
class gradient_hessian_outputs {
 public:
  mutable_view grad, hess;

  gradient_hessian_outputs(call& c, PyObject* grad_out, PyObject* hess_out, array x) {
    const result of_gradient = c.result_like("grad_out", grad_out, x);
    c.record_input("grad_out", of_gradient.returned.ptr());
    const result of_hessian = c.result_apart("hess_out", hess_out, x);
    grad_ = of_gradient.returned;
    hess_ = of_hessian.returned;
    grad = output(of_gradient.written);
    hess = output(of_hessian.written);
  }
  py::object returned() const { return py::reinterpret_steal<py::object>(PyTuple_Pack(2, grad_.ptr(), hess_.ptr())); }

 private:
  py::object grad_, hess_;
};

// The two functions of a loss. Their arguments are those of `Loss` and those of the gradient_request.
template <class Loss> struct forward {
  static py::object run(const arguments& given) {
    return Loss::run(given, {nullptr, given[Loss::arg::count], given[Loss::arg::count + 1]});
  }
};

template <class Loss> struct backward {
  static py::object run(const arguments& given) {
    const gradient_request request{given[0], nullptr, given[Loss::arg::count + 1]};
    return Loss::run(given.without_first(), request);
  }
};

// Of some rows of a larger batch: the sums of their blocks.
template <class Loss> struct sums {
  static py::object run(const arguments& given) {
    const arguments of_loss = given.without_first();
    return Loss::run(of_loss, {nullptr, of_loss[Loss::arg::count], of_loss[Loss::arg::count + 1], given[0]});
  }
};

template <class Loss> std::string argument_names(const forward<Loss>&) { return Loss::names() + ", return_grad, grad_out"; }
template <class Loss> std::string argument_names(const sums<Loss>&) {
  return "denominators, " + argument_names(forward<Loss>{});
}
template <class Loss> std::string argument_names(const backward<Loss>&) { return "grad_output, " + Loss::names() + ", out"; }

}  // namespace crossent::python

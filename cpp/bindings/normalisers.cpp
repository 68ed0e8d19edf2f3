#include "call.hpp"
#include "module.hpp"

namespace crossent::python {
namespace {

// Whether the classes of x are not along one axis, or it has none: for Python, which makes one of them.
bool is_over_axes(array x, PyObject* axis) { return axis == Py_None || PyTuple_Check(axis) || x.ndim() == 0; }

// The same call in Python, of the function of this name.
template <class Function> py::object over_axes(const char* name, const arguments& given) {
  constexpr std::size_t count = Function::arg::count;
  py::tuple all(count);
  for (std::size_t i = 0; i < count; ++i) all[i] = py::handle(given[static_cast<int>(i)]);
  return check_in_python("over_axes", name, all.ptr());
}

// The dtype of the result: that of x, or float32 beside a half type.
py::object result_dtype(array x, PyObject* dtype, PyObject* out) {
  const bool is_given =
      dtype != Py_None || (is_plain(out) && type_number(py::detail::array_proxy(out)->descr) != x.type_number());
  if (!is_given) return as_python(x.dtype());
  const py::object checked = check_in_python("result_dtype", x.dtype(), dtype, out);
  const int number = type_number(checked.ptr());
  if (number != x.type_number() && number != numpy::NPY_FLOAT_) raise_changed("dtype");
  return checked;
}

using normaliser = void (*)(const view&, const normaliser_options&, const mutable_view&, const execution&);
using normaliser_backward = void (*)(const view&, const view&, int, double, const mutable_view&, const execution&);

normaliser_options read_options(call& c, array x, int axis, PyObject* temperature, PyObject* cap, PyObject* bias) {
  normaliser_options options;
  array of_rows;
  options.axis = axis;
  options.temperature = c.temperature(temperature, rows_of(x, axis), of_rows);
  options.transform = {softcap("softcap", cap), input(c.class_bias("logit_bias", bias, x.size(axis))), input(of_rows)};
  return options;
}

template <normaliser f, bool is_log> struct normaliser_function {
  CROSSENT_ARGUMENTS(x, axis, temperature, softcap, logit_bias, dtype, out)

  static py::object run(const arguments& given) {
    call c;
    const array x = c.floating("x", given[arg::x]);
    if (is_over_axes(x, given[arg::axis])) return over_axes<normaliser_function>(is_log ? "log_softmax" : "softmax", given);
    const normaliser_options options = read_options(c, x, class_axis("x", x, given[arg::axis]), given[arg::temperature],
                                                    given[arg::softcap], given[arg::logit_bias]);
    const py::object dtype = result_dtype(x, given[arg::dtype], given[arg::out]);
    const result out = c.result_like("out", given[arg::out], x, dtype.ptr());
    c.run([&](const execution& e) { f(input(x), options, output(out.written), e); });
    return out.returned;
  }
};

// name: of y, the result of the forward function `of`
template <class Function>
py::object normalise_backward(normaliser_backward f, const char* of, const char* name, PyObject* y_given,
                              const arguments& given) {
  using arg = typename Function::arg;
  call c;
  const array y = c.floating(name, y_given);
  if (is_over_axes(y, given[arg::axis])) return over_axes<Function>(of, given);
  const int axis = class_axis(name, y, given[arg::axis]);
  const double temperature = number(positive, "temperature", given[arg::temperature]);
  const array grad_output = c.floating("grad_output", given[arg::grad_output], y.shape());
  const result out = c.result_like("out", given[arg::out], y);
  c.run([&](const execution& e) { f(input(grad_output), input(y), axis, temperature, output(out.written), e); });
  return out.returned;
}

struct softmax_backward_function {
  CROSSENT_ARGUMENTS(grad_output, probs, axis, temperature, out)

  static py::object run(const arguments& given) {
    return normalise_backward<softmax_backward_function>(&softmax_backward, "softmax_backward", "probs", given[arg::probs],
                                                         given);
  }
};

struct log_softmax_backward_function {
  CROSSENT_ARGUMENTS(grad_output, log_probs, axis, temperature, out)

  static py::object run(const arguments& given) {
    return normalise_backward<log_softmax_backward_function>(&log_softmax_backward, "log_softmax_backward", "log_probs",
                                                             given[arg::log_probs], given);
  }
};

// The shape of x with the class axis in length 1, or without it.
struct reduced_shape {
  int ndim = 0;
  index size[max_axes];

  reduced_shape(array x, int axis, bool keepdims) {
    for (int d = 0; d < x.ndim(); ++d)
      if (d != axis) size[ndim++] = x.size(d);
      else if (keepdims) size[ndim++] = 1;
  }
  operator shape() const { return {ndim, size}; }
};

struct logsumexp_function {
  CROSSENT_ARGUMENTS(x, axis, temperature, softcap, logit_bias, keepdims, out)

  static py::object run(const arguments& given) {
    call c;
    const array x = c.floating("x", given[arg::x]);
    if (is_over_axes(x, given[arg::axis])) return over_axes<logsumexp_function>("logsumexp", given);
    const int axis = sum_axis("x", x, given[arg::axis]);
    const bool keepdims = as_bool(given[arg::keepdims]);
    const reduced_shape as(x, axis, keepdims);
    const normaliser_options options =
        read_options(c, x, axis, given[arg::temperature], given[arg::softcap], given[arg::logit_bias]);
    const py::object created = given[arg::out] == Py_None ? new_array(arithmetic(x), as) : py::object();
    const array out = created ? c.created(created) : c.output("out", given[arg::out], numpy_dtype(arithmetic(x)).ptr(), as);
    const rows_of rows(out, keepdims ? axis : -1);
    c.run([&](const execution& e) { logsumexp(input(x), options, rows.output(out), e); });
    return created ? scalar_if_0d(created) : py::reinterpret_borrow<py::object>(given[arg::out]);
  }
};

struct logsumexp_backward_function {
  CROSSENT_ARGUMENTS(grad_output, x, axis, temperature, softcap, logit_bias, keepdims, out)

  static py::object run(const arguments& given) {
    call c;
    const array x = c.floating("x", given[arg::x]);
    if (is_over_axes(x, given[arg::axis])) return over_axes<logsumexp_backward_function>("logsumexp_backward", given);
    const int axis = sum_axis("x", x, given[arg::axis]);
    const bool keepdims = as_bool(given[arg::keepdims]);
    const array grad_output = c.floating("grad_output", given[arg::grad_output], reduced_shape(x, axis, keepdims));
    const rows_of rows(grad_output, keepdims ? axis : -1);
    const normaliser_options options =
        read_options(c, x, axis, given[arg::temperature], given[arg::softcap], given[arg::logit_bias]);
    const result out = c.result_like("out", given[arg::out], x);
    c.run([&](const execution& e) { logsumexp_backward(rows.input(grad_output), input(x), options, output(out.written), e); });
    return out.returned;
  }
};

template <void (*f)(const view&, const mutable_view&, const execution&)> struct element_function {
  CROSSENT_ARGUMENTS(x, out)

  static py::object run(const arguments& given) {
    call c;
    const array x = c.floating("x", given[arg::x]);
    const result out = c.result_like("out", given[arg::out], x);
    c.run([&](const execution& e) { f(input(x), output(out.written), e); });
    return given[arg::out] == Py_None ? scalar_if_0d(out.returned) : out.returned;
  }
};

}  // namespace

PyMethodDef normalisers[] = {
    method<normaliser_function<&softmax, false>>("softmax"),
    method<softmax_backward_function>("softmax_backward"),
    method<normaliser_function<&log_softmax, true>>("log_softmax"),
    method<log_softmax_backward_function>("log_softmax_backward"),
    method<logsumexp_function>("logsumexp"),
    method<logsumexp_backward_function>("logsumexp_backward"),
    method<element_function<&sigmoid>>("sigmoid"),
    method<element_function<&log_sigmoid>>("log_sigmoid"),
    {}};

}  // namespace crossent::python

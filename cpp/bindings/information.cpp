#include "call.hpp"
#include "module.hpp"

namespace crossent::python {
namespace {

double base_of(PyObject* base) { return base == Py_None ? 0 : check_in_python("logarithm_base", base).cast<double>(); }

// Runs f(out, execution), which writes a number for each row of x, and returns these.
template <class F> py::object compute_rows(call& c, array x, int axis, F f) {
  const py::object created = new_array(arithmetic(x), rows_of(x, axis));
  const array out = c.created(created);
  c.run([&](const execution& e) { f(output(out), e); });
  return scalar_if_0d(created);
}

struct entropy_function {
  CROSSENT_ARGUMENTS(p, axis, base)

  static py::object run(const arguments& given) {
    call c;
    const array p = c.floating("p", given[arg::p]);
    c.within("p", p, 0, largest(p));
    const int axis = class_axis("p", p, given[arg::axis]);
    const double base = base_of(given[arg::base]);
    return compute_rows(c, p, axis,
                        [&](const mutable_view& out, const execution& e) { entropy(input(p), axis, base, out, e); });
  }
};

using comparison = void (*)(const view&, const view&, int, double, const mutable_view&, const execution&);

template <comparison f> struct comparison_function {
  CROSSENT_ARGUMENTS(p, q, axis, base)

  static py::object run(const arguments& given) {
    call c;
    const array p = c.floating("p", given[arg::p]);
    const array q = c.floating("q", given[arg::q], p.shape());
    c.within("p", p, 0, largest(p));
    c.within("q", q, 0, largest(p));
    const int axis = class_axis("p", p, given[arg::axis]);
    const double base = base_of(given[arg::base]);
    return compute_rows(c, p, axis,
                        [&](const mutable_view& out, const execution& e) { f(input(p), input(q), axis, base, out, e); });
  }
};

struct entropy_with_logits_function {
  CROSSENT_ARGUMENTS(logits, axis)

  static py::object run(const arguments& given) {
    call c;
    const array x = c.floating("logits", given[arg::logits]);
    const int axis = class_axis("logits", x, given[arg::axis]);
    return compute_rows(c, x, axis,
                        [&](const mutable_view& out, const execution& e) { entropy_with_logits(input(x), axis, out, e); });
  }
};

// Raises ValueError unless all numbers of a floating array are in [low, high].
struct within_function {
  CROSSENT_ARGUMENTS(name, x, low, high)

  static py::object run(const arguments& given) {
    const char* name = PyUnicode_AsUTF8(given[arg::name]);
    const double low = PyFloat_AsDouble(given[arg::low]), high = PyFloat_AsDouble(given[arg::high]);
    if (PyErr_Occurred() != nullptr) throw python_error();
    call c;
    c.within(name, c.floating(name, given[arg::x]), low, high);
    c.run([](const execution&) {});
    return py::none();
  }
};

}  // namespace

PyMethodDef information[] = {
    method<entropy_function>("entropy"),
    method<comparison_function<&information_cross_entropy>>("information_cross_entropy"),
    method<comparison_function<&kl_divergence>>("kl_divergence"),
    method<comparison_function<&js_divergence>>("js_divergence"),
    method<entropy_with_logits_function>("entropy_with_logits"),
    method<within_function>("within"),
    {}};

}  // namespace crossent::python

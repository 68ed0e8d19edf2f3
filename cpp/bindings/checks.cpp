#include <atomic>
#include <limits>

#include "call.hpp"

namespace crossent::python {
namespace {

using std::numeric_limits;

// The type number of bfloat16, once Python has recognised that dtype: NumPy gives each number to one dtype only.
std::atomic<int> bfloat16_number{numpy_first_of_others - 1};

// All of these are false for an absent array.
bool is_floating(array x) {
  if (!x || !x.is_native()) return false;
  const int number = x.type_number();
  return number == numpy::NPY_FLOAT_ || number == numpy::NPY_DOUBLE_ || number == numpy_half ||
         number == bfloat16_number.load(std::memory_order_relaxed);
}
// x: an array that Python has recognised.
void note_bfloat16(array x) {
  if (x && x.type_number() >= numpy_first_of_others) bfloat16_number = x.type_number();
}
bool is_integer(array x) { return x && x.is_native() && x.is_integer(); }
bool is_floating_or_integer(array x) { return is_floating(x) || is_integer(x); }

// Whether x has the dtype in which a call on `like` computes.
bool is_arithmetic(array x, array like) { return is_floating(x) && float_type(x) == arithmetic(like); }

// The axis, or -1 if x does not have this axis or its length is 0.
int usable_axis(array x, long axis) {
  return 0 <= axis && axis < x.ndim() && x.size(static_cast<int>(axis)) > 0 ? static_cast<int>(axis) : -1;
}

int axis_from(const py::object& checked, array x) {
  const int axis = as_int(checked.ptr());
  if (axis < 0 || axis >= x.ndim()) raise_changed("axis");
  return axis;
}

// All classes of the rows of x, which may have some of them only.
index class_count(array x, const row_loss_options& options) {
  return options.shard.classes > 0 ? options.shard.classes : x.size(options.axis);
}

int ordinary_axis(array x, PyObject* axis) {
  if (!PyLong_CheckExact(axis)) return -1;
  int overflow;
  const long index = PyLong_AsLongAndOverflow(axis, &overflow);
  return overflow == 0 ? usable_axis(x, index < 0 ? index + x.ndim() : index) : -1;
}

// Imported by the first argument that is not ordinary: it and what it imports take a quarter of the time of the package.
PyObject* checks() {
  static std::atomic<PyObject*> imported{nullptr};
  PyObject* module = imported.load(std::memory_order_acquire);
  if (module != nullptr) return module;
  module = or_sleep([] { return PyImport_ImportModule(checks_name.c_str()); });
  if (module == nullptr) throw python_error();
  imported.store(module, std::memory_order_release);
  return module;
}

}  // namespace

std::string checks_name;

const number_check fraction{"fraction", 0, 1};
const number_check positive{"positive", numeric_limits<double>::min(), numeric_limits<double>::max()};
const number_check at_least_zero{"at_least_zero", 0, numeric_limits<double>::max()};
const number_check at_most_zero{"at_most_zero", -numeric_limits<double>::infinity(), 0};
const number_check finite{"finite", -numeric_limits<double>::max(), numeric_limits<double>::max()};

py::object call_check(const char* check, const py::object* given, std::size_t count) {
  py::tuple arguments(count);
  for (std::size_t i = 0; i < count; ++i) arguments[i] = given[i];
  const py::object function = py::handle(checks()).attr(check);
  PyObject* result = or_sleep([&] { return PyObject_CallObject(function.ptr(), arguments.ptr()); });
  if (result == nullptr) throw python_error();
  return py::reinterpret_steal<py::object>(result);
}

void raise_changed(const char* name) {
  check_in_python("refuse_changed", name);
  throw std::logic_error("refuse_changed did not raise");
}

py::object ignored_class(const row_loss_options& options) {
  return options.has_ignore_index ? as_python(index{options.ignore_index}) : py::object(py::none());
}

py::object as_python(const shape& x) {
  py::tuple result(x.ndim);
  for (int d = 0; d < x.ndim; ++d) result[static_cast<std::size_t>(d)] = x.size[d];
  return result;
}

bool as_bool(PyObject* x) {
  const int result = or_sleep([&] { return PyObject_IsTrue(x); });
  if (result < 0) throw python_error();
  return result != 0;
}

double number(const number_check& check, const char* name, PyObject* x) {
  double value = numeric_limits<double>::quiet_NaN();
  int overflow = 0;
  if (PyFloat_CheckExact(x)) value = PyFloat_AS_DOUBLE(x);
  else if (PyLong_CheckExact(x)) value = static_cast<double>(PyLong_AsLongAndOverflow(x, &overflow));
  if (check.low <= value && value <= check.high && overflow == 0) return value;
  return check_in_python(check.name, name, x).cast<double>();
}

double softcap(const char* name, PyObject* x) { return x == Py_None ? 0 : number(positive, name, x); }

int one_of(const char* name, PyObject* x, const char* const* names, int count) {
  for (int i = 0; i < count && PyUnicode_CheckExact(x); ++i)
    if (PyUnicode_CompareWithASCIIString(x, names[i]) == 0) return i;
  py::tuple known(count);
  for (int i = 0; i < count; ++i) known[static_cast<std::size_t>(i)] = names[i];
  raise_from_python("refuse_name", name, x, known.ptr());
}

int sum_axis(const char* name, array x, PyObject* axis) {
  const int found = ordinary_axis(x, axis);
  return found >= 0 ? found : axis_from(check_in_python("sum_axis", name, x.shape(), axis), x);
}

int class_axis(const char* name, array x, PyObject* axis) {
  const int found = ordinary_axis(x, axis);
  return found >= 0 ? found : axis_from(check_in_python("class_axis", name, x.shape(), axis), x);
}

int loss_axis(const char* name, array x, PyObject* axis) {
  const int found = axis == Py_None ? usable_axis(x, x.ndim() > 1) : ordinary_axis(x, axis);
  return found >= 0 ? found : axis_from(check_in_python("loss_axis", name, x.shape(), axis), x);
}

void read_ignore_index(PyObject* x, row_loss_options& options) {
  options.has_ignore_index = x != Py_None;
  int overflow = 1;
  if (PyLong_CheckExact(x)) options.ignore_index = PyLong_AsLongLongAndOverflow(x, &overflow);
  if (options.has_ignore_index && overflow != 0)
    options.ignore_index = check_in_python("ignored_class", x).cast<std::int64_t>();
}

void call::record_input(const char* name, PyObject* x) { inputs_[inputs_count_++] = {name, x}; }

array call::floating(const char* name, PyObject* x) {
  record_input(name, x);
  if (const array ordinary = inspect(x); is_floating(ordinary)) return keep(name, ordinary);
  const py::object made = check_in_python("floating", name, x);
  note_bfloat16(inspect(made.ptr()));
  return converted(name, made, is_floating);
}

array call::floating(const char* name, PyObject* x, const shape& as) {
  const array result = floating(name, x);
  if (!(result.shape() == as)) raise_from_python("refuse_shape", name, result.shape(), as);
  return result;
}

array call::within(const char* name, array x, double low, double high) {
  bounds_[bounds_count_++] = {name, x, low, high};
  return x;
}

bool call::leave_check_to_core(array x) {
  if (bounds_count_ != 1 || bounds_[0].x.object() != x.object()) return false;
  return bounds_[0].by_core = true;
}

array call::class_indices(PyObject* target, array x, const rows_of& rows, const row_loss_options& options) {
  record_input("target", target);
  array y = inspect(target);
  if (is_integer(y) && y.shape() == rows) y = keep("target", y);
  else y = converted("target", check_in_python("class_indices", target, x.shape(), rows), is_integer, rows);
  classes_ = {y, class_count(x, options), &options};
  return y;
}

array call::class_target(PyObject* target, array x, const rows_of& rows, const row_loss_options& options) {
  const array q = inspect(target);
  if (q && q.is_integer()) return class_indices(target, x, rows, options);
  record_input("target", target);
  if (is_floating(q) && q.shape() == x.shape() && options.has_ignore_index && options.ignore_index == -100)
    return within("target", keep("target", q), 0, 1);
  const array y = converted("target", check_in_python("class_target", target, x.shape(), rows, ignored_class(options).ptr()),
                            is_floating_or_integer);
  if (!(y.shape() == (y.is_integer() ? shape(rows) : x.shape()))) raise_changed("target");
  classes_ = {y, class_count(x, options), &options};
  return y;
}

array call::class_labels(PyObject* target, array x, const rows_of& rows, const row_loss_options& options) {
  const array q = inspect(target);
  if (q && (q.is_integer() || q.shape() == x.shape())) return class_target(target, x, rows, options);
  record_input("target", target);
  array y;
  if (is_floating(q) && q.shape() == rows) {
    y = keep("target", q);
  } else {
    const py::object made = check_in_python("class_labels", target, x.shape(), rows, ignored_class(options).ptr());
    note_bfloat16(inspect(made.ptr()));
    y = converted("target", made, is_floating_or_integer);
  }
  if (!(y.shape() == rows) && !(is_floating(y) && y.shape() == x.shape())) raise_changed("target");
  classes_ = {y, class_count(x, options), &options};
  return y;
}

array call::binary_target(PyObject* target, array x) {
  record_input("target", target);
  if (const array y = inspect(target); is_floating(y) && y.shape() == x.shape())
    return within("target", keep("target", y), 0, 1);
  return converted("target", check_in_python("binary_target", target, x.shape(), x.dtype()), is_floating, x.shape());
}

array call::class_weights(PyObject* weight, array x, const rows_of& rows, int axis) {
  if (weight == Py_None) return {};
  record_input("weight", weight);
  const index classes = x.size(axis);
  const shape as{1, &classes};
  // A single row has the shape of the weights, so that its gradient may overwrite them: then Python copies them.
  if (const array w = inspect(weight); rows.ndim > 0 && is_arithmetic(w, x) && w.shape() == as)
    return within("weight", keep("weight", w), 0, largest(x));
  return converted("weight", check_in_python("class_weights", weight, classes, rows, x.dtype()), is_floating, as);
}

array call::class_bias(const char* name, PyObject* bias, index classes) {
  if (bias == Py_None) return {};
  record_input(name, bias);
  const shape as{1, &classes};
  if (const array b = inspect(bias); is_floating(b) && b.shape() == as)
    return within(name, keep(name, b), -numeric_limits<double>::infinity(), largest(b));
  return converted(name, check_in_python("class_bias", name, bias, classes), is_floating, as);
}

double call::temperature(PyObject* given, const rows_of& rows, array& of_rows) {
  if (PyFloat_CheckExact(given) || PyLong_CheckExact(given)) return number(positive, "temperature", given);
  if (const array t = inspect(given); is_floating(t) && t.ndim() > 0 && t.shape() == rows) {
    record_input("temperature", given);
    of_rows = within("temperature", keep("temperature", t), least_positive(t), largest(t));
    return 1;
  }
  const py::object checked = check_in_python("temperatures", given, rows);
  if (PyFloat_CheckExact(checked.ptr())) return PyFloat_AS_DOUBLE(checked.ptr());
  record_input("temperature", given);
  of_rows = converted("temperature", checked, is_floating, rows);
  return 1;
}

array call::row_numbers(const char* name, PyObject* given, array x, const rows_of& rows) {
  if (given == Py_None) return {};
  record_input(name, given);
  if (const array v = inspect(given); is_arithmetic(v, x) && v.shape() == rows)
    return within(name, keep(name, v), -largest(x), largest(x));
  const array v = converted(name, check_in_python("row_numbers", name, given, rows, x.dtype()), is_floating);
  if (v.ndim() > 0 && !(v.shape() == rows)) raise_changed(name);
  return v;
}

array call::listed_classes(PyObject* classes, array x, int axis) {
  record_input("classes", classes);
  const auto fits = [&](array y) {
    if (y.ndim() != x.ndim()) return false;
    for (int d = 0; d < x.ndim(); ++d)
      if (d != axis && y.size(d) != x.size(d)) return false;
    return true;
  };
  array y = inspect(classes);
  if (is_integer(y) && fits(y)) y = keep("classes", y);
  else y = converted("classes", check_in_python("listed_classes", classes, x.shape(), index{axis}), is_integer);
  if (!fits(y)) raise_changed("classes");
  classes_ = {y, x.size(axis), nullptr, axis};
  return y;
}

array call::element_weights(const char* name, PyObject* given, array x, double low) {
  if (given == Py_None) return {};
  record_input(name, given);
  if (const array w = inspect(given); is_floating(w) && w.shape() == x.shape())
    return within(name, keep(name, w), low, largest(x));
  const py::object made = check_in_python("element_weights", name, given, x.shape(), x.dtype(), low);
  return converted(name, made, is_floating, x.shape());
}

view call::upstream(PyObject* grad_output, const shape& loss_shape) {
  if (loss_shape.ndim > 0 || !PyFloat_CheckExact(grad_output)) return input(floating("grad_output", grad_output, loss_shape));
  upstream_ = PyFloat_AS_DOUBLE(grad_output);
  return {&upstream_, dtype::float64, 0, nullptr, nullptr};
}

}  // namespace crossent::python

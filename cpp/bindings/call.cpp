#include "call.hpp"

#include <limits>

namespace crossent::python {
namespace {

// Runs the handlers of pending signals; the exception one raised stays set on this thread.
bool signal_raised(void* gil) {
  return static_cast<without_gil*>(gil)->with_gil([] { return PyErr_CheckSignals() != 0; });
}

int thread_limit() {
  PyObject* limits = nullptr;
  if (PyContextVar_Get(thread_limits, nullptr, &limits) != 0) throw python_error();
  const auto held = py::reinterpret_steal<py::object>(limits);
  if (!PyTuple_CheckExact(limits) || PyTuple_GET_SIZE(limits) == 0)
    throw py::type_error("thread_limits: expected a tuple of int");
  return as_int(PyTuple_GET_ITEM(limits, PyTuple_GET_SIZE(limits) - 1));
}

}  // namespace

PyObject* thread_limits = nullptr;

execution current_execution() { return {thread_limit(), &signal_raised, nullptr}; }

int as_int(PyObject* x) {
  const long value = PyLong_AsLong(x);
  if (value == -1 && PyErr_Occurred() != nullptr) throw python_error();
  return static_cast<int>(std::clamp<long>(value, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()));
}

call::~call() {
  for (int i = 0; i < arrays_count_; ++i) {
    Py_DECREF(arrays_[i].dtype);
    Py_DECREF(arrays_[i].object);
  }
}

array call::inspect(PyObject* x) {
  if (!is_plain(x)) return {};
  if (arrays_count_ == most_arrays) throw std::logic_error("a call has more arrays than there is room for");
  arrays_[arrays_count_].read(x);
  return array(&arrays_[arrays_count_]);
}

// With a reference held here, ndarray.resize() does not move the memory.
array call::keep(const char* name, array x) {
  names_[arrays_count_++] = name;
  Py_INCREF(x.object());
  Py_INCREF(x.dtype());
  return x;
}

array call::created(const py::object& x) { return keep("", inspect(x.ptr())); }

array call::converted(const char* name, const py::object& x, bool (*is_wanted)(array)) {
  const array result = inspect(x.ptr());
  if (!result || !is_wanted(result)) raise_changed(name);
  return keep(name, result);
}

array call::converted(const char* name, const py::object& x, bool (*is_wanted)(array), const shape& as) {
  const array result = converted(name, x, is_wanted);
  if (!(result.shape() == as)) raise_changed(name);
  return result;
}

void call::confirm_arrays() const {
  for (int i = 0; i < arrays_count_; ++i)
    if (!arrays_[i].is_unchanged()) raise_changed(names_[i]);
}

void call::run(core_work work) {
  execution e = current_execution();
  confirm_arrays();
  const bounds* exceeded = nullptr;
  range_violation found;
  try {
    without_gil here;
    e.context = &here;
    for (int i = 0; i < bounds_count_ && exceeded == nullptr; ++i) {
      if (bounds_[i].by_core) continue;
      found = first_outside(input(bounds_[i].x), bounds_[i].low, bounds_[i].high, e);
      if (found.element >= 0) exceeded = &bounds_[i];
    }
    if (exceeded == nullptr) work.f(work.object, e);
  } catch (const interrupted_error&) {
    throw python_error();
  } catch (const target_range_error& error) {
    exceeded = &bounds_[0];
    found = error;
  } catch (const label_error& error) {
    const array y = classes_.target;
    if (error.element >= 0) raise_from_python("refuse_label", "target", y.shape(), y.dtype(), error.element, error.value);
  } catch (const teacher_error& error) {
    raise_from_python("refuse_teacher", classes_.target.shape(), index{classes_.axis}, error.element, error.value,
                      index{error.is_sum});
  } catch (const target_error& error) {
    if (classes_.options == nullptr)
      raise_from_python("refuse_listed_class", classes_.target.shape(), index{classes_.axis}, error.row, error.value.c_str(),
                        classes_.count);
    const py::object ignored = ignored_class(*classes_.options);
    raise_from_python("refuse_class", "target", classes_.target.shape(), error.row, error.value.c_str(), classes_.count,
                      ignored.ptr());
  }
  if (exceeded == nullptr) return;
  const auto& [name, x, low, high, by_core] = *exceeded;
  if (found.among > 0) raise_from_python("refuse_values", name, x.shape(), found.element, found.among, low, high);
  raise_from_python("refuse_value", name, x.shape(), x.dtype(), found.element, found.value, low, high);
}

}  // namespace crossent::python

#include "call.hpp"

namespace crossent::python {
namespace {

// Runs the handlers of pending signals; the exception one raised stays set on this thread.
bool signal_raised() {
  py::gil_scoped_acquire_simple gil;
  return PyErr_CheckSignals() != 0;
}

int thread_limit() {
  PyObject* limits = nullptr;
  if (PyContextVar_Get(thread_limits, nullptr, &limits) != 0) throw py::error_already_set();
  const auto held = py::reinterpret_steal<py::object>(limits);
  return static_cast<int>(PyLong_AsLong(PyTuple_GET_ITEM(limits, PyTuple_GET_SIZE(limits) - 1)));
}

}  // namespace

PyObject* thread_limits = nullptr;

execution how_to_run() { return {thread_limit(), &signal_raised}; }

void call::run_any(void (*f)(void*, const execution&), void* context) {
  const execution how = how_to_run();
  const bounds* exceeded = nullptr;
  index at = -1;
  try {
    py::gil_scoped_release_simple no_gil;
    for (int i = 0; i < bounds_count_ && exceeded == nullptr; ++i) {
      if (bounds_[i].by_core) continue;
      at = first_outside(input(bounds_[i].x), bounds_[i].low, bounds_[i].high, how);
      if (at >= 0) exceeded = &bounds_[i];
    }
    if (exceeded == nullptr) f(context, how);
  } catch (const interrupted_error&) {
    throw py::error_already_set();
  } catch (const outside_error& error) {
    exceeded = &bounds_[0];
    at = error.element;
  } catch (const target_error& error) {
    const py::object ignored = ignored_class(*classes_.options);
    refuse("refuse_class", classes_.target, error.row, error.value.c_str(), classes_.count, ignored.ptr());
  }
  if (exceeded != nullptr) refuse("refuse_value", exceeded->name, exceeded->x, at, exceeded->low, exceeded->high);
}

}  // namespace crossent::python

#include "module.hpp"

#include <new>
#include <stdexcept>

namespace crossent::python {
namespace {

// The module has state of the process, which interpreters cannot share.
bool is_main_interpreter() { return PyInterpreterState_Get() == PyInterpreterState_Main(); }
constexpr char not_in_sub_interpreters[] =
    "crossent cannot be imported in a sub-interpreter: expected the main one of the process";

// Of the C++ exception that is being handled.
void set_python_exception() {
  try {
    throw;
  } catch (const python_error&) {   // NOLINT(bugprone-empty-catch): Python has the exception
  } catch (py::error_already_set& error) {   // from a call in pybind11
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::length_error&) {   // a vector would be larger than memory can be
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
}

}  // namespace

PyObject* invoke(function f, const arguments& given) noexcept {
  try {
    return f(given).release().ptr();
  } catch (...) {   // the end of the process, too
    or_sleep(&set_python_exception);
    return nullptr;
  }
}

}  // namespace crossent::python

PYBIND11_MODULE(_core_of_the_process, m, pybind11::mod_gil_not_used()) {
  using namespace crossent::python;
  if (!is_main_interpreter()) throw py::import_error(not_in_sub_interpreters);
  for (PyMethodDef* functions :
       {normalisers, row_losses, element_losses, row_sums, shards, shard_statistics, information, process})
    if (PyModule_AddFunctions(m.ptr(), functions) != 0) throw py::error_already_set();
  thread_limits = PyContextVar_New("crossent.num_threads", py::make_tuple(0).ptr());
  if (thread_limits == nullptr) throw py::error_already_set();
  const std::string name = py::str(m.attr("__name__"));
  checks_name = name.substr(0, name.rfind('.')) + "._validate";
  m.attr("thread_limits") = py::handle(thread_limits);
  m.attr("block_size") = crossent::block_size;
}

// Before Python 3.13 this runs in the interpreter that imports, where pybind11 would wait for ever for the GIL that a
// sub-interpreter shares with the main one; later it runs in the main one, and the function above in the other.
extern "C" PYBIND11_EXPORT PyObject* PyInit__core() {   // NOLINT(bugprone-reserved-identifier,cert-dcl*): as Python wants it
  using namespace crossent::python;
  if (is_main_interpreter()) return PyInit__core_of_the_process();
  PyErr_SetString(PyExc_ImportError, not_in_sub_interpreters);
  return nullptr;
}

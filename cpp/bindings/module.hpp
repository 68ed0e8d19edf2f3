// The functions of the module: positional arguments of any type, one object returned.
#pragma once

#include <string>

#include "call.hpp"

namespace crossent::python {

using function = py::object (*)(const arguments&);

// Calls f(given) and turns a C++ exception into a Python one.
PyObject* invoke(function f, const arguments& given) noexcept;

// The names of a function's arguments, in their order.
template <class Function> std::string argument_names(const Function&) { return Function::names(); }

template <class Function> PyObject* enter(PyObject*, PyObject* const* given, Py_ssize_t count) {
  return invoke(&Function::run, arguments(given, count));
}

// The entry of `Function` in the table of its file: Function::run(arguments) returns the result; inspect.signature() finds the
// names of the arguments. pybind11 is bypassed: its conversion of arguments takes longer than the
// checks in call.hpp.
template <class Function> PyMethodDef method(const char* name) {
  const std::string names = argument_names(Function{});
  static const std::string text_signature = name + ('(' + names) + (names.empty() ? "" : ", /") + ")\n--\n\n";
  return {
      name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&enter<Function>)), METH_FASTCALL,
      text_signature.c_str()};
}

extern PyMethodDef normalisers[], row_losses[], element_losses[], row_sums[], shards[], shard_statistics[], information[],
    process[];

}  // namespace crossent::python

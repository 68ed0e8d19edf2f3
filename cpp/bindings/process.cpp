#include "module.hpp"

namespace crossent::python {
namespace {

py::object use(const arguments& given) {
  if (!PyModule_Check(given[0])) throw py::type_error("use_checks: expected a module");
  checks = Py_NewRef(given[0]);
  return py::none();
}

py::object set_threads(const arguments& given) {
  set_num_threads(as_int(given[0]));
  return py::none();
}

py::object threads(const arguments&) { return py::int_(num_threads(how_to_run().threads)); }

py::object build(const arguments&) {
  const build_info built = info();
  py::list levels;
  for (const char* const* level = isa_levels(); *level != nullptr; ++level) levels.append(*level);
  py::dict result;
  result["version"] = built.version;
  result["isa"] = built.isa;
  result["isa_levels"] = levels;
  result["compiler"] = built.compiler;
  result["openmp"] = built.openmp;
  return result;
}

// A function of vmath over contiguous arrays of float32 or float64; whether there is such a function.
py::object sweep(const arguments& given) {
  enum { function, from, to };
  const char* name = PyUnicode_AsUTF8(given[function]);
  if (name == nullptr) throw python_error();
  call c;
  const array x = c.floating("x", given[from]), out = c.output("out", given[to], x, x.shape());
  if (float_type(x) != arithmetic(x) || !x.has(numpy::NPY_ARRAY_C_CONTIGUOUS_) || !out.has(numpy::NPY_ARRAY_C_CONTIGUOUS_))
    throw py::type_error("vmath: expected C-contiguous arrays of float32 or float64");
  index n = 1;
  for (int d = 0; d < x.ndim(); ++d) n *= x.size(d);
  bool known = false;
  c.run([&](const execution&) { known = vmath(name, float_type(x), x.data(), out.data(), n); });
  return py::bool_(known);
}

}  // namespace

PyMethodDef process[] = {
    method<&use>("use_checks"),
    method<&set_threads>("set_num_threads"),
    method<&threads>("num_threads"),
    method<&build>("info"),
    method<&sweep>("vmath"),
    {}};

}  // namespace crossent::python

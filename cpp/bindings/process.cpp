#include "module.hpp"

namespace crossent::python {
namespace {

py::object use(const arguments& given) {
  checks = Py_NewRef(given[0]);
  return py::none();
}

py::object set_threads(const arguments& given) {
  set_num_threads(static_cast<int>(PyLong_AsLong(given[0])));
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

// A function of vmath over contiguous arrays; whether there is such a function.
py::object sweep(const arguments& given) {
  enum { function, from, to };
  const array x(given[from]), out(given[to]);
  index n = 1;
  for (int d = 0; d < x.ndim(); ++d) n *= x.size(d);
  return py::bool_(vmath(PyUnicode_AsUTF8(given[function]), float_type(x), x.data(), out.data(), n));
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

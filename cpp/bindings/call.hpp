// One call of a core function: checks its arguments, holds the arrays that it reads and writes, and runs it without the GIL
// and open to Ctrl-C.
//
// A check here passes ordinary arguments only. It hands every other argument to the function of the same name in
// python/crossent/_validate.py, which converts it or raises; an argument that is certainly wrong goes to a `refuse_`
// function there. No message is made here.
//
// A check in Python may run any code, which may change arrays that were checked before. So the fields of an array are read
// once and nothing but this copy is used; after the last check, confirm_arrays() raises if an array differs from its copy.
// From then on no Python code runs until the core has returned.
#pragma once

#include <string>

#include "arrays.hpp"
#include "interpreter.hpp"

// The positional arguments of a function, written once: an enumerator for each, arg::count, and their names in the same order.
#define CROSSENT_ARGUMENTS(...)  \
  struct arg {                   \
    enum { __VA_ARGS__, count }; \
  };                             \
  static std::string names() { return #__VA_ARGS__; }
#define CROSSENT_NO_ARGUMENTS \
  static std::string names() { return {}; }

namespace crossent::python {

// The positional arguments of a function of the module.
class arguments {
 public:
  arguments(PyObject* const* given, Py_ssize_t count) : given_(given), count_(count) {}
  PyObject* operator[](int i) const {
    if (i >= count_) throw py::type_error("an argument of a core function is missing");
    return given_[i];
  }
  arguments without_first(int n = 1) const { return {given_ + n, count_ - n}; }

 private:
  PyObject* const* given_;
  Py_ssize_t count_;
};

// A Python object from a C++ value.
inline py::object as_python(PyObject* x) { return py::reinterpret_borrow<py::object>(x); }
inline py::object as_python(const char* x) { return py::str(x); }
inline py::object as_python(double x) { return py::float_(x); }
inline py::object as_python(index x) { return py::int_(x); }
py::object as_python(const shape& x);

// The name of the module python/crossent/_validate.py, set at import: the package may have another name than its own.
extern std::string checks_name;

// Calls the function `check` of that module.
py::object call_check(const char* check, const py::object* given, std::size_t count);
template <class... A> py::object check_in_python(const char* check, const A&... a) {
  const py::object given[] = {as_python(a)...};
  return call_check(check, given, sizeof...(a));
}
// Raises because an argument was changed after it was checked.
[[noreturn]] void raise_changed(const char* name);
// Calls the function `refuse`, which raises.
template <class... A> [[noreturn]] void raise_from_python(const char* refuse, const A&... a) {
  check_in_python(refuse, a...);
  raise_changed("an argument");  // it returned: the argument has become valid in the meantime
}

bool as_bool(PyObject* x);
int as_int(PyObject* x);   // clamped to the range of int

// A check of a number in Python, and the bounds within which it need not be called.
struct number_check {
  const char* name;
  double low, high;
};
extern const number_check fraction, positive, at_least_zero, at_most_zero, finite;
double number(const number_check& check, const char* name, PyObject* given);

// The position of `given` in `names`.
int one_of(const char* name, PyObject* given, const char* const* names, int count);

// The class axis, counted from 0; of `sum_axis` there may be no class. For the losses None is the default axis.
int sum_axis(const char* name, array x, PyObject* axis);
int class_axis(const char* name, array x, PyObject* axis);
int loss_axis(const char* name, array x, PyObject* axis);

// None: 0.
double softcap(const char* name, PyObject* given);

void read_ignore_index(PyObject* given, row_loss_options& options);
py::object ignored_class(const row_loss_options& options);  // an int or None

// An output: the object that the caller gets, and the array that the core writes.
struct result {
  py::object returned;
  array written;
};

// What a call does in the core, as a reference to a function object.
struct core_work {
  const void* object;
  void (*f)(const void* object, const execution&);

  template <class F>
  core_work(const F& work)   // implicit
      : object(&work), f([](const void* o, const execution& e) { (*static_cast<const F*>(o))(e); }) {}
};

class call {
 public:
  call() = default;
  ~call();
  call(const call&) = delete;
  call& operator=(const call&) = delete;

  // Arrays that the core reads. run() checks the values that are left to check.
  array floating(const char* name, PyObject* given);
  array floating(const char* name, PyObject* given, const shape& as);
  array within(const char* name, array x, double low, double high);
  // Returns true if x is the only array whose values are left to check. The core then checks them as it reads x
  // (target_range_error).
  bool leave_check_to_core(array x);
  array class_indices(PyObject* target, array x, const rows_of& rows, const row_loss_options& options);
  array class_target(PyObject* target, array x, const rows_of& rows, const row_loss_options& options);
  array binary_target(PyObject* target, array x);
  // The same, or labels that are floating numbers.
  array class_labels(PyObject* target, array x, const rows_of& rows, const row_loss_options& options);
  array class_weights(PyObject* weight, array x, const rows_of& rows, int axis);
  // Finite or -inf: one per class. None: none.
  array class_bias(const char* name, PyObject* bias, index classes);
  // The temperature of all rows, or 1 and one of each in `of_rows`.
  double temperature(PyObject* given, const rows_of& rows, array& of_rows);
  array row_weights(PyObject* sample_weight, array x, const rows_of& rows) {
    return row_numbers("sample_weight", sample_weight, x, rows);
  }
  // Finite numbers, of any sign: one per row, or one for all of them.
  array row_numbers(const char* name, PyObject* given, array x, const rows_of& rows);
  // Classes in the shape of x but for the class axis.
  array listed_classes(PyObject* classes, array x, int axis);
  array element_weights(const char* name, PyObject* given, array x, double low);   // low: the least weight
  view upstream(PyObject* grad_output, const shape& loss_shape);

  // Remembers an input as it was given, or the first of two outputs, for the check of an output against it.
  void record_input(const char* name, PyObject* given);
  // An array that the core writes, of this dtype. It may be one of the inputs recorded before, or else share no memory with
  // them.
  array output(const char* name, PyObject* out, PyObject* dtype, const shape& as);
  // The same in the shape of x. If `out` is None, a new array.
  result result_like(const char* name, PyObject* out, array x, PyObject* dtype);
  result result_like(const char* name, PyObject* out, array x) { return result_like(name, out, x, x.dtype()); }
  // The same as result_like, but apart from all of them.
  result result_apart(const char* name, PyObject* out, array x);
  // An array made for this call, of which no other code has a reference.
  array created(const py::object& x);

  // Calls work(execution) without the GIL, once the arrays and their values are checked.
  void run(core_work work);

 private:
  struct named_input {
    const char* name;
    PyObject* given;
  };
  struct bounds {
    const char* name;
    array x;
    double low, high;
    bool by_core = false;
  };
  struct classes {
    array target;
    index count;
    const row_loss_options* options;   // nullptr: they are listed, along `axis`
    int axis = -1;
  };

  static constexpr int most_arrays = 20;   // inputs, converted inputs and outputs

  // The fields of x as they are now, valid until the next call; none if x is not a plain ndarray.
  array inspect(PyObject* x);
  // Makes the array inspected last a part of the call, which holds a reference to it.
  array keep(const char* name, array x);
  // Keeps the array that Python made of an argument, after a check of its dtype and shape.
  array converted(const char* name, const py::object& x, bool (*is_wanted)(array));
  array converted(const char* name, const py::object& x, bool (*is_wanted)(array), const shape& as);
  bool can_write(array out, int type_number, const shape& as) const;
  // An output as this check of Python's returns it.
  array output_by(const char* check, const char* name, PyObject* out, PyObject* dtype, const shape& as);
  void confirm_arrays() const;

  array_fields arrays_[most_arrays];   // those kept, then the one inspected last
  const char* names_[most_arrays];
  int arrays_count_ = 0;
  named_input inputs_[12];
  bounds bounds_[8];
  classes classes_{};
  double upstream_ = 0;
  int inputs_count_ = 0, bounds_count_ = 0;
};

// A context variable: the tuple of the thread limits around the caller. The last one holds.
extern PyObject* thread_limits;
execution current_execution();

}  // namespace crossent::python

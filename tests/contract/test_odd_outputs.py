"""Outputs of every kind, beside or in place of an input: the bits of a new array, or an error if an input is harmed."""

import numpy as np
import pytest
from contract.bad_calls import FIRST, OF_PROBABILITIES, VALID, WITH_OUTPUT, buffer_of, result_shape
from contract.odd_calls import VARIANTS, Derived, arguments_of, results
from support import assert_same_bits

import crossent as xe

WRITEABLE = [variant for variant in VARIANTS
             if variant not in ("wrapped", "list", "read-only") and "byte-swapped" not in variant]


@pytest.mark.parametrize("variant", WRITEABLE)
@pytest.mark.parametrize("name", WITH_OUTPUT)
def test_same_results_in_odd_outputs(name, variant):
    argument, _ = buffer_of(name)
    arguments = VALID[name] if name == "logsumexp" else arguments_of(name)
    wanted = results(name, **arguments)[-1]
    out = VARIANTS[variant](np.full(result_shape(name), np.nan))
    assert results(name, **arguments, **{argument: out})[-1] is out
    assert_same_bits(out, wanted)


@pytest.mark.parametrize("name", [name for name in WITH_OUTPUT if name != "logsumexp"])
def test_outputs_beside_an_input(name):
    """Up to the byte before it, or from the byte behind it; a byte further is refused, unless the array is the same."""
    argument, _ = buffer_of(name)
    arguments = arguments_of(name)
    wanted = results(name, **arguments)[-1]
    for step in (1, -1):
        for offset, refused in ((0, False), (1, True), (47, True), (49, True), (95, True), (96, False)):
            store = np.zeros(144, np.uint8)
            x, out = (store[start:start + 48].view(float).reshape(2, 3) for start in (48, offset))
            x = x[::step, ::step]
            x[...] = arguments[FIRST[name]]
            got = results(name, **{**arguments, FIRST[name]: x, argument: out})
            if refused:
                assert got[0] is ValueError
                assert argument in got[1]
            else:
                assert_same_bits(out, wanted)
            assert_same_bits(x, arguments[FIRST[name]])


@pytest.mark.parametrize("name", [name for name in WITH_OUTPUT if name != "logsumexp"])
def test_output_that_is_an_input_turned_round(name):
    """The same bytes in the same shape, but not the same array."""
    argument, _ = buffer_of(name)
    square = np.full((2, 2), 0.5)
    arguments = {key: np.indices((2,) * value.ndim)[-1] if value.dtype.kind == "i" else square if value.ndim == 2
                 else np.ones(2) for key, value in VALID[name].items() if isinstance(value, np.ndarray)}
    arguments |= {"grad_output": np.ones((2, 2) if "softmax" in name else ())} if "grad_output" in VALID[name] else {}
    if name == "logsumexp_backward":
        arguments["grad_output"] = np.ones(2)
    first = FIRST[name]
    for x, out in ((square, square.T), (square.T, square), (square, square[::-1]), (square[::-1], square)):
        got = results(name, **{**arguments, first: x, argument: out})
        assert got[0] is ValueError
        assert argument in got[1]
    assert (square == 0.5).all()


def test_output_that_overlaps_class_probabilities():
    for name in OF_PROBABILITIES:
        argument, _ = buffer_of(name)
        store = np.full(12, 0.25)
        for target in (store[1:7], store[:6][::-1], store[3:9].view(Derived)):
            got = results(name, **{**VALID[name], "target": target.reshape(2, 3), argument: store[:6].reshape(2, 3)})
            assert got[0] is ValueError
            assert argument in got[1]
            assert "target" in got[1]


def test_output_in_place_of_the_weights_of_one_row(rng):
    """One row and its class weights have the same shape."""
    for classes in (3, 5000):
        x, w = rng.normal(0, 3, classes), rng.uniform(0.5, 2, classes)
        for target in (1, rng.dirichlet(np.ones(classes))):
            wanted = xe.cross_entropy(x, target, weight=w, label_smoothing=0.125, return_grad=True)
            out = w.copy()
            loss, grad = xe.cross_entropy(x, target, weight=out, label_smoothing=0.125, return_grad=True, grad_out=out)
            assert grad is out
            assert loss == wanted[0]
            assert_same_bits(grad, wanted[1])


def test_output_in_place_through_another_object():
    for name in WITH_OUTPUT:
        argument, _ = buffer_of(name)
        first, arguments = FIRST[name], arguments_of(name)
        if name == "logsumexp":
            continue
        wanted = results(name, **arguments)[-1]
        for view in (np.ndarray.view, lambda a: a.view(Derived), lambda a: a[:], lambda a: a.reshape(1, 2, 3)[0]):
            x = arguments[first].copy()
            assert_same_bits(results(name, **{**arguments, first: x, argument: view(x)})[-1], wanted)
            assert_same_bits(x, wanted)

"""The package beside the libraries that it plugs into."""

import nox

from sessions.steps import install, jax_headers, one_of, pages

# Of evaluation what reads files by libraries: `tests` runs the rest. Three processes at most: parallel has more.
SUITES = ("pytorch", "jax_arrays", "scikit_learn", "boosting", "dask_arrays", "evaluation/test_inputs.py",
          "evaluation/test_llama_tables.py", "processes")
FEW_PROCESSES = " and ".join(f"not {many}" for many in ("gloo-5", "mpi-4", "mpi-5", "mpi-8", "mpi-9"))


@nox.session
def adapters(session: nox.Session) -> None:
    """All adapters beside their libraries: the short form of each suite, and their pages. Minutes."""
    extras = "boosting,dask,demo,evaluation,evaluation-files,jax,mpi,sklearn,test,torch"
    install(session, extras, "dask[dataframe]", "expecttest", "mpich>=5", "optax", "pandas", "pytest-xdist")
    options = ("-n", "2", "--dist", "loadfile", "-k", FEW_PROCESSES)
    session.run("python", "-m", "pytest", *options, *(f"tests/{suite}" for suite in SUITES), *session.posargs)
    pages(session, "torch or boosting or jax or optax or index")


def torch(session: nox.Session) -> None:
    """crossent.torch with PyTorch, torch.compile by its default backend included: four minutes.

    The session `tests` runs all but that backend where PyTorch is installed.
    """
    session.install(".[test,torch]", "expecttest")
    session.run("python", "-m", "pytest", "tests/pytorch", *session.posargs, env={"CROSSENT_TORCH": "long"})
    session.run("python", "-m", "pytest", "--doctest-modules", "--pyargs", "crossent.torch")
    pages(session, "torch or index")


def jax(session: nox.Session) -> None:
    """crossent.jax with its module for XLA: every dtype and option, both backends. Minutes."""
    definitions = {"CROSSENT_JAX_INCLUDE": jax_headers(session), "CROSSENT_WERROR": "ON"}
    settings = (f"--config-settings=cmake.define.{name}={value}" for name, value in definitions.items())
    session.install(".[jax,test]", *settings)
    env = {"CROSSENT_JAX": "long", "CROSSENT_JAX_BACKENDS": "ffi callback"}
    session.run("python", "-m", "pytest", "tests/jax_arrays", "tests/contract/test_extension_module.py",
                *session.posargs, env=env)
    session.install("optax")
    pages(session, "jax or optax")


def sklearn(session: nox.Session) -> None:
    """crossent.sklearn with scikit-learn's own checks, data frames among them. Half a minute."""
    session.install(".[sklearn,test]", "pandas")
    session.run("python", "-m", "pytest", "tests/scikit_learn", *session.posargs)


def boosting(session: nox.Session) -> None:
    """crossent.boosting with XGBoost and LightGBM, with Dask, in the demo. Half a minute.

    The session `tests` runs what is installed.
    """
    session.install(".[boosting,demo,test]", "dask[dataframe,distributed]")
    session.run("python", "-m", "pytest", "tests/boosting", *session.posargs)
    pages(session, "boosting")


def dask(session: nox.Session) -> None:
    """crossent.dask on threads and on several processes, of which some are killed; files of every format. A minute."""
    session.install(".[dask,evaluation,evaluation-files,test]")
    session.run("python", "-m", "pytest", "tests/dask_arrays", *session.posargs)


def evaluation(session: nox.Session) -> None:
    """crossent.evaluation with the libraries of every file format. Half a minute.

    The session `tests` runs all but the formats whose library is not installed.
    """
    session.install(".[evaluation,evaluation-files,test]")
    session.run("python", "-m", "pytest", "tests/evaluation", *session.posargs)


def parallel(session: nox.Session) -> None:
    """crossent.parallel between processes: of MPI, and of PyTorch's gloo. Two minutes.

    The session `tests` runs the same between threads.
    """
    session.install(".[mpi,test,torch]", "mpich>=5")
    session.run("python", "-m", "pytest", "tests/processes", *session.posargs)


def peers(session: nox.Session) -> None:
    """100,000 random calls compared with PyTorch, JAX, optax, SciPy and scikit-learn; their known defects. Minutes."""
    session.install(".[test]", "-r", "tests/peers/requirements.txt")
    session.run("python", "-m", "pytest", "tests/peers", *session.posargs)


@nox.session
@one_of(torch, jax, sklearn, boosting, dask, evaluation, parallel, peers)
def adapter(session: nox.Session, job) -> None:
    """The whole suite of one adapter; of `peers`, a comparison with other libraries."""
    job(session)

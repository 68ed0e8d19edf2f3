import pytest

pytest.register_assert_rewrite("code_blocks")


def pytest_terminal_summary(terminalreporter):
    from code_blocks import COUNTS

    terminalreporter.section("code blocks")
    for what, count in sorted(COUNTS.items()):
        terminalreporter.line(f"{count:4}  {what}")

from code_blocks import COUNTS


def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("code blocks")
    for what, count in sorted(COUNTS.items()):
        terminalreporter.line(f"{count:4}  {what}")

"""The browser in which tests look at pages, where there is one."""

import shutil

import pytest


def chromium():
    """The path of Chromium or Chrome; without one the calling test or fixture is skipped."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium on the path; install it to look at the page")
    return found

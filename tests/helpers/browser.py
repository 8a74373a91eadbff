"""A real browser, for tests and for tools/screenshots.py."""

import contextlib
import shutil

from support.terminal import Problem

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
]


@contextlib.contextmanager
def chromium(profile, *flags):
    """Start a headless Chromium with further flags, and yield Selenium's driver.

    profile: an empty folder. The logs "browser" and "performance" are kept. Raises Problem if
    one of them is not installed.
    """
    try:
        from selenium import webdriver
    except ImportError:
        raise Problem("needs Selenium: pip install selenium") from None
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        raise Problem("needs Chromium and its driver: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in [*FLAGS, *flags, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()

"""What every test runs under: eight virtual CPU devices, quiet libraries, nothing written to the user's own folders."""

import atexit
import os
import shutil
import signal
import tempfile

import pytest

# Read by the libraries when they are imported, and inherited by the commands that tests start.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")
# Tiny programs: XLA would take longer to make them fast than to run them. `pytest.mark.optimized` is for modules that
# look at what XLA makes or run real weights; 0 in the environment makes all so.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="llumi-state-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

# The workers of `-n` ignore Ctrl-C, and so would every command that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import jax  # noqa: E402

# Set here and not in the environment: the commands that tests start see one device, as they do for a user.
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_platforms", os.environ.get("JAX_PLATFORMS", "cpu"))


# Minutes each. What begins last ends last, and another worker would wait for it.
LONGEST = (
    "test_quickstart.py", "test_resume.py", "test_two_processes.py", "test_sharding.py", "test_packed_equals_plain.py",
    "test_train.py", "test_best.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True, scope="module")
def optimization(request):
    """Programs of this process are made as a user's are, where the module asks for it."""
    asked, name = request.node.get_closest_marker("optimized"), "jax_disable_most_optimizations"
    before = jax.config.values[name]
    jax.config.update(name, before and not asked)
    yield
    jax.config.update(name, before)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser():
    """One real browser for all tests: a second one in the same process is not possible."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()

"""Which tests are quick, and where fixtures come from."""

import pytest

# `-m quick`: a file or two of every room that compile little.
QUICK = (
    "test_rooms", "test_readme", "test_entry", "test_identity", "test_config_file", "test_results",  # the house, shared
    "test_profiles", "test_traces", "test_estimators", "test_logs",  # delay
    "test_checkpoints", "test_model_goldens",  # policies, methods
    "test_metrics",  # control
    "test_worlds", "test_libero", "test_libero_setup",
    "test_recipe", "test_training_report",  # training
    "test_stats", "test_cell_inputs", "test_report", "test_catalogue",  # study, report
    "test_shared_delay",  # bench
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in QUICK and not item.get_closest_marker("long"):
            item.add_marker(pytest.mark.quick)


def pytest_configure(config: pytest.Config) -> None:
    """Imports JAX and the simulator, but not in the process that only hands tests to others: these wait for it."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        config.pluginmanager.import_plugin("shared_fixtures")

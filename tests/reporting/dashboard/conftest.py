from tests.reporting.run.conftest import make_run

__all__ = ["make_run"]

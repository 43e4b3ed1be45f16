from tests.web.conftest import anyone, app, client, one_app, services, token  # noqa: F401 - fixtures

"""The application over fakes, for a real server: `gunicorn -c gunicorn_config.py --pythonpath tests web.served:app`."""

from app.config import settings
from app.web.factory import create_app

from .fakes import FakeServices

app = create_app(FakeServices(settings=settings()))

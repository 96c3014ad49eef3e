"""Files that may not ship with the project, brought from where their owners publish them."""

from demo_app.fetch.download import Progress
from demo_app.fetch.trg import PARTS, Addresses, FetchedFile, FetchReport, fetch_trg

__all__ = ["PARTS", "Addresses", "FetchReport", "FetchedFile", "Progress", "fetch_trg"]

"""Deploy neural nets to many unlike machines."""

__version__ = "0.1.0"

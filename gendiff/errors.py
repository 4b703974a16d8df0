"""The one error for everything that a person can put right."""


class GendiffError(Exception):
    """Says in one sentence what is wrong and what to do. The UI and the command line show it as it is."""

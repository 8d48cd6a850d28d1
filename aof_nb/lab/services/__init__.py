"""The shop's services. Each module is one process: ``python -m aof_nb.lab.services.NAME``."""

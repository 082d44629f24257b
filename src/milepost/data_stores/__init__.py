"""Where records are kept. Adapters are imported by path: ``milepost.data_stores.sqlite``."""

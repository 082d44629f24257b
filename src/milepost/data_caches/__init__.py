"""Where records are worked on. Adapters are imported by path: ``milepost.data_caches.memory``."""

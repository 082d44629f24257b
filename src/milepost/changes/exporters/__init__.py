"""Exporters: observers that carry entries elsewhere, in batches."""

from milepost.changes.exporters.base import Exporter as Exporter
from milepost.changes.exporters.base import FailedExport as FailedExport
from milepost.changes.exporters.base import RefusedExport as RefusedExport
from milepost.changes.exporters.http import HttpExporter as HttpExporter
from milepost.changes.exporters.json_lines import JsonLinesExporter as JsonLinesExporter
from milepost.changes.exporters.kafka import KafkaExporter as KafkaExporter
from milepost.changes.exporters.s3 import S3Exporter as S3Exporter

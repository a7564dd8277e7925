"""The version, where every floor may read it."""

VERSION = "0.2.0"

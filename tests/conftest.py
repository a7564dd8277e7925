"""Tests never ask the hub, whose answers depend on the network, nor a store of earlier results."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CAUSALDSL_STORE"] = "none"

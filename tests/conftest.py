"""Tests never ask the hub: what they say of a missing model must not depend on the network."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

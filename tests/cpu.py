"""What tests ask of the CPU: those of BF16 itself are skipped, with that reason, where there is none."""

from __future__ import annotations

import pytest

from i2i_sdk.backends import explain_unsupported_backend

REASON = explain_unsupported_backend("openvino", "bf16")
needs_bf16 = pytest.mark.skipif(REASON is not None, reason=REASON or "")

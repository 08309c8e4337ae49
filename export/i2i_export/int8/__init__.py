"""INT8: calibration, equalization, Q/DQ pairs and the layers that go back to float."""

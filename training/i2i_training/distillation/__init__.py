"""Distillation: a teacher's pictures of photos become the pairs that a small network learns from.

    teachers.py   anything that makes pictures of pictures: checkpoint, bundle, ONNX file, Python function
    pairs.py      its pictures of a folder of photos, kept on disk

The method is `recipes/distill.py`; `i2i distill` joins the three.
"""

"""Parametric heads in FLAME's form: template, blendshapes, joints and skinning weights."""

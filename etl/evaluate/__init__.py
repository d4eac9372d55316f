"""How good answers are, and how alike: pure functions of labels and confidences, without a database and numpy.

`metrics` compares answers with known ones, `calibration` what confidences say with what they are worth, `thresholds`
chooses from which confidence on answers are precise enough, `agreement` compares two who answer, `golden` and `sheet`
read and write the files. What the figures mean is in docs/quality.md.
"""

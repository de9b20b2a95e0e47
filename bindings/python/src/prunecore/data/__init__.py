# SPDX-License-Identifier: Apache-2.0
"""Calibration and evaluation data: token sequences, texts, multiple-choice questions."""

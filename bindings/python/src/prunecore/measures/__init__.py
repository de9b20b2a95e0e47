# SPDX-License-Identifier: Apache-2.0
"""What a model does under a mask: losses, answers, damages, times, gradients."""

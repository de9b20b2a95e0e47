// SPDX-License-Identifier: Apache-2.0
/// What a 0 in an option of C stands for: the default, or no bound. The core knows no such number; its options are nil.

/// A count of a caller; nil for 0. Who uses it checks its range.
func chosen(_ value: Int64) -> Int? { value == 0 ? nil : Int(clamping: value) }

/// A number of a caller; nil for 0. Who uses it checks its range.
func chosen(_ value: Double) -> Double? { value == 0 ? nil : value }

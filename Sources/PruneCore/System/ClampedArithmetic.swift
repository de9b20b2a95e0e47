// SPDX-License-Identifier: Apache-2.0
extension Int {
    /// The product; the largest or smallest integer where it is beyond that. For sizes that follow from numbers of a caller.
    public func times(clamping other: Int) -> Int {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? ((self < 0) == (other < 0) ? .max : .min) : product
    }

    /// The sum; the largest or smallest integer where it is beyond that.
    public func plus(clamping other: Int) -> Int {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other > 0 ? .max : .min) : sum
    }
}

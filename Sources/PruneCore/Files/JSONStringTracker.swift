// SPDX-License-Identifier: Apache-2.0
/// Says of each byte of a JSON text whether it belongs to a string. Bytes are given one after the other.
struct JSONStringTracker {
    private var isInString = false
    private var isEscaped = false

    /// Whether the last byte that was given ended a string.
    private(set) var didEndString = false

    /// Takes the next byte; true if it is part of a string. The quotes are.
    mutating func takes(_ byte: UInt8) -> Bool {
        didEndString = false
        guard isInString else {
            isInString = byte == UInt8(ascii: "\"")
            return isInString
        }
        if isEscaped {
            isEscaped = false
        } else if byte == UInt8(ascii: "\\") {
            isEscaped = true
        } else if byte == UInt8(ascii: "\"") {
            isInString = false
            didEndString = true
        }
        return true
    }
}

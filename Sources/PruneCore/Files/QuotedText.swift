// SPDX-License-Identifier: Apache-2.0
extension String {
    /// The text as an error message shows it: in quotes, without control characters, and cut if a file made it long.
    public var quoted: String {
        let longest = 120
        var text = "\""
        for scalar in unicodeScalars.prefix(longest) {
            let isControl = scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
            text.unicodeScalars.append(isControl ? "\u{FFFD}" : scalar)
        }
        return text + (unicodeScalars.dropFirst(longest).isEmpty ? "\"" : "...\"")
    }
}

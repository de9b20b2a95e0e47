// SPDX-License-Identifier: Apache-2.0
/// The name of sublayer u: "attn.3" for 6, "ffn.3" for 7.
public func sublayerName(_ sublayer: Int) -> String {
    (sublayer % 2 == 0 ? "attn." : "ffn.") + String(sublayer / 2)
}

/// The sublayer that `sublayerName` gives this name; nil if it gives it to none.
func sublayer(named name: String) -> Int? {
    for (kind, beginning) in ["attn.", "ffn."].enumerated() where name.hasPrefix(beginning) {
        // No count of blocks has more digits, and 2 * block + kind cannot overflow.
        guard name.utf8.count <= 16, let block = Int(name.dropFirst(beginning.count)), block >= 0 else { return nil }
        let sublayer = 2 * block + kind
        return sublayerName(sublayer) == name ? sublayer : nil
    }
    return nil
}

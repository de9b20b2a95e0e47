// SPDX-License-Identifier: Apache-2.0
/// The name of sublayer u: "attn.3" for 6, "ffn.3" for 7.
public func sublayerName(_ sublayer: Int) -> String {
    (sublayer % 2 == 0 ? "attn." : "ffn.") + String(sublayer / 2)
}

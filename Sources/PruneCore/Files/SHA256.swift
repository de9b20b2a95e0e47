// SPDX-License-Identifier: Apache-2.0
internal import CKernels

/// The SHA-256 digest of bytes that come in pieces (FIPS 180-4, sections 5 and 6).
struct SHA256 {
    private static let blockSize = 64

    private var state: [UInt32] = [
        0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19,
    ]
    /// Bytes that do not fill a block yet.
    private var rest: [UInt8] = []
    private var byteCount: UInt64 = 0
    private let isAccelerated: Bool

    static let isSupportedByCPU = kernel_sha256_supported() != 0

    /// - Parameter isAccelerated: with the CPU's own instructions, if it has them.
    init(isAccelerated: Bool = true) { self.isAccelerated = isAccelerated && Self.isSupportedByCPU }

    /// Adds bytes at the end.
    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        byteCount &+= UInt64(bytes.count)
        var bytes = bytes[...]
        if !rest.isEmpty {
            let missing = bytes.prefix(Self.blockSize - rest.count)
            rest += missing
            bytes = bytes.dropFirst(missing.count)
            guard rest.count == Self.blockSize else { return }
            let block = rest
            block.withUnsafeBytes { add(blocks: $0) }
            rest.removeAll(keepingCapacity: true)
        }
        let whole = bytes.prefix(bytes.count / Self.blockSize * Self.blockSize)
        add(blocks: UnsafeRawBufferPointer(rebasing: whole))
        rest += bytes.dropFirst(whole.count)
    }

    /// The digest of all bytes so far, as 64 hexadecimal digits.
    var hexadecimal: String {
        var copy = self
        let bits = byteCount &* 8
        let zeros = (2 * Self.blockSize - 9 - rest.count) % Self.blockSize
        let end = [0x80] + [UInt8](repeating: 0, count: zeros) + withUnsafeBytes(of: bits.bigEndian) { Array($0) }
        end.withUnsafeBytes { copy.update($0) }
        return copy.state.map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 8 - digits.count) + digits
        }.joined()
    }

    /// The digest of some bytes.
    static func hexadecimal(of bytes: UnsafeRawBufferPointer) -> String {
        var digest = SHA256()
        digest.update(bytes)
        return digest.hexadecimal
    }

    /// Takes in blocks of 64 bytes.
    private mutating func add(blocks: UnsafeRawBufferPointer) {
        guard let base = blocks.baseAddress, blocks.count >= Self.blockSize else { return }
        state.withUnsafeMutableBufferPointer { state in
            // Safe: the state has its eight words, and the blocks are the caller's for the length of the call.
            if let words = state.baseAddress {
                kernel_sha256(
                    isAccelerated ? 1 : 0, words, base.assumingMemoryBound(to: UInt8.self),
                    blocks.count / Self.blockSize)
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
/// The state of a healing as a file: the length of a head, the head, which a `ByteWriter` wrote, and the numbers of all
/// parameters in fp32, little-endian, with their checksum behind them.
enum HealingCheckpoint {
    private static let mark = "PRUNHEAL"
    private static let version: UInt32 = 1
    private static let name = "checkpoint of a healing"
    /// Bytes of a head at most.
    private static let longestHead = 1 << 28

    /// Errors: `.file`. What was there before stays then.
    static func write(_ state: HealingState, _ fingerprint: UInt64, to path: String) throws(PruneError) {
        let head = head(of: state, fingerprint)
        try AtomicFile.write(to: path) { append throws(PruneError) in
            try Self.append(head.count, append)
            try Self.append(head, append)
            var sum = FloatChecksum()
            for parameter in state.parameters {
                for buffer in parameter.saved {
                    let bytes = UnsafeRawBufferPointer(UnsafeBufferPointer(start: buffer.pointer, count: buffer.count))
                    sum.add(buffer)
                    try append(bytes)
                }
            }
            try Self.append(Int(bitPattern: UInt(sum.value)), append)
        }
    }

    private static func append(_ number: Int, _ append: AtomicFile.Append) throws(PruneError) {
        try Self.append(
            (0..<8).map { UInt8(truncatingIfNeeded: UInt64(bitPattern: Int64(number)) >> (8 * $0)) }, append)
    }

    private static func append(_ bytes: [UInt8], _ append: AtomicFile.Append) throws(PruneError) {
        var failure: PruneError?
        bytes.withUnsafeBytes { bytes in
            do throws(PruneError) { try append(bytes) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    private static func head(of state: HealingState, _ fingerprint: UInt64) -> [UInt8] {
        var out = ByteWriter(mark: mark, version: version)
        out.add(fingerprint)
        let report = state.report
        for count in [
            report.trainedTokens, report.steps, report.bestStep, state.sequencesUsed, state.stepsSinceLook,
            state.looksSinceBest,
        ] { out.add(UInt64(count)) }
        for value in [
            report.lossBefore, report.lossAfter, report.seconds, state.lossSinceLook, state.lastLoss, state.lastRate,
        ] { out.add(value) }
        out.add(UInt64(report.history.count))
        for record in report.history {
            out.add(UInt64(record.step))
            for value in [record.learningRate, record.loss, record.heldOutLoss] { out.add(value) }
        }
        out.add(UInt64(state.parameters.count))
        for parameter in state.parameters { out.add(UInt64(parameter.values.count)) }
        out.seal()
        return out.bytes
    }

    /// Reads a state into one at the start; false if there is no such file.
    ///
    /// Errors: `.file`; `.format` if it is damaged or of another training; `.unsupported` for another version. The parameters
    /// may then have changed.
    static func read(_ path: String, _ fingerprint: UInt64, into state: inout HealingState) throws(PruneError) -> Bool {
        guard MappedFile.exists(path) else { return false }
        let file = try MappedFile(path: path)
        do throws(PruneError) { try read(file.bytes, fingerprint, into: &state) } catch {
            throw PruneError(error.kind, "\(path): \(error.message)")
        }
        try file.checkUnchanged()
        return true
    }

    private static func read(
        _ bytes: UnsafeRawBufferPointer, _ fingerprint: UInt64, into state: inout HealingState
    ) throws(PruneError) {
        func damaged(_ what: String) -> PruneError { PruneError(.format, "the \(name) is damaged: \(what)") }
        guard bytes.count >= 16 else { throw PruneError(.format, "these bytes are not a \(name)") }
        let length = bytes.loadUnaligned(as: UInt64.self).littleEndian
        guard length <= min(UInt64(longestHead), UInt64(bytes.count - 16)) else {
            throw PruneError(.format, "these bytes are not a \(name)")
        }
        let end = 8 + Int(length)
        try readHead(Array(bytes[8..<end]), fingerprint, into: &state)
        let numbers = state.parameters.reduce(0) { $0 + 4 * $1.values.count }
        guard bytes.count == end + 4 * numbers + 8 else { throw damaged("its length does not fit") }
        var place = end
        var sum = FloatChecksum()
        for parameter in state.parameters {
            for buffer in parameter.saved {
                let count = 4 * buffer.count
                // Safe: the length was checked, and nobody else has the buffer now.
                UnsafeMutableRawPointer(buffer.pointer).copyMemory(from: bytes.baseAddress! + place, byteCount: count)
                sum.add(buffer)
                place += count
            }
        }
        guard bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self).littleEndian == sum.value else {
            throw damaged("the checksum does not fit")
        }
        for parameter in state.parameters {
            for buffer in parameter.saved where !(0..<buffer.count).allSatisfy({ buffer.pointer[$0].isFinite }) {
                throw damaged("\(parameter.name.quoted) has a value that is not finite")
            }
        }
    }

    private static func readHead(
        _ bytes: [UInt8], _ fingerprint: UInt64, into state: inout HealingState
    ) throws(PruneError) {
        var reader = try ByteReader(bytes, mark: mark, version: version, name: name)
        guard try reader.next() == fingerprint else {
            throw PruneError(
                .format,
                "the checkpoint is of another training: model, mask, data or options differ; give another path, or delete it"
            )
        }
        state.report.trainedTokens = try reader.count()
        state.report.steps = try reader.count()
        state.report.bestStep = try reader.count()
        state.sequencesUsed = try reader.count()
        state.stepsSinceLook = try reader.count()
        state.looksSinceBest = try reader.count()
        state.report.lossBefore = try reader.double()
        state.report.lossAfter = try reader.double()
        state.report.seconds = try reader.double()
        state.lossSinceLook = try reader.double()
        state.lastLoss = try reader.double()
        state.lastRate = try reader.double()
        let looks = try reader.count()
        guard looks <= reader.rest / 32 else { throw reader.damaged("it ends too early") }
        for _ in 0..<looks {
            state.report.history.append(
                HealingRecord(
                    step: try reader.count(), learningRate: try reader.double(), loss: try reader.double(),
                    heldOutLoss: try reader.double()))
        }
        guard try reader.count() == state.parameters.count else { throw reader.damaged("it has other parameters") }
        for parameter in state.parameters {
            guard try reader.count() == parameter.values.count else {
                throw reader.damaged("\(parameter.name.quoted) has another size")
            }
        }
        guard reader.isAtEnd else { throw reader.damaged("bytes follow the end") }
    }
}

/// FNV-1a with 64 bits over numbers of 32: each step is a bijection of the state, so no single damaged number goes unnoticed.
private struct FloatChecksum {
    private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func add(_ buffer: FloatBuffer) {
        var value = value
        for index in 0..<buffer.count {
            value = (value ^ UInt64(buffer.pointer[index].bitPattern)) &* 0x0000_0100_0000_01B3
        }
        self.value = value
    }
}

// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// How far a long call has come.
public struct Progress: Sendable {
    public let stage: String
    /// Steps done and in all; a step is one sublayer applied to one batch of tokens.
    public let done: Int
    public let total: Int
    /// Since the call began.
    public let seconds: Double

    /// The same as seen by a call that began earlier.
    func later(by before: Double) -> Progress {
        Progress(stage: stage, done: done, total: total, seconds: seconds + before)
    }
}

/// Counts the steps of a long call and tells its caller, who may stop it.
///
/// One per call, used by the thread that makes the call. Told at most every 40 ms, and at the end.
public final class ProgressMeter {
    /// Returns true to stop.
    public typealias Listener = (Progress) -> Bool

    private let stage: String
    private let total: Int
    private let listener: Listener?
    private let begin = ProgressMeter.now()
    private var last = -1.0
    private var done = 0

    public init(stage: String, total: Int, listener: Listener?) {
        self.stage = stage
        self.total = total
        self.listener = listener
    }

    /// Counts steps. Errors: `.cancelled` if the listener asks to stop.
    func advance(by steps: Int = 1) throws(PruneError) {
        done += steps
        guard let listener else { return }
        let seconds = self.seconds
        guard done >= total || seconds - last >= 0.04 || last < 0 else { return }
        last = seconds
        if listener(Progress(stage: stage, done: min(done, total), total: total, seconds: seconds)) {
            throw PruneError(
                .cancelled, "cancelled by the progress callback during \"\(stage)\" (\(done) of \(total) steps)")
        }
    }

    /// Seconds since the call began.
    var seconds: Double { Self.now() - begin }

    /// Seconds of a clock that only moves forward.
    static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}

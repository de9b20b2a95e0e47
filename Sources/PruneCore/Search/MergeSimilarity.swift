// SPDX-License-Identifier: Apache-2.0
/// How similar a model with merged blocks is to the whole one: the cosine of the hidden states after the final norm, those of
/// a sequence as one vector, averaged over sequences.
///
/// What lies below a window is the whole model's, so its states are computed once, and each candidate from its lowest block on.
final class MergeSimilarity {
    private let model: NativeModel
    private let merge: (_ window: ClosedRange<Int>) -> BlockMerge
    private let batches: [TokenBatch]
    /// States of the whole model before block i * stride, those of all batches.
    private var states: [[any HiddenState]] = []
    private let stride: Int
    /// Of the whole model, after the final norm.
    private var reference: [FloatBuffer] = []
    /// The model with the windows of the last candidate's predecessor, which many candidates share.
    private var settled: (windows: [ClosedRange<Int>], model: NativeModel)
    /// What was computed before: other thresholds ask for the same again.
    private var known: [[ClosedRange<Int>]: Double] = [:]

    /// Models with merged blocks that were run.
    var evaluated: Int { known.count }

    /// Steps that a model with `blocks` blocks takes for the states of the whole model.
    static func firstSteps(blocks: Int) -> Int { 2 * blocks }

    /// Errors: those of the model; `.nonFinite` if its own states are not finite; `.cancelled`.
    init(
        _ model: NativeModel, _ data: TokenData, _ options: MergeOptions, _ meter: ProgressMeter
    ) throws(PruneError) {
        self.model = model
        merge = { window in
            BlockMerge(
                into: window.lowerBound, from: Array(window.dropFirst()), weight: options.weight, rule: options.rule)
        }
        batches = data.batches(of: options.batchTokens)
        settled = ([], model)
        let blocks = model.shape.blockCount
        let ofOne = data.tokens.count.times(clamping: 4 * model.shape.hiddenSize)
        let room = options.memoryBudget ?? Memory.free / 4
        // The last ones and those under way are needed in any case.
        let levels = max(1, room / max(ofOne, 1) - 4)
        stride = max(1, (blocks + levels - 1) / levels)
        var now: [any HiddenState] = []
        for batch in batches { now.append(try model.start(batch)) }
        for block in 0..<blocks {
            if block % stride == 0 { states.append(now) }
            now = try advanced(now, block, model, meter)
        }
        reference = try normed(now, model)
        let first = try similarities(to: reference)
        if let bad = first.firstIndex(where: { !$0.isFinite }),
            let batch = batches.first(where: { $0.sequences.contains(bad) })
        {
            throw try model.nonFiniteError(in: batch, under: model.shape.present)
        }
    }

    /// The similarity under windows and one more below them, from -1 to 1. -1 if hidden states are not finite.
    func callAsFunction(
        _ windows: [ClosedRange<Int>], _ candidate: ClosedRange<Int>, _ meter: ProgressMeter
    ) throws(PruneError) -> Double {
        let all = windows + [candidate]
        if let value = known[all] { return value }
        if settled.windows != windows { settled = (windows, try merged(windows)) }
        let made = try settled.model.merged(merge(candidate))
        let low = candidate.lowerBound
        var now = states[low / stride]
        for block in low / stride * stride..<low { now = try advanced(now, block, model, nil) }
        let gone = Set(all.flatMap { $0.dropFirst() })
        for block in low..<model.shape.blockCount where !gone.contains(block) {
            now = try advanced(now, block, made, nil)
            try meter.advance(by: 0)
        }
        let values = try similarities(to: try normed(now, made))
        let value = values.allSatisfy(\.isFinite) ? values.reduce(0, +) / Double(values.count) : -1
        known[all] = value
        return value
    }

    /// The model with all windows merged, the topmost first. Errors: `.memory`; `.file`.
    func merged(_ windows: [ClosedRange<Int>]) throws(PruneError) -> NativeModel {
        try model.edited(by: edits(windows))
    }

    func edits(_ windows: [ClosedRange<Int>]) -> [Edit] { windows.map { .merge(merge($0)) } }

    private func advanced(
        _ states: [any HiddenState], _ block: Int, _ model: NativeModel, _ meter: ProgressMeter?
    ) throws(PruneError) -> [any HiddenState] {
        var now = states
        for sublayer in [2 * block, 2 * block + 1] {
            now = try model.apply(sublayer, to: now)
            try meter?.advance()
        }
        return now
    }

    private func normed(
        _ states: [any HiddenState], _ model: NativeModel
    ) throws(PruneError) -> [FloatBuffer] {
        var rows: [FloatBuffer] = []
        for state in states {
            let state = try model.settledAtEnd(state)
            rows.append(
                try model.readingHead { () throws(PruneError) in
                    try model.normedRows((0..<state.batch.rowCount).map { LogitRow(state: state, row: $0) })
                })
        }
        return rows
    }

    /// Of each sequence.
    private func similarities(to rows: [FloatBuffer]) throws(PruneError) -> [Double] {
        let width = model.shape.hiddenSize
        var values: [Double] = []
        for (index, batch) in batches.enumerated() {
            for sequence in batch.sequences {
                let own = batch.rows(ofSequence: sequence)
                values.append(
                    cosine(
                        reference[index].pointer + own.lowerBound * width,
                        rows[index].pointer + own.lowerBound * width, own.count * width))
            }
        }
        return values
    }
}

/// Of two vectors, in double. NaN if one is 0 or not finite.
private func cosine(_ left: UnsafePointer<Float>, _ right: UnsafePointer<Float>, _ count: Int) -> Double {
    var (product, lefts, rights) = (0.0, 0.0, 0.0)
    for index in 0..<count {
        let (a, b) = (Double(left[index]), Double(right[index]))
        product += a * b
        lefts += a * a
        rights += b * b
    }
    return product / (lefts.squareRoot() * rights.squareRoot())
}

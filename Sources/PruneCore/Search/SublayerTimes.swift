// SPDX-License-Identifier: Apache-2.0
/// How the times of a model are measured.
public struct TimeOptions: Sendable {
    /// Measurements of which the median counts.
    public let repetitions: Int
    /// Tokens of a prompt.
    public let promptTokens: Int
    /// Tokens before the one that is decoded.
    public let context: Int

    public static let usualRepetitions = 5
    public static let usualTokens = 512
    private static let mostRepetitions = 1 << 16

    /// Errors: `.argument` naming the count that is out of range.
    public init(
        repetitions: Int = usualRepetitions, promptTokens: Int = usualTokens, context: Int = usualTokens
    ) throws(PruneError) {
        for (name, value, most) in [
            ("repetitions", repetitions, Self.mostRepetitions),
            ("prompt_tokens", promptTokens, TokenData.longestSequence),
            ("context", context, TokenData.longestSequence),
        ] where value < 1 || value > most {
            throw PruneError(.argument, "options.\(name) is \(value); it must be 1 to \(most)")
        }
        self.repetitions = repetitions
        self.promptTokens = promptTokens
        self.context = context
    }
}

/// What a token takes in every sublayer of a model on this machine: 2 * n_blocks entries, and one of embeddings, final norm and
/// head together.
///
/// Prompt and continuation go through the engine as in generation, one sequence at a time. Each measurement is preceded by one
/// that does not count, which brings weights into memory.
/// Errors: `.unsupported` if a host runs the model; `.memory`; `.cancelled`.
public func tokenTimes(
    _ model: any Model, _ options: TimeOptions, progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> [TokenTime] {
    guard let writer = TextWriter(model) else {
        throw PruneError(
            .unsupported, "this model's layers are run by its host, who alone can time them; give times of your own")
    }
    let runs = options.repetitions + 1
    let places = model.shape.sublayerCount + 1
    try Memory.require(
        (2 * runs).times(clamping: 8 * places + 64).plus(
            clamping: 32 * (options.promptTokens + options.context + runs)),
        for: "\(runs) measurements of \(places) places", "measure fewer times, or fewer tokens")
    let meter = ProgressMeter(
        stage: "time", total: (2 * runs + 1) * (model.shape.present.keptCount + 1), listener: progress)
    var stopwatch = Stopwatch(writer, sublayers: places - 1, meter)

    var prefill: [[Double]] = []
    for _ in 0..<runs {
        let cache = KeyValueCache(writer.engine.config, expected: options.promptTokens)
        prefill.append(try stopwatch.seconds(cache, adding: options.promptTokens))
    }
    let cache = KeyValueCache(writer.engine.config, expected: options.context + runs)
    _ = try stopwatch.seconds(cache, adding: options.context)
    var decode: [[Double]] = []
    for _ in 0..<runs { decode.append(try stopwatch.seconds(cache, adding: 1)) }
    return (0..<places).map { place in
        TokenTime(
            prefill: 1e3 * median(prefill.dropFirst().map { $0[place] }) / Double(options.promptTokens),
            decode: 1e3 * median(decode.dropFirst().map { $0[place] }))
    }
}

private func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/// Takes the time of each place of a model while tokens go through it.
private struct Stopwatch {
    private let writer: TextWriter
    private let sublayers: Int
    private let meter: ProgressMeter
    private var random = RandomSource(seed: 0, stream: 0)

    init(_ writer: TextWriter, sublayers: Int, _ meter: ProgressMeter) {
        self.writer = writer
        self.sublayers = sublayers
        self.meter = meter
    }

    /// Seconds of every sublayer, and of the rest, for some new tokens of one sequence. Which tokens does not matter.
    mutating func seconds(_ cache: KeyValueCache, adding count: Int) throws(PruneError) -> [Double] {
        let vocabulary = writer.engine.config.vocabularySize
        let tokens = (0..<count).map { _ in Int32(random.index(below: vocabulary)) }
        var seconds = Array(repeating: 0.0, count: sublayers + 1)
        var last = ProgressMeter.now()
        let meter = meter
        _ = try writer.advance(
            [cache], by: [tokens], under: KeepMask(blocks: sublayers / 2)
        ) { (sublayer) throws(PruneError) in
            seconds[sublayer ?? sublayers] += ProgressMeter.now() - last
            try meter.advance()
            // The caller's callback is none of the model's time.
            last = ProgressMeter.now()
        } pause: { () throws(PruneError) in
            let begin = ProgressMeter.now()
            try meter.advance(by: 0)
            last += ProgressMeter.now() - begin
        }
        seconds[sublayers] += ProgressMeter.now() - last
        return seconds
    }
}

// SPDX-License-Identifier: Apache-2.0
/// How the next token is chosen from its logits.
public struct Sampling: Sendable {
    /// Logits are divided by it; 0 = the largest logit is taken, the first of equal ones.
    public let temperature: Double
    /// So many of the likeliest tokens remain, and those as likely as the last of them; nil = all.
    public let topK: Int?
    /// Of these, the fewest likeliest ones whose probabilities add up to this much; 1 = all.
    public let topP: Double

    /// Errors: `.argument` naming the value.
    public init(temperature: Double, topK: Int? = nil, topP: Double = 1) throws(PruneError) {
        guard temperature >= 0, temperature.isFinite else {
            throw PruneError(.argument, "temperature is \(temperature); it must be 0 (greedy) or a positive number")
        }
        if let topK, topK < 1 { throw PruneError(.argument, "top_k is \(topK); it must be at least 1") }
        guard topP > 0, topP <= 1 else {
            throw PruneError(.argument, "top_p is \(topP); it must be above 0 and at most 1")
        }
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
    }

    /// The next token. `logits` are finite, at least one, and used up.
    ///
    /// Greedy, it leaves `random` alone; otherwise it takes exactly one number from it.
    func choose(from logits: inout MutableSpan<Float>, _ random: inout RandomSource) -> Int {
        if temperature == 0 { return firstLargest(of: logits.span) }
        weigh(&logits)
        return entry(of: logits.span, at: random.unit())
    }

    /// Turns logits into weights in proportion to the tokens' probabilities, 0 for tokens that are left out.
    ///
    /// Order and meaning are those of transformers' logits warpers: temperature, top-k, top-p. A positive temperature.
    func weigh(_ logits: inout MutableSpan<Float>) {
        var kept: [Int]?
        if let topK, topK < logits.count { kept = placesOfLargest(topK, of: logits.span) }
        let top = logits[firstLargest(of: logits.span)]
        let divisor = max(Float(temperature), .leastNormalMagnitude)
        // Differences from the largest: a small temperature then overflows downwards alone, to a weight of 0.
        for index in 0..<logits.count { logits[index] = (logits[index] - top) / divisor }
        logits.withUnsafeMutableBufferPointer { logits in
            if let base = logits.baseAddress { Kernels.softmax(base, logits.count) }
        }
        // What is left out changes no proportion, so that it can go after the softmax.
        if let kept { keepOnly(kept, in: &logits) }
        if topP < 1 { keepOnly(placesOfNucleus(topP, of: logits.span), in: &logits) }
    }
}

/// Where the largest of some finite values is; the first of equals.
func firstLargest(of values: Span<Float>) -> Int {
    var best = 0
    for index in 0..<values.count where values[index] > values[best] { best = index }
    return best
}

/// Where the `count` largest values are, with all that equal the smallest of them, in their order. 1 ... values.count.
///
/// Finds the smallest of them bit by bit: as integers, the bits of floats of one sign are ordered as they are.
func placesOfLargest(_ count: Int, of values: Span<Float>) -> [Int] {
    func key(_ value: Float) -> UInt32 {
        // -0 is 0.
        let bits = (value + 0).bitPattern
        return bits >> 31 == 1 ? ~bits : bits | 1 << 31
    }
    var least: UInt32 = 0
    for bit in (0..<32).reversed() {
        let candidate = least | 1 << UInt32(bit)
        var above = 0
        for index in 0..<values.count where key(values[index]) >= candidate { above += 1 }
        if above >= count { least = candidate }
    }
    var places: [Int] = []
    for index in 0..<values.count where key(values[index]) >= least { places.append(index) }
    return places
}

/// Where the fewest largest weights are that add up to `share` of all, at least one; of equal ones the first.
func placesOfNucleus(_ share: Double, of weights: Span<Float>) -> [Int] {
    var total = 0.0
    for index in 0..<weights.count { total += Double(weights[index]) }
    // All weights below this together are less than what may be left out, so only the others need sorting.
    let floor = (1 - share) * total / Double(weights.count)
    var candidates: [(weight: Float, place: Int)] = []
    for index in 0..<weights.count where Double(weights[index]) >= floor { candidates.append((weights[index], index)) }
    candidates.sort { ($1.weight, $0.place) < ($0.weight, $1.place) }
    var places: [Int] = []
    var before = 0.0
    for candidate in candidates {
        if before >= share * total, !places.isEmpty { break }
        before += Double(candidate.weight)
        places.append(candidate.place)
    }
    return places
}

/// Sets all weights but those at `places` to 0.
private func keepOnly(_ places: [Int], in weights: inout MutableSpan<Float>) {
    let kept = places.map { weights[$0] }
    for index in 0..<weights.count { weights[index] = 0 }
    for (place, weight) in zip(places, kept) { weights[place] = weight }
}

/// The entry into whose part `position`, in [0, 1), falls where each has a part of [0, 1) in proportion to its weight.
func entry(of weights: Span<Float>, at position: Double) -> Int {
    var total = 0.0
    for index in 0..<weights.count { total += Double(weights[index]) }
    let target = position * total
    var sum = 0.0
    var last = 0
    for index in 0..<weights.count where weights[index] > 0 {
        sum += Double(weights[index])
        last = index
        if sum > target { break }
    }
    return last
}

// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Which rows an expert gets, and with which weights; rows ascend.
struct ExpertShare {
    var rows: [Int] = []
    var weights: [Float] = []
    /// How many of the rows belong to each state: see `MatrixProduct.apply`.
    var runs: [Int]
}

/// What a router says: shares by expert, and what its gradient needs.
struct Routing {
    var shares: [ExpertShare]
    /// The softmax over all experts: rows x experts.
    let probabilities: FloatBuffer
    /// By row, the sum of the chosen experts' probabilities, if weights are divided by it; else 1.
    let divisors: [Float]
}

extension NativeModel {
    /// The update of a mixture, rows x width.
    func mixture<P: Products>(
        _ layer: MixtureWeights, _ x: P.Rows, _ runs: [Int], _ products: P
    ) throws(PruneError) -> FloatBuffer {
        let width = config.hiddenSize
        let rows = runs.reduce(0, +)
        let update = try scratch.buffer(rows * width)
        update.pointer.update(repeating: 0, count: update.count)
        let routing = try route(layer, x, runs, products)
        // In the order of the experts, so that sums do not depend on the threads.
        for (expert, share) in zip(layer.experts, routing.shares) where !share.rows.isEmpty {
            let own = try products.take(share.rows, of: x, columns: width)
            let out = try expertOutput(expert, own, share.runs, products)
            for (place, row) in share.rows.enumerated() {
                Kernels.add(
                    out.pointer + place * width, times: share.weights[place], to: update.pointer + row * width, width)
            }
        }
        if let shared = layer.shared {
            let out = try expertOutput(shared, x, runs, products)
            let gates = try sharedGates(layer, x, runs, products)
            for row in 0..<rows {
                Kernels.add(out.pointer + row * width, times: gates?[row] ?? 1, to: update.pointer + row * width, width)
            }
        }
        return update
    }

    private func expertOutput<P: Products>(
        _ expert: FeedForwardWeights, _ x: P.Rows, _ runs: [Int], _ products: P
    ) throws(PruneError) -> FloatBuffer {
        let inner = try products.inner(expert, of: x, runs: runs)
        return try products.project([expert.down], of: inner, runs: runs)[0]
    }

    /// The weights of the shared expert by row; nil = it counts in full.
    private func sharedGates<P: Products>(
        _ layer: MixtureWeights, _ x: P.Rows, _ runs: [Int], _ products: P
    ) throws(PruneError) -> [Float]? {
        guard let gate = layer.sharedGate else { return nil }
        let scores = try products.project([gate], of: x, runs: runs)[0]
        return (0..<scores.count).map { 1 / (1 + expf(-scores.pointer[$0])) }
    }

    /// The experts of each row: those of the highest scores, the lower index first where two are equal.
    func route<P: Products>(
        _ layer: MixtureWeights, _ x: P.Rows, _ runs: [Int], _ products: P
    ) throws(PruneError) -> Routing {
        let count = layer.experts.count
        let rows = runs.reduce(0, +)
        let probabilities = try products.project([layer.router], of: x, runs: runs)[0]
        var shares = Array(repeating: ExpertShare(runs: Array(repeating: 0, count: runs.count)), count: count)
        var divisors = [Float](repeating: 1, count: rows)
        var (run, end) = (0, runs.first ?? 0)
        for row in 0..<rows {
            while row == end {
                run += 1
                end += runs[run]
            }
            let own = probabilities.pointer + row * count
            let chosen = highest(layer.plan.chosenCount, of: own, count)
            Kernels.softmax(own, count)
            if layer.plan.isNormalised { divisors[row] = chosen.reduce(0) { $0 + own[$1] } }
            for expert in chosen {
                shares[expert].rows.append(row)
                shares[expert].weights.append(own[expert] / divisors[row])
                shares[expert].runs[run] += 1
            }
        }
        return Routing(shares: shares, probabilities: probabilities, divisors: divisors)
    }
}

/// The indices of the highest values, in descending order of these; the lower index first where two are equal. What is not
/// a number comes last, and what it gives shows it.
private func highest(_ most: Int, of values: UnsafePointer<Float>, _ count: Int) -> [Int] {
    var chosen: [Int] = []
    var isTaken = [Bool](repeating: false, count: count)
    for _ in 0..<min(most, count) {
        var best: Int?
        for index in 0..<count where !isTaken[index] {
            guard let own = best else {
                best = index
                continue
            }
            if values[index] > values[own] || (values[own].isNaN && !values[index].isNaN) { best = index }
        }
        guard let best else { break }
        isTaken[best] = true
        chosen.append(best)
    }
    return chosen
}

extension NativeModel {
    /// Back through a mixture, from the gradient dy of its update to that of x.
    func pullbackMixture<P: Products>(
        _ layer: MixtureWeights, _ call: SublayerPullback, _ x: P.Rows, _ dy: P.Rows, _ products: P
    ) throws(PruneError) -> FloatBuffer {
        let width = config.hiddenSize
        let count = layer.experts.count
        let routing = try route(layer, x, call.runs, products)
        let slopes = try products.floats(dy)
        let dx = try scratch.buffer(call.rows * width)
        dx.pointer.update(repeating: 0, count: dx.count)
        // With respect to the weights of the chosen experts: rows x experts.
        let ofWeights = try scratch.buffer(call.rows * count)
        ofWeights.pointer.update(repeating: 0, count: ofWeights.count)
        var matrix = 1
        for (index, expert) in layer.experts.enumerated() {
            defer { matrix += expert.projections.count }
            let share = routing.shares[index]
            if share.rows.isEmpty { continue }
            let own = try products.take(share.rows, of: x, columns: width)
            let out = try expertOutput(expert, own, share.runs, products)
            let weighted = try scratch.buffer(share.rows.count * width)
            for (place, row) in share.rows.enumerated() {
                let slope = slopes.pointer + row * width
                ofWeights.pointer[row * count + index] = Float(Kernels.dot(slope, out.pointer + place * width, width))
                for column in 0..<width {
                    weighted.pointer[place * width + column] = share.weights[place] * slope[column]
                }
            }
            let ofOwn = try pullbackExpert(
                expert, own, weighted, share.runs, call.sums.map { ($0, matrix) }, products)
            for (place, row) in share.rows.enumerated() {
                Kernels.add(ofOwn.pointer + place * width, to: dx.pointer + row * width, width)
            }
        }
        try addRouterGradient(ofWeights, layer, routing, call, x, to: dx, products)
        try addSharedGradient(slopes, layer, call, x, to: dx, first: matrix, products)
        return dx
    }

    private func pullbackExpert<P: Products>(
        _ expert: FeedForwardWeights, _ x: P.Rows, _ dy: FloatBuffer, _ runs: [Int],
        _ sums: (any WeightGradientSums, first: Int)?, _ products: P
    ) throws(PruneError) -> FloatBuffer {
        let slopes = try products.rows(dy, count: runs.reduce(0, +))
        let inputs = try products.innerPullback(expert, at: x, of: slopes, runs: runs, sums: sums)
        return try products.pullback(inputs, runs: runs)
    }

    /// Through the weights, w[e] = p[e] / sum of the chosen p, and the softmax p of the router's scores. Which experts are
    /// chosen has no gradient.
    private func addRouterGradient<P: Products>(
        _ ofWeights: FloatBuffer, _ layer: MixtureWeights, _ routing: Routing, _ call: SublayerPullback, _ x: P.Rows,
        to dx: FloatBuffer, _ products: P
    ) throws(PruneError) {
        let count = layer.experts.count
        var chosen = [[Int]](repeating: [], count: call.rows)
        for (expert, share) in routing.shares.enumerated() { for row in share.rows { chosen[row].append(expert) } }
        let scores = ofWeights
        for row in 0..<call.rows {
            let (own, p) = (scores.pointer + row * count, routing.probabilities.pointer + row * count)
            if layer.plan.isNormalised {
                let divisor = routing.divisors[row]
                let mean = chosen[row].reduce(Float(0)) { $0 + own[$1] * p[$1] } / (divisor * divisor)
                for expert in chosen[row] { own[expert] = own[expert] / divisor - mean }
            }
            Kernels.softmaxPullback(p, own, scale: 1, count)
        }
        let slopes = try products.rows(scores, count: call.rows)
        if let sums = call.sums {
            try products.addWeightGradient(slopes, x, of: layer.router, matrix: 0, to: sums)
        }
        let own = try products.pullback([(slopes, layer.router)], runs: call.runs)
        Kernels.add(own.pointer, to: dx.pointer, dx.count)
    }

    private func addSharedGradient<P: Products>(
        _ slopes: FloatBuffer, _ layer: MixtureWeights, _ call: SublayerPullback, _ x: P.Rows, to dx: FloatBuffer,
        first: Int, _ products: P
    ) throws(PruneError) {
        guard let shared = layer.shared else { return }
        let width = config.hiddenSize
        let dy = try copy(of: slopes)
        if let projection = layer.sharedGate, let gates = try sharedGates(layer, x, call.runs, products) {
            let out = try expertOutput(shared, x, call.runs, products)
            let ofGates = try scratch.buffer(call.rows)
            for row in 0..<call.rows {
                let slope = dy.pointer + row * width
                let own = Float(Kernels.dot(slope, out.pointer + row * width, width))
                ofGates.pointer[row] = own * gates[row] * (1 - gates[row])
                for column in 0..<width { slope[column] *= gates[row] }
            }
            let slopes = try products.rows(ofGates, count: call.rows)
            if let sums = call.sums {
                try products.addWeightGradient(
                    slopes, x, of: projection, matrix: first + shared.projections.count, to: sums)
            }
            let own = try products.pullback([(slopes, projection)], runs: call.runs)
            Kernels.add(own.pointer, to: dx.pointer, dx.count)
        }
        let own = try pullbackExpert(shared, x, dy, call.runs, call.sums.map { ($0, first) }, products)
        Kernels.add(own.pointer, to: dx.pointer, dx.count)
    }
}

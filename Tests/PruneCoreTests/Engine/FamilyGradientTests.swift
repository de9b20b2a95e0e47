// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

/// Pullbacks through whole models of every family, against finite differences of what the models compute.
@Suite struct FamilyGradientTests {
    let tests = GradientTests()

    /// Nothing removed; an attention and a feed-forward of different blocks; both of the first block.
    static let masks = [[], [0, 3], [0, 1]].map { mask(blocks: 2, without: $0) }

    /// The states before each sublayer, and those after the last one.
    func run(_ model: NativeModel, _ start: [any HiddenState], _ mask: KeepMask) throws -> [[any HiddenState]] {
        var states = [start]
        for sublayer in 0..<model.shape.sublayerCount {
            let before = states[sublayer]
            if mask.keeps(sublayer) {
                states.append(try model.apply(sublayer, to: before))
            } else {
                let rest = model.removed(sublayer)
                states.append(try before.map { state in try rest?.apply(state) ?? state })
            }
        }
        return states
    }

    func pullback(
        _ model: NativeModel, _ states: [[any HiddenState]], of gradients: [any HiddenState], _ mask: KeepMask
    ) throws -> [any HiddenState] {
        var gradients = gradients
        for sublayer in (0..<model.shape.sublayerCount).reversed() {
            if mask.keeps(sublayer) {
                gradients = try model.pullback(sublayer, at: states[sublayer], of: gradients)
            } else if let rest = model.removed(sublayer) {
                gradients = try zip(states[sublayer], gradients).map { try rest.pullback(at: $0, of: $1) }
            }
        }
        return gradients
    }

    @Test(arguments: FamilyVariant.all)
    func pullbacksThroughAModelAgreeWithFiniteDifferences(_ variant: FamilyVariant) throws {
        // All experts are chosen: where others are, as a state moves, nothing has a slope.
        let model = try variant.model(.float32, ["num_experts_per_tok": "3"])
        let batches = try tests.batches([[9, 1, 5], [12]])
        let h = tests.rows(model, batches, seed: 1)
        let given = tests.rows(model, batches, seed: 11)
        // Differences reach over the corners of relu and of clips, and where short heads are normed over much curvature.
        let hasCorners =
            ["OPTForCausalLM", "Exaone4ForCausalLM"].contains(variant.name) || variant.changes["clip_qkv"] != nil
        let tolerance = hasCorners ? 4e-2 : 5e-3
        for mask in Self.masks {
            let states = try run(model, try tests.states(model, batches, h), mask)
            let gradient = try tests.floats(
                model, try pullback(model, states, of: try tests.states(model, batches, given), mask))
            let length = tests.dot(gradient, gradient).squareRoot()
            func projection(_ direction: [[Float]], _ step: Float) throws -> Double {
                let moved = zip(h, direction).map { zip($0, $1).map { $0 + step * $1 } }
                let after = try run(model, try tests.states(model, batches, moved), mask)
                return tests.dot(given, try tests.floats(model, after[after.count - 1]))
            }
            let largest = gradient.joined().map(abs).max() ?? 0
            let steepest = gradient.map { $0.map { 3 * $0 / largest } }
            for direction in [steepest] + (0..<2).map({ tests.rows(model, batches, seed: 21 + 10 * $0) }) {
                let step: Float = 0.002
                let near = try projection(direction, step) - projection(direction, -step)
                let far = try projection(direction, 2 * step) - projection(direction, -2 * step)
                let slope = (8 * near - far) / (12 * Double(step))
                let size = length * (tests.dot(direction, direction) / Double(h.joined().count)).squareRoot()
                #expect(abs(tests.dot(gradient, direction) - slope) <= tolerance * size, "without \(mask.removed)")
            }
        }
    }

    @Test(.enabled(if: BFloat16Product.isSupported, "this CPU has no bf16 instructions"), arguments: FamilyVariant.all)
    func resultsInBFloat16AreNearFloat32(_ variant: FamilyVariant) throws {
        let models = try [ComputeType.float32, .bfloat16].map { try variant.model($0, ["num_experts_per_tok": "3"]) }
        let batches = try tests.batches([[9, 1, 5], [12]])
        let h = tests.rows(models[0], batches, seed: 1)
        let given = tests.rows(models[0], batches, seed: 11)
        func near(_ found: [[[Float]]], _ what: String) {
            let difference = tests.ofUpdate(found[0], found[1])
            #expect(found[0] != found[1], "\(what)")
            #expect(
                tests.dot(difference, difference).squareRoot()
                    <= 6e-2 * tests.dot(found[0], found[0]).squareRoot(), "\(what)")
        }
        let mask = Self.masks[0]
        let states = try models.map { try run($0, try tests.states($0, batches, h), mask) }
        near(try zip(models, states).map { try tests.floats($0, $1[$1.count - 1]) }, "states")
        near(
            try zip(models, states).map { model, states in
                try tests.floats(
                    model, try pullback(model, states, of: try tests.states(model, batches, given), mask))
            }, "gradients")
    }
}
